"""The comparison of both halves, and the check that running services make of their own (RULES §3, §4, §14)."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tallystick.gateway.invariants.rules import OWNERS, RULES
from tallystick.kernel.invariants.rules import Owed, Paid, compare
from tallystick.kernel.invariants.worker import Invariants
from tallystick.kernel.monitoring.counts import last_violations
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Database, Statement


def paid(**given: Any) -> Paid:
    fields: dict[str, Any] = {
        "intent": "pi_1",
        "order": "ord_1",
        "attempt": 1,
        "status": "succeeded",
        "received": 500,
        "returned": 0,
    }
    return Paid(**(fields | {"busy": False} | given))


def owed(**given: Any) -> Owed:
    fields: dict[str, Any] = {"order": "ord_1", "state": "PAID", "amount": 500, "overpaid": False, "explained": False}
    return Owed(**(fields | {"intents": {"pi_1": "succeeded"}} | given))


def rules_broken(paid: list[Paid], owed: list[Owed]) -> set[str]:
    return {violation.rule for violation in compare(paid, owed)}


def test_two_halves_that_agree_break_nothing() -> None:
    assert rules_broken([paid()], [owed()]) == set()
    nothing = paid(status="canceled", received=0)
    assert rules_broken([nothing], [owed(state="EXPIRED", intents={"pi_1": "closed"})]) == set()


def test_an_order_is_charged_at_most_once_unless_recorded_as_overpaid() -> None:
    twice = [paid(), paid(intent="pi_2", attempt=2)]
    both = {"pi_1": "succeeded", "pi_2": "succeeded"}
    assert rules_broken(twice, [owed(intents=both)]) == {"charged_at_most_once"}
    assert rules_broken(twice, [owed(intents=both, overpaid=True)]) == set()
    assert rules_broken([paid(), paid(intent="pi_2", returned=500)], [owed(intents=both)]) == set()


@pytest.mark.parametrize("state", ["EXPIRED", "FAILED", "CANCELED"])
def test_the_gateway_holds_no_money_of_an_order_that_ended_without(state: str) -> None:
    assert "no_money_for_nothing" in rules_broken([paid()], [owed(state=state, intents={"pi_1": "closed"})])
    assert "no_money_for_nothing" not in rules_broken([paid()], [owed(state=state, explained=True)])
    assert "no_money_for_nothing" not in rules_broken([paid(returned=500)], [owed(state=state)])


def test_an_order_ends_only_after_its_payment_was_closed() -> None:
    """Never EXPIRED on our clock alone (RULES §8), but for what clocks may differ."""
    ended_at = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
    ended = owed(state="EXPIRED", intents={"pi_1": "closed"}, ended={"pi_1": ended_at})

    def closed(after_s: float) -> set[str]:
        canceled_at = ended_at + timedelta(seconds=after_s)
        return rules_broken([paid(status="canceled", received=0, canceled_at=canceled_at)], [ended])

    assert closed(-1) == closed(1200) == set()
    assert closed(1300) == {"closed_before_it_ended"}
    assert "closed_before_it_ended" in rules_broken([paid()], [ended])


def test_every_order_ends_once_nothing_is_under_way() -> None:
    assert rules_broken([], [owed(state="PENDING", intents={})]) == {"every_order_ends"}
    busy = paid(status="processing", received=0, busy=True)
    assert rules_broken([busy], [owed(state="PENDING", intents={"pi_1": "open"})]) == set()


def test_paid_means_that_the_gateway_has_the_money() -> None:
    assert "paid_means_paid" in rules_broken([paid(status="canceled", received=0)], [owed()])


def test_a_payment_is_told_to_the_order_it_belongs_to() -> None:
    assert rules_broken([paid(order="ord_9")], []) == {"both_sides_agree"}
    unheard = owed(state="PENDING", intents={"pi_1": "open"})
    assert rules_broken([paid()], [unheard]) == {"every_order_ends", "both_sides_agree"}


BROKEN = [
    """INSERT INTO account (account_id, name, created_at) VALUES ('acct_1', 'Shop', '2026-03-01T00:00:00Z')""",
    """INSERT INTO payment_intent (account_id, livemode, id, version, status, amount, currency, capture_method,
                                   amount_received, client_secret, created_at)
       VALUES ('acct_1', false, 'pi_zzzzzzzz', 1, 'succeeded', 500, 'EUR', 'automatic', 500, 's',
               '2026-03-01T00:00:00Z')""",
]


async def test_a_running_service_says_what_is_broken(
    gateway_database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """A payment that succeeded without any charge: found, logged as an error, counted, left as it is."""
    for text in BROKEN:
        await gateway_database.execute(Statement("plant", text))
    check = Invariants(gateway_database, SystemClock(), RULES, OWNERS, every_s=300)
    with caplog.at_level(logging.ERROR):
        found = await check.run_once()
    assert {(violation.rule, violation.subject) for violation in found} == {("payment_has_money", "pi_zzzzzzzz")}
    counted = {rule.statement.name: 0 for rule in RULES} | {"payment_has_money": 1}
    assert await last_violations(gateway_database) == counted
    assert "pi_zzzzzzzz" in caplog.text


async def test_a_sound_service_says_nothing(gateway_database: Database, caplog: pytest.LogCaptureFixture) -> None:
    await gateway_database.execute(Statement("plant", BROKEN[0]))
    check = Invariants(gateway_database, SystemClock(), RULES, OWNERS, every_s=300)
    with caplog.at_level(logging.ERROR):
        assert await check.run_once() == []
    assert caplog.text == ""
