"""Operator keys `opk_…`: shown once, when they are made, and stored as their SHA-256 (RULES §12).

A key bears the name of whom it was made for, and a role. Several may live at once, so that one can be replaced without
a gap.
"""

import hashlib
import re
from datetime import datetime
from typing import Final

from msgspec import Struct

from tallystick.kernel.identifiers import new_secret
from tallystick.kernel.operators.roles import Role
from tallystick.ports.database import Database, Statements
from tallystick.ports.entropy import Entropy

SQL = Statements.beside(__file__)

PREFIX: Final = "opk"
NAME_CHARACTERS_MAX: Final = 200

_KEY = re.compile(rf"{PREFIX}_[0-9A-Za-z]{{16,64}}", re.ASCII)


class OperatorRefused(ValueError):
    """What was asked of an operator or its key cannot be done; the text says why and shows nothing secret."""


class Operator(Struct, frozen=True):
    """Who calls, and what for."""

    name: str
    role: Role


class NewOperatorKey(Struct, frozen=True):
    """A new key, to be shown once. Its repr shows nothing secret."""

    id: str
    name: str
    role: Role
    key: str

    def __repr__(self) -> str:
        return f"NewOperatorKey({self.id!r}, {self.name!r}, {self.role!r})"


class ListedOperatorKey(Struct, frozen=True, kw_only=True):
    """A key as a list may show it. `id` names it for revocation."""

    id: str
    name: str
    role: str
    hint: str
    created_at: datetime
    revoked_at: datetime | None


async def create_key(database: Database, name: str, *, role: Role, at: datetime, entropy: Entropy) -> NewOperatorKey:
    """A new key for the operator `name`, for what `role` may do. Raises OperatorRefused."""
    name = check_name(name)
    key = new_secret(PREFIX, entropy)
    key_hash = _hash_of(key)
    await database.execute(SQL.insert_operator_key, key_hash, name, role, f"{key[:8]}…{key[-4:]}", at)
    return NewOperatorKey(_key_id(key_hash), name, role, key)


async def list_keys(database: Database) -> list[ListedOperatorKey]:
    """All keys, the oldest first, revoked ones too."""
    return [
        ListedOperatorKey(
            id=_key_id(row["key_hash"]),
            name=row["name"],
            role=row["role"],
            hint=row["hint"],
            created_at=row["created_at"],
            revoked_at=row["revoked_at"],
        )
        for row in await database.rows(SQL.list_operator_keys)
    ]


async def revoke_key(database: Database, key_id: str, *, at: datetime) -> None:
    """End the life of a key; it opens nothing from now on. Raises OperatorRefused."""
    rows = await database.rows(SQL.list_operator_keys)
    living = {_key_id(row["key_hash"]): row["key_hash"] for row in rows if row["revoked_at"] is None}
    if key_id not in living:
        raise OperatorRefused(f"there is no living operator key {key_id}")
    await database.execute(SQL.revoke_operator_key, living[key_id], at)


async def operator_of(database: Database, key: str) -> Operator | None:
    """Who holds this key, or None. What is compared are hashes, so the time that it takes says nothing about a key."""
    if not _KEY.fullmatch(key):
        return None
    rows = await database.rows(SQL.find_operator_key, _hash_of(key))
    return Operator(rows[0]["name"], Role(rows[0]["role"])) if rows else None


def check_name(name: str) -> str:
    """The name without spaces around it. Raises OperatorRefused where it is none."""
    name = name.strip()
    if not name or len(name) > NAME_CHARACTERS_MAX or not name.isprintable():
        raise OperatorRefused(f"a name has 1 to {NAME_CHARACTERS_MAX} printable characters")
    return name


def _hash_of(key: str) -> bytes:
    """A fast hash: a key has 128 random bits, it is no password."""
    return hashlib.sha256(key.encode()).digest()


def _key_id(key_hash: bytes) -> str:
    return f"key_{key_hash.hex()[:16]}"
