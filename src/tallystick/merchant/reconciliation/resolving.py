"""What was found is resolved: what is safe by the gateway's own answer, the rest as a case (RULES §11).

An automatic action retrieves the payment and merges what the gateway answers, under the reference `recon:{payment}`,
through the one write path of orders. It counts as done only when the answer says what the line said; otherwise a person
decides. Whatever is done is noted in the commit that does it, so a run that is begun again repeats nothing.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from types import MappingProxyType
from typing import Final

import msgspec
from msgspec import Struct

from tallystick.kernel.outcomes import Done
from tallystick.merchant.cases.cases import Found, open_cases
from tallystick.merchant.gateways.port import Connection
from tallystick.merchant.gateways.stripe_reports import PaymentFound
from tallystick.merchant.orders.apply import apply_facts
from tallystick.merchant.orders.facts import (
    AnyFact,
    DisputeSeen,
    Held,
    HoldReason,
    RefundSeen,
    Succeeded,
    SurplusSeen,
    hold_key,
)
from tallystick.merchant.orders.learning import Learnt
from tallystick.merchant.orders.outbox import Outbox
from tallystick.merchant.reconciliation.findings import MISSING_DAYS, business_days_after
from tallystick.merchant.reconciliation.retrieving import ASKING_TRIES_MAX, learnt_of, retrieve
from tallystick.merchant.reconciliation.taking import SQL, NotYet, Reports
from tallystick.merchant.reconciliation.taking import Held as HeldRun
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Record, Transaction
from tallystick.ports.entropy import Entropy

PAGE_MISMATCHES: Final = 50
CALLS_MAX: Final = 8  # payments retrieved side by side
PARKED_MAX: Final = 5  # webhooks named in a case
HOLD: Final[Mapping[str, HoldReason]] = MappingProxyType(
    {
        "paid_but_missing": "paid_but_missing",
        "authorised_there": "authorised_there",
        "voided_there": "voided_there",
        "dispute_unknown": "disputed",
    }
)
"""Codes whose case holds the goods until it is decided (RULES §11), and how the order calls it."""


class Outcome(Struct, frozen=True):
    """What becomes of a mismatch: its state and code, and facts that are merged in the same commit."""

    state: str
    code: str
    learnt: tuple[Learnt, ...] = ()
    wait_until: date | None = None
    details: dict[str, str] = {}


class Resolver:
    """Resolves what runs have found."""

    def __init__(self, database: Database, reports: Reports, clock: Clock, entropy: Entropy, outbox: Outbox) -> None:
        self._database = database
        self._reports = reports
        self._clock = clock
        self._entropy = entropy
        self._outbox = outbox

    async def resolve_page(
        self, run: HeldRun, connection: Connection, after: tuple[str, str, str]
    ) -> tuple[str, str, str] | None:
        """Resolve the next mismatches behind `after`; the last of them. Raises NotYet where the gateway is away."""
        rows = await self._database.rows(
            SQL.open_mismatches,
            *run.key,
            run.connection_id,
            run.business_date,
            *after,
            PAGE_MISMATCHES,
        )
        gate = asyncio.Semaphore(CALLS_MAX)

        async def decided(row: Record) -> Outcome:
            async with gate:
                try:
                    return await self._decide(connection, row)
                except NotYet:
                    if run.tries < ASKING_TRIES_MAX:
                        raise
                    return Outcome("case", row["code"], details={"gateway": "does not tell of the payment"})

        outcomes = await asyncio.gather(*(decided(row) for row in rows))
        outcomes = await self._with_parked(run, rows, outcomes)
        for row, outcome in zip(rows, outcomes, strict=True):
            await self._store(run, row, outcome)
        return (rows[-1]["reconciliation_id"], rows[-1]["code"], rows[-1]["subject"]) if rows else None

    async def _decide(self, connection: Connection, row: Record) -> Outcome:
        if row["state"] == "waiting":
            return await self._waited(connection, row)
        if row["resolution"] != "automatic":
            return Outcome("case", row["code"])
        found = await retrieve(self._reports, connection, row["payment"])
        if found is None:
            return Outcome("case", row["code"], details={"gateway": "does not know the payment"})
        if row["code"] == "captured_twice":
            found = msgspec.structs.replace(found, facts=(*found.facts, *await self._surplus(connection, row)))
        learnt = _learnt(connection, row, found)
        if not learnt or not _confirms(row, found.facts):
            return Outcome("case", row["code"], details={"gateway": f"says {found.status}, and not what the line says"})
        return Outcome("resolved", row["code"], learnt)

    async def _waited(self, connection: Connection, row: Record) -> Outcome:
        """It waited long enough for its other half."""
        if row["code"] == "cut_off":
            until = business_days_after(row["found_at"].date(), MISSING_DAYS)
            until = max(until, business_days_after(row["wait_until"], MISSING_DAYS - 1))
            return Outcome("waiting", "paid_but_missing", wait_until=until)
        if row["code"] == "refund_missing":
            return Outcome("case", "refund_missing")
        found = await retrieve(self._reports, connection, row["payment"])
        if found is None:
            return Outcome("case", row["code"], details={"gateway": "does not know the payment"})
        codes: dict[str, str] = {"requires_capture": "authorised_there", "canceled": "voided_there"}
        code = codes.get(found.status) or str(row["code"])
        return Outcome("case", code, _learnt(connection, row, found), details={"gateway": f"says {found.status}"})

    async def _with_parked(self, run: HeldRun, rows: Sequence[Record], outcomes: list[Outcome]) -> list[Outcome]:
        """Cases of unknown payments name the webhooks that came for them and fitted no order (RULES §11)."""
        unknown = {
            row["order_id"]
            for row, outcome in zip(rows, outcomes, strict=True)
            if outcome.code == "unknown_payment" and row["order_id"]
        }
        if not unknown:
            return outcomes
        found: dict[str, list[str]] = {}
        for parked in await self._database.rows(
            SQL.parked_webhooks, run.key.merchant_id, run.connection_id, sorted(unknown), PARKED_MAX
        ):
            found.setdefault(parked["order_id"], []).append(f"{parked['event_id']} {parked['type']}")
        return [
            msgspec.structs.replace(outcome, details=outcome.details | {"parked": ", ".join(found[row["order_id"]])})
            if outcome.code == "unknown_payment" and row["order_id"] in found
            else outcome
            for row, outcome in zip(rows, outcomes, strict=True)
        ]

    async def _surplus(self, connection: Connection, row: Record) -> list[SurplusSeen]:
        """The charges beside the payment's own that the gateway captured, and has not given back. Raises NotYet."""
        answer = await self._reports.captured_charges(connection, row["payment"])
        if not isinstance(answer, Done):
            raise NotYet(f"the charges of payment {row['payment']} cannot be retrieved")
        kept = [charge for charge in answer.value if charge.refundable_minor > 0]
        if not any(charge.own for charge in kept):
            return []
        return [SurplusSeen(one.charge, one.captured_minor, one.currency) for one in kept if not one.own]

    async def _store(self, run: HeldRun, row: Record, outcome: Outcome) -> None:
        """Merge and note it, in one commit."""
        at = self._clock.now()
        async with self._database.transaction() as tx:
            learnt = (*outcome.learnt, *_holding(run, row, outcome))
            applied = await apply_facts(tx, learnt, at, self._outbox)
            if applied.unknown and outcome.state == "resolved":
                outcome = Outcome("case", outcome.code, details={"order": "has no such attempt"})
            touched = await tx.execute(
                SQL.settle_mismatch,
                run.key.merchant_id,
                row["reconciliation_id"],
                row["code"],
                row["subject"],
                outcome.state,
                outcome.code,
                outcome.wait_until,
                msgspec.json.encode(outcome.details).decode(),
                at,
            )
            if touched:
                await self._see(tx, run, row, outcome, at)

    async def _see(self, tx: Transaction, run: HeldRun, row: Record, outcome: Outcome, at: datetime) -> None:
        """Open the cases that follow."""
        found: list[Found] = []
        if outcome.state == "case":
            details = {
                "reconciliation": row["reconciliation_id"],
                "payment": row["payment"],
                "lines": list(row["lines"]),
                "amount": row["amount_minor"],
                "currency": row["currency"],
                "hold": _hold_of(row, outcome),
                **msgspec.json.decode(row["details"]),
                **outcome.details,
            }
            found.append(_found(run, row, f"recon_{outcome.code}", f"{run.connection_id}:{row['subject']}", details))
        if outcome.code == "refund_failure" and outcome.state == "resolved":
            found.append(_found(run, row, "refund_returned", str(row["subject"]), {"refund": row["subject"]}))
        await open_cases(tx, found, at, self._entropy)


def _hold_of(row: Record, outcome: Outcome) -> str | None:
    """The hold that a case is the reason of; None where it holds nothing."""
    reason = HOLD.get(outcome.code) if row["order_id"] is not None and row["attempt"] is not None else None
    return hold_key(reason, row["subject"]) if reason is not None else None


def _holding(run: HeldRun, row: Record, outcome: Outcome) -> tuple[Learnt, ...]:
    """The goods of such a case are held, in the commit that opens it."""
    if outcome.state != "case" or _hold_of(row, outcome) is None:
        return ()
    fact = Held(HOLD[outcome.code], row["subject"])
    reference = f"recon:{row['payment']}"
    return (
        Learnt(run.key.merchant_id, row["order_id"], row["attempt"], fact, "settlement", reference, run.connection_id),
    )


def _found(run: HeldRun, row: Record, kind: str, subject: str, details: dict[str, object]) -> Found:
    return Found(run.key.merchant_id, kind, subject, row["order_id"], row["attempt"], details)


def _learnt(connection: Connection, row: Record, found: PaymentFound) -> tuple[Learnt, ...]:
    return learnt_of(connection, found, f"recon:{row['payment']}", row["order_id"], row["attempt"])


def _confirms(row: Record, facts: Sequence[AnyFact]) -> bool:
    """Whether the gateway's answer says what the line said."""
    subject = row["subject"]
    match row["code"]:
        case "refund_unknown":
            return any(isinstance(fact, RefundSeen) and fact.refund == subject for fact in facts)
        case "refund_failure":
            return any(
                isinstance(fact, RefundSeen) and fact.refund == subject and fact.status in ("failed", "canceled")
                for fact in facts
            )
        case "dispute_unknown":
            return any(isinstance(fact, DisputeSeen) and fact.dispute == subject for fact in facts)
        case "dispute_reversal":
            return any(
                isinstance(fact, DisputeSeen) and fact.dispute == subject and fact.outcome == "won" for fact in facts
            )
        case "captured_twice" if "captured_there" in msgspec.json.decode(row["details"]):  # two charges of one payment
            return any(isinstance(fact, SurplusSeen) for fact in facts)
        case _:
            return any(isinstance(fact, Succeeded) for fact in facts)
