"""Outcomes that nobody knows are looked up at the acquirer, by our own key (RULES §3, unknown outcomes).

    due → claim (lease, generation) → inquire → commit what was learnt, or wait for the next time

What was `sent` and whose sender never came back is asked about first, and is `unknown` from then on. Of a charge that
the acquirer does not know, nothing follows until its declared processing time has passed *and* it has confirmed that
the key is reversed; then the charge has failed. It is never sent again: its card data is gone. Captures, voids and
refunds carry no such data: what the acquirer does not know of them is sent again under the same key.
"""

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Sequence
from datetime import timedelta
from typing import Any

from msgspec import Struct

from tallystick.gateway.acquirers import port
from tallystick.gateway.acquirers.port import CALL_DEADLINE_S
from tallystick.gateway.cases.cases import open_cases
from tallystick.gateway.cases.concerns import Concern
from tallystick.gateway.payments import charging, inputs, schedule
from tallystick.gateway.payments.calling import Calling, money_request
from tallystick.gateway.payments.carrying import RECORD_RETRY_WAITS_S, Carrying
from tallystick.gateway.payments.payment import OPEN_REQUEST_STATES, AcquirerRequest, Charge, Payment
from tallystick.gateway.payments.records import SENT_LEASE_S, SQL, Key
from tallystick.gateway.payments.work import Outcome, Work
from tallystick.kernel import looking
from tallystick.kernel.columns import columns
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, DatabaseError, Record, SerializationFailed, Statement
from tallystick.ports.entropy import Entropy

log = logging.getLogger(__name__)

DISPUTES = ("disputed", "dispute_won", "dispute_lost")
POLL_S = 1.0
ITEMS_MAX = 256  # at a time: memory stays flat after a long outage of the acquirer

assert 2 * CALL_DEADLINE_S + sum(RECORD_RETRY_WAITS_S) < SENT_LEASE_S, (
    "an inquiry, what it leads to and its record fit into a lease"
)


class Asked(Struct, frozen=True):
    """A charge, with what else the acquirer is told of it."""

    charge: Charge
    card_reference: str


class AskedRequest(Struct, frozen=True):
    """A capture, void or refund, and how the acquirer is asked for it."""

    request: AcquirerRequest
    money: port.MoneyRequest


class Inquiries:
    """Asks about single rows: for calls that resume and must know before they answer. Nothing is done by it."""

    def __init__(self, calling: Calling, database: Database) -> None:
        self._calling = calling
        self._database = database

    async def charge(self, key: Key) -> inputs.Answer | None:
        """What the acquirer says of an undecided charge; None while that is not final."""
        asked = [asked_charge(row) for row in await self._database.rows(SQL.charges_to_inquire, *key)]
        asked = [one for one in asked if one.charge.state in ("created", "sent", "unknown")]
        for inquiry in await self._calling.inquire_charges([(one.charge, one.card_reference) for one in asked]):
            return self._calling.learnt_of_charge(key[2], inquiry)
        return None

    async def request(self, key: Key) -> inputs.Answer | None:
        """What the acquirer says of an open capture, void or refund; None while that is not final."""
        asked = [asked_request(row) for row in await self._database.rows(SQL.requests_to_inquire, *key)]
        asked = [one for one in asked if one.request.state in ("sent", "unknown")]
        for inquiry in await self._calling.inquire_requests([one.money for one in asked]):
            return self._calling.learnt_of_request(asked[0].request, inquiry)
        return None


class Inquirer:
    """Looks up what is due until it is cancelled. Any number may run: each row is claimed by one."""

    def __init__(
        self, carrying: Carrying, calling: Calling, database: Database, clock: Clock, entropy: Entropy
    ) -> None:
        self._entropy = entropy
        self._carrying = carrying
        self._calling = calling
        self._database = database
        self._clock = clock

    async def run(self) -> None:
        """Work for ever."""
        await looking.run(self.look, self._clock, log, "inquiries wait for the database", pause_s=POLL_S)

    async def look(self) -> int:
        """Ask about everything that is due now; how many rows that were. Raises DatabaseError."""
        return await self._charges() + await self._requests() + await self._notices()

    async def _charges(self) -> int:
        count = 0
        while claimed := await self._claim(SQL.due_charges, SQL.claim_charges):
            asked = [asked_charge(row) for row in claimed]
            inquiries = await self._calling.inquire_charges([(one.charge, one.card_reference) for one in asked])
            await _each(
                self._charge(one.charge, row["inquiries"] - 1, inquiry)
                for one, row, inquiry in zip(asked, claimed, inquiries, strict=True)
            )
            count += len(claimed)
        return count

    async def _charge(self, charge: Charge, inquiries: int, inquiry: port.ChargeInquiry) -> None:
        """Record what the acquirer said of one charge."""
        answer = self._calling.learnt_of_charge(charge.id, inquiry)
        if isinstance(inquiry, port.NotFound) and charge.state == "unknown" and self._cannot_come(inquiries):
            answer = await self._reversed(charge)
        if answer is None and charge.state != "unknown":
            answer = inputs.OutcomeUnknown(charge_id=charge.id)
        if answer is not None:
            await self._tell_charge(charge, answer)

    async def _reversed(self, charge: Charge) -> inputs.Answer | None:
        """Give the charge up, then have the acquirer confirm that it will not be; None while it does not confirm.

        Given up first, and committed: an approval that somebody learns of from now on is returned, never kept."""
        given_up = await self._tell_charge(charge, inputs.ReversalBegun(charge_id=charge.id))
        if given_up.refusal is not None or not await self._calling.reverse(charge):
            return None
        return charging.never_arrived(charge.id)

    async def _tell_charge(self, charge: Charge, told: inputs.Input) -> Outcome:
        key = (charge.account_id, charge.livemode, charge.payment_intent)
        return await self._carrying.carry(Work(key=key, tell=lambda _: told, charges=(charge.id,)))

    def _cannot_come(self, inquiries: int) -> bool:
        """Whether the time is over in which the acquirer may still come to know a request."""
        return schedule.age_s_min(inquiries) >= self._calling.acquirer.processing_s_max

    async def _requests(self) -> int:
        count = 0
        while claimed := await self._claim(SQL.due_requests, SQL.claim_requests):
            asked = [asked_request(row) for row in claimed]
            # What was never sent is sent; everything else is asked about first.
            unsent = [one.request for one in asked if one.request.state == "created"]
            open = [one for one in asked if one.request.state != "created"]
            inquiries = await self._calling.inquire_requests([one.money for one in open])
            await _each(
                [self._send(request) for request in unsent]
                + [self._request(one, inquiry) for one, inquiry in zip(open, inquiries, strict=True)]
            )
            count += len(claimed)
        return count

    async def _send(self, request: AcquirerRequest) -> None:
        await self._tell(request, inputs.Resend(request_id=request.id))

    async def _request(self, asked: AskedRequest, inquiry: port.RequestInquiry) -> None:
        """Record what the acquirer said of one capture, void or refund; what it does not know is sent again.

        Only once it is `unknown`, and that is committed: of what is `sent`, whoever sent it may still come back and say
        that it never left."""
        request = asked.request
        answer = self._calling.learnt_of_request(request, inquiry)
        if isinstance(inquiry, port.NotFound) and request.state == "unknown":
            answer = await self._calling.repeat(request, asked.money)
            if isinstance(answer, inputs.RequestNotSent | inputs.RequestUnknown):
                answer = None  # that this try did not arrive says nothing of an earlier one
        if answer is None and request.state == "sent":
            answer = inputs.RequestUnknown(request_id=request.id)
        if answer is not None:
            await self._tell(request, answer)

    async def _tell(self, request: AcquirerRequest, told: inputs.Input) -> None:
        key = (request.account_id, request.livemode, request.payment_intent)
        await self._carrying.carry(
            Work(key=key, tell=lambda _: told, requests=(request.id,), charges=(request.charge,))
        )

    async def _notices(self) -> int:
        """Record what the acquirer tells by itself, and say that it was heard."""
        acquirer = self._calling.acquirer
        notices = await acquirer.notices(self._clock.now(), ITEMS_MAX)
        if not notices:
            return 0
        livemode = not acquirer.simulated
        keys = [(notice.account_id, livemode, notice.key) for notice in notices]
        rows = await self._database.rows(SQL.intents_of_keys, *columns(3, sorted(set(keys))))
        found = {(row["account_id"], row["livemode"], row["key"]): row for row in rows}
        heard = await _each(self._notice(notice, found[key]) for notice, key in zip(notices, keys, strict=True))
        await acquirer.acknowledge(
            [notice for notice, done in zip(notices, heard, strict=True) if done], self._clock.now()
        )
        return len(notices)

    async def _notice(self, notice: port.Notice, row: Record) -> bool:
        """Record what one notice says; whether it need not be told again."""
        if row["payment_intent"] is None:
            log.error("the acquirer tells of a key that is not ours: %s", notice.kind)
            return True
        key = (row["account_id"], row["livemode"], row["payment_intent"])
        if notice.kind in DISPUTES:
            about = self._calling.disputed(row["charge"], notice)
            outcome = await self._carrying.carry(
                Work(key=key, tell=lambda _: about, charges=(row["charge"],), disputes=True)
            )
            return outcome.refusal is None or not _may_be_captured(outcome.payment, row["charge"])
        if notice.kind == "refunded":
            refunded = self._calling.refunded(notice)
            await self._carrying.carry(Work(key=key, tell=lambda _: refunded, requests=(notice.key,)))
            return True
        if notice.kind == "refund_failed":
            returned = self._calling.returned(notice)
            await self._carrying.carry(Work(key=key, tell=lambda _: returned, requests=(notice.key,)))
            return True
        approved = self._calling.answer_of_charge(row["charge"], port.Approved(notice.reference, notice.amount))
        await self._carrying.carry(Work(key=key, tell=lambda _: approved, charges=(row["charge"],)))
        return True

    async def _claim(self, due: Statement, claim: Statement) -> Sequence[Record]:
        """Take the leases of up to ITEMS_MAX rows that are due; none when another worker was after the same rows."""
        at = self._clock.now()
        seen = await self._database.rows(due, at, ITEMS_MAX)
        if not seen:
            return []
        looks = [schedule.look(row["inquiries"], at, SENT_LEASE_S) for row in seen]
        rows = sorted(
            (row["account_id"], row["livemode"], row["id"], row["generation"], look.due_at, look.case_at)
            for row, look in zip(seen, looks, strict=True)
        )
        try:
            claimed = await self._database.rows(claim, *columns(6, rows), at + timedelta(seconds=SENT_LEASE_S))
        except SerializationFailed:
            return []
        aged = {key_of_row(row) for row, look in zip(seen, looks, strict=True) if look.case_at is not None}
        await self._open_cases([row for row in claimed if key_of_row(row) in aged])
        return sorted(claimed, key=key_of_row)

    async def _open_cases(self, rows: Sequence[Record]) -> None:
        """What nobody knows after a day is a case: found again every day, it is the same one."""
        concerns = [
            Concern(
                account_id=row["account_id"],
                livemode=row["livemode"],
                kind="outcome_unknown",
                subject=row["id"],
                payment_intent=row["payment_intent"],
                charge=row.get("charge") or row["id"],
                amount=row["amount"],
                currency=row["currency"],
                details={"asked": row.get("kind") or "charge", "since": row["created_at"].isoformat()},
            )
            for row in rows
        ]
        await open_cases(self._database, concerns, self._clock.now(), self._entropy)


def key_of_row(row: Record) -> Key:
    """Of a row of a charge or acquirer request."""
    return row["account_id"], row["livemode"], row["id"]


def asked_charge(row: Record) -> Asked:
    """A charge out of a row that has all its columns and its card's reference."""
    return Asked(Charge(**{field: row[field] for field in Charge.__struct_fields__}), row["card_reference"])


def asked_request(row: Record) -> AskedRequest:
    """A request out of a row that has all its columns and those of its charge that the acquirer is told."""
    request = AcquirerRequest(**{field: row[field] for field in AcquirerRequest.__struct_fields__})
    money = money_request(
        request,
        charge_reference=row["charge_reference"],
        currency=row["currency"],
        card_reference=row["card_reference"],
    )
    return AskedRequest(request, money)


def _may_be_captured(payment: Payment, charge_id: str) -> bool:
    """Whether a charge may have been captured at the acquirer, and we do not know of it yet: what is told of it already
    is recorded once we do."""
    charge = payment.charge(charge_id)
    if charge is None or charge.amount_captured > 0:
        return False
    asked = any(one.charge == charge_id and one.state in OPEN_REQUEST_STATES for one in payment.requests)
    return charge.state in charging.UNDECIDED or asked


async def _each(calls: Iterable[Coroutine[Any, Any, Any]]) -> list[bool]:
    """Run calls side by side; which of them ended well and did not say no. What fails is due again. Raises
    DatabaseError."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, DatabaseError):
            raise result
        if isinstance(result, BaseException):
            log.error("an outcome could not be recorded: %s", type(result).__name__, exc_info=result)
    return [result is not False and not isinstance(result, BaseException) for result in results]
