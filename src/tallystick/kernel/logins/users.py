"""People who log in to the operators' pages: passwords by argon2id, sessions by a cookie (RULES §12).

A session's cookie is a random token, stored as its SHA-256, that ends after SESSION_S. Its CSRF token is derived from
it: a form that was not made for this session cannot know it.
"""

import asyncio
import hashlib
import hmac
from datetime import timedelta
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from tallystick.kernel.operators.keys import Operator, OperatorRefused, check_name
from tallystick.kernel.operators.roles import Role
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Statements
from tallystick.ports.entropy import Entropy

SQL = Statements.beside(__file__)

SESSION_S: Final = 8 * 3600
"""A working day."""
PASSWORD_CHARACTERS_MIN: Final = 12
PASSWORD_CHARACTERS_MAX: Final = 200
TOKEN_BYTES: Final = 32
SALT_BYTES: Final = 16
AT_ONCE_MAX: Final = 2
"""Passwords that are checked at once: each takes 64 MiB and a core for some tens of milliseconds."""

_HASHER: Final = PasswordHasher()
# What a password is compared with where there is no such person, so that the time it takes does not tell.
_NOBODY: Final = _HASHER.hash("nobody", salt=bytes(SALT_BYTES))


async def add_user(database: Database, name: str, password: str, clock: Clock, entropy: Entropy, *, role: Role) -> str:
    """A person who may log in, for what `role` may do. Gives the name as it is stored. Raises OperatorRefused."""
    name = check_name(name)
    if not PASSWORD_CHARACTERS_MIN <= len(password) <= PASSWORD_CHARACTERS_MAX:
        raise OperatorRefused(f"a password has {PASSWORD_CHARACTERS_MIN} to {PASSWORD_CHARACTERS_MAX} characters")
    hashed = await asyncio.to_thread(_HASHER.hash, password, salt=entropy.token_bytes(SALT_BYTES))
    if not await database.execute(SQL.insert_operator_user, name, role, hashed, clock.now()):
        raise OperatorRefused(f"there is, or was, somebody named {name}")
    return name


async def disable_user(database: Database, name: str, clock: Clock) -> None:
    """A person may log in no more, and is out at once. Raises OperatorRefused."""
    if not await database.execute(SQL.disable_operator_user, name, clock.now()):
        raise OperatorRefused(f"nobody named {name} may log in")


class Logins:
    """Who is logged in."""

    def __init__(self, database: Database, clock: Clock, entropy: Entropy) -> None:
        self._database = database
        self._clock = clock
        self._entropy = entropy
        self._checking = asyncio.Semaphore(AT_ONCE_MAX)

    async def log_in(self, name: str, password: str) -> str | None:
        """The token of a new session, or None where name or password are wrong."""
        if len(password) > PASSWORD_CHARACTERS_MAX or "\x00" in name:
            return None
        rows = await self._database.rows(SQL.find_operator_user, name.strip())
        async with self._checking:
            good = await asyncio.to_thread(_matches, rows[0]["password_hash"] if rows else _NOBODY, password)
        if not rows or not good:
            return None
        token, at = self._entropy.token_bytes(TOKEN_BYTES).hex(), self._clock.now()
        expires_at = at + timedelta(seconds=SESSION_S)
        await self._database.execute(SQL.insert_operator_session, _hash_of(token), name.strip(), at, expires_at)
        return token

    async def operator_of(self, token: str) -> Operator | None:
        """Who is logged in by this token, or None."""
        if len(token) != 2 * TOKEN_BYTES:
            return None
        rows = await self._database.rows(SQL.find_operator_session, _hash_of(token), self._clock.now())
        return Operator(rows[0]["user_name"], Role(rows[0]["role"])) if rows else None

    async def log_out(self, token: str) -> None:
        """End a session."""
        await self._database.execute(SQL.delete_operator_session, _hash_of(token))


def csrf_of(token: str) -> str:
    """What every form of this session carries."""
    return hmac.new(token.encode(), b"csrf", hashlib.sha256).hexdigest()


def is_csrf(token: str, sent: str) -> bool:
    """Whether a form was made for this session."""
    return hmac.compare_digest(csrf_of(token).encode(), sent.encode())


def _matches(password_hash: str, password: str) -> bool:
    try:
        return _HASHER.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False


def _hash_of(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
