"""Cases as pages: what a person must decide, proposed by one and approved by another (RULES §11)."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from msgspec import Struct

from tallystick.kernel.console.console import BrowserRequest, Html
from tallystick.merchant.cases.cases import Case, find_case, list_cases
from tallystick.merchant.cases.operating import Propose
from tallystick.merchant.cases.proposals import Proposal, ProposalRefused, Proposals
from tallystick.merchant.console.merchants import Merchants, Scope, said
from tallystick.ports.database import Database

CASES: Final = "/console/cases"
CASE: Final = "/console/merchants/{merchant}/cases/{case}"
PAGE_ROWS: Final = 50
LIVE_S: Final = 15
ACTIONS: Final = (
    ("close", "close: nothing is to be done, or it was done by hand"),
    ("merge", "merge: ask the gateway again, and take its answer"),
    ("lift", "lift: the goods may leave after all"),
)


class CasePages(Struct, frozen=True):
    """What the routes do."""

    merchants: Merchants
    proposals: Proposals
    database: Database

    async def list_cases(self, request: BrowserRequest) -> Html:
        """Cases of a merchant, the newest first; those that are open, where nothing else is said."""
        scope, sent = await self.merchants.scope(request), said(request)
        state, before = sent.get("state", "open"), sent.get("cursor", "")
        if not set(sent) <= {"state", "cursor"} or state not in ("open", "closed", "any") or not is_id(before):
            return self.merchants.console.problem(400, request.auth)
        wanted: Any = None if state == "any" else state
        found = (
            await list_cases(self.database, scope.id, state=wanted, before=before or None, rows_max=PAGE_ROWS + 1)
            if scope.id
            else []
        )
        rows = found[:PAGE_ROWS]
        shown: dict[str, Any] = {
            "state": state,
            "cases": rows,
            "cursor": rows[-1].id if len(found) > PAGE_ROWS else None,
            "at": before,
            "kept": {"state": state, "merchant": scope.id},
            "live": None if before else LIVE_S,
        }
        return self.merchants.page("cases", request, "Cases", scope, **shown)

    async def show(self, request: BrowserRequest) -> Html:
        """One with everything that was proposed about it."""
        scope, case = await self._case(request)
        if case is None:
            return self.merchants.console.problem(404, request.auth)
        proposals = await self.proposals.of(scope.id, case.id)
        pending = next((each for each in proposals if each.state == "proposed"), None)
        may, name = self.merchants.console.may, request.auth.name
        shown: dict[str, Any] = {
            "case": case,
            "details": {name: _text(value) for name, value in case.details.items()},
            "proposals": proposals,
            "actions": ACTIONS,
            "proposes": case.state == "open" and pending is None and may(request.auth, f"POST {CASE}/proposals"),
            "decides": pending is not None
            and pending.proposed_by != name
            and may(request.auth, f"POST {CASE}/approve"),
            "waits": pending is not None and pending.proposed_by == name,
        }
        return self.merchants.page("case", request, f"Case {case.id}", scope, **shown)

    async def propose(self, request: BrowserRequest) -> Html:
        """Say what is to be done."""
        fields = await self.merchants.console.fields(request) or {}
        sent = {"action": fields.get("action", ""), "note": fields.get("note", "")}
        try:
            asked = msgspec.convert(sent, Propose)
        except msgspec.ValidationError:
            return self.merchants.console.problem(422, request.auth, "Say what is to be done, and why.")

        async def work(merchant_id: str, case_id: str) -> Proposal:
            return await self.proposals.propose(merchant_id, case_id, asked.action, asked.note, request.auth.name)

        return await self._done(request, work)

    async def approve(self, request: BrowserRequest) -> Html:
        """Approve what another person proposed, asked for twice, and do it."""
        fields = await self.merchants.console.fields(request) or {}
        if fields.get("confirmed") != "yes":
            return await self._asked(request)
        number = fields.get("number", "")
        asked = int(number) if number.isdecimal() and len(number) < 10 else None

        async def work(merchant_id: str, case_id: str) -> Proposal:
            return await self.proposals.approve(merchant_id, case_id, request.auth.name, asked)

        return await self._done(request, work)

    async def reject(self, request: BrowserRequest) -> Html:
        """Say no to what another person proposed."""

        async def work(merchant_id: str, case_id: str) -> Proposal:
            return await self.proposals.reject(merchant_id, case_id, request.auth.name)

        return await self._done(request, work)

    async def _asked(self, request: BrowserRequest) -> Html:
        scope, case = await self._case(request)
        proposals = await self.proposals.of(scope.id, case.id) if case else []
        pending = next((each for each in proposals if each.state == "proposed"), None)
        if case is None or pending is None:
            return self.merchants.console.problem(409, request.auth, "Nothing is proposed for this case.")
        shown: dict[str, Any] = {
            "heading": f"Approve “{pending.action}”?",
            "words": f"{pending.proposed_by} proposed it: {pending.note}",
            "action": request.url.path,
            "kept": {"confirmed": "yes", "number": str(pending.number)},
            "button": "Approve and do it",
        }
        back = f"/console/merchants/{scope.id}/cases/{case.id}"
        return self.merchants.page("sure", request, "Approve", scope, back=back, about=case.id, **shown)

    async def _done(self, request: BrowserRequest, work: Callable[[str, str], Awaitable[Proposal]]) -> Html:
        scope, case = await self._case(request)
        if case is None:
            return self.merchants.console.problem(404, request.auth)
        back = f"/console/merchants/{scope.id}/cases/{case.id}"
        try:
            await work(scope.id, case.id)
        except ProposalRefused as refused:
            words = f"{refused}."
            return self.merchants.page(
                "refused", request, "That was not done", scope, status=409, words=words, back=back, about=case.id
            )
        return self.merchants.console.see_other(back)

    async def _case(self, request: BrowserRequest) -> tuple[Scope, Case | None]:
        scope, case_id = await self.merchants.scope(request), request.path_params["case"]
        known = bool(scope.id) and is_id(case_id)
        return scope, await find_case(self.database, scope.id, case_id) if known else None


def is_id(text: str) -> bool:
    """Whether a text can be an id of ours, or is empty."""
    return text.isascii() and (not text or text.replace("_", "x").isalnum())


def _text(value: Any) -> str:
    """A detail of a case as a person reads it."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
