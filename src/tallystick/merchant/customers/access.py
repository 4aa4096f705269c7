"""The one way to personal data: ask the policy, write the access log, give what was granted (RULES §12).

Whoever wants to read, find, or erase says who they are, what for, and which fields. The policy decides; what it decided
is in the log before anybody gets anything; and nothing but what it granted is opened.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec
from msgspec import Struct

from tallystick.kernel.columns import columns
from tallystick.kernel.identifiers import new_id
from tallystick.merchant.customers.keys import KeyRefused, Keys
from tallystick.merchant.customers.person import (
    FIELDS,
    Address,
    Field,
    Person,
    lookup,
    normal_email,
    normal_phone,
    read_back,
)
from tallystick.merchant.customers.sealing import Damaged, Seal
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Record, Statements, Transaction
from tallystick.ports.entropy import Entropy
from tallystick.ports.policy import Policy, Ruling

SQL = Statements.beside(__file__)

Action = Literal["read", "search", "erase", "audit"]

ACCESS_PREFIX: Final = "acc"
FOUND_MAX: Final = 100  # customers by one e-mail or number; more are other people's mistakes
LOG: Final = "access_log"
WIDTH: Final = 12


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

    merchant_id: str
    customer_id: str | None
    asked: Asked
    granted: tuple[str, ...]
    reason: str


class Found(Struct, frozen=True):
    """Somebody who is there, by id alone."""

    customer_id: str
    created_at: datetime


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
    """Reads, finds and erases people, for those whom the policy lets. `index_key` is empty where none is configured."""

    def __init__(
        self, database: Database, policy: Policy, keys: Keys, index_key: bytes, clock: Clock, entropy: Entropy
    ) -> None:
        self._database = database
        self._policy = policy
        self._keys = keys
        self._index_key = index_key
        self._clock = clock
        self._entropy = entropy

    async def read(
        self, asker: Asker, purpose: str, merchant_id: str, customer_id: str, fields: Sequence[Field] | None = None
    ) -> Shown | None:
        """What is stored of a customer: all of `fields`, or, where none are named, each that is granted by itself. None
        where there is no such customer. Raises AccessDenied, KeysUnavailable, Unreadable."""
        if fields is not None:
            asked = Asked(asker, "read", purpose, tuple(fields))
            ruling = await self.rule(asked)
            granted = tuple(fields) if ruling.allowed else ()
        else:
            asked = Asked(asker, "read", purpose, FIELDS)
            each = {field: await self.rule(Asked(asker, "read", purpose, (field,))) for field in FIELDS}
            granted = tuple(field for field in FIELDS if each[field].allowed)
            ruling = Ruling(True) if granted else each[FIELDS[0]]
        entry = Entry(merchant_id, customer_id, asked, granted, ruling.reason)
        async with self._database.transaction() as tx:
            await self.note(tx, [entry])
            rows = await tx.rows(SQL.load_person, merchant_id, customer_id) if granted else []
        if not ruling.allowed:
            raise AccessDenied(ruling.reason)
        return await self._opened(merchant_id, rows[0], granted) if rows else None

    async def search(
        self, asker: Asker, purpose: str, merchant_id: str, kind: Literal["email", "phone"], text: str
    ) -> list[Found]:
        """Customers that are known by this e-mail or phone number, the newest first. Raises AccessDenied."""
        asked = Asked(asker, "search", purpose, (kind,))
        ruling = await self.rule(asked)
        normalised = normal_email(text) if kind == "email" else normal_phone(text)
        mac = lookup(kind, normalised, merchant_id, self._index_key)
        async with self._database.transaction() as tx:
            rows = await tx.rows(SQL.search_people, merchant_id, kind, mac, FOUND_MAX) if ruling.allowed else []
            granted = asked.fields if ruling.allowed else ()
            whom: list[str | None] = [row["customer_id"] for row in rows]
            await self.note(tx, [Entry(merchant_id, one, asked, granted, ruling.reason) for one in whom or [None]])
        if not ruling.allowed:
            raise AccessDenied(ruling.reason)
        return [Found(row["customer_id"], row["created_at"]) for row in rows]

    async def erase(self, asker: Asker, purpose: str, merchant_id: str, customer_id: str) -> bool:
        """Shred a customer's key and forget the rest: fields, and by what they were found. What was paid stays. False
        where there is no such customer. Raises AccessDenied."""
        asked = Asked(asker, "erase", purpose, FIELDS)
        ruling = await self.rule(asked)
        granted = asked.fields if ruling.allowed else ()
        erased = 0
        async with self._database.transaction() as tx:
            await self.note(tx, [Entry(merchant_id, customer_id, asked, granted, ruling.reason)])
            if ruling.allowed:
                # The person first: who is just carrying them over holds that row, and has then written the rest.
                erased = await tx.execute(SQL.erase_person, merchant_id, customer_id)
                await tx.execute(SQL.shred_key, merchant_id, customer_id)
                await tx.execute(SQL.forget_lookups, merchant_id, customer_id)
        if not ruling.allowed:
            raise AccessDenied(ruling.reason)
        return erased > 0

    async def log(
        self,
        asker: Asker,
        purpose: str,
        merchant_id: str,
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
            rows = await tx.rows(SQL.list_accesses, merchant_id, customer_id, before, limit) if ruling.allowed else []
            await self.note(tx, [Entry(merchant_id, customer_id, asked, granted, ruling.reason)])
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
                entry.merchant_id,
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
        await tx.execute(SQL.note_access, *columns(WIDTH, rows))

    async def _opened(self, merchant_id: str, row: Record, granted: Sequence[str]) -> Shown:
        """The granted fields of a row, opened."""
        shown: dict[str, str | Address | None] = {}
        seal: Seal | None = None
        for field in FIELDS:
            if field not in granted:
                continue
            sealed = row[f"sealed_{field}"]
            if sealed is None:  # not known, or written by the version before
                shown[field] = row[field] if field in ("email", "name") else None
                continue
            try:
                seal = seal or await self._seal(merchant_id, row)
                shown[field] = read_back(field, seal.open(field, sealed))
            except (Damaged, KeyRefused):
                raise Unreadable from None
        return Shown(row["customer_id"], row["created_at"], shown)

    async def _seal(self, merchant_id: str, row: Record) -> Seal:
        if row["wrapped_key"] is None:
            raise KeyRefused
        wrapping = await self._keys.opening(row["wrapped_by"])
        return Seal(wrapping.unwrap(row["wrapped_key"]), merchant_id, row["customer_id"])


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
