"""The one way to personal data: ask the policy, write the access log, give what was granted (RULES §12).

Whoever wants to read, find, or erase says who they are, what for, and which fields. The policy decides; what it decided
is in the log before anybody gets anything; and nothing but what it granted is opened.
"""

import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from tallystick.kernel.columns import columns
from tallystick.kernel.identifiers import new_id
from tallystick.kernel.people.keys import KeyRefused, Keys
from tallystick.kernel.people.person import (
    Address,
    Field,
    Person,
    lookup,
    normal_email,
    normal_phone,
    read_back,
)
from tallystick.kernel.people.sealing import Damaged, Seal
from tallystick.kernel.people.tables import Owner, Tables
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Record, Transaction
from tallystick.ports.entropy import Entropy
from tallystick.ports.policy import Policy, Ruling

log = logging.getLogger(__name__)

Action = Literal["read", "search", "erase", "audit"]

Claim = Callable[[Transaction], Awaitable[Collection[tuple[Owner, str]]]]
"""Whom of those who are to be erased this transaction does erase: it locks them, or takes away what keeps them."""

ACCESS_PREFIX: Final = "acc"
FOUND_MAX: Final = 100  # customers by one e-mail or number; more are other people's mistakes
LOG: Final = "access_log"
LOG_WIDTH: Final = 11  # columns of the access log beside its owner's


class AccessDenied(Exception):
    """The policy says no. `reason` says in a word why; it stands in the access log too."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unreadable(Exception):
    """What is stored of a person cannot be opened: damaged, or its key is gone for good."""


class Asker(Struct, frozen=True):
    """Who wants to know: an operator in a role, or a service, whose role is what it is there for."""

    kind: Literal["operator", "service"]
    name: str
    role: str


class Asked(Struct, frozen=True):
    """A question to the policy: who, what, what for, which fields."""

    asker: Asker
    action: Action
    purpose: str
    fields: tuple[str, ...]


class Entry(Struct, frozen=True):
    """A line of the access log: what was asked about whom, and what of it was granted."""

    owner: Owner
    customer_id: str | None
    asked: Asked
    granted: tuple[str, ...]
    reason: str


class Found(Struct, frozen=True):
    """Somebody who is there, by id alone."""

    customer_id: str
    created_at: datetime


class Wanted(Struct, frozen=True):
    """Somebody whom `asker` asks about."""

    asker: Asker
    owner: Owner
    customer_id: str


class Shown(Struct, frozen=True):
    """What was granted of a person: the fields, None where nothing is stored. Its repr shows nothing of it."""

    customer_id: str
    created_at: datetime
    fields: dict[str, str | Address | None]

    def __repr__(self) -> str:
        return f"Shown({self.customer_id!r})"


class LogLine(Struct, frozen=True):
    """The access log as it is read."""

    id: str
    at: datetime
    subject: Asker
    action: str
    purpose: str
    customer: str | None
    fields: tuple[str, ...]
    granted: tuple[str, ...]
    decision: Literal["granted", "denied"]
    reason: str


class Access:
    """Reads, finds and erases people, for those whom the policy lets. `index_keys` are those of the search hashes, the
    newest first; none where none is configured."""

    def __init__(
        self,
        database: Database,
        tables: Tables,
        policy: Policy,
        keys: Keys,
        index_keys: Sequence[bytes],
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._database = database
        self._tables = tables
        self._policy = policy
        self._keys = keys
        self._index_keys = tuple(index_keys)
        self._clock = clock
        self._entropy = entropy

    async def read(
        self, asker: Asker, purpose: str, owner: Owner, customer_id: str, fields: Sequence[Field] | None = None
    ) -> Shown | None:
        """What is stored of a customer: all of `fields`, or, where none are named, each that is granted by itself. None
        where there is no such customer. Raises AccessDenied, KeysUnavailable, Unreadable."""
        if fields is not None:
            asked = Asked(asker, "read", purpose, tuple(fields))
            ruling = await self.rule(asked)
            granted: tuple[str, ...] = tuple(fields) if ruling.allowed else ()
        else:
            asked = Asked(asker, "read", purpose, self._tables.fields)
            granted, ruling = await self._granted_of(asked)
        entry = Entry(owner, customer_id, asked, granted, ruling.reason)
        async with self._database.transaction() as tx:
            await self.note(tx, [entry])
            rows = await self._load(tx, [(owner, customer_id)]) if granted else []
        if not ruling.allowed:
            raise AccessDenied(ruling.reason)
        return await self._opened(owner, rows[0], granted) if rows else None

    async def read_each(self, wanted: Sequence[Wanted], purpose: str) -> dict[tuple[Owner, str], Shown]:
        """What is granted of each of these people, by owner and id; who is not there, or of whom nothing is granted, is
        left out. Of whoever cannot be opened nothing is shown, and the log says so. Raises KeysUnavailable."""
        rulings = {
            asker: await self._granted_at_once(Asked(asker, "read", purpose, self._tables.fields))
            for asker in {one.asker for one in wanted}
        }
        entries = []
        for one in wanted:
            asked, granted, ruling = rulings[one.asker]
            entries.append(Entry(one.owner, one.customer_id, asked, granted, ruling.reason))
        granted_of = {(one.owner, one.customer_id): rulings[one.asker][1] for one in wanted}
        places = [place for place, granted in granted_of.items() if granted]
        async with self._database.transaction() as tx:
            await self.note(tx, entries)
            rows = await self._load(tx, places) if places else []
        shown = {}
        for row in rows:
            place = (self._tables.owner_of(row), row["customer_id"])
            try:
                shown[place] = await self._opened(place[0], row, granted_of[place])
            except Unreadable:
                log.error("a customer cannot be opened: %s", row["customer_id"])
        return shown

    async def search(
        self, asker: Asker, purpose: str, owner: Owner, kind: Literal["email", "phone"], text: str
    ) -> list[Found]:
        """Customers that are known by this e-mail or phone number, the newest first. Raises AccessDenied."""
        asked = Asked(asker, "search", purpose, (kind,))
        ruling = await self.rule(asked)
        normalised = normal_email(text) if kind == "email" else normal_phone(text)
        macs = [lookup(kind, normalised, owner.text, key) for key in self._index_keys]
        async with self._database.transaction() as tx:
            parameters = (*owner.columns, kind, macs, FOUND_MAX)
            rows = await tx.rows(self._tables.search_people, *parameters) if ruling.allowed else []
            granted = asked.fields if ruling.allowed else ()
            whom: list[str | None] = [row["customer_id"] for row in rows]
            await self.note(tx, [Entry(owner, one, asked, granted, ruling.reason) for one in whom or [None]])
        if not ruling.allowed:
            raise AccessDenied(ruling.reason)
        return [Found(row["customer_id"], row["created_at"]) for row in rows]

    async def erase(self, asker: Asker, purpose: str, owner: Owner, customer_id: str) -> bool:
        """Shred a customer's key and forget the rest: fields, and by what they were found. What was paid stays. False
        where there is no such customer. Raises AccessDenied."""
        return await self.erase_each(purpose, [Wanted(asker, owner, customer_id)]) > 0

    async def erase_each(self, purpose: str, wanted: Sequence[Wanted], claim: Claim | None = None) -> int:
        """The same for many, all or none; not 0 where there was any. `claim` may leave some out: it begins the
        transaction that erases, and says whom of them. Raises AccessDenied."""
        rulings = {
            asker: await self.rule(Asked(asker, "erase", purpose, self._tables.fields))
            for asker in {one.asker for one in wanted}
        }
        denied = [ruling for ruling in rulings.values() if not ruling.allowed]
        erased = 0
        async with self._database.transaction() as tx:
            if claim is not None and not denied:
                claimed = await claim(tx)
                wanted = [one for one in wanted if (one.owner, one.customer_id) in claimed]
            entries = []
            for one in wanted:
                asked = Asked(one.asker, "erase", purpose, self._tables.fields)
                granted = asked.fields if rulings[one.asker].allowed else ()
                entries.append(Entry(one.owner, one.customer_id, asked, granted, rulings[one.asker].reason))
            await self.note(tx, entries)
            if wanted and not denied:
                # In this order: who is just carrying them over holds the first's rows, and has then written the rest.
                places = self._places([(one.owner, one.customer_id) for one in wanted])
                erased = max([await tx.execute(statement, *places) for statement in self._tables.erase])
        if denied:
            raise AccessDenied(denied[0].reason)
        return erased

    async def log(
        self,
        asker: Asker,
        purpose: str,
        owner: Owner,
        customer_id: str | None,
        *,
        before: str | None = None,
        limit: int,
    ) -> list[LogLine]:
        """Who looked at whom, the newest first; looking at it is in it too. Raises AccessDenied."""
        asked = Asked(asker, "audit", purpose, (LOG,))
        ruling = await self.rule(asked)
        granted = asked.fields if ruling.allowed else ()
        async with self._database.transaction() as tx:
            parameters = (*owner.columns, customer_id, before, limit)
            rows = await tx.rows(self._tables.list_accesses, *parameters) if ruling.allowed else []
            await self.note(tx, [Entry(owner, customer_id, asked, granted, ruling.reason)])
        if not ruling.allowed:
            raise AccessDenied(ruling.reason)
        return [_line(row) for row in rows]

    async def rule(self, asked: Asked) -> Ruling:
        """The policy's ruling; the question names nobody whose data they are."""
        return await self._policy.rule(
            {
                "subject": msgspec.structs.asdict(asked.asker),
                "action": asked.action,
                "purpose": asked.purpose,
                "fields": asked.fields,
            }
        )

    async def note(self, tx: Transaction, entries: Sequence[Entry]) -> None:
        """Write lines of the access log, in the transaction of what they tell of."""
        at = self._clock.now()
        rows = [
            (
                *entry.owner.columns,
                new_id(ACCESS_PREFIX, at, self._entropy),
                at,
                entry.asked.asker.kind,
                entry.asked.asker.name,
                entry.asked.asker.role,
                entry.asked.action,
                entry.asked.purpose,
                entry.customer_id,
                msgspec.json.encode(entry.asked.fields).decode(),
                msgspec.json.encode(entry.granted).decode(),
                entry.reason,
            )
            for entry in entries
        ]
        await tx.execute(self._tables.note_access, *columns(len(self._tables.owner) + LOG_WIDTH, rows))

    async def _granted_of(self, asked: Asked) -> tuple[tuple[str, ...], Ruling]:
        """Which of the fields are granted, each asked for by itself."""
        each = {field: await self.rule(msgspec.structs.replace(asked, fields=(field,))) for field in asked.fields}
        granted = tuple(field for field in asked.fields if each[field].allowed)
        return granted, Ruling(True) if granted else each[asked.fields[0]]

    async def _granted_at_once(self, asked: Asked) -> tuple[Asked, tuple[str, ...], Ruling]:
        """The same, first asked for together: most often all are granted."""
        ruling = await self.rule(asked)
        if ruling.allowed:
            return asked, asked.fields, ruling
        return asked, *await self._granted_of(asked)

    async def _load(self, tx: Transaction, places: Sequence[tuple[Owner, str]]) -> Sequence[Record]:
        return await tx.rows(self._tables.load_people, *self._places(places))

    def _places(self, places: Sequence[tuple[Owner, str]]) -> list[list[Any]]:
        rows = sorted({(*owner.columns, customer_id) for owner, customer_id in places})
        return columns(len(self._tables.owner) + 1, rows)

    async def _opened(self, owner: Owner, row: Record, granted: Sequence[str]) -> Shown:
        """The granted fields of a row, opened."""
        shown: dict[str, str | Address | None] = {}
        seal: Seal | None = None
        for field in self._tables.fields:
            if field not in granted:
                continue
            sealed = row[f"sealed_{field}"]
            if sealed is None:  # not known, or written by the version before
                shown[field] = row[field] if field in self._tables.fields_before else None
                continue
            try:
                seal = seal or await self.seal_of(owner, row)
                shown[field] = read_back(field, seal.open(field, sealed))
            except (Damaged, KeyRefused):
                raise Unreadable from None
        return Shown(row["customer_id"], row["created_at"], shown)

    async def seal_of(self, owner: Owner, row: Record) -> Seal:
        """What opens the fields of a loaded person. Raises KeyRefused, KeysUnavailable."""
        if row["wrapped_key"] is None:
            raise KeyRefused
        wrapping = await self._keys.opening(row["wrapped_by"])
        return Seal(wrapping.unwrap(row["wrapped_key"]), owner.text, row["customer_id"])


def seal_person(seal: Seal, person: Person, entropy: Entropy) -> dict[Field, bytes]:
    """A person's fields as they are stored."""
    return {field: seal.seal(field, text, entropy) for field, text in person.texts()}


def _line(row: Record) -> LogLine:
    return LogLine(
        id=row["access_id"],
        at=row["at"],
        subject=Asker(row["subject_kind"], row["subject_name"], row["subject_role"]),
        action=row["action"],
        purpose=row["purpose"],
        customer=row["customer_id"],
        fields=msgspec.json.decode(row["fields"], type=tuple[str, ...]),
        granted=msgspec.json.decode(row["granted"], type=tuple[str, ...]),
        decision="denied" if row["reason"] else "granted",
        reason=row["reason"],
    )
