"""Closing a business day of an account, currency and mode: one transaction under the lock of its balance (RULES §10).

    lock → lines of what is in no report → what becomes available → payout → lines of these → file → manifest → next day

It takes every ledger transaction from before the day's end that is in no report yet. A window of times alone would
lose what commits late: such a transaction stands in the next report.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import msgspec
from msgspec import Struct

from tallystick.gateway.balance.payout import Payout
from tallystick.gateway.balance.transactions import CATEGORIES
from tallystick.gateway.ledger import postings
from tallystick.gateway.ledger.commands import Books, Purse
from tallystick.gateway.ledger.postings import Cause, Entry
from tallystick.gateway.ledger.terms import Terms
from tallystick.gateway.settlement.lines import TRUNCATED, Fault, Line
from tallystick.gateway.settlement.payouts import PAYOUT_ARRIVES, told
from tallystick.gateway.settlement.report import Report, Tally
from tallystick.gateway.stripe_wire import currencies
from tallystick.gateway.webhooks import events
from tallystick.kernel.identifiers import first_id, new_id
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Record, Statement, Statements, Transaction
from tallystick.ports.entropy import Entropy

SQL = Statements.beside(__file__)

PAGE_LINES: Final = 5_000  # in memory at a time, however long the day was
TAKEN_LINES: Final = 50_000  # taken, or paid out, by one statement: some seconds, far below its time limit
IDLE_REPORTS: Final = 7
"""After so many empty reports in a row, of an account that has nothing, days without money are closed without one."""
LATE_MAX: Final = timedelta(days=2)
"""How long after its id was made a transaction may still commit. A transaction lives for half a minute at most, and
clocks differ by minutes; what is older than this before a report's end need not be looked for again."""
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)

CARD_FAULTS: Final = {
    "sim_settlementMissing": "line_missing",
    "sim_settlementOtherAmount": "other_amount",
    "sim_settlementTwice": "line_twice",
}
"""Reference of a test card → what is wrong with the settlement of its charges (RULES §9)."""


class Closed(Struct, frozen=True):
    """A day that was closed; whether its payout made webhooks due. No report where the account is idle."""

    report: Report | None
    due: bool


class Closing:
    """Closes days."""

    def __init__(self, database: Database, clock: Clock, entropy: Entropy) -> None:
        self._database = database
        self._clock = clock
        self._entropy = entropy
        self._books = Books()

    async def close(
        self, purse: Purse, *, by_hand: bool = False, until: date | None = None, struck: Sequence[str] = ()
    ) -> Closed | None:
        """Close the first open day of an account's currency, if it is none after `until`; None where its time has not
        come (by hand: where it has not ended). `struck` are kinds of faults on demand for its file."""
        at = self._clock.now()
        async with self._database.transaction() as tx:
            rows = await tx.rows(SQL.lock_balance, *purse)
            if not _may_close(rows, at, by_hand, until):
                return None
            terms, day = _terms(rows[0]), rows[0]["next_day"]
            before = await _last_report(tx, purse)
            # Where the begin of days was moved back by more than one, this one would have ended before the last.
            ends_at = terms.end_of(day) if before is None else max(terms.end_of(day), before.ends_at)
            await self._take_lines(tx, purse, day, ends_at, before)
            following = day + timedelta(days=1)
            if before is not None and await _is_idle(tx, purse, day, before):
                await tx.execute(SQL.open_next_day, *purse, following, terms.close_at(following))
                return Closed(None, False)
            payout, due = await self._pay_out(tx, purse, day, ends_at, before, rows[0]["payout_interval"], at)
            await self._take_lines(tx, purse, day, ends_at, before)
            if payout is not None:
                await self._note_payout(tx, purse, day, payout)
            faults = await _faults(tx, purse, day, struck)
            report = await self._write(tx, purse, day, ends_at, before, faults, revision=1, at=at)
            await tx.execute(SQL.open_next_day, *purse, following, terms.close_at(following))
        return Closed(report, due)

    async def may_close(self, purse: Purse, *, by_hand: bool = False, until: date | None = None) -> bool:
        """Whether `close` would close a day now, as far as one sees without the lock. Raises DatabaseError."""
        rows = await self._database.rows(SQL.see_balance, *purse)
        return _may_close(rows, self._clock.now(), by_hand, until)

    async def correct(self, purse: Purse, day: date) -> list[Report]:
        """Write the next revision of a day's report and of all after it, as the lines truly are."""
        at = self._clock.now()
        reports: list[Report] = []
        async with self._database.transaction() as tx:
            await tx.rows(SQL.lock_balance, *purse)
            latest = await _reports(tx, SQL.latest_reports, *purse)
            for number, wrong in enumerate(latest):
                if wrong.day < day:
                    continue
                before = reports[-1] if reports else latest[number - 1] if number else None
                reports.append(
                    await self._write(
                        tx, purse, wrong.day, wrong.ends_at, before, (), revision=wrong.revision + 1, at=at
                    )
                )
        return reports

    async def _take_lines(
        self, tx: Transaction, purse: Purse, day: date, ends_at: datetime, before: Report | None
    ) -> None:
        """Lines for what is in no report yet, so many at a time that no statement takes long."""
        after = before.later_from if before else ""
        while True:
            [row] = await tx.rows(SQL.take_lines, *purse, day, ends_at, after, TAKEN_LINES)
            if row["lines"] < TAKEN_LINES:
                return
            after = row["last"]

    async def _pay_out(
        self,
        tx: Transaction,
        purse: Purse,
        day: date,
        ends_at: datetime,
        before: Report | None,
        interval: str,
        at: datetime,
    ) -> tuple[Payout | None, bool]:
        """Release what is available by the day's end, and pay it out by schedule."""
        since = before.ends_at if before is not None else _BEGINNING
        cause = Cause(purse[0], purse[1], None, None, purse[2])
        effective_at = ends_at - timedelta(microseconds=1)
        [row] = await tx.rows(SQL.releasable, *purse, day, since, ends_at)
        entries: list[Entry] = []
        if row["released"]:
            if row["net"]:
                entries.append(postings.released(cause, day.isoformat(), row["net"], effective_at))
            await tx.execute(SQL.release, *purse, day, since, ends_at)
        of_day = await _balances(tx, purse, day, before)
        [asked] = await tx.rows(SQL.payouts_in_no_report, *purse, before.later_from if before else "")
        available = row["net"] - of_day.get(postings.MERCHANT_AVAILABLE, 0) - asked["paid_out"]
        payout = None
        if interval == "daily" and available > 0:
            payout = Payout(
                account_id=purse[0],
                livemode=purse[1],
                id=new_id("po", at, self._entropy),
                currency=purse[2],
                day=day,
                amount=available,
                status="pending",
                arrival_at=ends_at + PAYOUT_ARRIVES,
                created_at=at,
            )
            entries.append(postings.paid_out(cause, payout.id, available, effective_at))
        posted = await self._books.post(tx, entries, at=at, entropy=self._entropy)
        if payout is None:
            return None, False
        await tx.execute(SQL.insert_payout, *msgspec.structs.astuple(payout))
        while await tx.execute(SQL.pay_released, *purse, payout.id, TAKEN_LINES) == TAKEN_LINES:
            pass
        happening = told("payout.created", payout, posted[(*purse[:2], f"payout:{payout.id}")])
        recorded = await events.record(tx, [happening], at=at, entropy=self._entropy)
        return payout, recorded.due

    async def _note_payout(self, tx: Transaction, purse: Purse, day: date, payout: Payout) -> None:
        """The lines of the day name the payout that they went with."""
        [last] = await tx.rows(SQL.last_number, *purse, day)
        for after in range(0, last["number"], TAKEN_LINES):
            await tx.execute(SQL.note_payout, *purse, day, payout.id, after, TAKEN_LINES)

    async def _write(
        self,
        tx: Transaction,
        purse: Purse,
        day: date,
        ends_at: datetime,
        before: Report | None,
        faults: tuple[Fault, ...],
        *,
        revision: int,
        at: datetime,
    ) -> Report:
        """The file of the day's lines, and its manifest."""
        tally = Tally(currencies.exponent(purse[2]))
        async for page in pages_of(tx, purse, day):
            tally.add(page, faults)
        opening = before.closing if before is not None else 0
        report = Report(
            account_id=purse[0],
            livemode=purse[1],
            id=new_id("stl", at, self._entropy),
            currency=purse[2],
            day=day,
            revision=revision,
            sequence=before.sequence + 1 if before is not None else 1,
            ends_at=ends_at,
            lines=tally.lines,
            gross=tally.gross,
            fee=tally.fee,
            net=tally.net,
            opening=opening,
            closing=opening + tally.net,
            sha256=tally.sha256,
            balances=await _balances(tx, purse, day, before),
            later_from=first_id("txn", ends_at - LATE_MAX),
            faults=faults,
            created_at=at,
        )
        row = [*msgspec.structs.astuple(report)]
        row[15] = msgspec.json.encode(report.balances).decode()
        row[17] = msgspec.json.encode(report.faults).decode()
        await tx.execute(SQL.insert_report, *row)
        return report


async def pages_of(reader: Transaction | Database, purse: Purse, day: date) -> AsyncIterator[list[Line]]:
    """The lines of a day's report, as they truly are, in their order."""
    after = 0
    while True:
        rows = await reader.rows(SQL.lines_of, *purse, day, list(CATEGORIES), after, PAGE_LINES)
        if not rows:
            return
        yield [Line(**row) for row in rows]
        after = rows[-1]["number"]


def report_of(row: Record) -> Report:
    """A report out of its row."""
    balances = msgspec.json.decode(row["balances"], type=dict[str, int])
    faults = msgspec.json.decode(row["faults"], type=tuple[Fault, ...])
    return Report(**{**row, "balances": balances, "faults": faults})


def _may_close(rows: Sequence[Record], at: datetime, by_hand: bool, until: date | None) -> bool:
    day = rows[0]["next_day"] if rows else None
    if day is None or (until is not None and day > until):
        return False
    terms = _terms(rows[0])
    return (terms.end_of(day) if by_hand else terms.close_at(day)) <= at


def _terms(row: Record) -> Terms:
    return Terms(**{field: row[field] for field in Terms.__struct_fields__})


async def _last_report(tx: Transaction, purse: Purse) -> Report | None:
    reports = await _reports(tx, SQL.last_report, *purse)
    return reports[0] if reports else None


async def _is_idle(tx: Transaction, purse: Purse, day: date, before: Report) -> bool:
    """Whether a day needs no report: nothing moved on it nor for a while before, and nothing is left to move."""
    if before.lines or any(before.balances.get(account) for account in postings.OPEN):
        return False
    [last] = await tx.rows(SQL.last_number, *purse, day)
    [empty] = await tx.rows(SQL.empty_reports, *purse, IDLE_REPORTS)
    return bool(last["number"] == 0 and empty["reports"] == IDLE_REPORTS)


async def _reports(tx: Transaction, statement: Statement, *parameters: Any) -> list[Report]:
    return [report_of(row) for row in await tx.rows(statement, *parameters)]


async def _balances(tx: Transaction, purse: Purse, day: date, before: Report | None) -> dict[str, int]:
    """The ledger's accounts after the lines of a day."""
    balances = dict(before.balances) if before is not None else {}
    for row in await tx.rows(SQL.balances_of_day, *purse, day):
        balances[row["account"]] = balances.get(row["account"], 0) + row["amount"]
    return balances


async def _faults(tx: Transaction, purse: Purse, day: date, struck: Sequence[str]) -> tuple[Fault, ...]:
    """What is to be wrong in the file: by the cards that were charged, and on demand. Test mode only."""
    if purse[1]:
        return ()
    rows = await tx.rows(SQL.lines_of_cards, *purse, day, list(CARD_FAULTS))
    faults = {row["number"]: CARD_FAULTS[row["card_reference"]] for row in rows}
    wanted = [kind for kind in struck if kind != TRUNCATED]
    charges = await tx.rows(SQL.charge_lines, *purse, day, len(wanted) + len(faults)) if wanted else []
    free = [row["number"] for row in charges if row["number"] not in faults]
    faults |= dict(zip(free, wanted, strict=False))
    if len(wanted) < len(struck):
        faults[0] = TRUNCATED
    return tuple(Fault(number, kind) for number, kind in sorted(faults.items()))
