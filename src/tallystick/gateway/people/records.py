"""Who customers are, as `/v1/customers` tells and is told it: sealed, read through the policy, and noted (RULES §12).

Personal data may stand in the database under another role, so they have a transaction of their own, before the one that
writes the customer: what was stored for a customer who then did not come to be is erased after a while
(`kernel/people/sweeping.py`).
An account is the subject that reads its own customers, for `customer_record`; what the policy does not grant is null.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from tallystick.gateway.people.tables import FIELDS, IN_THE_CLEAR, SQL, TABLES, of_account
from tallystick.kernel.columns import columns
from tallystick.kernel.people.access import Access, Asker, Unreadable, Wanted, seal_person
from tallystick.kernel.people.carrying import CarryingOver
from tallystick.kernel.people.keys import KeyRefused, Keys, KeysUnavailable, Wrapping
from tallystick.kernel.people.person import Person, lookups_of
from tallystick.kernel.people.sealing import Damaged, Seal
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Record, SerializationFailed
from tallystick.ports.entropy import Entropy
from tallystick.ports.key_encryption import KeyEncryption
from tallystick.ports.policy import Policy

OWN_RECORDS: Final = "customer_record"
"""What an account reads, finds and erases its own customers for."""

_SEALED: Final = b"\x01"  # no answer begins with it: JSON does not
_CHANGED: Final = 10
_STORED: Final = 11

Key = tuple[str, bool, str]
"""Account, livemode, customer."""

Details = Mapping[str, str | None]
"""E-mail, name and phone, None where it is not known; those that are not named stay as they are."""


class Gone(Exception):
    """The person whom a kept answer names has been erased since."""


class Known(Struct, frozen=True):
    """What is shown of a person, and what seals an answer that shows it; None where nothing is stored."""

    details: dict[str, str | None]
    seal: Seal | None

    def __repr__(self) -> str:
        return "Known()"


class Records:
    """Keeps who customers are. `index_keys` are those of the search hashes, the newest first. Without keys nothing is
    stored, and what is stored cannot be read."""

    def __init__(
        self,
        database: Database,
        policy: Policy,
        encryption: KeyEncryption | None,
        index_keys: Sequence[bytes],
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._database = database
        self.index_keys = tuple(index_keys)
        self._clock = clock
        self._entropy = entropy
        self._keys = Keys(encryption, clock, entropy)
        self.access = Access(database, TABLES, policy, self._keys, self.index_keys, clock, entropy)
        newest = self.index_keys[0] if self.index_keys else b""
        self.carrying = CarryingOver(database, TABLES, IN_THE_CLEAR, self._keys, newest, clock, entropy)

    async def keep(self, people: Sequence[tuple[Key, Details]]) -> list[Known]:
        """Store new people. Raises KeysUnavailable."""
        told = [(key, {str(field): details.get(field) for field in FIELDS}) for key, details in people]
        named = [(key, details) for key, details in told if any(details.values())]
        seals: dict[Key, Seal] = {}
        if named:
            wrapping = await self._wrapping()
            made = [self._new(key, details, wrapping) for key, details in named]
            seals = {key: seal for (key, _), (seal, _) in zip(named, made, strict=True)}
            stored = await self._database.rows(SQL.insert_people, *columns(_STORED, [row for _, row in made]))
            if len(stored) < len(named):  # somebody else stored them at the same moment: once more
                raise SerializationFailed
        return [Known(details, seals.get(key)) for key, details in told]

    async def change(self, changes: Sequence[tuple[Key, Details]]) -> list[Known]:
        """Change what is stored of people, in order; what is known of each after it. Raises KeysUnavailable."""
        keys = sorted({key for key, _ in changes})
        before = await self.read(keys)
        wanted: dict[Key, dict[str, str | None]] = {key: {} for key in keys}
        for key, details in changes:
            wanted[key].update(details)
        seals = await self._sealed_as_told({key: details for key, details in wanted.items() if details})
        now, known = {key: dict(before[key]) for key in keys}, []
        for key, details in changes:
            now[key].update(details)
            known.append(Known(dict(now[key]), seals.get(key)))
        unsealed = [key for key in keys if key not in seals]
        others = await self._seals(unsealed) if any(any(now[key].values()) for key in unsealed) else {}
        return [
            one if one.seal is not None else Known(one.details, others.get(key))
            for one, (key, _) in zip(known, changes, strict=True)
        ]

    async def read(self, keys: Sequence[Key]) -> dict[Key, dict[str, str | None]]:
        """What is granted to each account of its own customers; null what is not, and what is not known. Raises
        KeysUnavailable."""
        shown = await self.access.read_each([_wanted(key) for key in keys], OWN_RECORDS)
        details: dict[Key, dict[str, str | None]] = {}
        for key in keys:
            found = shown.get((of_account(key[0], livemode=key[1]), key[2]))
            fields: Mapping[str, Any] = found.fields if found is not None else {}
            details[key] = {field: fields.get(field) for field in FIELDS}
        return details

    async def find(self, account_id: str, email: str, *, livemode: bool) -> list[str]:
        """Ids of customers with this e-mail address, the newest first. Raises AccessDenied."""
        owner = of_account(account_id, livemode=livemode)
        found = await self.access.search(_asker(account_id), OWN_RECORDS, owner, "email", email)
        return [one.customer_id for one in found]

    async def forget(self, keys: Sequence[Key]) -> None:
        """Shred the keys of people, and forget the rest of them. Raises AccessDenied."""
        if keys:
            await self.access.erase_each(OWN_RECORDS, [_wanted(key) for key in keys])

    def kept(self, key: Key, known: Known, body: bytes) -> bytes:
        """An answer that names a person as it is kept for a replay: sealed with the person's key."""
        if known.seal is None:
            return body
        return _SEALED + key[2].encode() + b"\0" + known.seal.seal("answer", body.decode(), self._entropy)

    async def replayed(self, account_id: str, body: bytes, *, livemode: bool) -> bytes:
        """A kept answer as it was given. Raises Gone, KeysUnavailable, Unreadable."""
        if not body.startswith(_SEALED):
            return body
        customer_id, _, sealed = body[1:].partition(b"\0")
        key = (account_id, livemode, customer_id.decode())
        seals = await self._seals([key])
        if key not in seals:
            raise Gone
        try:
            return seals[key].open("answer", sealed).encode()
        except Damaged:  # under a key that the person does not have any more
            raise Gone from None

    async def _wrapping(self) -> Wrapping:
        if not self.index_keys:
            raise KeysUnavailable("no index key is configured")
        return await self._keys.current()

    async def _seals(self, keys: Sequence[Key]) -> dict[Key, Seal]:
        """What opens and seals what is stored of people; who has no key is left out."""
        rows = await self._database.rows(SQL.load_people, *columns(3, sorted(keys)))
        return {_key(row): await self._seal(row) for row in rows if row["wrapped_key"] is not None}

    async def _seal(self, row: Record) -> Seal:
        try:
            return await self.access.seal_of(TABLES.owner_of(row), row)
        except KeyRefused:
            raise Unreadable from None

    async def _sealed_as_told(self, told: Mapping[Key, Details]) -> dict[Key, Seal]:
        """Write these details; what seals each person. Who is still in the clear is sealed before."""
        if not told:
            return {}
        wrapping = await self._wrapping()
        keys = sorted(told)
        await self.carrying.carry(keys)
        seals = await self._seals(keys)
        fresh = {
            key: self._new(key, told[key], wrapping) for key in keys if key not in seals and any(told[key].values())
        }
        async with self._database.transaction() as tx:
            known = [key for key in keys if key in seals]
            changed = await tx.rows(
                SQL.change_people, *columns(_CHANGED, [self._changed(key, told[key], seals[key]) for key in known])
            )
            stored = await tx.rows(SQL.insert_people, *columns(_STORED, [row for _, row in fresh.values()]))
            if len(changed) < len(known) or len(stored) < len(fresh):  # erased or stored by somebody else: once more
                raise SerializationFailed
            kinds = [(key, kind) for key in known for kind in ("email", "phone") if kind in told[key]]
            await tx.execute(SQL.forget_kinds, *columns(4, [(*key, kind) for key, kind in kinds]))
            await tx.execute(
                SQL.insert_lookups, *columns(5, [row for key in known for row in self._found_by(key, told[key])])
            )
        return seals | {key: seal for key, (seal, _) in fresh.items()}

    def _new(self, key: Key, details: Details, wrapping: Wrapping) -> tuple[Seal, tuple[Any, ...]]:
        """A person with a new key: what seals them, and their row."""
        owner, data_key = of_account(key[0], livemode=key[1]), self._keys.new_key()
        seal, person = Seal(data_key, owner.text, key[2]), _person(details)
        sealed = seal_person(seal, person, self._entropy)
        lookups = lookups_of(person, owner.text, self.index_keys[0])
        wrapped = (wrapping.wrap(data_key), wrapping.wrapped)
        fields = (sealed.get("email"), sealed.get("name"), sealed.get("phone"))
        return seal, (*key, self._clock.now(), *wrapped, *fields, lookups.email, lookups.phone)

    def _changed(self, key: Key, details: Details, seal: Seal) -> tuple[Any, ...]:
        sealed = seal_person(seal, _person(details), self._entropy)
        fields = (sealed.get("email"), sealed.get("name"), sealed.get("phone"))
        return (*key, self._clock.now(), *fields, *(field in details for field in FIELDS))

    def _found_by(self, key: Key, details: Details) -> list[tuple[Any, ...]]:
        owner = of_account(key[0], livemode=key[1])
        lookups = lookups_of(_person(details), owner.text, self.index_keys[0])
        macs = (("email", lookups.email), ("phone", lookups.phone))
        return [(*key, kind, mac) for kind, mac in macs if mac is not None]


def _person(details: Details) -> Person:
    return Person(email=details.get("email"), name=details.get("name"), phone=details.get("phone"))


def _asker(account_id: str) -> Asker:
    """An account, as the policy knows it: whoever holds its API key."""
    return Asker("service", account_id, "account")


def _wanted(key: Key) -> Wanted:
    return Wanted(_asker(key[0]), of_account(key[0], livemode=key[1]), key[2])


def _key(row: Record) -> Key:
    return row["account_id"], row["livemode"], row["customer_id"]
