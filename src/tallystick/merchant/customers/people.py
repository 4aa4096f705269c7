"""Storing people: whoever is known already is recognised, whoever is not is sealed and stored (RULES §12).

Person and order are two commits, because they may stand under two roles. Whoever is stored for an order is a newcomer
until the order is seen to be there: their row says when they are forgotten otherwise (`kernel/people/sweeping.py`), and
the order is only written while the row stands.

Concurrent callers share a commit. Recognising is a search, so it passes the policy and the access log; where the policy
does not let it, nobody is recognised and the person is stored anew: an order is never lost over it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from tallystick.kernel.batching import Batcher
from tallystick.kernel.columns import columns
from tallystick.kernel.identifiers import new_id
from tallystick.kernel.people.access import Access, Asked, Asker, Entry, seal_person
from tallystick.kernel.people.keys import Keys, KeysUnavailable, Wrapping
from tallystick.kernel.people.person import Lookups, Person, lookups_of
from tallystick.kernel.people.sealing import Seal
from tallystick.merchant.customers.tables import SQL, of_merchant
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, SerializationFailed, Transaction
from tallystick.ports.entropy import Entropy

CUSTOMER_PREFIX: Final = "cus"
CHECKOUT: Final = Asker("service", "checkout", "checkout")
RECOGNISING: Final = Asked(CHECKOUT, "search", "checkout", ("email", "phone"))
WIDTH: Final = 13
FORGOTTEN_AFTER: Final = timedelta(hours=1)  # without an order: no call takes that long

Shopper = tuple[str, bytes]
"""A merchant, and the hash of all that was said of somebody."""


class Newcomer(Struct, frozen=True):
    """Somebody who may be known already. `for_order`: they are forgotten unless an order comes to name them."""

    merchant_id: str
    person: Person
    for_order: bool
    lookups: tuple[Lookups, ...]  # by each of the search keys, the newest first

    @property
    def shoppers(self) -> tuple[Shopper, ...]:
        """By what they are recognised, if at all: the newest key's hash first."""
        return tuple((self.merchant_id, each.shopper) for each in self.lookups if each.shopper)

    def known_as(self, known: "Mapping[Shopper, Kept]") -> "Kept | None":
        """Which of `known` they are."""
        return next((known[shopper] for shopper in self.shoppers if shopper in known), None)


class Kept(Struct, frozen=True):
    """A customer, and whether they were known before. `newcomer`: they may be forgotten again, so that the commit of
    the order that names them must look for their row."""

    customer_id: str
    known: bool
    newcomer: bool = False


class People:
    """Stores people. `index_keys` are those of the search hashes, the newest first; none where none is configured."""

    def __init__(
        self,
        database: Database,
        access: Access,
        keys: Keys,
        index_keys: Sequence[bytes],
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._database = database
        self._access = access
        self._keys = keys
        self._index_keys = tuple(index_keys)
        self._clock = clock
        self._entropy = entropy
        self._newcomers: Batcher[Newcomer, Kept] = Batcher(self._store)

    async def keep(self, merchant_id: str, person: Person, *, for_order: bool = False) -> Kept:
        """The customer that this person is, stored if new: for good, or for an order that the caller writes next.
        Raises KeysUnavailable, QueueFull."""
        if not self._index_keys:
            raise KeysUnavailable("no index key is configured")
        await self._keys.current()  # the first one calls the outside, which no transaction waits for
        lookups = tuple(lookups_of(person, merchant_id, key) for key in self._index_keys)
        return await self._newcomers.submit(Newcomer(merchant_id, person, for_order, lookups))

    async def _store(self, newcomers: Sequence[Newcomer]) -> Sequence[Kept]:
        """Recognise and store a batch, in one commit."""
        wrapping, at = await self._keys.current(), self._clock.now()
        asked = {shopper for each in newcomers for shopper in each.shoppers}
        ruling = await self._access.rule(RECOGNISING) if asked else None
        recognising = ruling is not None and ruling.allowed
        async with self._database.transaction() as tx:
            known = await _find(tx, asked) if recognising else {}
            fresh, firsts = self._fresh(newcomers, known, at, recognising=recognising)
            stored = await self._insert(tx, fresh, wrapping, at, recognising=recognising)
            if len(stored) < len(fresh):  # somebody else stored them at the same moment, and has committed
                known |= await _find(tx, asked - known.keys())
            whose = [
                _settled(each, fresh_id, fresh, known, stored) for each, fresh_id in zip(newcomers, firsts, strict=True)
            ]
            await _put_off(tx, newcomers, whose, at)
            if ruling is not None:
                granted = RECOGNISING.fields if recognising else ()
                await self._access.note(
                    tx,
                    [
                        Entry(of_merchant(each.merchant_id), kept.customer_id, RECOGNISING, granted, ruling.reason)
                        for each, kept in zip(newcomers, whose, strict=True)
                        if each.shoppers
                    ],
                )
        return whose

    def _fresh(
        self, newcomers: Sequence[Newcomer], known: Mapping[Shopper, Kept], at: datetime, *, recognising: bool
    ) -> tuple[dict[str, Newcomer], list[str | None]]:
        """Who is to be stored, by new ids, and the new id of each newcomer: the first one's where two are the same."""
        fresh: dict[str, Newcomer] = {}
        by_shopper: dict[Shopper, str] = {}
        ids: list[str | None] = []
        for each in newcomers:
            shopper = next(iter(each.shoppers), None) if recognising else None
            if shopper is not None and each.known_as(known) is not None:
                ids.append(None)
            elif shopper is not None and shopper in by_shopper:
                ids.append(by_shopper[shopper])
                if not each.for_order:
                    known_by = by_shopper[shopper]
                    fresh[known_by] = replace(fresh[known_by], for_order=False)
            else:
                customer_id = new_id(CUSTOMER_PREFIX, at, self._entropy)
                fresh[customer_id] = each
                ids.append(customer_id)
                if shopper is not None:
                    by_shopper[shopper] = customer_id
        return fresh, ids

    async def _insert(
        self, tx: Transaction, fresh: Mapping[str, Newcomer], wrapping: Wrapping, at: datetime, *, recognising: bool
    ) -> set[str]:
        """Store people with new keys; the ids of those that nobody else stored meanwhile."""
        if not fresh:
            return set()
        rows = [
            self._row(customer_id, each, wrapping, at, recognising=recognising) for customer_id, each in fresh.items()
        ]
        return {row["customer_id"] for row in await tx.rows(SQL.insert_people, *columns(WIDTH, rows))}

    def _row(
        self, customer_id: str, newcomer: Newcomer, wrapping: Wrapping, at: datetime, *, recognising: bool
    ) -> tuple[Any, ...]:
        key = self._keys.new_key()
        sealed = seal_person(Seal(key, newcomer.merchant_id, customer_id), newcomer.person, self._entropy)
        return (
            newcomer.merchant_id,
            customer_id,
            at,
            wrapping.wrap(key),
            wrapping.wrapped,
            sealed.get("email"),
            sealed.get("name"),
            sealed.get("phone"),
            sealed.get("address"),
            newcomer.lookups[0].email,
            newcomer.lookups[0].phone,
            newcomer.lookups[0].shopper if recognising else None,
            at + FORGOTTEN_AFTER if newcomer.for_order else None,
        )


def _settled(
    each: Newcomer,
    fresh_id: str | None,
    fresh: Mapping[str, Newcomer],
    known: Mapping[Shopper, Kept],
    stored: set[str],
) -> Kept:
    """Which customer a newcomer is."""
    if fresh_id is not None and fresh_id in stored:
        return Kept(fresh_id, known=False, newcomer=fresh[fresh_id].for_order)
    assert each.shoppers, "who is not recognised is stored"
    known_as = each.known_as(known)
    if known_as is None:  # stored by somebody else, and erased in the same moment: once more
        raise SerializationFailed
    return known_as


async def _put_off(tx: Transaction, newcomers: Sequence[Newcomer], whose: Sequence[Kept], at: datetime) -> None:
    """Those who were recognised, and have had no order yet, are not forgotten now: whoever is being forgotten is gone
    before, and is stored anew."""
    busy: dict[tuple[str, str], bool] = {}
    for each, kept in zip(newcomers, whose, strict=True):
        if kept.known and kept.newcomer:
            place = (each.merchant_id, kept.customer_id)
            busy[place] = busy.get(place, True) and each.for_order
    if not busy:
        return
    due_at = at + FORGOTTEN_AFTER
    there = await tx.rows(SQL.put_off_newcomers, *columns(2, sorted(busy)), due_at)
    if len(there) < len(busy):  # forgotten, or known for good since they were found: once more
        raise SerializationFailed
    for_good = [(*place, due_at) for place, for_order in sorted(busy.items()) if not for_order]
    if for_good:
        await tx.execute(SQL.end_newcomers, *columns(3, for_good))


async def _find(tx: Transaction, shoppers: set[Shopper]) -> dict[Shopper, Kept]:
    """Those of `shoppers` who are known."""
    if not shoppers:
        return {}
    merchants, macs = columns(2, sorted(shoppers))
    rows = await tx.rows(SQL.find_shoppers, merchants, macs)
    return {(row["merchant_id"], row["mac"]): Kept(row["customer_id"], True, row["newcomer"]) for row in rows}
