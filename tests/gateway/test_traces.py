"""The gateway's steps of a trace: whose they are, what is stored of them, and what a collector can do to a payment:
nothing (RULES §13)."""

import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import psycopg
import pytest

from tallystick.ports.metrics import REGISTRY
from tallystick.ports.tracing import read

INTENTS = "/v1/payment_intents"
PAID = {"amount": "2000", "currency": "eur", "payment_method": "pm_card_visa", "confirm": "true"}
TRACE = "0af7651916cd43dd8448eb211c80319c"
FOLLOWED = [("traceparent", f"00-{TRACE}-b7ad6b7169203331-01")]
NOT_FOLLOWED = [("traceparent", f"00-{TRACE}-b7ad6b7169203331-00")]

RunGateway = Callable[..., AbstractContextManager[Any]]


def stored(dsn: str, table: str) -> list[str | None]:
    with psycopg.connect(dsn) as connection:
        return [trace for (trace,) in connection.execute(f"SELECT trace FROM {table} ORDER BY created_at")]


def test_a_call_is_a_step_of_its_callers_trace_and_is_stored_with_what_it_makes(
    run_gateway: RunGateway, client: Any, collector: Any
) -> None:
    with run_gateway(traces_url=collector.url) as gateway:
        api = client(gateway.url, gateway.test.secret_key)
        endpoint = {"url": "https://shop.example/hooks", "enabled_events[]": "*"}
        assert api.post("/v1/webhook_endpoints", endpoint, headers=NOT_FOLLOWED).status == 200
        paid = api.post(INTENTS, PAID, headers=FOLLOWED)
        assert paid.json["status"] == "succeeded"
        assert api.get(f"{INTENTS}/{paid.json['id']}", FOLLOWED).status == 200
        steps = {f"POST {INTENTS}", "acquirer charge", f"GET {INTENTS}/{{id}}"}
        spans = collector.until(lambda spans: steps <= {span["name"] for span in spans})
        for table in ("payment_intent", "event", "delivery"):
            kept = stored(gateway.dsn, table)
            assert kept
            assert {read(trace).trace_id for trace in kept} == {TRACE}  # type: ignore[union-attr]
    assert {span["traceId"] for span in spans} == {TRACE}
    by_name = {span["name"]: span for span in spans}
    post = by_name[f"POST {INTENTS}"]
    assert post["parentSpanId"] == "b7ad6b7169203331"
    assert by_name["acquirer charge"]["parentSpanId"] == post["spanId"]
    assert by_name["acquirer charge"]["attributes"]["tallystick.payment_intent"] == paid.json["id"]
    assert by_name[f"GET {INTENTS}/{{id}}"]["attributes"]["http.route"] == f"{INTENTS}/{{id}}"


def test_what_the_caller_does_not_follow_is_not_followed_and_strangers_are_not(
    run_gateway: RunGateway, client: Any, collector: Any
) -> None:
    with run_gateway(traces_url=collector.url) as gateway:
        api = client(gateway.url, gateway.test.secret_key)
        assert api.post(INTENTS, PAID, headers=NOT_FOLLOWED).status == 200
        assert api.get(INTENTS).status == 200, "a read begins no trace"
        stranger = client(gateway.url, "sk_test_of_nobody")
        assert stranger.post(INTENTS, PAID, headers=FOLLOWED).status == 401
        assert stored(gateway.dsn, "payment_intent") == [None]
        begun = api.post(INTENTS, {"amount": "", "currency": "eur"}, headers=FOLLOWED)
        assert begun.status == 400
        collector.until(lambda spans: len(spans) == 1)
    [span] = collector.spans
    assert span["attributes"]["http.response.status_code"] == "400"
    assert "status" not in span, "a wrong call is no failure of the gateway"


def test_without_a_collector_nothing_is_read_or_stored(run_gateway: RunGateway, client: Any) -> None:
    with run_gateway() as gateway:
        api = client(gateway.url, gateway.test.secret_key)
        assert api.post(INTENTS, PAID, headers=FOLLOWED).status == 200
        assert set(stored(gateway.dsn, "payment_intent")) == {None}
        assert set(stored(gateway.dsn, "event")) == {None}


@pytest.mark.parametrize("collector_is", ["gone", "slow", "broken"])
def test_no_payment_waits_for_a_collector_or_fails_with_it(
    run_gateway: RunGateway, client: Any, collector: Any, collector_is: str
) -> None:
    def dropped() -> float:
        results = ("dropped_refused", "dropped_unreachable", "dropped_queue_full")
        return sum(REGISTRY.get_sample_value("tallystick_spans_total", {"result": each}) or 0 for each in results)

    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/" if collector_is == "gone" else collector.url
        collector.status = 500 if collector_is == "broken" else 200
        collector.delay_s = 3.0 if collector_is == "slow" else 0.0
        before = dropped()
        with run_gateway(traces_url=url) as gateway:
            api = client(gateway.url, gateway.test.secret_key)
            slowest_s = 0.0
            for _ in range(12):
                since = time.monotonic()
                assert api.post(INTENTS, PAID).json["status"] == "succeeded"
                slowest_s = max(slowest_s, time.monotonic() - since)
                time.sleep(0.05)  # so that batches are sent meanwhile
        assert slowest_s < 2.5, "an exchange with the collector takes longer"
        assert collector_is == "slow" or dropped() > before
