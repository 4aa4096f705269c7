"""The objects of the wire have members that the pinned `stripe` package knows, and all it relies on (DESIGN §5)."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import msgspec
import pytest
import stripe
from stripe._api_version import _ApiVersion

from tallystick.gateway.balance.payout import Payout
from tallystick.gateway.balance.transactions import BalanceTransaction
from tallystick.gateway.checkout.session import CheckoutSession
from tallystick.gateway.payments.payment import Charge, Dispute, PaymentIntent, PaymentMethod, Refund
from tallystick.gateway.reporting.run import Run
from tallystick.gateway.stripe_wire import (
    balance_objects,
    checkout_objects,
    expanding,
    objects,
    report_objects,
    webhook_objects,
)
from tallystick.gateway.stripe_wire.errors import InvalidRequest
from tallystick.gateway.stripe_wire.line_items import line_items

AT = datetime(2027, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
INTENT = PaymentIntent(
    account_id="acct_1",
    livemode=False,
    id="pi_1",
    version=1,
    status="requires_capture",
    amount=2000,
    currency="EUR",
    capture_method="manual",
    client_secret="pi_1_secret_x",
    created_at=AT,
    metadata='{"order": "17"}',
    last_payment_error='{"code": "card_declined", "message": "No.", "type": "card_error"}',
    next_action='{"type": "redirect_to_url", "redirect_to_url": {"url": "https://a.example", "return_url": null}}',
    capture_before_at=AT + timedelta(days=7),
)
METHOD = PaymentMethod(
    account_id="acct_1",
    livemode=False,
    id="pm_1",
    card_reference="card_1",
    brand="visa",
    first6="424242",
    last4="4242",
    exp_month=12,
    exp_year=2030,
    fingerprint="f",
    authentication_required=False,
    created_at=AT,
)
CHARGE = Charge(
    account_id="acct_1",
    livemode=False,
    id="ch_1",
    version=1,
    payment_intent="pi_1",
    payment_method="pm_1",
    state="approved",
    amount=2000,
    currency="EUR",
    capture_method="manual",
    acquirer_key="k",
    amount_authorised=2000,
    created_at=AT,
)
REFUND = Refund(
    account_id="acct_1",
    livemode=False,
    id="re_1",
    version=1,
    payment_intent="pi_1",
    charge="ch_1",
    status="failed",
    amount=500,
    currency="EUR",
    created_at=AT,
    failure_reason="expired_or_canceled_card",
    reference="bank_1",
)
SESSION = CheckoutSession(
    account_id="acct_1",
    livemode=False,
    id="cs_test_1",
    version=1,
    status="open",
    payment_status="unpaid",
    amount_total=1500,
    currency="EUR",
    line_items='[{"name": "Tea", "amount": 500, "quantity": 3}]',
    ui_mode="hosted_page",
    expires_at=AT + timedelta(hours=24),
    created_at=AT,
    success_url="https://shop.example",
    client_secret="cs_test_1_secret_x",
)


def sent(shaped: dict[str, Any]) -> dict[str, Any]:
    """The object as it crosses the wire."""
    crossed: dict[str, Any] = json.loads(msgspec.json.encode(shaped))
    return crossed


EVENT = webhook_objects.event(
    id="evt_1",
    livemode=False,
    type="payment_intent.created",
    object=json.dumps(sent(objects.payment_intent(INTENT))),
    created_at=AT,
)
ENDPOINT = webhook_objects.webhook_endpoint(
    id="we_1",
    livemode=False,
    url="https://a.example",
    status="enabled",
    enabled_events=["*"],
    created_at=AT,
    secret="whsec_x",
)
TRANSACTION = BalanceTransaction(
    account_id="acct_1",
    livemode=False,
    id="txn_1",
    kind="charge",
    currency="EUR",
    net=1945,
    fee=55,
    source="ch_1",
    available_at=AT,
    created_at=AT,
)
DISPUTE = Dispute(
    account_id="acct_1",
    livemode=False,
    id="dp_1",
    version=0,
    payment_intent="pi_1",
    charge="ch_1",
    reference="d",
    status="needs_response",
    amount=2000,
    currency="EUR",
    reason="fraudulent",
    brand="visa",
    created_at=AT,
    evidence_due_at=AT,
    evidence='{"uncategorized_text": "x"}',
)
MADE = Payout(
    account_id="acct_1",
    livemode=False,
    id="po_1",
    currency="EUR",
    day=AT.date(),
    amount=5,
    status="pending",
    arrival_at=AT,
    created_at=AT,
)
RUN = Run(
    account_id="acct_1",
    livemode=False,
    id="frr_1",
    report_type="payout_reconciliation.itemized.5",
    parameters="{}",
    currency="EUR",
    columns=[],
    reports=[],
    last_day=AT.date(),
    status="succeeded",
    created_at=AT,
    file="file_1",
    size_bytes=1,
    manifest="{}",
    succeeded_at=AT,
)
SHAPES = [
    (report_objects.report_run(RUN, "https://pay.example"), stripe.reporting.ReportRun),
    (report_objects.file(RUN, "https://pay.example"), stripe.File),
    (report_objects.report_type("a.b.5", AT, ["x"], livemode=False), stripe.reporting.ReportType),
    (balance_objects.payout(MADE, None), stripe.Payout),
    (balance_objects.dispute(DISPUTE), stripe.Dispute),
    (balance_objects.dispute(DISPUTE)["evidence_details"], stripe.Dispute.EvidenceDetails),
    (balance_objects.dispute(DISPUTE)["evidence"], stripe.Dispute.Evidence),
    (balance_objects.dispute(DISPUTE)["payment_method_details"]["card"], stripe.Dispute.PaymentMethodDetails.Card),
    (balance_objects.balance_transaction(TRANSACTION, AT), stripe.BalanceTransaction),
    (balance_objects.balance_transaction(TRANSACTION, AT)["fee_details"][0], stripe.BalanceTransaction.FeeDetail),
    (balance_objects.balance([{"currency": "EUR", "available": 1, "pending": 2}], livemode=False), stripe.Balance),
    (objects.payment_intent(INTENT), stripe.PaymentIntent),
    (objects.charge(CHARGE, METHOD, INTENT), stripe.Charge),
    (objects.charge(CHARGE, METHOD, INTENT)["payment_method_details"]["card"], stripe.Charge.PaymentMethodDetails.Card),
    (objects.charge(CHARGE, METHOD, INTENT)["outcome"], stripe.Charge.Outcome),
    (objects.refund(REFUND), stripe.Refund),
    (objects.refund(REFUND)["destination_details"]["card"], stripe.Refund.DestinationDetails.Card),
    (objects.payment_method(METHOD), stripe.PaymentMethod),
    (objects.payment_method(METHOD)["card"], stripe.PaymentMethod.Card),
    (checkout_objects.checkout_session(SESSION, "https://pay.example"), stripe.checkout.Session),
    (line_items(SESSION)[0], stripe.LineItem),
    (line_items(SESSION)[0]["price"], stripe.Price),
    (EVENT, stripe.Event),
    (ENDPOINT, stripe.WebhookEndpoint),
]


def test_the_version_is_that_of_the_pinned_package() -> None:
    assert _ApiVersion.CURRENT == objects.API_VERSION


@pytest.mark.parametrize(("shaped", "known"), SHAPES, ids=lambda value: getattr(value, "__qualname__", ""))
def test_members_are_those_of_the_pinned_package(shaped: dict[str, Any], known: Any) -> None:
    annotations = known.__annotations__
    needed = {name for name, hint in annotations.items() if type(None) not in get_args(hint) and name.islower()}
    shown = set(sent(shaped))
    assert shown <= set(annotations), "nothing that Stripe does not have"
    assert needed <= shown, "all that the package relies on"


def test_an_intent_in_numbers_and_words() -> None:
    intent = sent(objects.payment_intent(INTENT))
    assert (intent["currency"], intent["created"], intent["metadata"]) == ("eur", int(AT.timestamp()), {"order": "17"})
    assert intent["last_payment_error"]["code"] == "card_declined"
    assert intent["next_action"]["redirect_to_url"]["url"] == "https://a.example"


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"state": "approved"}, {"status": "succeeded", "paid": True, "captured": False, "refunded": False}),
        ({"state": "approved", "amount_captured": 2000}, {"captured": True, "amount_captured": 2000}),
        ({"state": "approved", "voided_at": AT}, {"refunded": True, "amount_refunded": 2000, "captured": False}),
        (
            {"state": "declined", "decline_code": "lost_card", "failure_code": "card_declined"},
            {"status": "failed", "paid": False},
        ),
        ({"state": "unknown"}, {"status": "pending", "outcome": None}),
        ({"state": "sent"}, {"status": "pending", "outcome": None}),
    ],
)
def test_a_charge_in_each_state(changes: dict[str, Any], shown: dict[str, Any]) -> None:
    charge = sent(objects.charge(msgspec.structs.replace(CHARGE, **changes), METHOD, INTENT))
    assert charge == charge | shown


def test_a_card_shows_neither_its_reference_nor_its_first_digits() -> None:
    """RULES §9: what may be shown of a card."""
    for shaped in (objects.payment_method(METHOD), objects.charge(CHARGE, METHOD, INTENT)):
        text = json.dumps(sent(shaped))
        assert "card_1" not in text
        assert "424242" not in text


def test_a_hosted_session_has_a_url_while_it_is_open() -> None:
    hosted = checkout_objects.checkout_session(SESSION, "https://pay.example")
    assert (hosted["url"], hosted["client_secret"]) == ("https://pay.example/pay/cs_test_1", None)
    closed = checkout_objects.checkout_session(
        msgspec.structs.replace(SESSION, status="expired"), "https://pay.example"
    )
    assert closed["url"] is None
    embedded = checkout_objects.checkout_session(
        msgspec.structs.replace(SESSION, ui_mode="embedded_page"), "https://pay.example"
    )
    assert (embedded["url"], embedded["client_secret"]) == (None, "cs_test_1_secret_x")


def test_line_items_add_up() -> None:
    [item] = line_items(SESSION)
    assert (item["amount_total"], item["quantity"], item["price"]["unit_amount"]) == (1500, 3, 500)
    assert item["description"] == "Tea"


@pytest.mark.parametrize(
    ("kind", "paths", "listed"),
    [
        ("payment_intent", ["latest_charge.payment_method", "latest_charge.balance_transaction", "customer"], False),
        ("payment_intent", ["data.latest_charge.payment_intent.latest_charge.payment_method"], True),
        ("checkout.session", ["line_items", "payment_intent.latest_charge"], False),
        ("charge", ["balance_transaction.source"], False),
    ],
)
def test_what_may_be_expanded(kind: str, paths: list[str], listed: bool) -> None:
    expanding.checked(kind, paths, listed=listed)


@pytest.mark.parametrize(
    ("kind", "path", "listed"),
    [
        ("payment_intent", "amount", False),
        ("payment_intent", "", False),
        ("payment_intent", "data.latest_charge", False),
        ("payment_intent", "latest_charge", True),
        ("payment_intent", "data", True),
        ("payment_intent", "latest_charge.payment_intent.latest_charge.payment_intent.latest_charge", False),
        ("payment_intent", "latest_charge..", False),
        ("payment_intent", "a" * 300, False),
        ("event", "data", False),
    ],
)
def test_what_may_not_be_expanded(kind: str, path: str, listed: bool) -> None:
    with pytest.raises(InvalidRequest):
        expanding.checked(kind, [path], listed=listed)
    with pytest.raises(InvalidRequest):
        expanding.checked("payment_intent", ["customer"] * 100)
