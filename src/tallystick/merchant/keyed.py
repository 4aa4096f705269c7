"""Calls that carry an Idempotency-Key: executed once, answered with the same bytes ever after (RULES §5).

claim the key (a commit of its own) → work → 2xx or a final refusal, stored with what it did → the same again
                                       └→ an error that may pass: the next call with the key resumes at once
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from msgspec import Struct

from tallystick.kernel.batching import Batcher, QueueFull
from tallystick.kernel.idempotency import (
    Claim,
    ClaimRequest,
    Idempotency,
    InUse,
    LeaseLost,
    Mismatch,
    Replay,
    Scope,
    fingerprints,
)
from tallystick.kernel.problems import Problem
from tallystick.merchant.errors import DatabaseDown, KeyInUse, KeyUsedOtherwise, Overloaded
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, DatabaseError, DatabaseUnavailable

MODE: Final = "live"  # the merchant's API has one mode; the table serves both services
OVERLOADED_RETRY_AFTER_S: Final = 1


class Answer(Struct, frozen=True):
    """What the caller gets: the same bytes again when it repeats the call."""

    status: int
    body: bytes
    replayed: bool = False


class Sent(Struct, frozen=True):
    """A call as it came: whose, under which key, to which route, with which fields."""

    merchant_id: str
    key: str
    route: str
    fields: Any


class Keyed:
    """Lets calls through once. Concurrent ones share a commit. `personal_keys` key the fingerprints of calls that name
    a customer, the newest first."""

    def __init__(self, database: Database, clock: Clock, personal_keys: Sequence[bytes] = ()) -> None:
        self._clock = clock
        self._personal_keys = tuple(personal_keys)
        self.idempotency = Idempotency(database)
        self._claims: Batcher[ClaimRequest, Claim | Replay | InUse | Mismatch] = Batcher(self._claim)

    async def once(self, sent: Sent, work: Callable[[Claim], Awaitable[Answer]]) -> Answer:
        """Execute `work` once for the key; it finishes the claim in the commit of what it did. Raises Problem."""
        scope = Scope(sent.merchant_id, MODE, sent.key)
        try:
            claim = await self._claims.submit(ClaimRequest(scope, *self._fingerprints(sent)))
            match claim:
                case Replay(status, body):
                    return Answer(status, body, replayed=True)
                case InUse(retry_after_s):
                    raise KeyInUse(retry_after_s=retry_after_s)
                case Mismatch():
                    raise KeyUsedOtherwise
            return await self.hold(claim, work)
        except QueueFull:
            raise Overloaded(retry_after_s=OVERLOADED_RETRY_AFTER_S) from None
        except DatabaseUnavailable:
            raise DatabaseDown(retry_after_s=OVERLOADED_RETRY_AFTER_S) from None

    def _fingerprints(self, sent: Sent) -> tuple[bytes, tuple[bytes, ...]]:
        named = isinstance(sent.fields, dict) and sent.fields.get("customer") is not None
        first, *others = fingerprints("POST", sent.route, sent.fields, self._personal_keys if named else ())
        return first, tuple(others)

    async def hold(self, claim: Claim, work: Callable[[Claim], Awaitable[Answer]]) -> Answer:
        """Execute `work` under a claim, and let go of it where that breaks off. Raises what `work` raises."""
        try:
            return await work(claim)
        except LeaseLost:
            raise KeyInUse(retry_after_s=OVERLOADED_RETRY_AFTER_S) from None
        except Exception as error:
            with suppress(DatabaseError):
                if isinstance(error, Problem) and error.status < 500:
                    # Refused before anything was done: the corrected call with the same key executes.
                    await self.idempotency.release([claim])
                # Nobody works on it any more: the next call with this key resumes at once, not when the lease ends.
                await self.idempotency.suspend([claim], self._clock.now())
            raise

    async def _claim(self, requests: Sequence[ClaimRequest]) -> Sequence[Claim | Replay | InUse | Mismatch]:
        return await self.idempotency.claim(requests, self._clock.now())
