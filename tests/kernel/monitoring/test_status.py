"""How a service is, in some lines: what needs a person is found, with what to do, and nothing else (RULES §13)."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tallystick.cli.command import run
from tallystick.gateway.monitoring.figures import FIGURES as OF_GATEWAY
from tallystick.kernel.monitoring.conditions import Value
from tallystick.kernel.monitoring.status import LINES, Status, judged, status_of
from tallystick.merchant.monitoring.figures import FIGURES as OF_MERCHANT
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Database

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
ALERTS = (Path(__file__).parents[3] / "docs" / "alerts.md").read_text()

Known = dict[str, Sequence[Value]]


def one(value: float, **labels: str) -> list[Value]:
    return [Value(labels, value)]


def well() -> Known:
    """Figures of both services while all is well."""
    return {
        "heartbeat_age_seconds": one(3),
        "workers_silent_seconds": one(3, kind="serve"),
        "deliveries_unfinished": [*one(4, state="due"), *one(0, state="held"), *one(0, state="dead")],
        "delivery_due_oldest_seconds": one(2),
        "inbound_unapplied": [*one(1, state="parked"), *one(0, state="failed")],
        "unknown_outcomes": one(1),
        "unknown_outcome_oldest_seconds": one(30),
        "order_overdue_seconds": one(20),
        "work_overdue_seconds": one(5, work="charges"),
        "reconciliation_age_seconds": one(3_600),
        "mismatches_open": one(2, code="paid_but_missing"),
        "cases_open": [],
        "charges_made": [
            Value({"window": "1h", "state": "approved"}, 9),
            Value({"window": "1h", "state": "declined"}, 1),
            Value({"window": "1d", "state": "declined"}, 100),
        ],
        "orders_created": [
            Value({"window": "1h", "state": "PAID", "attempted": "yes"}, 3),
            Value({"window": "1h", "state": "FAILED", "attempted": "yes"}, 1),
            Value({"window": "1h", "state": "EXPIRED", "attempted": "no"}, 5),
        ],
    }


def status(known: Known, violated: dict[str, int] | None = None, service: str = "gateway") -> Status:
    return judged(service, known, {"ledger_sums_to_zero": 0} if violated is None else violated, NOW)


def alerts(found: Status) -> list[str]:
    assert found.well == (not any(line.alert for line in found.lines))
    assert all(bool(line.alert) == bool(line.do) for line in found.lines)
    return [line.alert for line in found.lines if line.alert]


def test_where_all_is_well_nobody_is_asked_for() -> None:
    for service in ("gateway", "merchant"):
        assert alerts(status(well(), service=service)) == []
    said = {line.name: line.said for line in status(well()).lines}
    assert said["last hour"] == "attempt_authorization 90.0% of 10"
    assert said["webhooks out"] == "4 due, 0 held, 0 dead letters; the oldest is 2.0 s late"
    assert said["invariants"] == "all 1 hold, the ledger's too"
    merchants = {line.name: line.said for line in status(well(), service="merchant").lines}
    assert merchants["last hour"] == "order_success 75.0% of 4"


@pytest.mark.parametrize(
    ("figure", "values", "alert"),
    [
        ("heartbeat_age_seconds", one(61), "WorkersDead"),
        ("heartbeat_age_seconds", [], "WorkersDead"),
        ("workers_silent_seconds", [*one(3, kind="serve"), *one(61, kind="work")], "WorkersDead"),
        ("deliveries_unfinished", one(1, state="dead"), "DeadLetters"),
        ("delivery_due_oldest_seconds", one(301), "DeliveriesLate"),
        ("inbound_unapplied", one(1, state="failed"), "InboundDeadLetters"),
        ("unknown_outcome_oldest_seconds", one(901), "OutcomeUnknownLong"),
        ("order_overdue_seconds", one(1_801), "OrderPendingLong"),
        ("work_overdue_seconds", one(301, work="charges"), "WorkOverdue"),
        ("reconciliation_age_seconds", one(36 * 3_600 + 1), "ReconciliationStale"),
        ("cases_open", one(1, kind="refund_returned"), "MoneyUnmatched"),
    ],
)
def test_what_needs_a_person_is_named_and_its_page_is_there(figure: str, values: list[Value], alert: str) -> None:
    assert alerts(status({**well(), figure: values})) == [alert]
    assert f"### {alert}\n" in ALERTS


def test_a_broken_invariant_needs_a_person_and_one_not_looked_at_is_said() -> None:
    broken = status(well(), {"ledger_sums_to_zero": 2, "another": 0})
    assert alerts(broken) == ["InvariantViolated"]
    assert broken.lines[-1].said == "ledger_sums_to_zero 2"
    assert status(well(), {}).lines[-1].said == "not checked yet"


def test_an_alert_that_fires_and_that_no_line_names_is_told_once() -> None:
    """Rates and budgets take longer than one moment: the service's own judging says them."""
    firing = [Value({"alert": name, "severity": "page"}, 1) for name in ("AuthorizationsDropped", "DeadLetters")]
    assert alerts(status({**well(), "alerts_firing": firing[:1]})) == ["AuthorizationsDropped"]
    dead = {**well(), "deliveries_unfinished": one(1, state="dead"), "alerts_firing": firing[1:]}
    assert alerts(status(dead)) == ["DeadLetters"]


def test_nothing_that_was_never_there_is_held_against_a_new_installation() -> None:
    new = {**well(), "reconciliation_age_seconds": [], "charges_made": [], "orders_created": []}
    assert alerts(status(new)) == []


def test_every_figure_that_a_line_needs_is_one_of_a_services() -> None:
    names = {figure.name for figure in (*OF_GATEWAY, *OF_MERCHANT)}
    assert {needs for needs, _ in LINES} <= names


async def test_figures_of_a_real_database_become_lines(gateway_database: Database, merchant_database: Database) -> None:
    for service, database, figures in (
        ("gateway", gateway_database, OF_GATEWAY),
        ("merchant", merchant_database, OF_MERCHANT),
    ):
        found = await status_of(service, database, figures, SystemClock())
        assert [line.alert for line in found.lines if line.alert] == ["WorkersDead"], "nobody runs workers here"
        assert len(found.lines) >= 6


@pytest.fixture
def running(run_gateway: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """A gateway and an operator's key of the humblest role."""
    with run_gateway(invariants_every_s=0) as gateway:
        monkeypatch.setenv("TALLYSTICK_GATEWAY_DATABASE_DSN", gateway.dsn)
        assert run(["gateway", "operators", "create", "--name", "ada", "--role", "fulfilment", "--json"]) == 0
        monkeypatch.setenv("TALLYSTICK_GATEWAY_URL", gateway.url)
        monkeypatch.setenv("TALLYSTICK_GATEWAY_OPERATOR_KEY", json.loads(capfd.readouterr().out)["operator_key"])
        monkeypatch.delenv("TALLYSTICK_MERCHANT_URL", raising=False)
        with psycopg.connect(gateway.dsn, autocommit=True) as connection:
            connection.execute("INSERT INTO heartbeat (name, beat_at) VALUES ('workers', %s)", [datetime.now(UTC)])
        yield gateway


def test_the_command_ends_with_0_while_all_is_well_and_with_1_when_a_person_is_needed(
    running: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["status", "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["well"]
    assert told["services"].keys() == {"gateway"}
    assert told["not_asked"].keys() == {"merchant"}

    with psycopg.connect(running.dsn, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO delivery (owner_id, id, livemode, message, api_version, endpoint, state, due_at, created_at, "
            "finished_at) VALUES ('acct_1', 'dlv_1', false, 'evt_1', 'v', 'we_1', 'dead', now(), now(), now())"
        )
    assert run(["status"]) == 1
    said = capfd.readouterr().out
    assert re.search(r"^! webhooks out +0 due, 0 held, 1 dead letters$", said, re.MULTILINE), said
    assert "DeadLetters: `tallystick gateway dead-letters list`" in said
    assert "the merchant service was not asked" in said
    assert max(map(len, said.splitlines())) <= 80
    assert len(said.splitlines()) <= 24, "one screen"

    monkeypatch.setenv("TALLYSTICK_GATEWAY_URL", "http://127.0.0.1:9")
    assert run(["status"]) == 1
    assert "the gateway at http://127.0.0.1:9 does not answer" in " ".join(capfd.readouterr().out.split())
