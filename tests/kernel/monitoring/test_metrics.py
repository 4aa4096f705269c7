"""What Prometheus reads of a process: its own counts, and the figures of its service's database (RULES §13)."""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from tallystick.gateway.monitoring.figures import FIGURES as OF_GATEWAY
from tallystick.kernel.monitoring.counting import counted
from tallystick.kernel.monitoring.figures import Figure, read
from tallystick.kernel.monitoring.heartbeat import Heartbeat
from tallystick.kernel.monitoring.page import MetricsPage
from tallystick.merchant.monitoring.figures import FIGURES as OF_MERCHANT
from tallystick.ports import metrics
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import SESSION_SETTINGS, Database, DatabaseUnavailable, Statement
from tallystick.ports.metrics import REQUESTS, exposition

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
AN_ORDER = Statement(
    "an_order",
    "INSERT INTO orders (merchant_id, order_id, connection_id, amount_minor, currency, ui_mode, ttl_s, declines_max,"
    " created_at, expires_at, updated_at, state, keeper, fulfilment, attempt_newest, due_at)"
    " SELECT 'mer_' || n % $2::int, 'ord_' || n, 'con_1', 100, 'EUR', 'hosted', 1800, 3,"
    " $1::timestamptz - interval '2 minutes',"
    " $1::timestamptz - interval '90 seconds', $1::timestamptz, CASE WHEN n % 2 = 0 THEN 'PAID' ELSE 'PENDING' END,"
    " CASE WHEN n % 2 = 0 THEN 1 END, CASE WHEN n % 2 = 0 THEN 'allowed' ELSE 'none' END, n % 2,"
    " CASE WHEN n % 2 = 1 THEN $1::timestamptz - interval '60 seconds' END FROM generate_series(1, $3::int) AS n",
)


class At(SystemClock):
    """A clock that stands at NOW."""

    def now(self) -> datetime:
        return NOW


class Away:
    """A database that is away."""

    async def rows(self, *_: Any) -> Sequence[Any]:
        raise DatabaseUnavailable("away")


async def page(database: Any, figures: Sequence[Figure], path: str = "/metrics") -> tuple[int, str]:
    """Status and body of the answer."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await MetricsPage(database, figures, At())({"type": "http", "method": "GET", "path": path}, None, send)
    return sent[0]["status"], sent[1]["body"].decode()


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text: str, name: str, **labels: str) -> float:
    return samples(text)[name, frozenset(labels.items())]


async def test_every_figure_of_the_gateway_can_be_read_where_nothing_happened_yet(gateway_database: Database) -> None:
    values = await read(gateway_database, OF_GATEWAY, NOW)
    assert {figure.name for figure in values} == {figure.name for figure in OF_GATEWAY}
    assert all(each.value == 0 for some in values.values() for each in some)


async def test_figures_of_the_merchant_service_say_what_sells_and_what_waits(merchant_database: Database) -> None:
    await merchant_database.execute(AN_ORDER, NOW, 7, 20)
    _, text = await page(merchant_database, OF_MERCHANT)
    assert value(text, "tallystick_orders_created", window="5m", state="PAID", attempted="no") == 10
    assert value(text, "tallystick_orders_created", window="1d", state="PENDING", attempted="yes") == 10
    assert value(text, "tallystick_order_overdue_seconds") == 90
    assert value(text, "tallystick_work_overdue_seconds", work="orders") == 60
    assert value(text, "tallystick_work_overdue_seconds", work="errands") == 0
    assert value(text, "tallystick_database_up") == 1


async def test_a_cohort_is_that_of_its_window(merchant_database: Database) -> None:
    """order_success and conversion are of the orders that were created within a window, by what they are now."""
    await merchant_database.execute(AN_ORDER, NOW - timedelta(minutes=30), 1, 10)
    await merchant_database.execute(Statement("all_tried", "UPDATE orders SET attempt_newest = 1"))
    _, text = await page(merchant_database, OF_MERCHANT)
    windows = {dict(labels)["window"] for name, labels in samples(text) if name == "tallystick_orders_created"}
    assert windows == {"1h", "1d"}
    paid, open_ = (
        value(text, "tallystick_orders_created", window="1h", state=state, attempted="yes")
        for state in ("PAID", "PENDING")
    )
    assert (paid, open_) == (5, 5)


async def test_workers_are_alive_as_long_as_somebody_says_so(gateway_database: Database) -> None:
    _, before = await page(gateway_database, OF_GATEWAY)
    assert ("tallystick_heartbeat_age_seconds", frozenset()) not in samples(before), "nobody ever said so"
    for kind in ("serve", "work"):
        await Heartbeat(gateway_database, At(), kind).beat()
    _, after = await page(gateway_database, OF_GATEWAY)
    assert value(after, "tallystick_heartbeat_age_seconds") == 0
    assert [value(after, "tallystick_workers_silent_seconds", kind=kind) for kind in ("serve", "work")] == [0, 0]


async def test_a_process_tells_what_it_counted_while_its_database_is_away() -> None:
    status, text = await page(Away(), OF_GATEWAY)
    assert (status, value(text, "tallystick_database_up")) == (200, 0)
    assert "tallystick_http_requests_total" in text


async def test_more_orders_and_merchants_add_no_series(merchant_database: Database) -> None:
    """Labels have few values, known beforehand."""
    await merchant_database.execute(AN_ORDER, NOW, 1, 10)
    _, few = await page(merchant_database, OF_MERCHANT)
    await merchant_database.execute(Statement("none", "DELETE FROM orders"))
    await merchant_database.execute(AN_ORDER, NOW, 1_000, 100_000)
    _, many = await page(merchant_database, OF_MERCHANT)
    assert samples(many).keys() == samples(few).keys()
    assert not re.search(r"(ord|mer|acct|con)_[0-9A-Za-z]", many)


async def test_only_the_metrics_are_there() -> None:
    assert (await page(Away(), (), "/v1/orders"))[0] == 404


@pytest.mark.parametrize(("status", "name"), [(200, "2xx"), (302, "3xx"), (402, "4xx"), (503, "5xx")])
async def test_answers_are_counted_by_class(status: int, name: str) -> None:
    async def answering(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(_: Any) -> None: ...

    before = REQUESTS.labels("tested", name)._value.get()
    await counted("tested", answering)({"type": "http"}, None, send)
    assert REQUESTS.labels("tested", name)._value.get() == before + 1
    assert f'tallystick_http_requests_total{{area="tested",status="{name}"}}' in exposition().decode()


BIG = {"orders", "attempt", "inbox", "delivery", "charge", "acquirer_request", "mismatch", "reconciliation"}
PARTIAL = re.compile(
    "due|unapplied|of_endpoint|undelivered|unresolved|dead|one_live|one_open"
)  # indexes of the few rows that matter


@pytest.mark.parametrize("service", ["gateway", "merchant"])
def test_no_figure_walks_what_grows(service: str, request: pytest.FixtureRequest) -> None:
    """Figures are read every few seconds, however many orders there are."""
    figures = {"gateway": OF_GATEWAY, "merchant": OF_MERCHANT}[service]
    walked = []
    with psycopg.connect(request.getfixturevalue(f"{service}_dsn"), autocommit=True) as connection:
        for name in ("plan_cache_mode", "random_page_cost", "enable_seqscan"):
            connection.execute(f"SET {name} = '{SESSION_SETTINGS[name]}'".encode())
        for number, figure in enumerate(figures):
            connection.execute(f"PREPARE figure_{number} AS {figure.statement.text}".encode())
            nulls = ", ".join(["NULL"] * (2 if figure.windowed else 1))
            row = connection.execute(f"EXPLAIN (FORMAT JSON) EXECUTE figure_{number} ({nulls})".encode()).fetchone()
            assert row is not None
            walked += [
                f"{figure.name}: {node['Node Type']} of {node['Relation Name']} by {node.get('Index Name')}"
                for node in nodes(row[0][0]["Plan"])
                if node.get("Relation Name") in BIG and not goes_by_an_index(node)
            ]
    assert walked == []


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A plan's node and all below it."""
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def goes_by_an_index(node: dict[str, Any]) -> bool:
    """Whether a scan looks at the rows of a condition only, or at an index that has few."""
    return (
        node["Node Type"] == "Bitmap Heap Scan"
        or "Index Cond" in node
        or bool(PARTIAL.search(node.get("Index Name", "")))
    )


async def test_what_was_given_to_a_person_is_not_overdue(gateway_database: Database) -> None:
    """An unknown outcome that a person decides is due at no time, from which PostgreSQL before 17 subtracts nothing."""
    await gateway_database.execute(
        Statement(
            "a_case",
            "INSERT INTO charge (account_id, livemode, id, version, payment_intent, payment_method, state, amount,"
            " currency, capture_method, acquirer_key, created_at, due_at)"
            " VALUES ('acct_1', false, 'ch_1', 1, 'pi_1', 'pm_1', 'unknown', 100, 'EUR', 'automatic', 'ch_1',"
            " $1::timestamptz - interval '2 days', 'infinity')",
        ),
        NOW,
    )
    _, text = await page(gateway_database, OF_GATEWAY)
    assert value(text, "tallystick_work_overdue_seconds", work="charges") == 0
    assert value(text, "tallystick_unknown_outcome_oldest_seconds") == 2 * 86_400


def test_no_label_is_for_what_there_are_many_of() -> None:
    """RULES §13: the labels of all metrics and figures. Each has as many values as the code has words for it; for an
    order, an account or an address there is none. Whoever adds one here says how many values it has."""
    counted_here = [each for each in vars(metrics).values() if isinstance(each, MetricWrapperBase)]
    assert len(counted_here) > 10
    labels = {label for each in counted_here for label in each._labelnames}
    labels |= {label for figure in (*OF_GATEWAY, *OF_MERCHANT) for label in figure.labels}
    assert labels == {
        *("area", "status", "result", "outcome", "fault", "level", "reason", "rule", "alert", "severity"),
        *("attempted", "code", "currency", "kind", "state", "work"),
    }
