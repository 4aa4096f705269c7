"""Time on demand, as somebody uses it who tests an integration: days of retries and expiry within seconds."""

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import stripe

from tallystick.cli.merchant_api import MerchantApi
from tallystick.ports.aiohttp_http import AiohttpClient

TEST_BOUND_S = 180
TRIES = "SELECT a.started_at FROM delivery_attempt a WHERE a.delivery = %s ORDER BY a.number"


async def test_three_days_of_retries_and_an_order_that_expires(
    processes: Any, http: AiohttpClient, tmp_path: Path
) -> None:
    """The schedule of RULES §6 to its end, a dead letter, and an order that nobody paid (RULES §8)."""
    port, silent = processes.free_ports(2)
    arguments = (
        "demo",
        "--json",
        "--no-shoppers",
        "--plain-http",
        "--data-dir",
        str(tmp_path),
        "--port-base",
        str(port),
    )
    async with asyncio.timeout(TEST_BOUND_S), processes.running(*arguments) as demo:
        line = await demo.line()
        api = MerchantApi(http, line["merchant"]["url"], line["merchant"]["api_key"])
        order = await api.place({"amount": 999, "currency": "EUR"}, key="a-basket")
        await asyncio.to_thread(_an_event_for_nobody, line["gateway"], f"http://127.0.0.1:{silent}/webhooks")

        data_dir = ("--data-dir", str(tmp_path))
        moved = await processes.json("gateway", "clock", "advance", "30m", *data_dir)
        assert moved.keys() == {"gateway", "merchant"}, "both are moved in step"
        assert (await api.order(order["id"]))["state"] == "EXPIRED"
        with psycopg.connect(line["database"]["gateway"]) as database:
            [(delivery,)] = database.execute("SELECT id FROM delivery WHERE state = 'due'").fetchall()
            assert len(database.execute(TRIES, [delivery]).fetchall()) == 3, "at once, after a minute, after five more"
            await processes.json("gateway", "clock", "advance", "4d", *data_dir)
            tries = [at for (at,) in database.execute(TRIES, [delivery])]
            waits_s = [(after - before).total_seconds() for before, after in pairwise(tries)]
            nominal_s = [60, 300, 3_600, 14_400, 43_200, 86_400, 86_400]
            assert len(waits_s) == len(nominal_s)
            assert all(0.8 * n - 1 <= wait <= 1.2 * n + 700 for n, wait in zip(nominal_s, waits_s, strict=True)), (
                waits_s
            )
            [(state,)] = database.execute("SELECT state FROM delivery WHERE id = %s", [delivery]).fetchall()
            assert state == "dead"
        shown = await processes.json("merchant", "clock", "show", *data_dir)
        assert not shown["busy"]


def _an_event_for_nobody(gateway: dict[str, str], url: str) -> None:
    """A webhook endpoint at which nobody listens, and something to tell it."""
    client = stripe.StripeClient(gateway["secret_key"], base_addresses={"api": gateway["url"]})
    client.v1.webhook_endpoints.create({"url": url, "enabled_events": ["payment_intent.created"]})
    client.v1.payment_intents.create({"amount": 100, "currency": "eur"})
