"""Outcomes that nobody could learn, as operators see them and end them with evidence (RULES §3)."""

from datetime import datetime
from typing import Literal

from msgspec import Struct

from tallystick.gateway.acquirers import port
from tallystick.gateway.cases.cases import close_case_about
from tallystick.gateway.payments import charging, inputs
from tallystick.gateway.payments.calling import Calling
from tallystick.gateway.payments.carrying import Carrying
from tallystick.gateway.payments.inquiring import asked_charge, asked_request
from tallystick.gateway.payments.records import SQL, Key
from tallystick.gateway.payments.work import Work
from tallystick.kernel.identifiers import new_id
from tallystick.kernel.outcomes import Done, Refused
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Record
from tallystick.ports.entropy import Entropy

CHARGE_PREFIX = "ch_"


class UnknownOutcome(Struct, frozen=True, kw_only=True):
    """A charge, capture, void or refund at the acquirer that may or may not have been done. `id` is our key there.

    `case_at` says since when a person is to look at it: it was asked about for a day in vain."""

    account: str
    livemode: bool
    id: str
    kind: str
    payment_intent: str
    charge: str
    amount: int
    currency: str
    created_at: datetime
    next_inquiry_at: datetime
    inquiries: int
    case_at: datetime | None


class Resolution(Struct, frozen=True, kw_only=True):
    """What an operator found out. `reference` is the acquirer's own, needed where it was done."""

    account: str
    livemode: bool
    id: str
    outcome: Literal["done", "refused"]
    evidence: str
    operator: str
    reference: str | None = None


class NotUnknown(Exception):
    """There is no such thing, or its outcome is known."""


class Resolving:
    """Lists and resolves unknown outcomes."""

    def __init__(
        self, carrying: Carrying, calling: Calling, database: Database, clock: Clock, entropy: Entropy
    ) -> None:
        self._carrying = carrying
        self._calling = calling
        self._database = database
        self._clock = clock
        self._entropy = entropy

    async def unknown(
        self, after: tuple[str, str], limit: int, *, account: str | None = None, cases: bool = False
    ) -> list[UnknownOutcome]:
        """Up to `limit` unknown outcomes behind an account and id; of one account, or only cases, where asked for."""
        rows = await self._database.rows(SQL.unknown_outcomes, *after, account, cases, limit)
        return [
            UnknownOutcome(
                account=row["account_id"],
                livemode=row["livemode"],
                id=row["id"],
                kind=row["kind"],
                payment_intent=row["payment_intent"],
                charge=row["charge"],
                amount=row["amount"],
                currency=row["currency"],
                created_at=row["created_at"],
                next_inquiry_at=row["due_at"],
                inquiries=row["inquiries"],
                case_at=row["case_at"],
            )
            for row in rows
        ]

    async def resolve(self, found: Resolution) -> None:
        """Record what happened as if the acquirer had said it. Raises NotUnknown."""
        key = (found.account, found.livemode, found.id)
        is_charge = found.id.startswith(CHARGE_PREFIX)
        intent, told = await (self._charge(key, found) if is_charge else self._request(key, found))
        at = self._clock.now()
        # The evidence first: a decision without it must not exist; one that came too late only shows that it did.
        await self._database.execute(
            SQL.insert_resolution,
            found.account,
            found.livemode,
            new_id("ocr", at, self._entropy),
            found.id,
            found.outcome,
            found.reference,
            found.evidence,
            found.operator,
            at,
        )
        work = Work(
            key=(found.account, found.livemode, intent),
            tell=lambda _: told,
            charges=(found.id,) if is_charge else (),
            requests=() if is_charge else (found.id,),
        )
        outcome = await self._carrying.carry(work)
        if outcome.refusal is not None:
            raise NotUnknown
        await close_case_about(
            self._database, key, "outcome_unknown", at=at, note=found.evidence, operator=found.operator
        )

    async def _charge(self, key: Key, found: Resolution) -> tuple[str, inputs.Answer]:
        rows = await self._database.rows(SQL.charges_to_inquire, *key)
        if not rows or rows[0]["state"] != "unknown":
            raise NotUnknown
        charge = asked_charge(rows[0]).charge
        if found.outcome == "done":
            answer = self._calling.answer_of_charge(charge.id, port.Approved(found.reference or ""))
        else:
            answer = charging.never_arrived(charge.id)
        return charge.payment_intent, answer

    async def _request(self, key: Key, found: Resolution) -> tuple[str, inputs.Answer]:
        rows = await self._database.rows(SQL.requests_to_inquire, *key)
        if not rows or not _may_be_said(rows[0], found):
            raise NotUnknown
        request = asked_request(rows[0]).request
        outcome = Done(found.reference or "") if found.outcome == "done" else Refused("unknown", found.evidence)
        return request.payment_intent, self._calling.answer_of_request(request, outcome)


def _may_be_said(row: Record, found: Resolution) -> bool:
    """Whether a person may still say what became of a request: of what is unknown, and of a refund that was taken for
    failed and turns out done."""
    if row["kind"] == "refund" and row["state"] == "refused":
        return found.outcome == "done"
    return bool(row["state"] == "unknown")
