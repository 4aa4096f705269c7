"""Load a batch, decide, save the batch: the one write path of payments (DESIGN §2.2).

Whatever changes a payment, a call of the wire, a shopper's card, an acquirer's answer, a clock, is a `Work` and goes
through `Commits.commit`: lock the payments, decide each work in turn (a later one of the same payment sees what an
earlier one did), save, post, tell, and keep the answer under the call's idempotency key, all in one transaction. Calls
to the acquirer lie between two such commits (`carrying.py`), never inside one.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from msgspec import Struct, field
from msgspec.json import encode
from msgspec.structs import replace

from tallystick.gateway.card_testing.guard import CardTesting, Decline
from tallystick.gateway.cards.commands import find_methods
from tallystick.gateway.cases.cases import open_cases
from tallystick.gateway.ledger.commands import Books, Cause
from tallystick.gateway.payments import inputs, machine
from tallystick.gateway.payments.changes import Decision, Refusal
from tallystick.gateway.payments.openings import Opening, parameters_of
from tallystick.gateway.payments.payment import Payment, PaymentMethod
from tallystick.gateway.payments.records import SQL, Change, Key, Wanted, load_locked, save
from tallystick.gateway.payments.telling import happening
from tallystick.gateway.stripe_wire import errors
from tallystick.gateway.stripe_wire.call import Call, Reply
from tallystick.gateway.stripe_wire.money_moved import name_transactions
from tallystick.gateway.stripe_wire.objects import Json
from tallystick.gateway.stripe_wire.reading import Reading
from tallystick.gateway.webhooks import events
from tallystick.gateway.webhooks.events import Happening
from tallystick.gateway.webhooks.listeners import Listeners
from tallystick.kernel.idempotency import Claim, Idempotency, LeaseLost
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Transaction
from tallystick.ports.entropy import Entropy
from tallystick.ports.tracing import stored


class Outcome(Struct, frozen=True, kw_only=True):
    """What a work did: the payment as it is now, what was decided or why not, and how its call is answered."""

    payment: Payment
    decision: Decision | None = None
    refusal: Refusal | None = None
    reply: Reply | errors.WireError | None = None


Tell = Callable[[Payment], inputs.Input | None]
Answer = Callable[[Outcome], Json | errors.WireError]


class Work(Struct, frozen=True, kw_only=True):
    """One change of one payment.

    `opens` is a payment that begins; otherwise `key` names one. `tell` gives the input once the payment is locked, or
    None where there is nothing (more) to decide; it may raise a WireError. `charges`, `requests`, `methods` and
    `refunds` are what the input names and must be loaded, as are all `disputes` where it is about one. When the
    decision sends something to the acquirer, `recovery` is noted under the call's key; otherwise the call ends here
    with what `answer` makes of the outcome. `trace` is the step that asks for it: a commit is made for many.
    """

    key: Key
    tell: Tell
    opens: Payment | None = None
    call: Call | None = None
    charges: tuple[str, ...] = ()
    requests: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    disputes: bool = False
    refunds: tuple[str, ...] = ()
    trace: str | None = field(default_factory=stored)
    recovery: str | None = None
    answer: Answer | None = None
    expand: tuple[str, ...] = ()

    @property
    def claim(self) -> Claim | None:
        return self.call.claim if self.call is not None else None

    @property
    def only_opens(self) -> bool:
        """Whether a payment begins and nothing else is to be known or done: no card, nothing to expand."""
        return self.opens is not None and not (self.opens.methods or self.methods or self.expand)


class Commits:
    """The write path, with all that one commit needs. `woken` is told after a commit that made webhooks due."""

    def __init__(
        self,
        database: Database,
        idempotency: Idempotency,
        reading: Reading,
        clock: Clock,
        entropy: Entropy,
        *,
        guard: CardTesting,
        pages_url: str,
        woken: Callable[[], None],
    ) -> None:
        self._guard = guard
        self._database = database
        self._idempotency = idempotency
        self._reading = reading
        self._clock = clock
        self._entropy = entropy
        self._pages_url = pages_url
        self._woken = woken
        self._listeners = Listeners(database)
        self._books = Books()

    async def commit(self, works: Sequence[Work]) -> list[Outcome | Exception]:
        """Do all works in one transaction: an outcome, or the WireError that `tell` raised, for each.

        What this itself raises concerns the whole batch, and then nothing was done."""
        at = self._clock.now()
        async with self._database.transaction() as tx:
            before = await load_locked(tx, [_wanted(work) for work in works if work.opens is None])
            kept = await find_methods(tx, [key for work in works if work.opens is not None for key in _named(work)])
            results = decide_all(works, before, kept, at)
            done = [(w, r) for w, r in zip(works, results, strict=True) if isinstance(r, Outcome)]
            due = await self._save(tx, before, frozenset(method.id for method in kept.values()), done, at)
            replies = iter(await self._answer(tx, done))
        if due:
            self._woken()
        return [replace(r, reply=next(replies)) if isinstance(r, Outcome) else r for r in results]

    async def open(self, works: Sequence[Work]) -> list[Outcome | Exception]:
        """The same for works that only begin a payment: one statement."""
        assert all(work.only_opens for work in works)
        at = self._clock.now()
        outcomes = [_opened(work) for work in works]
        openings = [self._opening(work, outcome) for work, outcome in zip(works, outcomes, strict=True)]
        owners = {work.key[:2] for work in works}
        listeners = await self._listeners.of(owners)
        parameters, due = parameters_of(openings, listeners, at=at, entropy=self._entropy)
        rows = await self._database.rows(SQL.open_payments, *parameters)
        if not rows:  # the endpoints are others by now, or every call has lost its lease; nothing was done
            self._listeners.forget(owners)
            return await self.commit(works)
        if due:
            self._woken()
        opened = {row["object_id"] for row in rows}
        return [
            outcome if work.key[2] in opened else LeaseLost() for work, outcome in zip(works, outcomes, strict=True)
        ]

    def _opening(self, work: Work, outcome: Outcome) -> Opening:
        assert work.call is not None
        assert outcome.decision is not None
        assert isinstance(outcome.reply, Reply), "nothing refuses a payment that begins"
        [told] = outcome.decision.events
        return outcome.payment, happening(work.call, outcome.payment, told, self._pages_url), work.call, outcome.reply

    async def _save(
        self,
        tx: Transaction,
        before: Mapping[Key, Payment],
        kept: frozenset[str],
        done: Sequence[tuple[Work, Outcome]],
        at: datetime,
    ) -> bool:
        """Write records, ledger entries and events of what was decided; whether webhooks are due now."""
        decided = [(work, outcome.decision) for work, outcome in done if outcome.decision is not None]
        after = {work.key: decision.payment for work, decision in decided}  # the last decision of a payment stands
        await save(tx, [Change(before.get(key), after[key], kept) for key in sorted(after)], at)
        entries = [entry for _, decision in decided for entry in decision.entries]
        posted = await self._books.post(tx, entries, at=at, entropy=self._entropy)
        happenings = [
            happening(work.call, decision.payment, told, self._pages_url, work.trace)
            for work, decision in decided
            for told in decision.events
        ]
        await open_cases(tx, [concern for _, decision in decided for concern in decision.concerns], at, self._entropy)
        await _name_transactions(tx, happenings, posted, at)
        recorded = await events.record(tx, happenings, at=at, entropy=self._entropy)
        # Last: others that are declined from the same place wait for these rows until this ends.
        await self._guard.count_declines(tx, [one for _, decision in decided for one in _declines(decision)], at)
        return recorded.due

    async def _answer(
        self, tx: Transaction, done: Sequence[tuple[Work, Outcome]]
    ) -> list[Reply | errors.WireError | None]:
        """Shape the answers of calls that end here and keep them; note what those that go on are about to send.

        An error is not kept here: whoever holds the claim keeps or releases it, as the error says."""
        replies: list[Reply | errors.WireError | None] = []
        for work, outcome in done:
            goes_on = outcome.decision is not None and outcome.decision.send is not None
            shaped = work.answer(outcome) if work.answer is not None and not goes_on else None
            if shaped is None or isinstance(shaped, errors.WireError):
                replies.append(shaped)
                continue
            await name_transactions(tx, [(*work.key[:2], shaped)], self._clock.now())
            if work.expand:
                assert work.call is not None, "only a call expands its answer"
                await self._reading.expand(tx, work.call.caller, [shaped], work.expand)
            replies.append(Reply(200, encode(shaped)))
        await self._idempotency.finish(
            tx,
            [
                (work.claim, reply.status, reply.body)
                for (work, _), reply in zip(done, replies, strict=True)
                if isinstance(reply, Reply)
            ],
        )
        await self._idempotency.record(
            tx,
            [
                (work.claim, work.recovery)
                for work, outcome in done
                if work.claim is not None
                and work.recovery is not None
                and outcome.decision is not None
                and outcome.decision.send is not None
            ],
        )
        return replies


def decide_all(
    works: Sequence[Work], before: Mapping[Key, Payment], kept: Mapping[Key, PaymentMethod], at: datetime
) -> list[Outcome | errors.WireError]:
    """Decide each work on its payment as the works before it left it; `kept` are stored cards that new ones name."""
    now = dict(before)
    results: list[Outcome | errors.WireError] = []
    for work in works:
        try:
            outcome = _decide(work, now.get(work.key), kept, at)
        except errors.WireError as error:
            results.append(error)
            continue
        now[work.key] = outcome.payment
        results.append(outcome)
    return results


def _opened(work: Work) -> Outcome:
    assert work.opens is not None
    assert work.answer is not None
    decision = machine.opened(work.opens)
    outcome = Outcome(payment=decision.payment, decision=decision)
    shaped = work.answer(outcome)
    return replace(outcome, reply=shaped if isinstance(shaped, errors.WireError) else Reply(200, encode(shaped)))


def _decide(work: Work, payment: Payment | None, kept: Mapping[Key, PaymentMethod], at: datetime) -> Outcome:
    opening = None
    if work.opens is not None:
        assert payment is None, "a payment begins once"
        opening = machine.opened(work.opens.having(*(kept[key] for key in _named(work) if key in kept)))
        payment = opening.payment
    if payment is None:
        raise errors.no_such("payment_intent", work.key[2], param="intent")
    told = work.tell(payment)
    if told is None:
        return Outcome(payment=payment, decision=opening)
    decided = machine.decide(payment, told, at)
    if isinstance(decided, Refusal):
        return Outcome(payment=payment, decision=opening, refusal=decided)
    if opening is not None:
        decided = replace(decided, events=(*opening.events, *decided.events))
    return Outcome(payment=decided.payment, decision=decided)


async def _name_transactions(
    tx: Transaction, happenings: Sequence[Happening], posted: Mapping[Cause, str], at: datetime
) -> None:
    owned = [(one.account_id, one.livemode, one.object) for one in happenings]
    await name_transactions(tx, owned, at, posted)


def _declines(decision: Decision) -> list[Decline]:
    """What is counted of a decision: a charge that the bank says no to."""
    charge = decision.declined
    if charge is None:
        return []
    method = decision.payment.method(charge.payment_method)
    assert method is not None, "a charge is loaded with its card"
    return [Decline(charge.account_id, charge.livemode, charge.id, method.fingerprint)]


def _named(work: Work) -> list[Key]:
    """The keys of the payment methods that a work names."""
    account_id, livemode, _ = work.key
    return [(account_id, livemode, id) for id in work.methods]


def _wanted(work: Work) -> Wanted:
    return Wanted(work.key, work.charges, work.requests, work.methods, work.disputes, work.refunds)
