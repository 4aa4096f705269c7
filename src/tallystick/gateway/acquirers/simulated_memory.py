"""What the simulated bank remembers of requests, under our keys.

Most test cards need no memory: they answer by the card. A request is remembered where its answer depends on time (a
card that approves after 30 s), where it comes by itself later (a refund that bounces), where a fault lost it, or where
the bank is told to remember everything: then it knows which requests it has never seen.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from tallystick.gateway.acquirers.port import (
    Approved,
    ChargeInquiry,
    Contest,
    Declined,
    NotFound,
    Notice,
    Pending,
    RequestInquiry,
    Reversal,
)
from tallystick.kernel.columns import columns
from tallystick.kernel.outcomes import Done, Refused
from tallystick.ports.database import Database, Record, Statements

SQL = Statements.beside(__file__)

LATE_S = 30  # after which cards approve late, and refunds bounce: to be watched without patience

DISPUTES = ("disputed", "dispute_won", "dispute_lost")
REASONS = {"refund_failed": "expired_or_canceled_card", "disputed": "fraudulent"}

CHARGE = "simch_"

Key = tuple[str, str]
"""Account and our key."""

_CLOSED = Declined("processing_error", "processing_error", "This key was reversed.")


class Operation(Struct, frozen=True, kw_only=True):
    """A request as the bank keeps it. `declined`: its answer is no; `lost`: it never arrived; `known_at`: from when on
    the answer is there; `comes_late`: approved once it was told to forget it; `tells`: what it tells by itself."""

    account_id: str
    key: str
    kind: str
    reference: str
    known_at: datetime
    declined: Declined | None = None
    lost: bool = False
    comes_late: bool = False
    tells: str | None = None
    tells_at: datetime | None = None

    @property
    def row(self) -> tuple[object, ...]:
        """The columns of `bank_takes`, in their order."""
        declined = self.declined
        return (
            self.account_id,
            self.key,
            self.kind,
            "lost" if self.lost else "refused" if declined is not None else "done",
            self.reference,
            declined.code if declined is not None else None,
            declined.decline_code if declined is not None else None,
            declined.message if declined is not None else None,
            self.known_at,
            self.comes_late,
            self.tells,
            self.tells_at,
        )


class BankMemory:
    """The rows of `simulated_operation`. Everything here raises DatabaseError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, operations: Sequence[Operation], at: datetime) -> set[Key]:
        """Requests arrive; gives those that the bank had not taken before."""
        rows = await self._database.rows(SQL.bank_takes, *columns(12, [one.row for one in operations]), at)
        return {(row["account_id"], row["key"]) for row in rows}

    async def known(self, keys: Sequence[Key]) -> dict[Key, Record]:
        """What is remembered of requests."""
        rows = await self._database.rows(SQL.bank_knows, *columns(2, sorted(set(keys))))
        return {(row["account_id"], row["key"]): row for row in rows}

    async def reverse(self, reversals: Sequence[Reversal], at: datetime) -> None:
        """Close keys, and give back what was charged under them."""
        rows = [(one.account_id, one.key, charge_reference(one.key)) for one in reversals]
        await self._database.execute(SQL.bank_reverses, *columns(3, rows), at, at + timedelta(seconds=LATE_S))

    async def captured(self, charges: Sequence[Key], at: datetime) -> None:
        """Charges, by the bank's references, were captured: what waited for that is told now."""
        keys = sorted({(account_id, reference.removeprefix(CHARGE)) for account_id, reference in charges})
        await self._database.execute(SQL.bank_captures, *columns(2, keys), at)

    async def notices(self, at: datetime, items_max: int) -> list[Notice]:
        """What the bank has to tell by itself."""
        return [
            Notice(
                account_id=row["account_id"],
                key=row["key"],
                kind=row["tells"],
                reference=_dispute(row["key"]) if row["tells"] in DISPUTES else row["reference"],
                reason=REASONS.get(row["tells"], ""),
            )
            for row in await self._database.rows(SQL.bank_tells, at, items_max)
        ]

    async def acknowledge(self, notices: Sequence[Notice]) -> None:
        """Do not tell these again."""
        heard = sorted({(notice.account_id, notice.key, notice.kind) for notice in notices})
        await self._database.execute(SQL.bank_was_heard, *columns(3, heard))

    async def contest(self, decided: Sequence[tuple[Contest, bool]], at: datetime) -> None:
        """Evidence came, and the bank makes up its mind."""
        rows = sorted((one.account_id, one.key, "dispute_won" if won else "dispute_lost") for one, won in decided)
        await self._database.execute(SQL.bank_is_contested, *columns(3, rows), at + timedelta(seconds=LATE_S))


def charge_answer(row: Record, at: datetime, amount: int | None = None) -> ChargeInquiry:
    """What the bank says of a charge that it remembers; `amount` is what it approves, where that is another one."""
    if row["outcome"] == "lost":
        return NotFound()
    if row["reversed_at"] is not None:
        return _CLOSED
    if row["known_at"] > at:
        return Pending()
    if row["outcome"] == "refused":
        return Declined(row["code"], row["decline_code"], row["message"])
    return Approved(row["reference"], amount)


def closed(row: Record) -> bool:
    """Whether the key takes no charge any more."""
    return row["reversed_at"] is not None


def request_answer(row: Record, at: datetime) -> RequestInquiry:
    """What the bank says of a capture, void or refund that it remembers."""
    if row["outcome"] == "lost":
        return NotFound()
    if row["known_at"] > at:
        return Pending()
    if row["outcome"] == "refused":
        return Refused(row["code"], row["message"])
    return Done(row["reference"])


def _dispute(key: str) -> str:
    """The bank's reference of the dispute of the charge under our key."""
    return f"simdp_{key}"


def charge_reference(key: str) -> str:
    """The bank's reference of the charge under our key."""
    return f"{CHARGE}{key}"
