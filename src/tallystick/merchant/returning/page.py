"""The return page: what it shows for an order, and where it sends the shopper. Pure. Plain HTML, no script at all."""

from html import escape
from typing import Final

from msgspec import Struct

from tallystick.kernel.money import display, exponent
from tallystick.kernel.page_headers import document_headers
from tallystick.merchant.orders.state import OrderState
from tallystick.merchant.orders.view import OrderView

REFRESH_S: Final = 2  # while the gateway works on it; most payments are known at once
REFRESH_SLOW_S: Final = 15  # for a page that was left open
REFRESHES_MAX: Final = 30  # a minute of quick ones

STYLE: Final = """
:root{color-scheme:light dark;--ink:#1d1c19;--soft:#615d55;--paper:#fff;--rule:#e2ddd1;--accent:#0b6a4a;
--on-accent:#fff}
@media(prefers-color-scheme:dark){:root{--ink:#f2f0ea;--soft:#aba79c;--paper:#151513;--rule:#34322d;--accent:#63d0a2;
--on-accent:#06241a}}
*{box-sizing:border-box}
body{margin:0;min-height:100svh;display:grid;place-items:center;background:var(--paper);color:var(--ink);
font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;overflow-wrap:anywhere}
main{width:min(26rem,100%);padding:2rem 1.5rem;text-align:center}
h1{font-size:1.5rem;line-height:1.25;margin:0 0 .5rem}
p{margin:.5rem 0;color:var(--soft)}
.amount{font-size:1.25rem;color:var(--ink);font-variant-numeric:tabular-nums;margin:1.25rem 0}
.button{display:inline-block;margin-top:1rem;padding:.75rem 1.5rem;border-radius:.5rem;background:var(--accent);
color:var(--on-accent);text-decoration:none;font-weight:600}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
small{display:block;margin-top:2rem;padding-top:1rem;border-top:1px solid var(--rule);color:var(--soft)}
"""
HEADERS: Final = document_headers(STYLE)


class Visit(Struct, frozen=True):
    """How the shopper comes: by pressing back at the gateway, and how often the page has refreshed itself."""

    cancelled: bool = False
    refreshes: int = 0


class Page(Struct, frozen=True):
    """What is sent back: either a way on, or a page."""

    location: str | None
    html: str


_WORDS: dict[OrderState, tuple[str, str]] = {
    "PAID": ("Payment received", "Thank you. Your payment has arrived."),
    "PENDING": ("Confirming your payment", "This takes a moment. The page looks again by itself."),
    "FAILED": ("Payment declined", "Your bank declined the payment. Nothing was taken."),
    "EXPIRED": ("The time to pay is over", "Nothing was paid in time."),
    "CANCELED": ("Order canceled", "This order cannot be paid any more."),
}


_REFUSED: Final = ("Paid too late", "The time for this order was over. Your money goes back to you.")


def page(order: OrderView, merchant_name: str, visit: Visit) -> Page:
    """The page for an order as it stands now. A final state leads back to the shop, where the order names an
    address.
    """
    way_back = _way_back(order, visit)
    if way_back is not None:
        return Page(way_back, "")
    heading, text = _WORDS[order.state] if order.fulfilment != "refused" else _REFUSED
    link = None
    refresh = None
    if order.state == "PENDING":
        charging = any(charge.status == "pending" for attempt in order.attempts for charge in attempt.charges)
        if order.redirect_url is not None and not charging:
            heading, text = "Not paid yet", "If you have just paid, wait a moment: the page looks again by itself."
            link = order.redirect_url
        refresh = REFRESH_S if visit.refreshes < REFRESHES_MAX else REFRESH_SLOW_S
    return Page(None, _html(order, merchant_name, heading, text, link, refresh, visit.refreshes + 1))


def not_found() -> str:
    """The page for an address that belongs to no order."""
    return _document("No such order", "<h1>No such order</h1><p>Check the address that the shop gave you.</p>", None, 0)


def unavailable() -> str:
    """The page while the database is away."""
    text = "<h1>One moment</h1><p>We cannot look at your order right now. The page tries again by itself.</p>"
    return _document("One moment", text, REFRESH_SLOW_S, 0)


def _way_back(order: OrderView, visit: Visit) -> str | None:
    if order.state == "PAID":
        return order.return_url if order.fulfilment != "refused" else order.cancel_url
    if order.state != "PENDING" or visit.cancelled:
        return order.cancel_url
    return None


def _html(
    order: OrderView, merchant_name: str, heading: str, text: str, link: str | None, refresh: int | None, number: int
) -> str:
    amount = display(order.amount, order.currency, exponent(order.currency), "en")
    parts = [
        f"<h1>{escape(heading)}</h1>",
        f'<p role="status">{escape(text)}</p>',
        f'<p class="amount"><bdi>{escape(amount)}</bdi></p>',
    ]
    if link is not None:
        parts.append(f'<p><a class="button" href="{escape(link)}">Continue to payment</a></p>')
    elif order.state in ("FAILED", "EXPIRED", "CANCELED"):
        parts.append("<p>Go back to the shop to order again.</p>")
    parts.append(f"<small>{escape(merchant_name)}</small>")
    return _document(heading, "".join(parts), refresh, number)


def _document(title: str, inner: str, refresh: int | None, number: int) -> str:
    again = f'<meta http-equiv="refresh" content="{refresh};url=?refreshes={number}">' if refresh else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">'
        f"{again}<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><main>{inner}</main></body></html>"
    )
