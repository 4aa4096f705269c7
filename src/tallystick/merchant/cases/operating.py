"""The operators' routes of cases: show, propose, approve, reject. The operator's name is the person's (RULES §11)."""

from typing import Annotated

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from tallystick.kernel.operators.api import Call, answer
from tallystick.kernel.operators.problems import Conflict, NotFound
from tallystick.kernel.requests import NoQuery, body, query
from tallystick.merchant.cases.cases import Case, find_case
from tallystick.merchant.cases.proposals import Action, Proposal, ProposalRefused, Proposals
from tallystick.ports.database import Database


class Propose(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /operator/v1/merchants/{merchant}/cases/{case}/proposals`."""

    action: Action
    note: Annotated[str, Meta(min_length=1, max_length=2000)]


class CaseView(Struct, frozen=True):
    """A case with everything that was proposed about it."""

    case: Case
    proposals: tuple[Proposal, ...]


def case_operations(database: Database, proposals: Proposals) -> list[HTTPRouteHandler]:
    """The handlers, over what they need."""
    path = "/merchants/{merchant:str}/cases/{case:str}"

    @get(path)
    async def show_case(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        merchant_id, case_id = _named(request)
        case = await find_case(database, merchant_id, case_id)
        if case is None:
            raise NotFound
        return answer(CaseView(case, tuple(await proposals.of(merchant_id, case_id))))

    @post(f"{path}/proposals")
    async def propose(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        wanted = await body(request, Propose)
        try:
            made = await proposals.propose(*_named(request), wanted.action, wanted.note, request.auth.name)
        except ProposalRefused as refused:
            raise _problem(refused) from None
        return answer(made, 201)

    @post(f"{path}/approve")
    async def approve(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        try:
            return answer(await proposals.approve(*_named(request), request.auth.name))
        except ProposalRefused as refused:
            raise _problem(refused) from None

    @post(f"{path}/reject")
    async def reject(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        try:
            return answer(await proposals.reject(*_named(request), request.auth.name))
        except ProposalRefused as refused:
            raise _problem(refused) from None

    return [show_case, propose, approve, reject]


def _named(request: Call) -> tuple[str, str]:
    """The merchant and the case of the path. Raises NotFound for what can be none."""
    merchant_id, case_id = request.path_params["merchant"], request.path_params["case"]
    if not all(text.isascii() and text.isprintable() for text in (merchant_id, case_id)):
        raise NotFound
    return merchant_id, case_id


def _problem(refused: ProposalRefused) -> Conflict | NotFound:
    return Conflict(str(refused)) if refused.found else NotFound()
