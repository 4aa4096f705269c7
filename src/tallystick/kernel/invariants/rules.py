"""What must always be true, as one list of rules with three users (RULES §3, §4, §10, §14).

    the simulation and the process tests   check both halves, and compare them, once the faults have stopped
    the running services                   check their own half, owner by owner, all the time

A service's own rules are statements beside its tables (`gateway/invariants`, `merchant/invariants`): each gives the
rows that break it, so nothing is what they should give. What only both halves together can tell is `compare`.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from tallystick.kernel.identifiers import first_id
from tallystick.ports.database import Statement

CLOCKS_DIFFER = timedelta(seconds=1210)
"""By how much the clocks of two processes may differ, each wrong by ten minutes (RULES §14)."""


class Violation(Struct, frozen=True, order=True):
    """Something that must never be: the rule, whom it concerns (an id), and what was found."""

    rule: str
    subject: str
    detail: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.subject}: {self.detail}"


class Rule(Struct, frozen=True):
    """One rule of a service: a statement that gives `subject` and `detail` of whatever breaks it.

    The statement takes the owner and an id from which on it looks (ids are ordered by time). `prefix` is that of these
    ids (empty: it looks at everything), `owned` says whether they carry their owner. Where `timed`, it takes the
    present time as well.
    """

    statement: Statement
    prefix: str
    owned: bool = False
    timed: bool = False

    def parameters(self, owner: str, since: datetime, at: datetime) -> tuple[Any, ...]:
        """What the statement takes, to look at what `owner` has had since `since`."""
        first = first_id(self.prefix, since, owner if self.owned else "") if self.prefix else ""
        return (owner, first, at) if self.timed else (owner, first)

    def violation(self, row: Mapping[str, Any]) -> Violation:
        """What a row that breaks the rule is told as."""
        return Violation(self.statement.name, row["subject"], row["detail"])


class Paid(Struct, frozen=True):
    """A payment as the gateway knows it. `order` and `attempt` are the merchant's own reference; amounts net."""

    intent: str
    order: str
    attempt: int
    status: str
    received: int
    returned: int
    busy: bool  # an outcome is unknown, or money is on its way back
    canceled_at: datetime | None = None


class Owed(Struct, frozen=True):
    """An order as the merchant knows it. `explained`: it has a case, or needs a person, and that is stored."""

    order: str
    state: str
    amount: int
    overpaid: bool
    explained: bool
    intents: Mapping[str, str]  # of its attempts: their payment intent and the attempt's state
    refused: bool = False  # policy keeps the goods: the money goes back
    ended: Mapping[str, datetime] = {}  # by payment intent: when the order was stored as ended by that attempt


def compare(paid: Sequence[Paid], owed: Sequence[Owed]) -> Iterator[Violation]:
    """Whether both halves tell the same, once nothing is under way any more. Pure. RULES §14."""
    orders = {order.order: order for order in owed}
    by_order: dict[str, list[Paid]] = {}
    for payment in paid:
        if payment.order not in orders:
            if payment.received:
                yield Violation("both_sides_agree", payment.intent, f"was paid for {payment.order}, which is no order")
            continue
        by_order.setdefault(payment.order, []).append(payment)
    for order in owed:
        yield from _compare_order(order, by_order.get(order.order, []))


def _compare_order(order: Owed, payments: Sequence[Paid]) -> Iterator[Violation]:
    held = [payment for payment in payments if payment.received - payment.returned > 0]
    told = [payment.intent for payment in held]
    settled = not order.explained and not any(payment.busy for payment in payments)
    if len(held) > 1 and not order.overpaid:
        yield Violation("charged_at_most_once", order.order, f"{' and '.join(told)} were both paid, not overpaid")
    if order.state in ("EXPIRED", "FAILED", "CANCELED") and held and settled:
        yield Violation("no_money_for_nothing", order.order, f"is {order.state}, the gateway holds {' '.join(told)}")
    if order.refused and held and settled:
        yield Violation("refused_money_goes_back", order.order, f"is refused, the gateway holds {' '.join(told)}")
    if order.state == "PENDING" and settled:
        what = f"the gateway holds {' '.join(told)}" if held else "nothing is under way"
        yield Violation("every_order_ends", order.order, f"is PENDING for ever, {what}")
    if order.state == "PAID" and not [payment for payment in payments if payment.received >= order.amount]:
        yield Violation("paid_means_paid", order.order, "is PAID, the gateway has no such payment")
    known = order.intents
    for payment in payments:
        ended_at, canceled_at = order.ended.get(payment.intent), payment.canceled_at
        if ended_at is not None and (canceled_at is None or canceled_at - ended_at > CLOCKS_DIFFER):
            what = "could be paid" if canceled_at is None else f"was closed at {canceled_at}"
            yield Violation("closed_before_it_ended", order.order, f"ended at {ended_at}, {payment.intent} {what}")
        succeeded = known.get(payment.intent) == "succeeded"
        if succeeded != (payment.received > 0) and settled:
            yield Violation(
                "both_sides_agree", payment.intent, f"{payment.status} there, {known.get(payment.intent)} here"
            )
