"""Logging in and being logged in (RULES §12).

A session's cookie is a random token, stored as its SHA-256. It ends after SESSION_S, or when nobody was there for
IDLE_S. Its CSRF token is derived from it: a form that was not made for this session cannot know it. Whoever logs in
gets a new token, and so does who changes what a login needs; all others of that name end then.
"""

import asyncio
import hashlib
import hmac
import math
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from tallystick.kernel.logins import totp
from tallystick.kernel.logins.factors import Factors
from tallystick.kernel.logins.lockout import SQL, Lockout
from tallystick.kernel.logins.users import PASSWORD_CHARACTERS_MAX, matches, set_password
from tallystick.kernel.operators.keys import NAME_CHARACTERS_MAX, Operator
from tallystick.kernel.operators.roles import Role
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Record, Transaction
from tallystick.ports.entropy import Entropy
from tallystick.ports.key_encryption import KeyEncryption

SESSION_S: Final = 8 * 3600
"""A working day."""
IDLE_S: Final = 30 * 60
SEEN_EVERY_S: Final = 60  # how exactly it is known when somebody was there last: a row is written no more often
assert SEEN_EVERY_S < IDLE_S < SESSION_S
TOKEN_BYTES: Final = 32
AT_ONCE_MAX: Final = 2
"""Passwords that are checked at once: each takes 64 MiB and a core for some tens of milliseconds."""
WAITING_MAX: Final = 20
"""Logins that are looked at, most of which wait for it; whoever comes then is told to come again."""
COME_AGAIN_S: Final = 2


class Wrong(Struct, frozen=True):
    """Name, password or code is wrong; which of them is not said."""


class Wait(Struct, frozen=True):
    """Too many tries: nothing was looked at."""

    retry_after_s: int


class Logins:
    """Who is logged in."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        entropy: Entropy,
        encryption: KeyEncryption | None = None,
        second_factor_roles: Collection[Role] = (),
    ) -> None:
        self._factors = Factors(database, encryption, entropy)
        self._second_factor_roles = frozenset(second_factor_roles)
        self._database = database
        self._clock = clock
        self._entropy = entropy
        self._lockout = Lockout(database)
        self._checking = asyncio.Semaphore(AT_ONCE_MAX)
        self._waiting = 0

    async def log_in(self, name: str, password: str, code: str = "", *, address: str = "unknown") -> str | Wrong | Wait:
        """The token of a new session. Raises KeyEncryptionError."""
        refused = await self.check(name, password, code, address=address)
        if refused is not None:
            return refused
        async with self._database.transaction() as tx:
            return await self._begin(tx, name.strip())

    async def check(self, name: str, password: str, code: str, *, address: str) -> Wrong | Wait | None:
        """Whether this is that person: None. Counts the try, so that it cannot be asked at will. Raises
        KeyEncryptionError where the second factor cannot be opened now."""
        name = name.strip()
        if len(password) > PASSWORD_CHARACTERS_MAX or len(name) > NAME_CHARACTERS_MAX or "\x00" in name:
            return Wrong()
        if self._waiting >= WAITING_MAX:
            return Wait(COME_AGAIN_S)
        self._waiting += 1  # before anything is awaited: a burst comes in one moment
        try:
            return await self._checked(name, password, code, address)
        finally:
            self._waiting -= 1

    async def _checked(self, name: str, password: str, code: str, address: str) -> Wrong | Wait | None:
        wait_s = await self._lockout.admit(name, address, self._clock.now())
        if wait_s:
            return Wait(math.ceil(wait_s))
        rows = await self._database.rows(SQL.find_operator_user, name)
        async with self._checking:
            good = await asyncio.to_thread(matches, rows[0]["password_hash"] if rows else None, password)
        if not rows or not good:
            return Wrong()
        if rows[0]["secret"] is not None and not await self._use(name, rows[0], code):
            return Wrong()
        async with self._database.transaction() as tx:
            await self._lockout.forgive(tx, name, address, self._clock.now())
        return None

    async def session_of(self, token: str, *, seen: bool = True) -> Operator | None:
        """Who is logged in by this token, or None. `seen` is False where a page asks by itself: that nobody was there
        for IDLE_S must not be hidden by it."""
        if len(token) != 2 * TOKEN_BYTES:
            return None
        at = self._clock.now()
        rows = await self._database.rows(SQL.find_operator_session, _hash_of(token), at, at - timedelta(seconds=IDLE_S))
        if not rows:
            return None
        if seen and (at - rows[0]["seen_at"]).total_seconds() > SEEN_EVERY_S:
            await self._database.execute(SQL.see_operator_session, _hash_of(token), at)
        return Operator(rows[0]["user_name"], Role(rows[0]["role"]))

    async def knows(self, name: str) -> bool:
        """Whether somebody of that name may log in. For the audit trail; no page says it."""
        return "\x00" not in name and bool(await self._database.rows(SQL.find_operator_user, name.strip()))

    async def log_out(self, token: str) -> None:
        """End a session."""
        await self._database.execute(SQL.delete_operator_session, _hash_of(token))

    async def log_out_everywhere(self, name: str) -> None:
        """End all sessions of a person."""
        await self._database.execute(SQL.delete_operator_sessions, name)

    async def change_password(self, name: str, password: str) -> str:
        """Another password for who has just proven to know the old one. The token of a new session; all others of that
        name end. Raises OperatorRefused where it is too short or too long."""
        await set_password(self._database, name, password, self._entropy)
        return await self._begin_anew(name)

    def needs_second_factor(self, role: Role) -> bool:
        """Whether people of this role may do nothing before they have one."""
        return role in self._second_factor_roles

    async def has_second_factor(self, name: str) -> bool:
        """Whether a login of this person needs a code."""
        rows = await self._database.rows(SQL.find_second_factor, name)
        return bool(rows) and rows[0]["confirmed_at"] is not None

    async def propose_second_factor(self, name: str) -> bytes | None:
        """A secret to be shown to its owner, once; None where a second factor is in use. It is not in use before a
        code has proven that it was kept. Raises KeyEncryptionError."""
        return await self._factors.propose(name)

    async def confirm_second_factor(self, name: str, code: str) -> str | None:
        """The proof that the secret was kept: from now on a login needs a code. The token of a new session, since all
        others of that name end; None where the code is wrong. Raises KeyEncryptionError."""
        rows = await self._database.rows(SQL.find_second_factor, name)
        if not rows or rows[0]["confirmed_at"] is not None:
            return None
        if not await self._use(name, rows[0], code):
            return None
        return await self._begin_anew(name)

    async def remove_second_factor(self, name: str) -> str:
        """From now on a login needs no code. The token of a new session; all others of that name end."""
        await self._database.execute(SQL.delete_second_factor, name)
        return await self._begin_anew(name)

    async def _begin_anew(self, name: str) -> str:
        async with self._database.transaction() as tx:
            await tx.execute(SQL.delete_operator_sessions, name)
            return await self._begin(tx, name)

    async def _begin(self, tx: Transaction, name: str) -> str:
        token, at = self._entropy.token_bytes(TOKEN_BYTES).hex(), self._clock.now()
        expires_at: datetime = at + timedelta(seconds=SESSION_S)
        await tx.execute(SQL.insert_operator_session, _hash_of(token), name, at, expires_at)
        return token

    async def _use(self, name: str, row: Record, code: str) -> bool:
        """Whether the code is right and was not used before; it is used up by this."""
        at, secret = self._clock.now(), await self._factors.opened(name, row)
        if secret is None:
            return False
        step = totp.step_of(secret, code, at, after=row["last_step"])
        return step is not None and bool(await self._database.execute(SQL.use_second_factor, name, step, at))


def csrf_of(token: str) -> str:
    """What every form of this session carries."""
    return hmac.new(token.encode(), b"csrf", hashlib.sha256).hexdigest()


def is_csrf(token: str, sent: str) -> bool:
    """Whether a form was made for this session."""
    return hmac.compare_digest(csrf_of(token).encode(), sent.encode())


def _hash_of(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
