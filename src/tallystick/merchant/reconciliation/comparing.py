"""Lines into the database and the first look at all of them, set by set; then what differs, page by page.

Memory does not grow with the file: lines stream through in blocks, PostgreSQL compares, and only payments that do not
fit come back, so many at a time.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from tallystick.kernel.batching import turn
from tallystick.merchant.orders.facts import AttemptFacts, decode_facts
from tallystick.merchant.orders.state import Owed
from tallystick.merchant.reconciliation.findings import Code, Contract, Day, Decided, Finding, Settled, SoldOrder
from tallystick.merchant.reconciliation.lines import SettlementLine
from tallystick.merchant.reconciliation.matching import decide, initial_code, is_early, unexplained
from tallystick.merchant.reconciliation.reading import Reading
from tallystick.ports.database import Database, Record, Statements, Transaction

SQL = Statements.beside(__file__)

BLOCK_LINES: Final = 2_000  # parsed between two turns of the loop, a few milliseconds each
TELL_LINES: Final = 100_000  # about a second
PAGE_PAYMENTS: Final = 500

Progress = Callable[[int], Awaitable[None]]
_NOTHING_KNOWN: Final = AttemptFacts()


class RunKey(NamedTuple):
    """Names a run."""

    merchant_id: str
    reconciliation_id: str


class Compared(Struct, frozen=True):
    """A run whose lines are in the database."""

    key: RunKey
    connection_id: str
    day: Day
    dry_run: bool = False
    foreign: bool = False  # the lines are another gateway's than the connection's


class MismatchRow(Struct, frozen=True):
    """A finding as `insert_mismatches` takes it."""

    code: Code
    subject: str
    payment: str | None
    order_id: str | None
    attempt: int | None
    currency: str | None
    amount_minor: int | None
    lines: tuple[str, ...]
    resolution: str
    state: str
    wait_until: date | None
    details: Mapping[str, object]


async def copy_lines(tx: Transaction, key: RunKey, reading: Reading, tell: Progress | None = None) -> int:
    """Stream a file's lines into the database; how many. `tell` hears from time to time how many there are so far.
    Raises FileDamaged, and ConstraintViolated where a line's id is there twice.
    """
    return await tx.copy(SQL.copy_lines, _blocks(key, reading, tell))


async def _blocks(key: RunKey, reading: Reading, tell: Progress | None) -> AsyncIterator[bytes]:
    head = f"{key.merchant_id}\t{key.reconciliation_id}\t"
    lines = told = 0
    for block in reading.blocks(BLOCK_LINES):
        await turn()
        if not block:
            continue
        yield "".join([head + _text(line) for line in block]).encode()
        lines += len(block)
        if tell is not None and lines - told >= TELL_LINES:
            await tell(lines)
            told = lines


def _text(line: SettlementLine) -> str:
    """A line as COPY's text format has it. Ids are printable ASCII: of what is special there, only the backslash can
    stand in one.
    """
    ids = (line.source, line.payment, line.charge, line.order_reference, line.payout)
    source, payment, charge, reference, payout = [_escaped(id) if id is not None else "\\N" for id in ids]
    return (
        f"{_escaped(line.line_id)}\t{line.created_at}\t{line.currency}\t{line.gross_minor}\t{line.fee_minor}\t"
        f"{line.net_minor}\t{line.category}\t{source}\t{payment}\t{charge}\t{reference}\t{payout}\t"
        f"{initial_code(line)}\n"
    )


def _escaped(field: str) -> str:
    return field.replace("\\", "\\\\") if "\\" in field else field


async def compare(tx: Transaction, run: Compared, currencies: Sequence[str]) -> None:
    """Find the payments that do not fit, in both directions: orders without a line are looked for in the currencies
    whose files were taken.
    """
    day = run.day
    wanted = sorted(currencies)
    await tx.execute(SQL.find_differences, *run.key, run.connection_id, day.begins_at, day.ends_at, wanted)
    await tx.execute(SQL.find_refunded, *run.key, run.connection_id, day.begins_at, wanted)


async def decide_page(database: Database, run: Compared, at: datetime) -> int:
    """Decide about the next payments that do not fit and store it, in one commit; how many there were."""
    async with database.transaction() as tx:
        rows = await tx.rows(SQL.page_of_differences, *run.key, PAGE_PAYMENTS)
        payments = [row["payment"] for row in rows]
        if payments:
            loaded = await _load(tx, run, payments)
            await _store(tx, run, [decide(settled, order, run.day) for settled, order in loaded], at)
            early = sorted(settled.payment for settled, order in loaded if is_early(settled, order, run.day))
            if early and not run.dry_run:
                await tx.execute(SQL.insert_early, run.key.merchant_id, run.connection_id, early)
            await tx.execute(SQL.delete_differences, *run.key, payments)
    return len(payments)


async def explain_page(database: Database, run: Compared, after: str, at: datetime) -> str | None:
    """Note the next lines that belong to no payment and that nobody can explain; the last of them."""
    async with database.transaction() as tx:
        rows = await tx.rows(SQL.lines_alone, *run.key, after, PAGE_PAYMENTS)
        await _store(tx, run, [Decided({}, tuple(unexplained(_line(row)) for row in rows))], at)
    return rows[-1]["line_id"] if rows else None


async def _load(tx: Transaction, run: Compared, payments: Sequence[str]) -> list[tuple[Settled, SoldOrder | None]]:
    """These payments with all of their lines and what we know of them."""
    rows = await tx.rows(SQL.lines_of_payments, *run.key, run.connection_id, run.day.date, list(payments))
    mine: dict[str, list[SettlementLine]] = {payment: [] for payment in payments}
    earlier: dict[str, list[SettlementLine]] = {payment: [] for payment in payments}
    for row in rows:
        (mine if row["mine"] else earlier)[row["payment"]].append(_line(row))
    references = [_reference(mine[payment]) for payment in payments]
    found = await tx.rows(SQL.orders_of_payments, run.key.merchant_id, run.connection_id, list(payments), references)
    seen = await _refunds_seen(tx, run.key.merchant_id, sorted({row["order_id"] for row in found}))
    orders = {row["payment"]: _order(row, seen.get(row["order_id"], {}), foreign=run.foreign) for row in found}
    return [
        (Settled(payment, tuple(mine[payment]), tuple(earlier[payment])), orders.get(payment)) for payment in payments
    ]


async def _refunds_seen(tx: Transaction, merchant_id: str, orders: list[str]) -> dict[str, dict[str, datetime]]:
    seen: dict[str, dict[str, datetime]] = {}
    for row in await tx.rows(SQL.refunds_seen, merchant_id, orders) if orders else ():
        seen.setdefault(row["order_id"], {})[row["refund"]] = row["seen_at"]
    return seen


def _reference(lines: Sequence[SettlementLine]) -> str | None:
    return next((line.order_reference for line in lines if line.order_reference), None)


async def _store(tx: Transaction, run: Compared, decided: Sequence[Decided], at: datetime) -> None:
    codes = sorted((id, code) for each in decided for id, code in each.codes.items() if code != "matched")
    if codes:
        await tx.execute(SQL.set_codes, *run.key, [id for id, _ in codes], [code for _, code in codes])
    rows = [_row(finding, dry_run=run.dry_run) for each in decided for finding in each.findings]
    if rows:
        encoded = msgspec.json.encode(rows).decode()
        await tx.execute(SQL.insert_mismatches, *run.key, run.connection_id, at, encoded)


def _row(finding: Finding, *, dry_run: bool) -> MismatchRow:
    states: dict[str, str] = {"automatic": "open", "case": "open", "wait": "waiting", "noted": "noted"}
    state = states[finding.resolution]
    return MismatchRow(
        finding.code,
        finding.subject,
        finding.payment,
        finding.order_id,
        finding.attempt,
        finding.currency,
        finding.amount_minor,
        finding.lines,
        finding.resolution,
        "stopped" if dry_run and state != "noted" else state,
        finding.wait_until,
        finding.details,
    )


def _line(row: Record) -> SettlementLine:
    names: Any = SettlementLine.__struct_fields__
    return SettlementLine(*(row[name] for name in names))


def _order(row: Record, seen: Mapping[str, datetime], *, foreign: bool) -> SoldOrder:
    facts = decode_facts(row["facts"])
    attempt = row["attempt"]
    if attempt is None and foreign and facts.attempts:
        attempt = row["keeper"] or max(facts.attempts)
    return SoldOrder(
        row["order_id"],
        row["state"],
        Owed(row["amount_minor"], row["currency"]),
        attempt,
        facts.attempts.get(attempt, _NOTHING_KNOWN) if attempt is not None else _NOTHING_KNOWN,
        row["keeper"],
        row["paid_at"],
        seen,
        foreign,
    )


def contracts_of(rows: Sequence[Record]) -> dict[str, Contract]:
    """Fee contracts by currency."""
    return {row["currency"]: Contract(row["basis_points"], row["fixed_minor"]) for row in rows}
