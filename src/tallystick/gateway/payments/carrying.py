"""A work from its first commit to its last, with the acquirer's calls between (RULES §5, recovery points).

    commit: charge row `sent`, recovery noted → ask the acquirer → commit: result, ledger, events, answer kept

Commits of concurrent works share batches; calls to the acquirer run side by side. Once something was sent, the work
goes on to its end even when whoever asked for it has gone.
"""

import asyncio
from typing import Any

from msgspec.structs import replace

from tallystick.gateway.acquirers.port import CALL_DEADLINE_S, Authentication
from tallystick.gateway.cards.pan import CardEntry
from tallystick.gateway.payments import inputs
from tallystick.gateway.payments.calling import VAULT_DEADLINE_S, Calling
from tallystick.gateway.payments.following import ask
from tallystick.gateway.payments.payment import AcquirerRequest, Charge
from tallystick.gateway.payments.records import SENT_LEASE_S, Key
from tallystick.gateway.payments.work import Commits, Outcome, Work
from tallystick.kernel.batching import Batcher, QueueFull
from tallystick.kernel.idempotency import LeaseLost
from tallystick.kernel.idempotency.engine import LEASE_S
from tallystick.ports.clock import Clock
from tallystick.ports.database import DatabaseUnavailable, SerializationFailed
from tallystick.ports.tracing import UNTRACED, Tracer

BESIDE_ITEMS_MIN = 8  # a commit has its own price, whatever is in it: two small ones cost more than the waiting
RECORD_RETRY_WAITS_S = (0.1, 0.3, 1.0, 3.0, 5.0, 5.0)  # a result in hand is worth waiting for a database to come back

assert VAULT_DEADLINE_S + CALL_DEADLINE_S + sum(RECORD_RETRY_WAITS_S) < min(LEASE_S, SENT_LEASE_S), (
    "nobody takes a key or a row over while its call is under way"
)


class Carrying:
    """Carries works out. `card` is what the shopper typed: it lives as long as the call, and is handed on once."""

    def __init__(self, commits: Commits, calling: Calling, clock: Clock, tracer: Tracer = UNTRACED) -> None:
        self._calling = calling
        self._tracer = tracer
        self._clock = clock
        self._commits: Batcher[Work, Outcome] = Batcher(commits.commit, beside_items_min=BESIDE_ITEMS_MIN)
        self._openings: Batcher[Work, Outcome] = Batcher(commits.open, beside_items_min=BESIDE_ITEMS_MIN)
        self._under_way: set[asyncio.Task[Outcome]] = set()

    async def once(self, work: Work) -> Outcome:
        """A work that sends nothing: one commit. Raises WireError and what the database raises."""
        outcome = await (self._openings if work.only_opens else self._commits).submit(work)
        assert _sent(outcome) is None, "a work that may send is carried to its end"
        return outcome

    async def carry(self, work: Work, card: CardEntry | None = None) -> Outcome:
        """A work to its end, whoever may stop waiting for it. Raises WireError and what the database raises."""
        task = asyncio.get_running_loop().create_task(self._carry(work, card))
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def conclude_challenge(self, key: Key, charge_id: str, challenge: Authentication) -> None:
        """Ask the bank's server what came of a 3DS challenge, and go on by that. Nothing, while it is open."""
        answer = await self._calling.ask_challenge(charge_id, challenge)
        if answer is not None:
            await self.carry(Work(key=key, tell=lambda _: answer, charges=(charge_id,)))

    async def _carry(self, work: Work, card: CardEntry | None) -> Outcome:
        outcome = await self._commits.submit(work)
        while (send := _sent(outcome)) is not None:
            answer = await ask(self._calling, self._tracer, outcome.payment, send, card)
            outcome = await self._record(_following(work, send, answer))
        return outcome

    async def _record(self, work: Work) -> Outcome:
        """Commit what the acquirer said: it is known nowhere else, so losing the key's lease changes nothing of it."""
        waits_s = iter(RECORD_RETRY_WAITS_S)
        while True:
            try:
                return await self._commits.submit(work)
            except LeaseLost:
                assert work.call is not None, "only a call holds a lease"
                await self._record(replace(work, call=replace(work.call, claim=None)))
                raise
            except (DatabaseUnavailable, SerializationFailed, QueueFull):
                wait_s = next(waits_s, None)
                if wait_s is None:
                    raise
                await self._clock.sleep(wait_s)

    def _ended(self, task: "asyncio.Task[Outcome]") -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has it; if nobody does any more, it is not lost: the row says `sent`


def _sent(outcome: Outcome) -> Charge | AcquirerRequest | None:
    return outcome.decision.send if outcome.decision is not None else None


def _following(work: Work, send: Charge | AcquirerRequest, answer: inputs.Answer) -> Work:
    """The work that commits the acquirer's answer to what `work` sent."""
    named: dict[str, Any]
    if isinstance(send, AcquirerRequest):
        named = {"requests": (send.id,), "charges": (send.charge,)}
    else:
        named = {"charges": (send.id,)}
    return Work(
        key=work.key,
        tell=lambda _: answer,
        call=work.call,
        recovery=work.recovery,
        answer=None if work.answer is None else lambda outcome: _answered(work, outcome),
        expand=work.expand,
        **named,
    )


def _answered(work: Work, outcome: Outcome) -> Any:
    """The call's answer by what the payment is now: an answer that was recorded before is no refusal of the call."""
    assert work.answer is not None
    return work.answer(replace(outcome, refusal=None))
