"""The part of the API's OpenAPI description that tells of customers. Pure."""

from typing import Final

from tallystick.kernel.people.person import Person
from tallystick.merchant.customers.api import (
    CustomerErased,
    CustomerKept,
    CustomerListed,
    CustomerPage,
    CustomersQuery,
    CustomerView,
    EraseQuery,
    ReadQuery,
    SearchCustomers,
)
from tallystick.merchant.describing import Json, answer, operation, query

MODELS: Final = (Person, CustomerKept, CustomerListed, CustomerPage, CustomerView, CustomerErased, SearchCustomers)


def paths() -> Json:
    """The paths of customers."""
    return {
        "/v1/customers": {"post": _keep_customer(), "get": _list_customers()},
        "/v1/customers/search": {"post": _search_customers()},
        "/v1/customers/{customer_id}": {"get": _show_customer(), "delete": _erase_customer()},
    }


def complete(schemas: Json) -> None:
    """What the structs cannot say: which fields must be there."""
    schemas["Person"]["anyOf"] = _BY_WHICH_THEY_ARE_FOUND
    schemas["SearchCustomers"]["oneOf"] = _EITHER_EMAIL_OR_PHONE


def _keep_customer() -> Json:
    return operation(
        "keepCustomer",
        "Store a customer",
        "Personal data, sealed with a key of the customer's own. Who says the same again is the same customer.",
        [],
        {
            "200": answer("The customer was known already.", CustomerKept),
            "201": answer("The customer is stored.", CustomerKept),
        },
        (400, 401, 413, 415, 422, 500, 503),
        body=Person,
        examples={"person": {"summary": "A person", "value": {"email": "ada@example.org", "name": "Ada"}}},
    )


def _list_customers() -> Json:
    answers = {"200": answer("A page of customers, by id alone.", CustomerPage)}
    return operation(
        "listCustomers",
        "List customers",
        "The newest first, by id: no personal data.",
        query(CustomersQuery),
        answers,
        (401, 422, 500, 503),
    )


def _search_customers() -> Json:
    return operation(
        "searchCustomers",
        "Find customers",
        "By an e-mail address or a phone number, however written. The policy decides; the access log keeps it.",
        [],
        {"200": answer("Those who are known by it.", CustomerPage)},
        (400, 401, 403, 413, 415, 422, 500, 503),
        body=SearchCustomers,
        examples={"email": {"summary": "By e-mail", "value": {"email": "ada@example.org", "purpose": "support"}}},
    )


def _show_customer() -> Json:
    return operation(
        "showCustomer",
        "Read a customer",
        "The fields that the policy grants for the purpose. Whatever it decides is kept in the access log.",
        [_CUSTOMER_ID, *query(ReadQuery)],
        {"200": answer("What was granted.", CustomerView)},
        (401, 403, 404, 422, 500, 503),
    )


def _erase_customer() -> Json:
    return operation(
        "eraseCustomer",
        "Erase a customer",
        "Shreds the customer's key, so that nothing of the person can be read any more. Orders and payments stay.",
        [_CUSTOMER_ID, *query(EraseQuery)],
        {"200": answer("The customer is forgotten.", CustomerErased)},
        (401, 403, 404, 422, 500, 503),
    )


_BY_WHICH_THEY_ARE_FOUND: Final[list[Json]] = [
    {"required": ["email"], "properties": {"email": {"type": "string"}}},
    {"required": ["phone"], "properties": {"phone": {"type": "string"}}},
]

_EITHER_EMAIL_OR_PHONE: Final[list[Json]] = [
    {"required": ["email"], "properties": {"email": {"type": "string"}, "phone": {"type": "null"}}},
    {"required": ["phone"], "properties": {"phone": {"type": "string"}, "email": {"type": "null"}}},
]

_CUSTOMER_ID: Final[Json] = {
    "in": "path",
    "name": "customer_id",
    "schema": {"type": "string"},
    "description": "The customer's id.",
    "required": True,
}
