"""The operators' routes of customers: their role is what the policy goes by, their name stands in the access log."""

import re
from typing import Annotated, Final

from litestar import Response, delete, get, post
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from tallystick.kernel.operators.api import Call, NoQuery, answer, body, query
from tallystick.kernel.operators.problems import FieldError, FieldsRefused, Internal, NotFound, Problem
from tallystick.merchant.customers.access import Access, AccessDenied, Asker, LogLine, Unreadable
from tallystick.merchant.customers.api import (
    CustomerErased,
    CustomerListed,
    CustomerPage,
    EraseQuery,
    Purpose,
    ReadQuery,
    SearchCustomers,
    customer_view,
    is_customer_id,
    searched,
)
from tallystick.merchant.customers.keys import KeysUnavailable
from tallystick.merchant.errors import FieldsRefused as SearchRefused

PAGE_ROWS_MAX: Final = 100

_MERCHANT_ID = re.compile("mer_[0-9A-Za-z]{16}")


class NotGranted(Problem):
    """The policy does not grant it."""

    status, code, title = 403, "access_denied", "This is not granted"
    default_detail = "Your role, the purpose and the fields are what it goes by. What is denied is in the access log."


class KeysAway(Problem):
    """No key for personal data can be had."""

    status, code, title = 503, "personal_data_unavailable", "Personal data cannot be read now"
    default_detail = "The service has no key for them, or cannot reach it."


class AccessesQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`GET /operator/v1/merchants/{merchant}/accesses`."""

    purpose: Purpose = ""
    customer: Annotated[str, Meta(pattern="^cus_[0-9A-Za-z]{25}$")] | None = None
    limit: Annotated[int, Meta(ge=1, le=PAGE_ROWS_MAX)] = PAGE_ROWS_MAX
    cursor: Annotated[str, Meta(pattern="^acc_[0-9A-Za-z]{25}$")] | None = None


class AccessPage(Struct, frozen=True):
    """The access log, the newest first."""

    data: tuple[LogLine, ...]
    next_cursor: str | None = None


def customer_operations(access: Access) -> list[HTTPRouteHandler]:
    """The handlers, over what they need."""
    people = "/merchants/{merchant:str}/customers"

    @get(f"{people}/{{customer:str}}")
    async def show_customer(request: Call) -> Response[bytes]:
        wanted = query(request, ReadQuery)
        try:
            shown = await access.read(
                _asker(request), wanted.purpose, _merchant(request), _customer(request), wanted.named
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
        try:
            kind, text = searched(wanted)
            found = await access.search(_asker(request), wanted.purpose, _merchant(request), kind, text)
        except SearchRefused as refused:
            raise FieldsRefused(
                "See errors.", errors=[FieldError(each.field, each.message) for each in refused.errors]
            ) from None
        except AccessDenied as error:
            raise _problem(error) from None
        return answer(CustomerPage(tuple(CustomerListed(one.customer_id, one.created_at) for one in found)))

    @delete(f"{people}/{{customer:str}}", status_code=200)
    async def erase_customer(request: Call) -> Response[bytes]:
        wanted, customer_id = query(request, EraseQuery), _customer(request)
        try:
            erased = await access.erase(_asker(request), wanted.purpose, _merchant(request), customer_id)
        except AccessDenied as error:
            raise _problem(error) from None
        if not erased:
            raise NotFound
        return answer(CustomerErased(customer_id, True))

    @get("/merchants/{merchant:str}/accesses")
    async def list_accesses(request: Call) -> Response[bytes]:
        wanted, merchant_id = query(request, AccessesQuery), _merchant(request)
        try:
            lines = await access.log(
                _asker(request),
                wanted.purpose,
                merchant_id,
                wanted.customer,
                before=wanted.cursor,
                limit=wanted.limit + 1,
            )
        except AccessDenied as error:
            raise _problem(error) from None
        data = tuple(lines[: wanted.limit])
        return answer(AccessPage(data, data[-1].id if len(lines) > wanted.limit else None))

    return [show_customer, search_customers, erase_customer, list_accesses]


def _asker(request: Call) -> Asker:
    """Who calls, as the policy knows it."""
    return Asker("operator", request.auth.name, request.auth.role)


def _merchant(request: Call) -> str:
    merchant_id: str = request.path_params["merchant"]
    if not _MERCHANT_ID.fullmatch(merchant_id):
        raise NotFound
    return merchant_id


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
