"""Counting tries and declines in rows, so that the limits hold across processes; many at once in one statement."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from msgspec import Struct

from tallystick.gateway.card_testing.limits import WINDOW_S, Count, Limits, retry_after_s, window_of
from tallystick.kernel.batching import Batcher
from tallystick.kernel.proxies import crowd, without_its_end
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, DatabaseError, Record, Statements

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
    """Somebody is about to pay. `fingerprint` is the card's, keyed; `address` where a browser sent it from."""

    account_id: str
    livemode: bool
    fingerprint: str | None = None
    address: str | None = None


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
        self._counting: Batcher[Subject, Count] = Batcher(self._count, beside_items_min=BESIDE_ITEMS_MIN)
        self._declining: Batcher[Subject, None] = Batcher(self._decline, beside_items_min=BESIDE_ITEMS_MIN)

    def session_closed(self, declines: int) -> bool:
        """Whether a session was declined so often that it takes no card any more."""
        return 0 < self.limits.session_declines <= declines

    async def admit(self, tried: Try) -> int:
        """Count a try; 0 where it may go on, otherwise how many seconds to wait. Raises DatabaseError."""
        waits = [0]
        for subject in self._subjects(tried):
            count = await self._counting.submit(subject)
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

    async def declined(self, tried: Try) -> None:
        """A try that was admitted came to nothing. What is already decided is not undone by a count: without the
        database it is left out."""
        try:
            for subject in self._subjects(tried):
                await self._declining.submit(subject)
        except DatabaseError as error:
            log.warning("a decline is not counted: %s", type(error).__name__)

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
        if tried.fingerprint and self._counts_cards(tried.livemode):
            subjects.append(Subject(tried.account_id, tried.livemode, f"{CARD} {tried.fingerprint}"))
        return subjects

    def _counts_cards(self, livemode: bool) -> bool:
        counted = livemode or self.limits.cards_of_test_mode
        return counted and bool(self.limits.card_tries or self.limits.card_declines)

    def _most(self, subject: Subject) -> tuple[int, int]:
        if subject.kind == CARD:
            return self.limits.card_tries, self.limits.card_declines
        return self.limits.address_tries, self.limits.address_declines

    async def _count(self, subjects: Sequence[Subject]) -> list[Count]:
        window_at = window_of(self._clock.now())
        before_at = window_at - timedelta(seconds=WINDOW_S)
        rows = await self._database.rows(SQL.count_tries, *_columns(subjects), window_at, before_at)
        found = {Subject(row["account_id"], row["livemode"], row["subject"]): row for row in rows}
        return _one_by_one(subjects, found)

    async def _decline(self, subjects: Sequence[Subject]) -> list[None]:
        await self._database.execute(SQL.count_declines, *_columns(subjects), window_of(self._clock.now()))
        return [None] * len(subjects)


class Forgetting:
    """Throws out what counts no more. An address is kept three hours at most."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def run(self) -> None:
        """For ever; a database that is away is waited for."""
        while True:
            try:
                await self.forget()
            except DatabaseError as error:
                log.warning("old tries to pay wait: %s", type(error).__name__)
            await self._clock.sleep(FORGET_EVERY_S)

    async def forget(self) -> None:
        """All of it now."""
        before = window_of(self._clock.now()) - timedelta(seconds=WINDOW_S)
        while await self._database.execute(SQL.forget_tries, before, FORGET_ROWS) == FORGET_ROWS:
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


def _columns(subjects: Sequence[Subject]) -> list[list[object]]:
    return [list(column) for column in zip(*subjects, strict=True)]
