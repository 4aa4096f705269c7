"""Who knows the truth from outside: what callers were told and shoppers saw, held against what the services say."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from tallystick.kernel.invariants.rules import Violation
from tallystick.ports.database import Statement, Statements
from tallystick.simulation.installation import Shop
from tallystick.simulation.scenario import Breadth
from tallystick.simulation.server import VirtualServer
from tallystick.simulation.shop import ShopServer

SQL = Statements.beside(__file__)
_REDRIVES: Final = Statement(
    "redrives", "SELECT r.id, r.redriven, r.matched FROM redrive r WHERE r.state = 'running' ORDER BY r.id"
)


class Auditor:
    """Keeps what was told, and compares in the end."""

    def __init__(self) -> None:
        self._orders: dict[tuple[str, str], str] = {}
        self._ttl_s: dict[str, float] = {}
        self._differing: list[Violation] = []
        self._seen_paid: dict[str, None] = {}
        self._refunded: dict[tuple[str, str], int] = {}
        self._intents: dict[tuple[str, str], str] = {}
        self._saved: dict[tuple[str, str], None] = {}
        self._listed: dict[str, tuple[str, ...]] = {}
        self.shops: ShopServer | None = None

    def order_answered(self, shop: Shop, key: str, fields: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """A call to place an order was answered with an order. The same key has one answer, whoever asks."""
        order_id = answer["id"]
        known = self._orders.setdefault((shop.merchant_id, key), order_id)
        if known != order_id:
            self._differing.append(Violation("one_key_one_order", f"{known} and {order_id}", "one key made two orders"))
        if answer["amount"] != fields["amount"]:
            self._differing.append(Violation("order_as_asked", order_id, "the order's amount is another one"))
        self._ttl_s[order_id] = fields["expires_in_s"]

    def ttl_s(self, order_id: str) -> float:
        """How long the order may be paid."""
        return self._ttl_s[order_id]

    def saw_paid(self, order_id: str) -> None:
        """A shopper was shown that the order is paid."""
        self._seen_paid[order_id] = None

    def intent_ended(self, shop: Shop, intent: Mapping[str, Any]) -> None:
        """A caller of the gateway's API was told how a payment ended."""
        self._intents[shop.account_id, intent["id"]] = intent["status"]

    def session_ended(self, shop: Shop, session: Mapping[str, Any]) -> None:
        """A shopper was sent on as somebody who has paid; what the gateway's API said of the session then."""
        if session["payment_status"] != "paid":
            what = f"its shopper was sent on as if it were paid, it is {session['payment_status']}"
            self._differing.append(Violation("seen_paid_is_paid", session["id"], what))
            return
        self._intents[shop.account_id, session["payment_intent"]] = "succeeded"

    def card_saved(self, shop: Shop, card: str) -> None:
        """A caller of the gateway's API was shown a card that a customer has saved. Nobody takes it away again."""
        self._saved[shop.account_id, card] = None

    def people_listed(self, shop: Shop, customers: Sequence[str]) -> None:
        """In the end a shop was told of these customers and of nobody else. It has stored nobody but for orders."""
        self._listed[shop.merchant_id] = tuple(customers)

    def refund_promised(self, shop: Shop, intent: str, amount: int, received: int) -> None:
        """A caller was told that a refund was made; never more of them than there is."""
        key = (shop.account_id, intent)
        self._refunded[key] = self._refunded.get(key, 0) + amount
        if self._refunded[key] > received:
            what = f"{self._refunded[key]} of {received} were promised back"
            self._differing.append(Violation("refunds_within_the_capture", intent, what))

    def compare(self, gateway: VirtualServer, merchant: VirtualServer, breadth: Breadth) -> Iterator[Violation]:
        """What the services say now, against what they said before."""
        yield from self._differing
        if self.shops is not None:
            yield from self.shops.compare(merchant)
        for row in (*gateway.control.run(SQL.undelivered, ())[0], *merchant.control.run(SQL.undelivered, ())[0]):
            if row["state"] == "held" or breadth.acts:  # every endpoint is enabled, every dead letter redriven
                yield Violation("everything_is_delivered_in_the_end", row["id"], row["detail"])
        for row in (*gateway.control.run(_REDRIVES, ())[0], *merchant.control.run(_REDRIVES, ())[0]):
            yield Violation("every_redrive_ends", row["id"], f"{row['redriven']} of {row['matched']}")
        states = {row["order_id"]: row["state"] for row in merchant.control.run(SQL.order_states, ())[0]}
        for order_id in self._orders.values():
            if order_id not in states:
                yield Violation("answered_is_kept", order_id, "an order that a caller was told of is not there")
        for order_id in self._seen_paid:
            if states.get(order_id) != "PAID":
                yield Violation("seen_paid_is_paid", order_id, f"its shopper saw it paid, it is {states.get(order_id)}")
        yield from self._reconciled(gateway, merchant)
        yield from self._people(merchant)
        kept = {(row["account_id"], row["id"]) for row in gateway.control.run(SQL.kept_cards, ())[0]}
        for account_id, card in self._saved:
            if (account_id, card) not in kept:
                yield Violation("saved_cards_are_kept", card, "a card that was shown as saved cannot be paid with")
        for row in gateway.control.run(SQL.bank_differs, ())[0]:
            yield Violation("the_bank_agrees", row["subject"], row["detail"])
        statuses = {
            (row["account_id"], row["id"]): row["status"] for row in gateway.control.run(SQL.intent_statuses, ())[0]
        }
        for (account_id, intent), status in self._intents.items():
            if statuses.get((account_id, intent)) != status:
                now = statuses.get((account_id, intent))
                yield Violation("answered_is_kept", intent, f"a caller was told {status}, it is {now}")

    def _people(self, merchant: VirtualServer) -> Iterator[Violation]:
        """Nobody is left whom no order names, and no order names somebody who was forgotten."""
        named: dict[str, set[str]] = {}
        for row in merchant.control.run(SQL.order_states, ())[0]:
            if row["customer_id"] is not None:
                named.setdefault(row["merchant_id"], set()).add(row["customer_id"])
        for merchant_id, customers in self._listed.items():
            for customer in sorted(named.get(merchant_id, set()).symmetric_difference(customers)):
                what = "no order names them" if customer in customers else "an order names them, and they are forgotten"
                yield Violation("people_are_those_of_orders", customer, what)

    def _reconciled(self, gateway: VirtualServer, merchant: VirtualServer) -> Iterator[Violation]:
        """Every day that was closed was reconciled, and nothing is left that does not fit: callers of the payments' own
        API have made payments of no order, and of those alone a person must be told.
        """
        ours = {row["payment_intent"] for row in gateway.control.run(SQL.payments_of_sessions, ())[0]}
        for row in merchant.control.run(SQL.unreconciled, ())[0]:
            if row["code"] != "unknown_payment" or row["subject"] in ours:
                yield Violation("the_halves_match", row["subject"], row["detail"])
