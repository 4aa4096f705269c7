"""What went wrong with orders is told in the log, one line for each thing: under the ids by which support finds it."""

from collections.abc import Iterable

import structlog

from tallystick.merchant.orders.facts import ChargeSeen
from tallystick.merchant.orders.learning import Change
from tallystick.merchant.orders.state import OrderState
from tallystick.ports.tracing import read, within

log = structlog.get_logger("tallystick.merchant.orders")

_ENDED: frozenset[OrderState] = frozenset({"FAILED", "EXPIRED", "CANCELED"})


def tell(changes: Iterable[Change]) -> None:
    """Say which charges failed, which orders ended unpaid, and which need a person. What goes well is in the timeline
    and says nothing here."""
    for change in changes:
        for line in change.lines:
            failed = isinstance(line.fact, ChargeSeen) and line.fact.status == "failed"
            if not failed and (line.state_after == line.state_before or line.state_after not in _ENDED):
                continue
            attempt = change.facts.attempts.get(line.attempt)
            intent = attempt.intent if attempt is not None else None
            said = {
                "order_id": change.key.order_id,
                "attempt": line.attempt,
                **({"payment_intent": intent} if intent is not None else {}),
                **({"event_id": line.reference} if line.source == "webhook" else {}),
                "source": line.source,
            }
            with within(read(change.trace)):
                if failed:
                    log.info("charge_failed", **said, **_code(line.fact))
                if line.state_after != line.state_before and line.state_after in _ENDED:
                    log.info("order_ended", **said, state=line.state_after)


def _code(fact: object) -> dict[str, str]:
    return {"code": fact.code} if isinstance(fact, ChargeSeen) and fact.code is not None else {}
