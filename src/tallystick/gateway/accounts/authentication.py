"""Who calls: an API key, sent as Basic user or Bearer token, becomes a Caller (RULES §12).

What is compared are SHA-256 hashes, so the time a look-up takes says nothing about a key. Found keys are remembered for
a few seconds: a revoked key is refused once they are over.
"""

import base64
import binascii
import re
from collections.abc import Sequence

from tallystick.gateway.accounts.accounts import SQL, hash_of
from tallystick.gateway.stripe_wire.call import Caller
from tallystick.gateway.stripe_wire.errors import Unauthenticated
from tallystick.kernel.batching import Batcher
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database

REMEMBERED_S = 3.0  # how long a revoked key may still be taken
REMEMBERED_MAX = 10_000  # keys; about 5 MB
HEADER_BYTES_MAX = 1_024

_KEY = re.compile(r"(?:sk|pk)_(?:test|live)_[0-9A-Za-z]{16,64}", re.ASCII)
_VERSION = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:\.[a-z]+)?", re.ASCII)

_NO_KEY = (
    "You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer auth "
    "(e.g. 'Authorization: Bearer YOUR_SECRET_KEY')."
)


class Authenticator:
    """Finds the callers of API keys."""

    def __init__(self, database: Database, clock: Clock, *, remembered_s: float = REMEMBERED_S) -> None:
        self._database = database
        self._clock = clock
        self._remembered_s = remembered_s
        self._remembered: dict[bytes, tuple[Caller, float]] = {}
        self._finding: Batcher[bytes, Caller | None] = Batcher(self._find)
        self._versioned: set[str] = set()

    async def caller(self, key: str) -> Caller:
        """The caller whose key this is. Raises Unauthenticated."""
        found = await self.caller_of(key)
        if found is None:
            raise Unauthenticated(f"Invalid API Key provided: {_masked(key)}")
        return found

    async def caller_of(self, key: str) -> Caller | None:
        """The caller of a living key, or None."""
        if not _KEY.fullmatch(key):
            return None
        key_hash = hash_of(key)
        remembered = self._remembered.get(key_hash)
        if remembered is not None and remembered[1] > self._clock.monotonic_s():
            return remembered[0]
        found = await self._finding.submit(key_hash)
        if found is None:
            self._remembered.pop(key_hash, None)
        else:
            if len(self._remembered) >= REMEMBERED_MAX:
                self._remembered.clear()
            self._remembered[key_hash] = (found, self._clock.monotonic_s() + self._remembered_s)
        return found

    async def note_version(self, caller: Caller, version: str) -> None:
        """The first Stripe-Version that an account sends becomes the default of its webhook endpoints (RULES §6)."""
        if caller.account_id in self._versioned or not _VERSION.fullmatch(version):
            return
        await self._database.execute(SQL.adopt_api_version, caller.account_id, version)
        self._versioned.add(caller.account_id)

    async def _find(self, key_hashes: Sequence[bytes]) -> list[Caller | None]:
        rows = await self._database.rows(SQL.find_live_keys, sorted(set(key_hashes)))
        found = {
            row["key_hash"]: Caller(row["account_id"], row["livemode"], row["kind"], tuple(row["origins"]))
            for row in rows
        }
        self._versioned.update(row["account_id"] for row in rows if row["default_api_version"] is not None)
        return [found.get(key_hash) for key_hash in key_hashes]


def key_in(authorization: Sequence[bytes]) -> str:
    """The API key in the Authorization headers of one request. Raises Unauthenticated."""
    if not authorization:
        raise Unauthenticated(_NO_KEY)
    if len(authorization) > 1:
        raise Unauthenticated("The Authorization header was sent more than once.")
    scheme, _, credentials = authorization[0][:HEADER_BYTES_MAX].partition(b" ")
    if scheme.lower() == b"bearer":
        key = credentials.strip()
    elif scheme.lower() == b"basic":
        try:
            key = base64.b64decode(credentials.strip(), validate=True).partition(b":")[0]
        except (binascii.Error, ValueError):
            raise Unauthenticated(_NO_KEY) from None
    else:
        raise Unauthenticated(_NO_KEY)
    if not key:
        raise Unauthenticated(_NO_KEY)
    return key.decode("ascii", errors="replace")


def _masked(key: str) -> str:
    """As Stripe shows a wrong key: enough to see which one it was."""
    if not _KEY.fullmatch(key):
        return "…"
    return f"{key[:8]}{'*' * 16}{key[-4:]}"
