"""A call under its idempotency key: executed once, answered as often as it is asked (RULES §5).

What concurrent calls ask of the key table travels in batches: claims together, releases together.
"""

from collections.abc import Awaitable, Callable, Sequence

from tallystick.gateway.stripe_wire import errors
from tallystick.gateway.stripe_wire.call import Reply
from tallystick.kernel.batching import Batcher
from tallystick.kernel.idempotency import (
    Claim,
    ClaimRequest,
    Idempotency,
    InUse,
    LeaseLost,
    Mismatch,
    Replay,
)
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, DatabaseError

IN_USE_MESSAGE = (
    "There is currently another in-progress request using this Idempotency Key (that probably means you submitted "
    "twice, and the other request is still going through): try again later."
)
REUSED_MESSAGE = (
    "Keys for idempotent requests can only be used with the same parameters and the same path they were first used "
    "with. Try using a key other than the one you sent if you meant to execute a different request."
)

OF_OPERATORS = "§"
"""What the keys of operators' acts begin with: a merchant's are ASCII, so neither meets the other's."""


class Keyed:
    """Executes calls at most once for each key."""

    def __init__(self, idempotency: Idempotency, database: Database, clock: Clock) -> None:
        self._idempotency = idempotency
        self._database = database
        self._clock = clock
        self._claims: Batcher[ClaimRequest, Claim | Replay | InUse | Mismatch] = Batcher(self._claim, in_flight_max=1)
        self._answers: Batcher[tuple[Claim, Reply], None] = Batcher(self._keep)
        self._releases: Batcher[Claim, None] = Batcher(self._release)

    async def run(self, request: ClaimRequest, execute: Callable[[Claim], Awaitable[Reply]]) -> tuple[Reply, bool]:
        """The answer of the call, and whether it is a replay. `execute` finishes its claim when it returns.

        Raises WireError, and whatever breaks `execute`; then the key's next call resumes.
        """
        outcome = await self._claims.submit(request)
        if isinstance(outcome, Replay):
            return Reply(outcome.status, outcome.body), True
        if isinstance(outcome, InUse):
            raise in_use(outcome.retry_after_s)
        if isinstance(outcome, Mismatch):
            raise errors.KeyReused(REUSED_MESSAGE)
        try:
            return await execute(outcome), False
        except errors.WireError as error:
            await self._conclude(outcome, error)
            raise
        except LeaseLost:
            raise in_use(1) from None
        except Exception:
            await self._suspend(outcome)
            raise

    async def _conclude(self, claim: Claim, error: errors.WireError) -> None:
        if error.final:
            await self._answers.submit((claim, error.reply()))
        else:
            await self._releases.submit(claim)

    async def _suspend(self, claim: Claim) -> None:
        try:
            await self._idempotency.suspend([claim], self._clock.now())
        except DatabaseError:
            pass  # the lease runs out by itself; the call that broke is what the caller must hear of

    async def _claim(self, requests: Sequence[ClaimRequest]) -> list[Claim | Replay | InUse | Mismatch]:
        return await self._idempotency.claim(requests, self._clock.now())

    async def _keep(self, answers: Sequence[tuple[Claim, Reply]]) -> list[None]:
        async with self._database.transaction() as tx:
            await self._idempotency.finish(tx, [(claim, reply.status, reply.body) for claim, reply in answers])
        return [None for _ in answers]

    async def _release(self, claims: Sequence[Claim]) -> list[None]:
        await self._idempotency.release(claims)
        # A call that had reached outside keeps its key, with the recovery point at which the next one goes on at once.
        await self._idempotency.suspend(claims, self._clock.now())
        return [None for _ in claims]


def in_use(retry_after_s: int) -> errors.KeyInUse:
    """The same call is being executed right now."""
    return errors.KeyInUse(IN_USE_MESSAGE, code="idempotency_key_in_use", retry_after_s=retry_after_s)


def of_operators(key: str) -> str:
    """The key of an operator's act, beside those of the account's own calls."""
    return OF_OPERATORS + key


def shown(key: str) -> str | None:
    """A key as its account's events tell it: an operator's is no business of theirs."""
    return None if key.startswith(OF_OPERATORS) else key
