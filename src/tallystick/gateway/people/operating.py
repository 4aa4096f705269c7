"""The operators' route of personal data at the gateway: who looked at whose. People themselves are their account's."""

import re
from typing import Final, Literal

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from tallystick.gateway.people.tables import of_account
from tallystick.kernel.operators.api import Call
from tallystick.kernel.operators.problems import NotFound
from tallystick.kernel.people.access import Access
from tallystick.kernel.people.operating import AccessesQuery, accesses
from tallystick.kernel.people.tables import Owner
from tallystick.kernel.requests import query

_ACCOUNT_ID: Final = re.compile("acct_[0-9A-Za-z]{16}")


class AccountsAccesses(AccessesQuery, frozen=True, forbid_unknown_fields=True):
    """`GET /operator/v1/accounts/{account}/accesses`."""

    livemode: Literal["true", "false"] = "false"


def people_routes(access: Access) -> list[HTTPRouteHandler]:
    """The access log of an account's customers."""

    @get("/accounts/{account:str}/accesses")
    async def list_accesses(request: Call) -> Response[bytes]:
        wanted = query(request, AccountsAccesses)
        return await accesses(access, request, _owner(request, livemode=wanted.livemode == "true"), wanted)

    return [list_accesses]


def _owner(request: Call, *, livemode: bool) -> Owner:
    account_id: str = request.path_params["account"]
    if not _ACCOUNT_ID.fullmatch(account_id):
        raise NotFound
    return of_account(account_id, livemode=livemode)
