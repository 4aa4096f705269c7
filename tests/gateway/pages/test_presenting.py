"""What the payment page shows for a session's records (RULES §3, §9). Pure."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from tallystick.gateway.checkout.results import SessionPage
from tallystick.gateway.checkout.session import CheckoutSession
from tallystick.gateway.pages.locale import FALLBACK
from tallystick.gateway.pages.presenting import bank_url, followable, order_of, problem_of, standing
from tallystick.gateway.payments.payment import PaymentIntent

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
SESSION = CheckoutSession(
    account_id="acct_1",
    livemode=False,
    id="cs_test_1",
    version=0,
    status="open",
    payment_status="unpaid",
    amount_total=2500,
    currency="EUR",
    line_items='[{"name": "Tea", "amount": 500, "quantity": 5}]',
    ui_mode="hosted_page",
    expires_at=AT + timedelta(minutes=30),
    created_at=AT,
)
INTENT = PaymentIntent(
    account_id="acct_1",
    livemode=False,
    id="pi_1",
    version=0,
    status="requires_payment_method",
    amount=2500,
    currency="EUR",
    capture_method="automatic",
    client_secret="pi_1_secret_1",
    created_at=AT,
)


def shown(*, session_status: str = "open", intent_status: str = "requires_payment_method") -> SessionPage:
    return SessionPage(
        replace(SESSION, status=session_status), replace(INTENT, status=intent_status), "Northwind Books", ()
    )


@pytest.mark.parametrize(
    ("session_status", "intent_status", "shows"),
    [
        ("open", "requires_payment_method", "open"),
        ("open", "requires_action", "challenge"),
        ("open", "processing", "processing"),
        ("complete", "succeeded", "complete"),
        ("complete", "requires_capture", "complete"),
        ("expired", "canceled", "expired"),
    ],
)
def test_the_state_decides_what_is_shown(session_status: str, intent_status: str, shows: str) -> None:
    assert standing(shown(session_status=session_status, intent_status=intent_status), AT) == shows


def test_past_its_time_an_open_session_asks_for_no_card() -> None:
    """The worker that expires it may be a moment behind."""
    later = SESSION.expires_at
    assert standing(shown(), later) == "expired"
    assert standing(shown(intent_status="requires_action"), later) == "expired"
    assert standing(shown(intent_status="processing"), later) == "processing", "its outcome is still to be seen"


def test_positions_and_total_are_ready_to_read() -> None:
    order = order_of(shown(), FALLBACK)
    assert (order.merchant, order.total) == ("Northwind Books", "€25.00")
    assert [(line.name, line.amount, line.quantity, line.each) for line in order.lines] == [
        ("Tea", "€25.00", 5, "€5.00")
    ]


def test_the_merchants_address_gets_the_sessions_id() -> None:
    url = "https://shop.example/thanks?session={CHECKOUT_SESSION_ID}"
    assert followable(SESSION, url) == "https://shop.example/thanks?session=cs_test_1"


@pytest.mark.parametrize("url", [None, "", "javascript:alert(1)", "data:text/html,x", "//shop.example", "https://[x"])
def test_a_browser_is_sent_to_web_addresses_only(url: str | None) -> None:
    assert followable(SESSION, url) is None


def test_the_banks_address_stands_in_the_next_action() -> None:
    action = '{"type": "redirect_to_url", "redirect_to_url": {"url": "https://bank.example/acs/1"}}'
    asked = SessionPage(SESSION, replace(INTENT, next_action=action), "Northwind Books", ())
    assert bank_url(asked) == "https://bank.example/acs/1"
    assert bank_url(shown()) is None


@pytest.mark.parametrize("code", ["lost_card", "stolen_card", "fraudulent", "never_heard_of"])
def test_what_the_bank_keeps_to_itself_stays_unsaid(code: str) -> None:
    error = f'{{"code": "card_declined", "decline_code": "{code}"}}'
    problem = problem_of(SessionPage(SESSION, replace(INTENT, last_payment_error=error), "Northwind Books", ()))
    assert problem is not None
    assert problem.heading == "Your card was declined"
    assert "did not say why" in problem.text


def test_without_a_decline_there_is_no_problem() -> None:
    assert problem_of(shown()) is None
