"""From the records of a session to what its page says. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec
from babel import Locale

from tallystick.gateway.checkout.results import SessionPage
from tallystick.gateway.checkout.session import CheckoutSession
from tallystick.gateway.pages import wording
from tallystick.gateway.pages.views import Line, Notice, Order
from tallystick.gateway.stripe_wire.currencies import exponent
from tallystick.kernel.money import display


def standing(found: SessionPage, at: datetime) -> str:
    """What the page shows: open, challenge, processing, complete or expired. Pure."""
    session, intent = found.session, found.intent
    if session.status != "open":
        return session.status
    if intent.status == "processing":
        return "processing"
    if session.expires_at <= at:
        return "expired"  # the worker that expires sessions may be a moment behind
    if intent.status == "requires_action":
        return "challenge"
    return "open"


def order_of(found: SessionPage, locale: Locale) -> Order:
    """What is paid, as the shopper reads it."""
    session = found.session
    decimals = exponent(session.currency)

    def text(amount_minor: int) -> str:
        return display(amount_minor, session.currency, decimals, locale)

    lines: Sequence[dict[str, Any]] = msgspec.json.decode(session.line_items)
    return Order(
        merchant=found.merchant,
        total=text(session.amount_total),
        lines=tuple(
            Line(line["name"], text(line["amount"] * line["quantity"]), line["quantity"], text(line["amount"]))
            for line in lines
        ),
    )


def saving(found: SessionPage) -> str:
    """Whether a card that is typed is saved: `asked` by a box to tick, `told` because the merchant asks for it, or not
    at all (empty)."""
    if not found.can_save:
        return ""
    if found.intent.setup_future_usage is not None:
        return "told"
    return "asked" if found.session.saves_card else ""


def bank_url(found: SessionPage) -> str | None:
    """Where the bank waits for the shopper, from the intent's `next_action`."""
    if found.intent.next_action is None:
        return None
    action: dict[str, Any] = msgspec.json.decode(found.intent.next_action)
    url = action.get("redirect_to_url", {}).get("url")
    return url if isinstance(url, str) and _is_web(url) else None


def problem_of(found: SessionPage) -> wording.Problem | None:
    """What became of the last card, if it was refused."""
    if found.intent.last_payment_error is None:
        return None
    return wording.decline_problem(msgspec.json.decode(found.intent.last_payment_error))


def followable(session: CheckoutSession, url: str | None) -> str | None:
    """The merchant's URL with the session's id filled in; None for anything but http and https."""
    if url is None or not _is_web(url):
        return None
    return url.replace("{CHECKOUT_SESSION_ID}", session.id)


def received(merchant: str, link: str | None, *, to_top: bool = False) -> Notice:
    """Paid; `link` leads back to the merchant."""
    return Notice(
        sign="done",
        heading="Payment received",
        text=f"Thank you. We are taking you back to {merchant}." if link else f"Thank you. {merchant} has been told.",
        total_label="Paid",
        link=link,
        link_text=f"Return to {merchant}",
        to_top=to_top,
    )


def expired(found: SessionPage) -> Notice:
    """Too late to pay here."""
    return Notice(
        sign="stopped",
        heading="This payment page has expired",
        text=f"Nothing was charged. Go back to {found.merchant} to start again.",
        link=followable(found.session, found.session.cancel_url),
        link_text=f"Return to {found.merchant}",
    )


def processing(path: str) -> Notice:
    """The outcome is not known yet."""
    return Notice(
        sign="waiting",
        heading="One moment please",
        text="Your bank has not answered yet. This page looks again by itself; you cannot be charged twice.",
        total_label="Amount",
        other_link=path,
        other_link_text="Look again now",
    )


def to_bank(url: str, path: str) -> Notice:
    """On the way to the bank at `url`; `path` is the way to pay with another card instead."""
    return Notice(
        sign="waiting",
        heading="Taking you to your bank",
        text="It asks you to confirm this payment, and then sends you back here.",
        link=url,
        link_text="Continue to your bank",
        other_link=path,
        other_link_text="Pay with another card",
    )


def _is_web(url: str) -> bool:
    try:
        return urlsplit(url).scheme in ("http", "https")
    except ValueError:
        return False
