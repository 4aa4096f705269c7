"""RULES §3 as algebra: no history of commands and answers, in any order, told however often, breaks the invariants."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tallystick.gateway.payments import inputs
from tallystick.gateway.payments.changes import Decision
from tallystick.gateway.payments.machine import STATUSES, TERMINAL, TRANSITIONS, decide
from tallystick.gateway.payments.payment import LIVE_CHARGE_STATES, OPEN_REQUEST_STATES, Payment, PaymentMethod

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)

STEPS = 40
MOVING = set(
    "Confirm Approved Authenticated Capture Captured CreateRefund Refunded RefundReturned RequestNotSent "
    "RequestRefused CancelRefund".split()
)  # what most of a payment's life is made of: without their share, histories would seldom come to refunds
SEEDS = st.integers(0, 2**32 - 1)


def fitting(payment: Payment, methods: list[PaymentMethod | None], chance: Random) -> inputs.Input:
    """An input that mostly is legal, and names charges and requests that exist. `new` is numbered when told."""
    charge_id = chance.choice([charge.id for charge in payment.charges] or ["ch_0"])
    request_id = chance.choice([request.id for request in payment.requests] or ["acr_0"])
    waiting = [request.refund for request in payment.requests if request.refund and request.state == "created"]
    refund_id = chance.choice(waiting or [refund.id for refund in payment.refunds] or ["re_0"])
    dispute_id = chance.choice([dispute.id for dispute in payment.disputes] or ["dp_0"])
    by_name: dict[str, Callable[[], inputs.Input]] = {
        "Update": lambda: inputs.Update(method=chance.choice(methods)),
        "Confirm": lambda: inputs.Confirm(
            charge_id="new", method=chance.choice(methods), error_on_requires_action=chance.random() < 0.1
        ),
        "Capture": lambda: inputs.Capture(
            request_id="new",
            amount=chance.choice([None, chance.randint(1, 1001)]),
            final=chance.random() < 0.5,
            several_allowed=chance.random() < 0.8,
        ),
        "Cancel": lambda: inputs.Cancel(request_id="new", reason="duplicate"),
        "CreateRefund": lambda: inputs.CreateRefund(
            refund_id="new", request_id="new", amount=chance.choice([None, chance.randint(1, 600)])
        ),
        "RefundReturned": lambda: inputs.RefundReturned(
            request_id=request_id, reason="r", reference="b", refund_id="new"
        ),
        "ExpireSession": lambda: inputs.ExpireSession(),
        "CaptureWindowPassed": lambda: inputs.CaptureWindowPassed(request_id="new"),
        "ChallengeBegun": lambda: inputs.ChallengeBegun(charge_id=charge_id, reference="r", url="u", return_url=None),
        "Authenticated": lambda: inputs.Authenticated(charge_id=charge_id),
        "NotAuthenticated": lambda: inputs.NotAuthenticated(charge_id=charge_id),
        "Approved": lambda: inputs.Approved(
            charge_id=charge_id, reference="r", capture_before_at=AT + timedelta(hours=30), request_id="new"
        ),
        "Declined": lambda: inputs.Declined(charge_id=charge_id, code="c", decline_code="d", message="no"),
        "OutcomeUnknown": lambda: inputs.OutcomeUnknown(charge_id=charge_id),
        "ChargeNotSent": lambda: inputs.ChargeNotSent(charge_id=charge_id),
        "Captured": lambda: inputs.Captured(request_id=request_id, reference="r"),
        "Voided": lambda: inputs.Voided(request_id=request_id, reference="r"),
        "ReversalBegun": lambda: inputs.ReversalBegun(charge_id=charge_id),
        "Refunded": lambda: inputs.Refunded(request_id=request_id, reference="r", refund_id="new"),
        "DisputeOpened": lambda: inputs.DisputeOpened(
            charge_id=charge_id,
            dispute_id="new",
            reference=f"d{chance.randint(0, 3)}",
            reason="fraudulent",
            amount=chance.choice([None, chance.randint(1, 600)]),
        ),
        "DisputeEnded": lambda: inputs.DisputeEnded(reference=f"d{chance.randint(0, 3)}", won=chance.random() < 0.5),
        "UpdateDispute": lambda: inputs.UpdateDispute(dispute_id=dispute_id, submit=chance.random() < 0.5),
        "UpdateRefund": lambda: inputs.UpdateRefund(refund_id=refund_id, metadata='{"a": "1"}'),
        "CancelRefund": lambda: inputs.CancelRefund(refund_id=refund_id),
        "CloseDispute": lambda: inputs.CloseDispute(dispute_id=dispute_id),
        "Resend": lambda: inputs.Resend(request_id=request_id),
        "RequestRefused": lambda: inputs.RequestRefused(request_id=request_id, refusal="no", follow_id="new"),
        "RequestUnknown": lambda: inputs.RequestUnknown(request_id=request_id),
        "RequestNotSent": lambda: inputs.RequestNotSent(request_id=request_id),
    }
    legal = sorted(told.__name__ for status, told in TRANSITIONS if status == payment.intent.status)
    moving = [name for name in legal if name in MOVING]
    name = chance.choice(moving if chance.random() < 0.5 else legal if chance.random() < 0.6 else sorted(by_name))
    return by_name[name]()


class World:
    """A payment with its books, checked after every step."""

    def __init__(self, payment: Payment) -> None:
        self.payment = payment
        self.books: Counter[str] = Counter()
        self.references: set[str] = set()
        self.started = Counter[str]()

    def tell(self, told: inputs.Input, at: datetime) -> None:
        decision = decide(self.payment, self._numbered(told), at)
        if not isinstance(decision, Decision):
            return
        before, self.payment = self.payment, decision.payment
        for entry in decision.entries:
            assert entry.reference not in self.references, "a cause is posted once"
            self.references.add(entry.reference)
            for account, amount in entry.legs:
                self.books[account] += amount
        self._check(before)

    def _numbered(self, told: inputs.Input) -> inputs.Input:
        if isinstance(told, inputs.Confirm):
            self.started["ch"] += 1
            return replace(told, charge_id=f"ch_{self.started['ch'] - 1}")
        if isinstance(told, inputs.RequestRefused):
            self.started["acr"] += 1
            return replace(told, follow_id=f"acr_{self.started['acr'] - 1}")
        if isinstance(told, inputs.Refunded | inputs.RefundReturned):
            self.started["acr"] += 1
            return replace(told, refund_id=f"re_{self.started['acr'] - 1}")
        if isinstance(told, inputs.DisputeOpened):
            self.started["dp"] += 1
            return replace(told, dispute_id=f"dp_{self.started['dp'] - 1}")
        if getattr(told, "request_id", None) == "new":
            self.started["acr"] += 1
            numbered = replace(told, request_id=f"acr_{self.started['acr'] - 1}")
            if isinstance(numbered, inputs.CreateRefund):
                return replace(numbered, refund_id=f"re_{self.started['acr'] - 1}")
            return numbered
        return told

    def _check(self, before: Payment) -> None:
        payment, intent = self.payment, self.payment.intent
        assert before.intent.status not in TERMINAL or intent.status == before.intent.status
        assert intent.amount == 1000
        assert 0 <= intent.amount_received <= 1000
        assert intent.amount_received + intent.amount_capturable <= 1000
        live = [charge for charge in payment.charges if charge.state in LIVE_CHARGE_STATES]
        assert len(live) <= 1
        per_charge = Counter(r.charge for r in payment.requests if r.state in OPEN_REQUEST_STATES)
        assert all(count == 1 for count in per_charge.values())
        returning = sum(charge.amount_captured for charge in payment.charges if charge.state == "reversing")
        given_back = sum(charge.amount_refunded for charge in payment.charges)
        gave_up = {charge.id for charge in payment.charges if charge.state == "reversed"}
        came_back = sum(refund.amount for refund in payment.refunds if refund.charge in gave_up)
        lost = sum(dispute.amount for dispute in payment.disputes if dispute.status == "lost")
        held = sum(
            dispute.amount for dispute in payment.disputes if dispute.status in ("needs_response", "under_review")
        )
        assert self.books["acquirer_receivable"] == intent.amount_received + returning + came_back - given_back - lost
        assert self.books["dispute_clearing"] == -held
        assert len({dispute.reference for dispute in payment.disputes}) == len(payment.disputes)
        assert self.books["refund_clearing"] == -sum(charge.refund_pending for charge in payment.charges)
        for charge in payment.charges:
            mine = [refund for refund in payment.refunds if refund.charge == charge.id]
            assert charge.amount_refunded == sum(refund.amount for refund in mine if refund.status == "succeeded")
            assert charge.refund_pending == sum(refund.amount for refund in mine if refund.status == "pending")
            over = sum(refund.amount for refund in mine if refund.over_refunded and refund.status == "succeeded")
            disputes = [dispute for dispute in payment.disputes if dispute.charge == charge.id]
            assert charge.dispute_withheld == sum(one.amount for one in disputes if one.status != "won")
            assert charge.disputed == bool(disputes)
            assert charge.refundable >= -over - charge.dispute_withheld
        ended = {refund.id: refund.status for refund in before.refunds if refund.status in ("failed", "canceled")}
        assert all(refund.status == ended[refund.id] for refund in payment.refunds if refund.id in ended)
        assert sum(self.books.values()) == 0
        assert all(charge.amount_captured <= charge.amount_authorised for charge in payment.charges)
        kept = [charge for charge in payment.charges if charge.state == "approved" and charge.amount_captured]
        assert sum(charge.amount_captured for charge in kept) == intent.amount_received
        assert payment.session is None or payment.session.status != "open" or intent.status not in TERMINAL


def walk(world: World, steps: int, methods: list[PaymentMethod | None], chance: Random) -> Counter[str]:
    """Tell the world a history; what it got to on the way."""
    reached: Counter[str] = Counter()
    at = AT
    for _ in range(steps):
        at += timedelta(minutes=chance.choice([0, 0, 0, 1, 1, 5, 5, 600]))
        world.tell(fitting(world.payment, methods, chance), at)
        reached[world.payment.intent.status] += 1
        reached.update(charge.state for charge in world.payment.charges)
        reached.update(f"refund {refund.status}" for refund in world.payment.refunds)
        reached.update(f"dispute {dispute.status}" for dispute in world.payment.disputes)
        reached.update("over-refunded" for refund in world.payment.refunds if refund.over_refunded)
        reversed_ = {charge.id for charge in world.payment.charges if charge.state == "reversed"}
        reached.update("return came back" for refund in world.payment.refunds if refund.charge in reversed_)
    return reached


@pytest.fixture
def methods(a_method: Callable[..., PaymentMethod]) -> list[PaymentMethod | None]:
    """No card, one without and one with 3DS."""
    return [None, a_method(), a_method(id="pm_3ds", authentication_required=True)]


@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=SEEDS, steps=st.integers(0, STEPS), manual=st.booleans(), session=st.booleans())
def test_no_history_breaks_the_invariants(
    a_payment: Callable[..., Payment],
    methods: list[PaymentMethod | None],
    seed: int,
    steps: int,
    manual: bool,
    session: bool,
) -> None:
    world = World(a_payment(session=session, capture_method="manual" if manual else "automatic"))
    walk(world, steps, methods, Random(seed))


def test_the_histories_get_everywhere(a_payment: Callable[..., Payment], methods: list[PaymentMethod | None]) -> None:
    """A property test that never gets anywhere proves nothing."""
    reached: Counter[str] = Counter()
    for seed in range(300):
        world = World(a_payment(session=seed % 3 > 0, capture_method="manual" if seed % 2 else "automatic"))
        reached.update(walk(world, STEPS, methods, Random(seed)))
    assert set(STATUSES) <= set(reached)
    assert {"authenticating", "sent", "unknown", "approved", "declined", "abandoned", "reversing", "reversed"} <= set(
        reached
    )
    assert {"refund pending", "refund succeeded", "refund failed", "refund canceled"} <= set(reached)
    assert {"dispute needs_response", "dispute under_review", "dispute won", "dispute lost"} <= set(reached)
    assert {"over-refunded", "return came back"} <= set(reached)
