"""Counting tries and declines in rows, so that the limits hold across processes; many at once in one statement."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from msgspec import Struct

from tallystick.gateway.card_testing.limits import WINDOW_S, Count, Limits, retry_after_s, window_of
from tallystick.kernel import looking
from tallystick.kernel.batching import Batcher
from tallystick.kernel.columns import columns
from tallystick.kernel.proxies import crowd, without_its_end
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Record, Statements, Transaction

SQL = Statements.beside(__file__)
log = logging.getLogger(__name__)

CARD: Final = "card"
ADDRESS: Final = "address"
BESIDE_ITEMS_MIN: Final = 64  # tries in a batch from which another one may run beside it
FORGET_EVERY_S: Final = 3_600.0
FORGET_ROWS: Final = 10_000


class Subject(NamedTuple):
    """What is counted, of one account and mode: a card, an address."""

    account_id: str
    livemode: bool
    name: str

    @property
    def kind(self) -> str:
        return self.name.partition(" ")[0]


class Try(Struct, frozen=True):
    """Somebody is about to pay. `fingerprint` is the card's, keyed; `address` where a browser sent it from, and
    `charge` what comes of it: when the bank says no, to whomever it says it, the address is known by that."""

    account_id: str
    livemode: bool
    fingerprint: str | None = None
    address: str | None = None
    charge: str | None = None


class Decline(Struct, frozen=True):
    """The bank said no to a charge, of the card with this fingerprint."""

    account_id: str
    livemode: bool
    charge: str
    fingerprint: str


class _Counted(NamedTuple):
    """One try of a subject, and the charge for which the subject, an address, is kept."""

    subject: Subject
    charge: str | None


class Standing(Struct, frozen=True):
    """How a subject stands for people to see. `place` is a card without a name, or a network without its end; `wait_s`
    is how long its next try is refused, 0 where it is not."""

    account_id: str
    livemode: bool
    kind: str
    place: str
    count: Count
    wait_s: int


class CardTesting:
    """Says who must wait."""

    def __init__(self, database: Database, clock: Clock, limits: Limits) -> None:
        self._database = database
        self._clock = clock
        self.limits = limits
        self._counting: Batcher[_Counted, Count] = Batcher(self._count, beside_items_min=BESIDE_ITEMS_MIN)

    async def admit(self, tried: Try) -> int:
        """Count a try; 0 where it may go on, otherwise how many seconds to wait. Raises DatabaseError."""
        waits = [0]
        for subject in self._subjects(tried):
            charge = tried.charge if subject.kind == ADDRESS else None
            count = await self._counting.submit(_Counted(subject, charge))
            waits.append(retry_after_s(count, *self._most(subject), self._clock.now()))
        return max(waits)

    async def tried_by_call(
        self, account_id: str, livemode: bool, *, method: str | None = None, intent: str | None = None
    ) -> Try | None:
        """The try that a call of the wire is, by the card that it names or that its intent has; None where cards are
        not counted. Its address is the merchant's server and says nothing."""
        if not self._counts_cards(livemode):
            return None
        found = SQL.card_of_method if method is not None else SQL.card_of_intent
        rows = await self._database.rows(found, account_id, livemode, method if method is not None else intent)
        return Try(account_id, livemode, rows[0]["fingerprint"]) if rows else None

    async def count_declines(self, tx: Transaction, declines: Sequence[Decline], at: datetime) -> None:
        """Count them in the transaction that records them: once, whoever learnt of it. Raises DatabaseError."""
        if not declines or not (self.limits.card_declines or self.limits.address_declines):
            return
        rows = [(d.account_id, d.livemode, d.charge, self._card(d)) for d in declines]
        await tx.execute(SQL.count_declines, *columns(4, rows), window_of(at))

    async def standings(self, *, account: str | None = None, rows_max: int) -> list[Standing]:
        """Who was declined most, then who tried most, in this hour and the one before. Raises DatabaseError."""
        at = self._clock.now()
        window_at = window_of(at)
        rows = await self._database.rows(
            SQL.most_tries, account, window_at, window_at - timedelta(seconds=WINDOW_S), rows_max
        )
        found = []
        for row in rows:
            subject = Subject(row["account_id"], row["livemode"], row["subject"])
            count = Count(row["tries"], row["declines"], row["tries_before"], row["declines_before"])
            next_try = Count(count.tries + 1, count.declines, count.tries_before, count.declines_before)
            wait_s = retry_after_s(next_try, *self._most(subject), at)
            place = without_its_end(subject.name.partition(" ")[2]) if subject.kind == ADDRESS else ""
            found.append(Standing(subject.account_id, subject.livemode, subject.kind, place, count, wait_s))
        return found

    def _subjects(self, tried: Try) -> list[Subject]:
        subjects = []
        place = crowd(tried.address) if tried.address is not None else None
        if place is not None and (self.limits.address_tries or self.limits.address_declines):
            subjects.append(Subject(tried.account_id, tried.livemode, f"{ADDRESS} {place}"))
        card = self._card(tried)
        if card is not None:
            subjects.append(Subject(tried.account_id, tried.livemode, card))
        return subjects

    def _card(self, of: Try | Decline) -> str | None:
        """The name under which a card is counted; None where it is not."""
        return f"{CARD} {of.fingerprint}" if of.fingerprint and self._counts_cards(of.livemode) else None

    def _counts_cards(self, livemode: bool) -> bool:
        counted = livemode or self.limits.cards_of_test_mode
        return counted and bool(self.limits.card_tries or self.limits.card_declines)

    def _most(self, subject: Subject) -> tuple[int, int]:
        if subject.kind == CARD:
            return self.limits.card_tries, self.limits.card_declines
        return self.limits.address_tries, self.limits.address_declines

    async def _count(self, tries: Sequence[_Counted]) -> list[Count]:
        window_at = window_of(self._clock.now())
        before_at = window_at - timedelta(seconds=WINDOW_S)
        subjects = [one.subject for one in tries]
        charges = [one.charge for one in tries]
        rows = await self._database.rows(SQL.count_tries, *columns(3, subjects), window_at, before_at, charges)
        found = {Subject(row["account_id"], row["livemode"], row["subject"]): row for row in rows}
        return _one_by_one(subjects, found)


class Forgetting:
    """Throws out what counts no more. An address is kept three hours at most."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def run(self) -> None:
        """For ever; a database that is away is waited for."""
        await looking.run(self.forget, self._clock, log, "old tries to pay wait", pause_s=FORGET_EVERY_S)

    async def forget(self) -> None:
        """All of it now."""
        before = window_of(self._clock.now()) - timedelta(seconds=WINDOW_S)
        for old in (SQL.forget_tries, SQL.forget_addresses):
            while await self._database.execute(old, before, FORGET_ROWS) == FORGET_ROWS:
                pass


def _one_by_one(subjects: Sequence[Subject], found: Mapping[Subject, Record]) -> list[Count]:
    """What each try of a batch counts: as many as there were with it, not with those that came after it."""
    later = Counter(subjects)
    counts = []
    for subject in subjects:
        later[subject] -= 1
        row = found[subject]
        tries = row["tries"] - later[subject]
        counts.append(Count(tries, row["declines"], row["tries_before"], row["declines_before"]))
    return counts
