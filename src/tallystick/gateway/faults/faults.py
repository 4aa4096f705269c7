"""The faults that are set, and whether one strikes. Rows, so that every process of the gateway knows them.

While none is set, a process looks once in half a second whether that is still so: the hot path stays as it is.
"""

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal

from msgspec import Struct

from tallystick.kernel.identifiers import new_id
from tallystick.kernel.outages import Outage
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, DatabaseError, Record, Statements
from tallystick.ports.entropy import Entropy

SQL = Statements.beside(__file__)
log = logging.getLogger(__name__)

KNOWN_FOR_S: Final = 0.5  # so long a process goes by what it last read: faults are set by hand
DELAY_S: Final = 5.0  # of what is slow or late and says nothing else
DELAY_S_MAX: Final = 30.0  # longer, and leases would end before what they stand for

Place = Literal["acquirer", "webhooks", "api", "settlement", "payouts"]

KINDS: Final[Mapping[Place, tuple[str, ...]]] = {
    "acquirer": ("drop_answer", "timeout", "refuse_connection", "decline", "slow"),
    "webhooks": ("duplicate", "delay", "reorder", "drop_answer"),
    "api": ("error_before", "error_after", "drop_answer"),
    "settlement": (
        "line_missing",
        "line_twice",
        "line_duplicated",
        "other_amount",
        "other_currency",
        "other_day",
        "unknown_payment",
        "truncated_file",
    ),
    "payouts": ("fail",),
}
"""What can go wrong where. docs/faults.md says what each does."""

ACQUIRER: Final = "acquirer"
WEBHOOKS: Final = "webhooks"
API: Final = "api"
SETTLEMENT: Final = "settlement"
PAYOUTS: Final = "payouts"


class Fault(Struct, frozen=True, kw_only=True):
    """One fault. It strikes calls of `account` (None: of all), `share_pct` of a hundred (None: each), as long as
    `calls_left` (None: until it is cleared)."""

    id: str
    place: str
    kind: str
    account: str | None
    share_pct: int | None
    calls_left: int | None
    struck: int
    delay_s: float | None
    operator: str
    created_at: datetime

    @property
    def wait_s(self) -> float:
        """How long what is slow or late takes."""
        return self.delay_s if self.delay_s is not None else DELAY_S


class NewFault(Struct, frozen=True, kw_only=True):
    """A fault to set."""

    place: Place
    kind: str
    account: str | None = None
    share_pct: int | None = None
    calls: int | None = None
    delay_s: float | None = None


class Faults:
    """Sets faults, and says whether one strikes."""

    def __init__(self, database: Database, clock: Clock, entropy: Entropy) -> None:
        self._database = database
        self._clock = clock
        self._entropy = entropy
        self._set: tuple[Fault, ...] = ()
        self._known_until_s = 0.0
        self._outage = Outage(log, "faults are not known")

    async def strike(self, place: Place, account_id: str) -> Fault | None:
        """The fault that strikes this call of an account, if any. A database that is away makes no faults."""
        if self._clock.monotonic_s() >= self._known_until_s:
            await self._look()
        for fault in self._set:
            if fault.place != place or fault.account not in (None, account_id):
                continue
            if fault.share_pct is not None and self._entropy.uniform(0.0, 100.0) >= fault.share_pct:
                continue
            if await self._use(fault):
                return fault
        return None

    async def are_set(self, place: Place, account_id: str) -> bool:
        """Whether a fault may strike an account there."""
        if self._clock.monotonic_s() >= self._known_until_s:
            await self._look()
        return any(fault.place == place and fault.account in (None, account_id) for fault in self._set)

    async def all(self) -> list[Fault]:
        """Every fault, spent ones too. Raises DatabaseError."""
        return [_fault(row) for row in await self._database.rows(SQL.all_faults)]

    async def add(self, new: NewFault, operator: str) -> str:
        """Set a fault; its id. Raises DatabaseError."""
        assert new.kind in KINDS[new.place]
        at = self._clock.now()
        id = new_id("flt", at, self._entropy)
        await self._database.execute(
            SQL.insert_fault,
            id,
            new.place,
            new.kind,
            new.account,
            new.share_pct,
            new.calls,
            max(int(new.delay_s * 1000), 1) if new.delay_s is not None else None,
            operator,
            at,
        )
        self._known_until_s = 0.0
        return id

    async def clear(self, id: str | None = None) -> int:
        """Clear one fault, or all; how many there were. Raises DatabaseError."""
        cleared = await self._database.execute(SQL.delete_faults, id)
        self._known_until_s = 0.0
        return cleared

    async def _look(self) -> None:
        self._known_until_s = self._clock.monotonic_s() + KNOWN_FOR_S  # before the look: one call looks, not all
        try:
            self._set = tuple(_fault(row) for row in await self._database.rows(SQL.live_faults))
        except DatabaseError as error:
            self._outage.failed(error, self._clock.monotonic_s())
        else:
            self._outage.worked()

    async def _use(self, fault: Fault) -> bool:
        try:
            if await self._database.execute(SQL.strike, fault.id):
                log.info("fault %s strikes: %s %s", fault.id, fault.place, fault.kind)
                return True
        except DatabaseError as error:
            log.warning("fault %s does not strike: %s", fault.id, type(error).__name__)
        self._known_until_s = 0.0  # spent, or cleared by somebody
        return False


def _fault(row: Record) -> Fault:
    return Fault(
        id=row["id"],
        place=row["place"],
        kind=row["kind"],
        account=row["account_id"],
        share_pct=row["share_pct"],
        calls_left=row["calls_left"],
        struck=row["struck"],
        delay_s=row["delay_ms"] / 1000 if row["delay_ms"] is not None else None,
        operator=row["operator"],
        created_at=row["created_at"],
    )
