"""The routes of customers (DESIGN §6). Personal data travel in bodies, never in an address: addresses are logged."""

import re
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from litestar import Response, delete, get, post
from litestar.handlers import HTTPRouteHandler
from msgspec import UNSET, Meta, Struct, UnsetType

from tallystick.kernel.people.access import AccessDenied, Asker, Shown, Unreadable
from tallystick.kernel.people.keys import KeysUnavailable
from tallystick.kernel.people.operating import Purpose
from tallystick.kernel.people.person import (
    FIELDS,
    Address,
    Email,
    Field,
    Person,
    Phone,
    ends_with_a_line_break,
)
from tallystick.kernel.problems import FieldError, FieldsRefused, Problem
from tallystick.kernel.requests import NoQuery, query
from tallystick.merchant import answers
from tallystick.merchant.accounts.directory import Merchant
from tallystick.merchant.customers.tables import SQL, of_merchant
from tallystick.merchant.customers.wiring import Customers
from tallystick.merchant.errors import AccessForbidden, NotFound, PersonalDataUnavailable, PersonalDataUnreadable
from tallystick.merchant.requests import PAGE_ROWS, Call, IdCursor, Limit, allowed_methods, body

RETRY_AFTER_S: Final = 5
SHOP: Final = "shop"  # the role of whoever holds a merchant's API key

FieldNames = Annotated[
    str,
    Meta(
        pattern="^(email|name|phone|address)(,(email|name|phone|address))*$",
        description="Which fields, separated by commas: all of them or an error. Left out: each that is granted.",
    ),
]

_CUSTOMER_ID = re.compile("cus_[0-9A-Za-z]{25}")


class CustomersQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`GET /v1/customers`."""

    limit: Limit = PAGE_ROWS
    cursor: IdCursor | None = None


class ReadQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`GET /v1/customers/{id}`. Without a purpose nothing is granted."""

    purpose: Purpose = ""
    fields: FieldNames | None = None

    @property
    def named(self) -> tuple[Field, ...] | None:
        """The fields that were named, each once."""
        if self.fields is None:
            return None
        return tuple(field for field in FIELDS if field in self.fields.split(","))


class EraseQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`DELETE /v1/customers/{id}`. Without a purpose nothing is granted."""

    purpose: Purpose = ""


class SearchCustomers(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/customers/search`: by `email` or by `phone`. Its repr shows nothing of it."""

    email: Email | None = None
    phone: Phone | None = None
    purpose: Purpose = ""

    def __repr__(self) -> str:
        return "SearchCustomers()"


class CustomerListed(Struct, frozen=True):
    """A customer by id: no personal data."""

    id: str
    created_at: datetime


class CustomerPage(Struct, frozen=True):
    """Customers, the newest first."""

    data: tuple[CustomerListed, ...]
    next_cursor: str | None = None


class CustomerKept(Struct, frozen=True):
    """A customer who was stored, or was known already."""

    id: str


class CustomerErased(Struct, frozen=True):
    """A customer who is forgotten. Orders and payments stay."""

    id: str
    erased: bool


class CustomerView(Struct, frozen=True):
    """What was granted of a customer: a field that was not is left out, one that is not known is null."""

    id: str
    created_at: datetime
    email: str | UnsetType | None = UNSET
    name: str | UnsetType | None = UNSET
    phone: str | UnsetType | None = UNSET
    address: Address | UnsetType | None = UNSET

    def __repr__(self) -> str:
        return f"CustomerView({self.id!r})"


def customer_routes(customers: Customers) -> list[HTTPRouteHandler]:
    """The handlers, over what they need."""

    @post("/v1/customers")
    async def keep_customer(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        person, _ = await body(request, Person)
        _check(person)
        try:
            kept = await customers.people.keep(request.auth.merchant_id, person)
        except KeysUnavailable as error:
            raise problem_of(error) from None
        return answers.encoded(msgspec.json.encode(CustomerKept(kept.customer_id)), 200 if kept.known else 201)

    @get("/v1/customers")
    async def list_customers(request: Call) -> Response[bytes]:
        wanted = query(request, CustomersQuery)
        rows = await customers.database.rows(SQL.list_people, request.auth.merchant_id, wanted.cursor, wanted.limit + 1)
        data = tuple(CustomerListed(row["customer_id"], row["created_at"]) for row in rows[: wanted.limit])
        return answers.json(CustomerPage(data, data[-1].id if len(rows) > wanted.limit else None))

    @post("/v1/customers/search", status_code=200)
    async def search_customers(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        wanted, _ = await body(request, SearchCustomers)
        kind, text = searched(wanted)
        try:
            found = await customers.access.search(
                _asker(request.auth), wanted.purpose, of_merchant(request.auth.merchant_id), kind, text
            )
        except AccessDenied as error:
            raise problem_of(error) from None
        return answers.json(CustomerPage(tuple(CustomerListed(one.customer_id, one.created_at) for one in found)))

    @get("/v1/customers/{customer_id:str}")
    async def show_customer(request: Call) -> Response[bytes]:
        wanted, customer_id = query(request, ReadQuery), _named(request)
        asker, owner = _asker(request.auth), of_merchant(request.auth.merchant_id)
        try:
            shown = await customers.access.read(asker, wanted.purpose, owner, customer_id, wanted.named)
        except (AccessDenied, KeysUnavailable, Unreadable) as error:
            raise problem_of(error) from None
        if shown is None:
            raise NotFound
        return answers.json(customer_view(shown))

    @delete("/v1/customers/{customer_id:str}", status_code=200)
    async def erase_customer(request: Call) -> Response[bytes]:
        wanted, customer_id = query(request, EraseQuery), _named(request)
        try:
            erased = await customers.access.erase(
                _asker(request.auth), wanted.purpose, of_merchant(request.auth.merchant_id), customer_id
            )
        except AccessDenied as error:
            raise problem_of(error) from None
        if not erased:
            raise NotFound
        return answers.json(CustomerErased(customer_id, True))

    return [
        allowed_methods("/v1/customers", "GET, OPTIONS, POST"),
        allowed_methods("/v1/customers/{customer_id:str}", "DELETE, GET, OPTIONS"),
        keep_customer,
        list_customers,
        search_customers,
        show_customer,
        erase_customer,
    ]


def customer_view(shown: Shown) -> CustomerView:
    """What was granted, as it is answered."""
    fields: dict[str, Any] = shown.fields
    return CustomerView(shown.customer_id, shown.created_at, **fields)


def searched(wanted: SearchCustomers) -> tuple[Any, str]:
    """By what is searched. Raises FieldsRefused."""
    if wanted.email is not None and wanted.phone is None:
        return "email", wanted.email
    if wanted.phone is not None and wanted.email is None:
        return "phone", wanted.phone
    raise FieldsRefused("See errors.", errors=[FieldError("email", "send either email or phone")])


def is_customer_id(text: str) -> bool:
    """Whether a text can be a customer's id: what cannot is not even written into the log."""
    return _CUSTOMER_ID.fullmatch(text) is not None


def problem_of(error: AccessDenied | KeysUnavailable | Unreadable) -> Problem:
    """What the caller is told."""
    match error:
        case AccessDenied():
            return AccessForbidden()
        case KeysUnavailable():
            return PersonalDataUnavailable(retry_after_s=RETRY_AFTER_S)
        case _:
            return PersonalDataUnreadable()


def _check(person: Person) -> None:
    """Refuse who could not be found again, and what a pattern lets through. Raises FieldsRefused."""
    errors = [FieldError(place, "must not end with a line break") for place in ends_with_a_line_break(person)]
    if person.email is None and person.phone is None:
        errors.append(FieldError("email", "send an e-mail address or a phone number, by which the customer is found"))
    if errors:
        raise FieldsRefused("See errors.", errors=errors)


def _asker(merchant: Merchant) -> Asker:
    """Who calls, as the policy knows it: the shop's own programs."""
    return Asker("service", merchant.merchant_id, SHOP)


def _named(request: Call) -> str:
    """The id in the path. Raises NotFound for what can be none."""
    customer_id: str = request.path_params["customer_id"]
    if not is_customer_id(customer_id):
        raise NotFound
    return customer_id
