"""People who may log in to the operators' pages, and what administrators do with them. Passwords by argon2id."""

import asyncio
from datetime import datetime
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from msgspec import Struct

from tallystick.kernel.logins.lockout import SQL
from tallystick.kernel.operators.keys import OperatorRefused, check_name
from tallystick.kernel.operators.roles import Role
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database
from tallystick.ports.entropy import Entropy

PASSWORD_CHARACTERS_MIN: Final = 12
PASSWORD_CHARACTERS_MAX: Final = 200
SALT_BYTES: Final = 16

HASHER: Final = PasswordHasher()  # RFC 9106, the second recommended option: 64 MiB, three passes


class ListedUser(Struct, frozen=True, kw_only=True):
    """A person as a list may show it."""

    name: str
    role: str
    second_factor: bool
    created_at: datetime
    disabled_at: datetime | None


async def add_user(database: Database, name: str, password: str, clock: Clock, entropy: Entropy, *, role: Role) -> str:
    """A person who may log in, for what `role` may do. Gives the name as it is stored. Raises OperatorRefused."""
    name = check_name(name)
    hashed = await _hashed(password, entropy)
    if not await database.execute(SQL.insert_operator_user, name, role, hashed, clock.now()):
        raise OperatorRefused(f"there is, or was, somebody named {name}")
    return name


async def set_password(database: Database, name: str, password: str, entropy: Entropy) -> None:
    """A person has another password, and whoever is logged in by that name is out. Raises OperatorRefused."""
    hashed = await _hashed(password, entropy)
    async with database.transaction() as tx:
        if not await tx.execute(SQL.set_operator_password, name, hashed):
            raise OperatorRefused(f"nobody named {name} may log in")
        await tx.execute(SQL.delete_operator_sessions, name)


async def list_users(database: Database) -> list[ListedUser]:
    """All people by name, also those who may log in no more."""
    rows = await database.rows(SQL.list_operator_users)
    return [ListedUser(**{field: row[field] for field in ListedUser.__struct_fields__}) for row in rows]


async def disable_user(database: Database, name: str, clock: Clock) -> None:
    """A person may log in no more, and is out at once. Raises OperatorRefused."""
    async with database.transaction() as tx:
        if not await tx.execute(SQL.disable_operator_user, name, clock.now()):
            raise OperatorRefused(f"nobody named {name} may log in")
        await tx.execute(SQL.delete_operator_sessions, name)


async def set_role(database: Database, name: str, role: Role) -> None:
    """A person may do something else from now on, and logs in anew for it. Raises OperatorRefused."""
    async with database.transaction() as tx:
        if not await tx.execute(SQL.set_operator_role, name, role):
            raise OperatorRefused(f"nobody named {name} may log in")
        await tx.execute(SQL.delete_operator_sessions, name)


async def reset_second_factor(database: Database, name: str) -> None:
    """The way back for who has lost the telephone: the second factor is gone, and whoever is logged in by that name is
    out. Raises OperatorRefused."""
    async with database.transaction() as tx:
        if not await tx.execute(SQL.delete_second_factor, name):
            raise OperatorRefused(f"nobody named {name} has a second factor")
        await tx.execute(SQL.delete_operator_sessions, name)


async def _hashed(password: str, entropy: Entropy) -> str:
    if not PASSWORD_CHARACTERS_MIN <= len(password) <= PASSWORD_CHARACTERS_MAX:
        raise OperatorRefused(f"a password has {PASSWORD_CHARACTERS_MIN} to {PASSWORD_CHARACTERS_MAX} characters")
    return await asyncio.to_thread(HASHER.hash, password, salt=entropy.token_bytes(SALT_BYTES))


def matches(password_hash: str | None, password: str) -> bool:
    """Whether this is the password. Takes some tens of milliseconds of a core and 64 MiB; as long where there is no
    such person, and so no hash: the time does not tell.
    """
    try:
        return HASHER.verify(password_hash or _hash_of_nothing(), password)
    except (VerificationError, InvalidHashError):
        return False


def _hash_of_nothing() -> str:
    """A hash as ours are, of no password that anybody knows."""
    costs = f"m={HASHER.memory_cost},t={HASHER.time_cost},p={HASHER.parallelism}"
    return f"$argon2id$v=19${costs}${'A' * 22}${'A' * 43}"
