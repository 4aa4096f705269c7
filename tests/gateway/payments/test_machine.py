"""RULES §3: the life of a payment, row by row, and every pair that the table does not hold."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from tallystick.gateway.payments import charging, inputs, machine
from tallystick.gateway.payments.changes import Decision, Refusal
from tallystick.gateway.payments.inputs import (
    Approved,
    Authenticated,
    Cancel,
    Capture,
    Captured,
    CaptureWindowPassed,
    ChallengeBegun,
    ChargeNotSent,
    Confirm,
    CreateRefund,
    Declined,
    ExpireSession,
    NotAuthenticated,
    OutcomeUnknown,
    Refunded,
    RefundReturned,
    RequestNotSent,
    RequestRefused,
    RequestUnknown,
    Resend,
    ReversalBegun,
    Update,
    Voided,
)
from tallystick.gateway.payments.machine import STATUSES, TERMINAL, TRANSITIONS, decide, opened
from tallystick.gateway.payments.payment import Payment, PaymentMethod

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATER = AT + timedelta(days=8)

APPROVED = Approved(
    charge_id="ch_1", reference="bank_1", capture_before_at=AT + timedelta(days=7), request_id="acr_void"
)
DECLINED = Declined(
    charge_id="ch_1", code="card_declined", decline_code="generic_decline", message="Your card was declined."
)

Build = Callable[..., Payment]
Card = Callable[..., PaymentMethod]


def done(decision: Decision | Refusal) -> Decision:
    assert isinstance(decision, Decision), decision
    return decision


def tell(payment: Payment, *told: inputs.Input, at: datetime = AT) -> Payment:
    for one in told:
        payment = done(decide(payment, one, at)).payment
    return payment


def events(decision: Decision) -> list[str]:
    return [told.type for told in decision.events]


@pytest.fixture
def confirm(a_method: Card) -> Confirm:
    return Confirm(charge_id="ch_1", method=a_method())


@pytest.fixture
def confirm_3ds(a_method: Card) -> Confirm:
    return Confirm(charge_id="ch_1", method=a_method(authentication_required=True))


@pytest.fixture
def in_status(a_payment: Build, confirm: Confirm, confirm_3ds: Confirm, a_method: Card) -> Callable[[str], Payment]:
    """A payment with a session, brought to each status by the machine itself."""

    def bring(status: str) -> Payment:
        payment = a_payment(session=True)
        manual = replace(payment, intent=replace(payment.intent, capture_method="manual"))
        return {
            "requires_payment_method": lambda: payment,
            "requires_confirmation": lambda: tell(payment, Update(method=a_method())),
            "requires_action": lambda: tell(payment, confirm_3ds),
            "processing": lambda: tell(payment, confirm),
            "requires_capture": lambda: tell(manual, confirm, APPROVED),
            "succeeded": lambda: tell(payment, confirm, APPROVED),
            "canceled": lambda: tell(payment, Cancel(request_id="acr_0")),
        }[status]()

    return bring


ABOUT_CHARGES = {"Approved", "Declined"}
ABOUT_REQUESTS = {
    "Voided",
    "Refunded",
    "RefundReturned",
    "RequestRefused",
    "RequestNotSent",
    "RequestUnknown",
    "Resend",
}
ABOUT_DISPUTES = {"DisputeOpened", "DisputeEnded", "UpdateDispute", "CloseDispute"}
ALWAYS = ABOUT_CHARGES | ABOUT_REQUESTS | ABOUT_DISPUTES | {"Update", "UpdateRefund", "CancelRefund"}
UNCONFIRMED = ALWAYS | {"Confirm", "Cancel", "ExpireSession"}

LEGAL = {
    "requires_payment_method": UNCONFIRMED,
    "requires_confirmation": UNCONFIRMED,
    "requires_action": UNCONFIRMED | {"ChallengeBegun", "Authenticated", "NotAuthenticated", "ChargeNotSent"},
    "processing": ALWAYS | {"OutcomeUnknown", "ReversalBegun", "ChargeNotSent"},
    "requires_capture": ALWAYS | {"Capture", "Captured", "Cancel", "CaptureWindowPassed", "CreateRefund"},
    "succeeded": ALWAYS | {"CreateRefund"},
    "canceled": ALWAYS,
}


def every_input(method: PaymentMethod) -> list[inputs.Input]:
    return [
        Update(description="new"),
        Confirm(charge_id="ch_2", method=method),
        Capture(request_id="acr_1"),
        Cancel(request_id="acr_1"),
        CreateRefund(refund_id="re_1", request_id="acr_1"),
        ExpireSession(),
        CaptureWindowPassed(request_id="acr_1"),
        ChallengeBegun(charge_id="ch_1", reference="r", url="https://bank.example", return_url=None),
        Authenticated(charge_id="ch_1"),
        NotAuthenticated(charge_id="ch_1"),
        APPROVED,
        DECLINED,
        OutcomeUnknown(charge_id="ch_1"),
        ReversalBegun(charge_id="ch_1"),
        ChargeNotSent(charge_id="ch_1"),
        Captured(request_id="acr_1", reference="r"),
        Voided(request_id="acr_1", reference="r"),
        Refunded(request_id="acr_1", reference="r", refund_id="re_9"),
        RefundReturned(request_id="acr_1", reason="r", reference="b", refund_id="re_9"),
        Resend(request_id="acr_1"),
        RequestRefused(request_id="acr_1", refusal="r", follow_id="acr_2"),
        RequestUnknown(request_id="acr_1"),
        RequestNotSent(request_id="acr_1"),
        inputs.DisputeOpened(charge_id="ch_1", dispute_id="dp_1", reference="d", reason="fraudulent"),
        inputs.DisputeEnded(reference="d", won=True),
        inputs.UpdateDispute(dispute_id="dp_1", submit=True),
        inputs.CloseDispute(dispute_id="dp_1"),
        inputs.UpdateRefund(refund_id="re_1"),
        inputs.CancelRefund(refund_id="re_1"),
    ]


def test_the_table_holds_the_rows_of_the_rules_and_no_other() -> None:
    assert {(status, name) for status, names in LEGAL.items() for name in names} == {
        (status, told.__name__) for status, told in TRANSITIONS
    }


@pytest.mark.parametrize("status", STATUSES)
def test_every_pair_that_is_not_in_the_table_is_refused(
    status: str, in_status: Callable[[str], Payment], a_method: Card
) -> None:
    payment = in_status(status)
    assert payment.intent.status == status
    for told in every_input(a_method()):
        decision = decide(payment, told, AT)
        if type(told).__name__ not in LEGAL[status]:
            assert isinstance(decision, Refusal), (status, told)
            expired_session = isinstance(told, ExpireSession) and payment.open_session is None
            assert decision.code == (None if expired_session else "payment_intent_unexpected_state")
            assert decision.message


@pytest.mark.parametrize("status", STATUSES)
def test_no_input_moves_a_terminal_status_or_loses_money(
    status: str, in_status: Callable[[str], Payment], a_method: Card
) -> None:
    payment = in_status(status)
    for told in every_input(a_method()):
        decision = decide(payment, told, LATER)
        if isinstance(decision, Decision):
            after = decision.payment.intent
            assert status not in TERMINAL or after.status == status
            assert after.amount_received >= payment.intent.amount_received


def test_a_payment_begins_without_a_card_or_with_one(a_payment: Build, a_method: Card) -> None:
    """– | create | requires_payment_method, with a method requires_confirmation."""
    assert opened(a_payment()).payment.intent.status == "requires_payment_method"
    decision = opened(a_payment(payment_method="pm_1").having(a_method()))
    assert decision.payment.intent.status == "requires_confirmation"
    assert events(decision) == ["payment_intent.created"]


def test_a_card_may_be_attached_by_an_update(in_status: Callable[[str], Payment], a_method: Card) -> None:
    for status in ("requires_payment_method", "requires_confirmation", "requires_action"):
        payment = tell(in_status(status), Update(method=a_method(id="pm_2"), description="d", metadata='{"a":"b"}'))
        assert payment.intent.status == "requires_confirmation"
        assert payment.intent.payment_method == "pm_2"
        assert (payment.intent.description, payment.intent.metadata) == ("d", '{"a":"b"}')
        assert payment.live is None, "the 3DS challenge of the old card is over"
    for status in ("processing", "requires_capture", "succeeded", "canceled"):
        assert isinstance(decide(in_status(status), Update(method=a_method()), AT), Refusal)
        assert tell(in_status(status), Update(description="d")).intent.description == "d"


def test_confirm_records_the_charge_before_it_is_sent(a_payment: Build, confirm: Confirm) -> None:
    decision = done(decide(a_payment(), confirm, AT))
    charge = decision.payment.live
    assert charge is not None
    assert (charge.state, charge.amount, charge.acquirer_key) == ("sent", 1000, "ch_1")
    assert decision.send == charge
    assert decision.payment.intent.status == "processing"
    assert decision.payment.intent.latest_charge == "ch_1"
    assert decision.entries == ()


def test_confirm_needs_a_card(a_payment: Build, a_method: Card) -> None:
    refusal = decide(a_payment(), Confirm(charge_id="ch_1"), AT)
    assert isinstance(refusal, Refusal)
    assert "missing a payment method" in refusal.message
    attached = tell(a_payment(), Update(method=a_method()))
    assert tell(attached, Confirm(charge_id="ch_1")).intent.status == "processing"


def test_approval_with_automatic_capture(in_status: Callable[[str], Payment]) -> None:
    decision = done(decide(in_status("processing"), APPROVED, AT))
    intent, session, charge = decision.payment.intent, decision.payment.session, decision.payment.charge("ch_1")
    assert (intent.status, intent.amount_received, intent.amount_capturable) == ("succeeded", 1000, 0)
    assert charge is not None
    assert (charge.state, charge.amount_captured, charge.acquirer_reference) == ("approved", 1000, "bank_1")
    assert session is not None
    assert (session.status, session.payment_status, session.completed_at) == ("complete", "paid", AT)
    assert [entry.kind for entry in decision.entries] == ["charge"]
    assert events(decision) == ["charge.succeeded", "payment_intent.succeeded", "checkout.session.completed"]


def test_approval_with_manual_capture(in_status: Callable[[str], Payment]) -> None:
    payment = in_status("processing")
    payment = payment.having(replace(payment.charges[0], capture_method="manual"))
    decision = done(decide(payment, APPROVED, AT))
    intent, session = decision.payment.intent, decision.payment.session
    assert (intent.status, intent.amount_received, intent.amount_capturable) == ("requires_capture", 0, 1000)
    assert intent.capture_before_at == AT + timedelta(days=7)
    assert session is not None
    assert (session.status, session.payment_status) == ("complete", "unpaid")
    assert decision.entries == (), "an authorisation moves no money"
    assert events(decision) == [
        "charge.succeeded",
        "payment_intent.amount_capturable_updated",
        "checkout.session.completed",
    ]


def test_an_approval_told_twice_is_recorded_once(in_status: Callable[[str], Payment]) -> None:
    payment = tell(in_status("processing"), APPROVED)
    assert isinstance(decide(payment, APPROVED, AT), Refusal)
    assert isinstance(decide(payment, DECLINED, AT), Refusal), "nor is it a decline any more"


def test_a_decline_asks_for_another_card(in_status: Callable[[str], Payment]) -> None:
    decision = done(decide(in_status("processing"), DECLINED, AT))
    intent, charge = decision.payment.intent, decision.payment.charge("ch_1")
    assert (intent.status, intent.payment_method, intent.latest_charge) == ("requires_payment_method", None, "ch_1")
    assert intent.last_payment_error is not None
    error = msgspec.json.decode(intent.last_payment_error)
    assert (error["type"], error["code"], error["decline_code"]) == ("card_error", "card_declined", "generic_decline")
    assert (error["charge"], error["payment_method"]["id"]) == ("ch_1", "pm_1")
    assert charge is not None
    assert (charge.state, charge.failure_code, charge.decline_code) == ("declined", "card_declined", "generic_decline")
    assert decision.payment.live is None
    assert decision.payment.session is not None
    assert decision.payment.session.decline_count == 1
    assert events(decision) == ["charge.failed", "payment_intent.payment_failed"]


def test_another_card_may_be_tried_after_a_decline(in_status: Callable[[str], Payment], a_method: Card) -> None:
    payment = tell(in_status("processing"), DECLINED, Confirm(charge_id="ch_2", method=a_method(id="pm_2")))
    payment = tell(payment, replace(APPROVED, charge_id="ch_2"))
    assert payment.intent.status == "succeeded"
    assert payment.intent.last_payment_error is None


def test_ten_declines_in_one_session_look_like_card_testing(a_payment: Build, a_method: Card) -> None:
    """→ session expired, intent canceled, reason `automatic`."""
    payment = a_payment(session=True)
    for number in range(charging.DECLINES_PER_SESSION_MAX):
        assert payment.intent.status == "requires_payment_method"
        payment = tell(payment, Confirm(charge_id=f"ch_{number}", method=a_method()))
        decision = done(decide(payment, replace(DECLINED, charge_id=f"ch_{number}"), AT))
        payment = decision.payment
    assert (payment.intent.status, payment.intent.cancellation_reason) == ("canceled", "automatic")
    assert payment.session is not None
    assert payment.session.status == "expired"
    assert events(decision) == [
        "charge.failed",
        "payment_intent.payment_failed",
        "payment_intent.canceled",
        "checkout.session.expired",
    ]


def test_an_unknown_outcome_leaves_the_payment_processing(
    in_status: Callable[[str], Payment], confirm: Confirm
) -> None:
    """No new charge while one is unknown, and every other money command is refused."""
    decision = done(decide(in_status("processing"), OutcomeUnknown(charge_id="ch_1"), AT))
    payment = decision.payment
    assert payment.intent.status == "processing"
    assert payment.live is not None
    assert payment.live.state == "unknown"
    assert events(decision) == ["payment_intent.processing"]
    for told in (
        replace(confirm, charge_id="ch_2"),
        Capture(request_id="r"),
        Cancel(request_id="r"),
        ExpireSession(),
        CaptureWindowPassed(request_id="r"),
    ):
        refusal = decide(payment, told, AT)
        assert isinstance(refusal, Refusal)
        assert refusal.code == "payment_intent_unexpected_state"
    assert tell(payment, APPROVED).intent.status == "succeeded", "a refusal has no effect"
    assert tell(payment, DECLINED).intent.status == "requires_payment_method"


def test_what_never_left_may_be_confirmed_again(in_status: Callable[[str], Payment]) -> None:
    for status in ("processing", "requires_action"):
        decision = done(decide(in_status(status), ChargeNotSent(charge_id="ch_1"), AT))
        assert decision.payment.intent.status == "requires_confirmation"
        assert decision.payment.intent.payment_method == "pm_1"
        assert decision.payment.live is None
        assert decision.events == ()
        assert tell(decision.payment, Confirm(charge_id="ch_2")).live is not None


def test_3ds_goes_to_the_bank_first(a_payment: Build, confirm_3ds: Confirm) -> None:
    decision = done(decide(a_payment(), confirm_3ds, AT))
    assert decision.payment.intent.status == "requires_action"
    assert decision.payment.intent.latest_charge is None, "there is no charge for others to see yet"
    assert decision.send is not None
    assert decision.send.state == "authenticating"
    begun = ChallengeBegun(
        charge_id="ch_1", reference="r", url="https://bank.example/1", return_url="https://b.example"
    )
    decision = done(decide(decision.payment, begun, AT))
    assert events(decision) == ["payment_intent.requires_action"]
    assert decision.payment.intent.next_action is not None
    assert msgspec.json.decode(decision.payment.intent.next_action) == {
        "type": "redirect_to_url",
        "redirect_to_url": {"url": "https://bank.example/1", "return_url": "https://b.example"},
    }
    decision = done(decide(decision.payment, Authenticated(charge_id="ch_1"), AT))
    assert decision.payment.intent.status == "processing"
    assert decision.payment.intent.next_action is None
    assert decision.send is not None
    assert decision.send.state == "sent"
    assert isinstance(decide(decision.payment, Authenticated(charge_id="ch_1"), AT), Refusal), "sent once"
    assert tell(decision.payment, APPROVED).intent.status == "succeeded"


def test_3ds_that_fails_asks_for_another_card(in_status: Callable[[str], Payment]) -> None:
    decision = done(decide(in_status("requires_action"), NotAuthenticated(charge_id="ch_1"), AT))
    assert decision.payment.intent.status == "requires_payment_method"
    assert decision.payment.live is None
    assert decision.payment.intent.last_payment_error is not None
    error = msgspec.json.decode(decision.payment.intent.last_payment_error)
    assert error["code"] == "payment_intent_authentication_failure"
    assert events(decision) == ["payment_intent.payment_failed"]
    assert decision.payment.session is not None
    assert decision.payment.session.decline_count == 0


def test_another_card_ends_a_challenge(in_status: Callable[[str], Payment], a_method: Card) -> None:
    payment = tell(in_status("requires_action"), Confirm(charge_id="ch_2", method=a_method(id="pm_2")))
    assert payment.live is not None
    assert payment.live.id == "ch_2"
    for late in (Authenticated(charge_id="ch_1"), NotAuthenticated(charge_id="ch_1")):
        assert isinstance(decide(payment, late, AT), Refusal)


def test_a_caller_may_ask_to_fail_instead_of_3ds(a_payment: Build, confirm_3ds: Confirm) -> None:
    decision = done(decide(a_payment(), replace(confirm_3ds, error_on_requires_action=True), AT))
    assert decision.payment.intent.status == "requires_payment_method"
    assert decision.send is None
    assert decision.payment.charges == ()


def test_capture_is_a_row_before_it_is_a_call(in_status: Callable[[str], Payment]) -> None:
    decision = done(decide(in_status("requires_capture"), Capture(request_id="acr_1"), AT))
    request = decision.payment.open_request
    assert request is not None
    assert (request.kind, request.state, request.amount, request.final) == ("capture", "sent", 1000, True)
    assert decision.send == request
    assert decision.payment.intent.status == "requires_capture", "nothing is captured yet"
    decision = done(decide(decision.payment, Captured(request_id="acr_1", reference="bank_2"), AT))
    intent = decision.payment.intent
    assert (intent.status, intent.amount_received, intent.amount_capturable) == ("succeeded", 1000, 0)
    assert [(entry.kind, entry.reference) for entry in decision.entries] == [("capture", "capture:acr_1")]
    assert events(decision) == ["charge.captured", "payment_intent.succeeded"]
    assert decision.payment.session is not None
    assert decision.payment.session.payment_status == "paid"


def test_a_smaller_capture_releases_the_rest(in_status: Callable[[str], Payment]) -> None:
    payment = tell(
        in_status("requires_capture"),
        Capture(request_id="acr_1", amount=400),
        Captured(request_id="acr_1", reference="r"),
    )
    assert (payment.intent.status, payment.intent.amount_received) == ("succeeded", 400)


def test_over_capture_is_refused(in_status: Callable[[str], Payment]) -> None:
    refusal = decide(in_status("requires_capture"), Capture(request_id="acr_1", amount=1001), AT)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.param) == ("amount_too_large", "amount_to_capture")


def test_several_captures_where_the_account_allows_them(in_status: Callable[[str], Payment]) -> None:
    payment = in_status("requires_capture")
    part = Capture(request_id="acr_1", amount=300, final=False)
    assert isinstance(decide(payment, part, AT), Refusal)
    decision = done(
        decide(tell(payment, replace(part, several_allowed=True)), Captured(request_id="acr_1", reference="r"), AT)
    )
    intent = decision.payment.intent
    assert (intent.status, intent.amount_received, intent.amount_capturable) == ("requires_capture", 300, 700)
    assert events(decision) == ["charge.captured", "payment_intent.amount_capturable_updated"]
    last = tell(
        decision.payment, Capture(request_id="acr_2", amount=500), Captured(request_id="acr_2", reference="r")
    ).intent
    assert (last.status, last.amount_received) == ("succeeded", 800)
    whole = Capture(request_id="acr_2", amount=700, final=False, several_allowed=True)
    ended = tell(decision.payment, whole, Captured(request_id="acr_2", reference="r")).intent
    assert (ended.status, ended.amount_received) == ("succeeded", 1000), "nothing is left to capture"


def test_a_cancel_after_a_part_succeeds_with_the_part(in_status: Callable[[str], Payment]) -> None:
    payment = tell(
        in_status("requires_capture"),
        Capture(request_id="acr_1", amount=300, final=False, several_allowed=True),
        Captured(request_id="acr_1", reference="r"),
        Cancel(request_id="acr_2"),
    )
    assert payment.open_request is not None
    assert payment.open_request.amount == 700
    decision = done(decide(payment, Voided(request_id="acr_2", reference="r"), AT))
    assert (decision.payment.intent.status, decision.payment.intent.amount_received) == ("succeeded", 300)
    assert events(decision) == ["payment_intent.succeeded"]


def test_cancel_voids_first(in_status: Callable[[str], Payment]) -> None:
    decision = done(
        decide(in_status("requires_capture"), Cancel(request_id="acr_1", reason="requested_by_customer"), AT)
    )
    assert decision.payment.intent.status == "requires_capture"
    assert decision.send == decision.payment.open_request
    decision = done(decide(decision.payment, Voided(request_id="acr_1", reference="r"), LATER))
    intent, charge = decision.payment.intent, decision.payment.charge("ch_1")
    assert (intent.status, intent.cancellation_reason) == ("canceled", "requested_by_customer")
    assert (intent.canceled_at, intent.amount_capturable) == (LATER, 0)
    assert charge is not None
    assert charge.voided_at == LATER
    assert decision.entries == ()
    assert events(decision) == ["payment_intent.canceled"]


def test_the_capture_window_ends_by_itself(in_status: Callable[[str], Payment]) -> None:
    payment = in_status("requires_capture")
    assert isinstance(decide(payment, CaptureWindowPassed(request_id="acr_1"), AT), Refusal)
    assert isinstance(decide(payment, Capture(request_id="acr_1"), LATER), Refusal)
    payment = tell(payment, CaptureWindowPassed(request_id="acr_1"), at=LATER)
    decision = done(decide(payment, Voided(request_id="acr_1", reference="r"), LATER))
    assert (decision.payment.intent.status, decision.payment.intent.cancellation_reason) == ("canceled", "automatic")
    assert events(decision) == ["charge.expired", "payment_intent.canceled"]


@pytest.mark.parametrize("status", ["requires_payment_method", "requires_confirmation", "requires_action"])
@pytest.mark.parametrize(
    ("told", "reason"), [(Cancel(request_id="acr_1", reason="duplicate"), "duplicate"), (ExpireSession(), "abandoned")]
)
def test_cancel_and_expiry_end_intent_and_session_together(
    status: str, told: Any, reason: str, in_status: Callable[[str], Payment]
) -> None:
    decision = done(decide(in_status(status), told, AT))
    payment = decision.payment
    assert (payment.intent.status, payment.intent.cancellation_reason) == ("canceled", reason)
    assert payment.session is not None
    assert payment.session.status == "expired"
    assert payment.live is None
    assert decision.send is None
    assert events(decision) == ["payment_intent.canceled", "checkout.session.expired"]


def test_an_expired_session_takes_no_card(a_payment: Build, confirm: Confirm) -> None:
    refusal = decide(a_payment(session=True), confirm, AT + timedelta(hours=1))
    assert isinstance(refusal, Refusal)


def test_a_closed_session_cannot_be_expired(in_status: Callable[[str], Payment], a_payment: Build) -> None:
    for payment in (in_status("succeeded"), in_status("canceled"), in_status("requires_capture"), a_payment()):
        refusal = decide(payment, ExpireSession(), AT)
        assert isinstance(refusal, Refusal)
        assert refusal.code is None
    refusal = decide(in_status("processing"), ExpireSession(), AT)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "payment_intent_unexpected_state"


@pytest.mark.parametrize("manual", [False, True])
@pytest.mark.parametrize("status", ["canceled", "succeeded", "requires_payment_method"])
def test_an_approval_that_comes_too_late_is_returned(
    status: str, manual: bool, a_payment: Build, confirm: Confirm, a_method: Card
) -> None:
    """any | approval of a charge that is not the live one | unchanged | `reversing`, both ledger legs, own event."""
    payment = tell(a_payment(), confirm)
    stray = replace(payment.charges[0], state="declined", capture_method="manual" if manual else "automatic")
    payment = a_payment().having(a_method(), stray)
    payment = {
        "requires_payment_method": lambda: payment,
        "canceled": lambda: tell(payment, Cancel(request_id="acr_0")),
        "succeeded": lambda: tell(
            payment, Confirm(charge_id="ch_2", method=a_method()), replace(APPROVED, charge_id="ch_2")
        ),
    }[status]()
    decision = done(decide(payment, APPROVED, AT))
    charge = decision.payment.charge("ch_1")
    assert decision.payment.intent == payment.intent
    assert charge is not None
    assert charge.state == "reversing"
    assert decision.send == decision.payment.open_request
    assert events(decision) == ["charge.reversing"]
    entries = decision.entries

    not_sent = tell(decision.payment, RequestNotSent(request_id="acr_void"))
    assert not_sent.open_request is not None
    assert not_sent.open_request.state == "created", "it must happen: it stays to be sent"
    if status == "requires_payment_method":
        assert isinstance(decide(decision.payment, Cancel(request_id="acr_9"), AT), Refusal)

    decision = done(decide(decision.payment, Voided(request_id="acr_void", reference="r"), AT))
    charge = decision.payment.charge("ch_1")
    assert charge is not None
    assert (charge.state, charge.voided_at) == ("reversed", AT)
    assert decision.payment.intent == payment.intent
    assert events(decision) == ["charge.reversed"]
    entries = (*entries, *decision.entries)
    assert [entry.kind for entry in entries] == ([] if manual else ["charge", "void"])
    assert sum(amount for entry in entries for account, amount in entry.legs if account == "merchant_pending") == 0


def test_a_charge_that_was_given_up_is_never_kept(in_status: Callable[[str], Payment]) -> None:
    """RULES §3: once its reversal has begun, an approval is returned, whichever of the two is learnt first."""
    given_up = tell(in_status("processing"), OutcomeUnknown(charge_id="ch_1"), ReversalBegun(charge_id="ch_1"))
    assert given_up.intent.status == "processing", "until the bank confirms, nothing else may start"
    assert tell(given_up, ReversalBegun(charge_id="ch_1")) == given_up, "begun again after a confirmation that was lost"

    approved = done(decide(given_up, APPROVED, AT))
    assert events(approved) == ["charge.reversing", "payment_intent.payment_failed"]
    assert approved.payment.intent.status == "requires_payment_method"
    assert [entry.kind for entry in approved.entries] == ["charge"]
    assert approved.send is not None
    returned = done(decide(approved.payment, Voided(request_id="acr_void", reference="r"), AT))
    assert [entry.kind for entry in returned.entries] == ["void"]
    assert returned.payment.charges[0].state == "reversed"

    failed = tell(given_up, DECLINED)
    assert failed.intent.status == "requires_payment_method"
    late = done(decide(failed, APPROVED, AT))
    assert events(late) == ["charge.reversing"]
    assert late.payment.intent == failed.intent
    assert isinstance(decide(in_status("processing"), ReversalBegun(charge_id="ch_1"), AT), Refusal), "it is just sent"


def test_a_late_approval_that_cannot_be_voided_is_refunded(
    in_status: Callable[[str], Payment], confirm: Confirm
) -> None:
    """RULES §3: voided or refunded at once; when neither is taken, it is asked for until a person has looked at it."""
    canceled = tell(in_status("processing"), DECLINED, Cancel(request_id="acr_0"))
    late = tell(canceled, APPROVED)
    refused = done(decide(late, RequestRefused(request_id="acr_void", refusal="too late", follow_id="acr_re"), AT))
    assert refused.send is not None
    assert (refused.send.id, refused.send.state) == ("acr_re", "sent")
    refund = refused.payment.request("acr_re")
    assert refund is not None
    assert (refund.kind, refund.amount) == ("refund", 1000)
    done_ = done(decide(refused.payment, Refunded(request_id="acr_re", reference="r", refund_id="re_9"), AT))
    assert [(entry.kind, entry.legs) for entry in done_.entries] == [
        ("void", (("acquirer_receivable", -1000), ("merchant_pending", 1000)))
    ]
    assert done_.payment.charges[0].state == "reversed"
    stuck = tell(refused.payment, RequestRefused(request_id="acr_re", refusal="no", follow_id="acr_x"))
    left = stuck.request("acr_re")
    assert left is not None
    assert left.state == "unknown"


def test_what_never_left_is_sent_again_once(in_status: Callable[[str], Payment]) -> None:
    late = tell(tell(in_status("processing"), DECLINED, Cancel(request_id="acr_0")), APPROVED)
    waits = tell(late, RequestNotSent(request_id="acr_void"))
    sent = done(decide(waits, Resend(request_id="acr_void"), AT))
    assert sent.send is not None
    assert sent.send.state == "sent"
    assert isinstance(decide(sent.payment, Resend(request_id="acr_void"), AT), Refusal)


@pytest.mark.parametrize("command", [Capture(request_id="acr_1"), Cancel(request_id="acr_1")])
def test_while_a_capture_or_void_is_open_nothing_else_is_taken(
    command: Any, in_status: Callable[[str], Payment]
) -> None:
    payment = tell(in_status("requires_capture"), command)
    for state in (payment, tell(payment, RequestUnknown(request_id="acr_1"))):
        for other in (Capture(request_id="acr_2"), Cancel(request_id="acr_2"), CaptureWindowPassed(request_id="acr_2")):
            refusal = decide(state, other, LATER)
            assert isinstance(refusal, Refusal)
            assert refusal.code == "payment_intent_unexpected_state"
    for ended in (
        RequestRefused(request_id="acr_1", refusal="no", follow_id="acr_9"),
        RequestNotSent(request_id="acr_1"),
    ):
        free = tell(payment, ended)
        assert free.intent == payment.intent
        assert isinstance(decide(free, Capture(request_id="acr_2"), AT), Decision)
        assert isinstance(decide(free, ended, AT), Refusal), "told twice"


@pytest.mark.parametrize("command", [Capture(request_id="acr_1"), Cancel(request_id="acr_1")])
def test_that_one_try_did_not_arrive_says_nothing_of_another(command: Any, in_status: Callable[[str], Payment]) -> None:
    """Whoever sent it comes back late: it was taken for unknown meanwhile, and may have been sent again."""
    unknown = tell(in_status("requires_capture"), command, RequestUnknown(request_id="acr_1"))
    assert isinstance(decide(unknown, RequestNotSent(request_id="acr_1"), AT), Refusal)


def test_money_commands_are_all_commands_but_update() -> None:
    assert set(machine.MONEY_COMMANDS) == {
        Confirm,
        Capture,
        Cancel,
        CreateRefund,
        ExpireSession,
        CaptureWindowPassed,
    }
