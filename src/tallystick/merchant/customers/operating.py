"""The operators' routes of customers: their role is what the policy goes by, their name stands in the access log."""

import re

from litestar import Response, delete, get, post
from litestar.handlers import HTTPRouteHandler

from tallystick.kernel.operators.api import Call, answer
from tallystick.kernel.operators.problems import Internal, NotFound
from tallystick.kernel.people.access import Access, AccessDenied, Unreadable
from tallystick.kernel.people.keys import KeysUnavailable
from tallystick.kernel.people.operating import AccessesQuery, NotGranted, accesses, asker_of
from tallystick.kernel.people.tables import Owner
from tallystick.kernel.problems import Problem
from tallystick.kernel.requests import NoQuery, body, query
from tallystick.merchant.customers.api import (
    CustomerErased,
    CustomerListed,
    CustomerPage,
    EraseQuery,
    ReadQuery,
    SearchCustomers,
    customer_view,
    is_customer_id,
    searched,
)
from tallystick.merchant.customers.tables import of_merchant

_MERCHANT_ID = re.compile("mer_[0-9A-Za-z]{16}")


class KeysAway(Problem):
    """No key for personal data can be had."""

    status, code, title = 503, "personal_data_unavailable", "Personal data cannot be read now"
    default_detail = "The service has no key for them, or cannot reach it."


def customer_operations(access: Access) -> list[HTTPRouteHandler]:
    """The handlers, over what they need."""
    people = "/merchants/{merchant:str}/customers"

    @get(f"{people}/{{customer:str}}")
    async def show_customer(request: Call) -> Response[bytes]:
        wanted = query(request, ReadQuery)
        try:
            shown = await access.read(
                asker_of(request), wanted.purpose, _merchant(request), _customer(request), wanted.named
            )
        except (AccessDenied, KeysUnavailable, Unreadable) as error:
            raise _problem(error) from None
        if shown is None:
            raise NotFound
        return answer(customer_view(shown))

    @post(f"{people}/search", status_code=200)
    async def search_customers(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        wanted = await body(request, SearchCustomers)
        kind, text = searched(wanted)
        try:
            found = await access.search(asker_of(request), wanted.purpose, _merchant(request), kind, text)
        except AccessDenied as error:
            raise _problem(error) from None
        return answer(CustomerPage(tuple(CustomerListed(one.customer_id, one.created_at) for one in found)))

    @delete(f"{people}/{{customer:str}}", status_code=200)
    async def erase_customer(request: Call) -> Response[bytes]:
        wanted, customer_id = query(request, EraseQuery), _customer(request)
        try:
            erased = await access.erase(asker_of(request), wanted.purpose, _merchant(request), customer_id)
        except AccessDenied as error:
            raise _problem(error) from None
        if not erased:
            raise NotFound
        return answer(CustomerErased(customer_id, True))

    @get("/merchants/{merchant:str}/accesses")
    async def list_accesses(request: Call) -> Response[bytes]:
        return await accesses(access, request, _merchant(request), query(request, AccessesQuery))

    return [show_customer, search_customers, erase_customer, list_accesses]


def _merchant(request: Call) -> Owner:
    merchant_id: str = request.path_params["merchant"]
    if not _MERCHANT_ID.fullmatch(merchant_id):
        raise NotFound
    return of_merchant(merchant_id)


def _customer(request: Call) -> str:
    customer_id: str = request.path_params["customer"]
    if not is_customer_id(customer_id):
        raise NotFound
    return customer_id


def _problem(error: AccessDenied | KeysUnavailable | Unreadable) -> Problem:
    match error:
        case AccessDenied():
            return NotGranted()
        case KeysUnavailable():
            return KeysAway()
        case _:
            return Internal("What is stored of this customer cannot be opened.")
