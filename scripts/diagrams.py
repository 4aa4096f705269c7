"""Draws docs/diagrams/*.svg from the descriptions below: `make diagrams`. A test compares them with what is committed.

Plain SVG: no script, no font, nothing from elsewhere; light or dark as the reader's system is; each says in words what
it shows. An arrow of a machine is called by the command or answer in the code; a test holds it against the table.
"""

import sys
from collections.abc import Sequence
from html import escape
from math import hypot
from pathlib import Path

from msgspec import Struct

STYLE = """
text{font:14px system-ui,sans-serif;fill:#1b1f24;text-anchor:middle;dominant-baseline:middle}
.small{font-size:12px;fill:#4a5560;paint-order:stroke;stroke:#ffffff;stroke-width:4px}.left{text-anchor:start}
rect{fill:#eef2f6;stroke:#5b6b7b;stroke-width:1.2}.end{fill:#dcebdc}.paper{fill:#ffffff;stroke:none}
path{fill:none;stroke:#5b6b7b;stroke-width:1.3}.life{stroke-dasharray:3 4;stroke:#9aa7b4}.head{fill:#5b6b7b;stroke:none}
@media(prefers-color-scheme:dark){text{fill:#e6e9ec}.small{fill:#aeb8c2;stroke:#15191e}rect{fill:#27303a;stroke:#8796a5}.end{fill:#26402c}
.paper{fill:#15191e}path{stroke:#8796a5}.head{fill:#8796a5}}
"""

BOX_W, BOX_H = 190, 36
COLUMN, ROW = 300, 110


class Arrow(Struct, frozen=True):
    """From one box to another. `bend` moves its middle aside, in pixels to the left of its way."""

    source: str
    target: str
    label: str
    bend: int = 0


class Machine(Struct, frozen=True):
    """Boxes by column and row, with arrows between them; those in `ends` are not left."""

    title: str
    sentence: str
    places: dict[str, tuple[float, float]]
    arrows: tuple[Arrow, ...]
    ends: frozenset[str] = frozenset()


class Dialogue(Struct, frozen=True):
    """Who tells whom what, from top to bottom. A step from somebody to the same is what they do themselves."""

    title: str
    sentence: str
    actors: tuple[str, ...]
    steps: tuple[tuple[str, str, str], ...]


S, M, G, A = "Shopper", "Merchant service", "Gateway", "Acquirer"

PAYMENT = Dialogue(
    "How a payment flows",
    "The shopper buys, pays on the gateway's page and comes back; a signed webhook tells the merchant service.",
    (S, M, G, A),
    (
        (S, M, "buy"),
        (M, M, "order PENDING, committed"),
        (M, G, "open a session, key order:id:attempt"),
        (G, M, "session, address of its page"),
        (M, S, "redirect"),
        (S, G, "card, on the gateway's own page"),
        (G, G, "charge row, committed"),
        (G, A, "charge, under our key"),
        (A, G, "approved"),
        (G, G, "payment, ledger, event, deliveries: one commit"),
        (G, S, "back to the shop"),
        (G, M, "webhook, signed, until it is answered"),
        (M, M, "inbox, facts, order PAID, timeline: one commit"),
        (M, G, "200"),
    ),
)

ORDER = Machine(
    "States of an order",
    "An order begins PENDING and becomes PAID, FAILED, EXPIRED or CANCELED. The last three may be paid again.",
    {"PENDING": (0, 1), "PAID": (2, 1), "FAILED": (1, 0), "EXPIRED": (1, 2), "CANCELED": (0, 2.6)},
    (
        Arrow("PENDING", "PAID", "an attempt succeeded, with the order's amount"),
        Arrow("PENDING", "FAILED", "declined too often", 14),
        Arrow("FAILED", "PENDING", "pay again", 14),
        Arrow("PENDING", "EXPIRED", "time is over, closed", -14),
        Arrow("EXPIRED", "PENDING", "pay again", -14),
        Arrow("PENDING", "CANCELED", "the shop cancels"),
        Arrow("FAILED", "PAID", "late money", -10),
        Arrow("EXPIRED", "PAID", "late money", 10),
    ),
    frozenset({"PAID"}),
)

INTENT = Machine(
    "Statuses of a payment intent",
    "From requires_payment_method over confirmation, action and processing to succeeded, or to requires_capture and "
    "then succeeded; canceled where it is given up. A decline leads back to requires_payment_method.",
    {
        "requires_payment_method": (0, 0),
        "requires_confirmation": (1, 0),
        "requires_action": (2, 0),
        "processing": (1, 1),
        "requires_capture": (2, 1),
        "succeeded": (1, 2),
        "canceled": (2, 2),
    },
    (
        Arrow("requires_payment_method", "requires_confirmation", "Update"),
        Arrow("requires_payment_method", "processing", "Confirm", 12),
        Arrow("requires_confirmation", "requires_action", "Confirm, 3DS"),
        Arrow("requires_confirmation", "processing", "Confirm"),
        Arrow("requires_action", "processing", "Authenticated"),
        Arrow("processing", "requires_payment_method", "Declined", 12),
        Arrow("processing", "requires_capture", "Approved, manual"),
        Arrow("processing", "succeeded", "Approved"),
        Arrow("requires_capture", "succeeded", "Captured"),
        Arrow("requires_capture", "canceled", "Voided"),
    ),
    frozenset({"succeeded", "canceled"}),
)

WEBHOOK = Machine(
    "The life of a delivery",
    "A delivery is due, is tried, and is delivered by a 2xx. Anything else makes it due again; after the last try "
    "it is a dead letter, which a redrive makes due. A disabled endpoint's deliveries are held.",
    {"due": (0, 1), "being tried": (1, 1), "delivered": (2, 1), "dead": (1, 2), "held": (0, 2)},
    (
        Arrow("due", "being tried", "claimed", 12),
        Arrow("being tried", "due", "not 2xx", 12),
        Arrow("being tried", "delivered", "2xx"),
        Arrow("being tried", "dead", "last try failed"),
        Arrow("dead", "due", "redrive", -6),
        Arrow("due", "held", "endpoint disabled", 12),
        Arrow("held", "due", "enabled", 12),
    ),
    frozenset({"delivered"}),
)

LEDGER = Machine(
    "Where a payment's money stands",
    "A charge puts what the acquirer owes into what the merchant will have, less the fee. The end of its days releases "
    "it, a payout takes it to the bank. What is given back and what is disputed leaves the merchant first.",
    {
        "acquirer_receivable": (0, 0),
        "merchant_pending": (1, 0),
        "merchant_available": (2, 0),
        "payout_in_transit": (2, 1),
        "settlement_bank": (2, 2),
        "refund_clearing": (0, 1),
        "fee_revenue": (0.6, 2),
        "dispute_clearing": (1.3, 2),
    },
    (
        Arrow("acquirer_receivable", "merchant_pending", "charge, capture"),
        Arrow("merchant_pending", "fee_revenue", "fee"),
        Arrow("merchant_pending", "merchant_available", "release"),
        Arrow("merchant_available", "payout_in_transit", "payout"),
        Arrow("payout_in_transit", "settlement_bank", "payout_paid"),
        Arrow("payout_in_transit", "merchant_pending", "payout_reversal"),
        Arrow("merchant_pending", "refund_clearing", "refund"),
        Arrow("refund_clearing", "acquirer_receivable", "refund_paid"),
        Arrow("merchant_pending", "dispute_clearing", "dispute", -12),
        Arrow("dispute_clearing", "merchant_pending", "dispute_reversal", -12),
    ),
)

RECONCILIATION = Machine(
    "A day's reconciliation",
    "The day's report is checked and its lines are compared with the orders. What fits is noted; what not is asked "
    "at the gateway and mended, or waits for a later report, or becomes a case that two people decide.",
    {
        "report, manifest": (0, 0),
        "lines": (1, 0),
        "compared with orders": (2, 0),
        "refused, case": (0, 1),
        "fits": (2, 1),
        "ask the gateway": (1, 1),
        "mended": (0.5, 2),
        "waits": (2.5, 2),
        "case: two people": (1.5, 2),
    },
    (
        Arrow("report, manifest", "lines", "sums fit"),
        Arrow("report, manifest", "refused, case", "they do not"),
        Arrow("lines", "compared with orders", "both ways"),
        Arrow("compared with orders", "fits", "equal"),
        Arrow("compared with orders", "ask the gateway", "not equal"),
        Arrow("ask the gateway", "mended", "it confirms"),
        Arrow("ask the gateway", "case: two people", "it does not"),
        Arrow("fits", "waits", "no line yet"),
    ),
    frozenset({"fits", "mended"}),
)

DIAGRAMS: dict[str, Machine | Dialogue] = {
    "payment": PAYMENT,
    "order": ORDER,
    "intent": INTENT,
    "webhook": WEBHOOK,
    "ledger": LEDGER,
    "reconciliation": RECONCILIATION,
}


def drawn(diagram: Machine | Dialogue) -> str:
    """The SVG of a diagram."""
    width, height, parts = _machine(diagram) if isinstance(diagram, Machine) else _dialogue(diagram)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'aria-labelledby="title desc"><title id="title">{escape(diagram.title)}</title>'
        f'<desc id="desc">{escape(diagram.sentence)}</desc><style>{STYLE}</style>'
        f'<rect class="paper" width="{width:.0f}" height="{height:.0f}" rx="6"/>'
    )
    return "\n".join([head, *parts, "</svg>", ""])


def _machine(machine: Machine) -> tuple[float, float, list[str]]:
    left, top = BOX_W / 2 + 16, BOX_H / 2 + 24
    at = {name: (left + column * COLUMN, top + row * ROW) for name, (column, row) in machine.places.items()}
    parts = [part for arrow in machine.arrows for part in _arrow(arrow, at)]
    for name, (x, y) in at.items():
        kind = ' class="end"' if name in machine.ends else ""
        parts.append(
            f'<rect{kind} x="{x - BOX_W / 2:.0f}" y="{y - BOX_H / 2:.0f}" width="{BOX_W}" height="{BOX_H}" rx="7"/>'
        )
        parts.append(_text(x, y, name))
    return max(x for x, _ in at.values()) + left, max(y for _, y in at.values()) + top, parts


def _arrow(arrow: Arrow, at: dict[str, tuple[float, float]]) -> list[str]:
    """A straight line from edge to edge. Of two that run side by side each has its words near where it begins."""
    (x1, y1), (x2, y2) = at[arrow.source], at[arrow.target]
    length = hypot(x2 - x1, y2 - y1)
    aside = (y2 - y1) / length * arrow.bend, -(x2 - x1) / length * arrow.bend
    (x1, y1), (x2, y2) = _edge((x1, y1), (x2, y2), aside), _edge((x2, y2), (x1, y1), aside)
    part = 0.36 if arrow.bend else 0.5
    flat = abs(y2 - y1) < 1
    words = _text(x1 + (x2 - x1) * part, y1 + (y2 - y1) * part - (9 if flat else 0), arrow.label, "small")
    return [*_line(x1, y1, x2, y2), words]


def _edge(box: tuple[float, float], to: tuple[float, float], aside: tuple[float, float]) -> tuple[float, float]:
    """Where the way from a box's middle to another's, moved aside, leaves the box."""
    ways = [
        ((half if way > 0 else -half) - moved) / way
        for way, half, moved in zip((to[0] - box[0], to[1] - box[1]), (BOX_W / 2, BOX_H / 2), aside, strict=True)
        if way
    ]
    scale = min(ways)
    return box[0] + aside[0] + (to[0] - box[0]) * scale, box[1] + aside[1] + (to[1] - box[1]) * scale


def _dialogue(dialogue: Dialogue) -> tuple[float, float, list[str]]:
    at = {actor: 110 + number * 220 for number, actor in enumerate(dialogue.actors)}
    bottom = 80 + len(dialogue.steps) * 38
    parts = []
    for actor, x in at.items():
        parts.append(f'<path class="life" d="M{x} 52V{bottom}"/>')
        parts.append(
            f'<rect x="{x - BOX_W / 2:.0f}" y="16" width="{BOX_W}" height="{BOX_H}" rx="7"/>{_text(x, 34, actor)}'
        )
    for number, (source, target, label) in enumerate(dialogue.steps):
        y, x1, x2 = 86 + number * 38, at[source], at[target]
        words = f"{number + 1}. {label}"
        if source == target:
            parts.append(f'<rect x="{x1 - 5}" y="{y - 12}" width="10" height="24" rx="2"/>')
            parts.append(_text(x1 + 12, y, words, "small left"))
        else:
            parts += [*_line(x1, y, x2, y), _text((x1 + x2) / 2, y - 10, words, "small")]
    return 110 + 220 * (len(at) - 1) + 240, bottom + 20, parts


def _line(x1: float, y1: float, x2: float, y2: float) -> list[str]:
    length = hypot(x2 - x1, y2 - y1)
    ux, uy = (x2 - x1) / length, (y2 - y1) / length
    bx, by = x2 - ux * 9, y2 - uy * 9
    corners = [(x2, y2), (bx - uy * 4, by + ux * 4), (bx + uy * 4, by - ux * 4)]
    head = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    return [f'<path d="M{x1:.1f} {y1:.1f}L{bx:.1f} {by:.1f}"/>', f'<polygon class="head" points="{head}"/>']


def _text(x: float, y: float, words: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:.0f}" y="{y:.0f}">{escape(words)}</text>'


def main(arguments: Sequence[str]) -> None:
    """Write all diagrams into a folder."""
    for name, diagram in DIAGRAMS.items():
        (Path(arguments[0]) / f"{name}.svg").write_text(drawn(diagram), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
