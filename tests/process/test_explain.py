"""`tallystick explain` over a running installation: the whole story of an order that went through everything."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from tallystick.cli.merchant_api import MerchantApi
from tallystick.cli.service_api import ServiceApi
from tallystick.demo.browser import Browser
from tallystick.ports.aiohttp_http import AiohttpClient

TEST_BOUND_S = 180
VISA, DECLINED = "4242424242424242", "4000000000000002"
EMAIL = "ana@example.com"
DISPUTED = """INSERT INTO simulated_operation (account_id, key, kind, outcome, reference, known_at, tells,
                                               tells_at, created_at)
              SELECT c.account_id, c.acquirer_key, 'charge', 'done', c.acquirer_reference, c.created_at, 'disputed',
                     c.created_at, c.created_at
                FROM charge c WHERE c.state = 'approved' RETURNING key"""


class Shop:
    """What a shop and its shopper do at a running installation, and what is done to it."""

    def __init__(self, line: dict[str, Any], http: AiohttpClient) -> None:
        gateway, merchant = line["gateway"], line["merchant"]
        self.api = MerchantApi(http, merchant["url"], merchant["api_key"])
        self._merchant = ServiceApi(http, "the merchant service", merchant["url"], merchant["api_key"])
        self._operator = ServiceApi(http, "the gateway", gateway["url"], gateway["operator_key"])
        self._http = http

    async def enter(self, url: str, card: str, times: int = 1) -> None:
        """Enter a card on the gateway's page, as often."""
        browser = Browser(self._http)
        page = await browser.open(url)
        for _ in range(times):
            form = next(form for form in page.forms if form.field_for("cc-number"))
            entered = {"cc-number": card, "cc-exp": "12 / 34", "cc-csc": "123", "cc-name": "Ana"}
            values = {field.name: entered[field.autocomplete] for field in form.fields if field.autocomplete in entered}
            page = await browser.submit(page, form, values)

    async def post(self, path: str, body: dict[str, Any], key: str) -> dict[str, Any]:
        return await self._merchant.ask("POST", path, body, {"Idempotency-Key": key})

    async def fault(self, place: str, kind: str) -> None:
        await self._operator.ask("POST", "/operator/v1/faults", {"place": place, "kind": kind, "calls": 1})

    async def until(self, id: str, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async with asyncio.timeout(20):
            while not true(order := await self.api.order(id)):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
        return order


async def _through_everything(shop: Shop, advance: Callable[[str], Any], database: str) -> dict[str, Any]:
    """An order that is declined until it fails, paid again by a bank that answers late, refunded, and disputed."""
    wanted = {"amount": 2500, "currency": "EUR", "customer": {"email": EMAIL, "name": "Ana Kovacs"}}
    order = await shop.api.place(wanted, key=f"basket of {EMAIL}")
    await shop.enter(order["redirect_url"], DECLINED, times=3)
    await shop.until(order["id"], lambda order: order["state"] == "FAILED")
    again = await shop.post(f"/v1/orders/{order['id']}/attempts", {}, "again")
    await shop.fault("acquirer", "drop_answer")
    await shop.enter(again["redirect_url"], VISA)
    await shop.fault("webhooks", "drop_answer")
    await advance("2m")
    await shop.until(order["id"], lambda order: order["state"] == "PAID")
    await shop.post(f"/v1/orders/{order['id']}/refunds", {"amount": 500}, "refund")
    await shop.until(order["id"], lambda order: order["amount_refunded"] == 500)
    with psycopg.connect(database, autocommit=True) as connection:
        assert len(connection.execute(DISPUTED).fetchall()) == 1, "the cardholder goes to his bank"
    return await shop.until(order["id"], lambda order: order["fulfilment"] == "held")


STORY = [
    "merchant order.placed",
    "gateway session.opened",
    "gateway charge.made",
    "gateway event.charge.failed",
    "gateway charge.made",
    "gateway event.charge.failed",
    "gateway charge.made",
    "gateway event.charge.failed",
    "merchant fact.close_requested",
    "merchant fact.closed",
    "merchant call.done",
    "merchant fact.attempted",
    "gateway session.opened",
    "gateway charge.made",
    "gateway event.payment_intent.processing",
    "gateway event.charge.succeeded",
    "gateway event.payment_intent.succeeded",
    "gateway ledger.charge",
    "merchant fact.succeeded",
    "merchant refund.asked",
    "gateway request.refund",
    "gateway event.refund.created",
    "gateway ledger.refund",
    "gateway event.charge.dispute.created",
    "gateway ledger.dispute",
    "merchant fact.dispute_seen",
]


async def test_an_order_that_went_through_everything(processes: Any, http: AiohttpClient, tmp_path: Path) -> None:
    """In its order, with nothing missing, by any id of it, in 80 columns, without a word of the shopper's; and what
    is said when one half cannot be asked."""
    port, nobody = processes.free_ports(2)
    arguments = ("demo", "--json", "--no-shoppers", "--plain-http", "--data-dir", str(tmp_path))
    data_dir = ("--data-dir", str(tmp_path))
    async with asyncio.timeout(TEST_BOUND_S), processes.running(*arguments, "--port-base", str(port)) as demo:
        line = await demo.line()

        async def advance(by: str) -> None:
            await processes.json("gateway", "clock", "advance", by, *data_dir)

        order = await _through_everything(Shop(line, http), advance, line["database"]["gateway"])
        await asyncio.sleep(1)  # the last webhooks are on their way
        told = await processes.json("explain", order["id"], *data_dir)
        assert told["whole"], told["missing"]
        entries = [f"{entry['half']} {entry['kind']}" for entry in told["entries"]]
        left = iter(entries)
        lacking = [each for each in STORY if not any(entry == each for entry in left)]
        assert not lacking, (lacking, entries)
        assert entries.index("gateway try.delivered") > entries.index("gateway event.charge.failed")
        _nothing_is_missing(json.dumps(told), line["database"])

        refund = order["attempts"][1]["refunds"][0]["id"]
        ids = [entry["reference"] for entry in told["entries"] if entry["kind"].startswith("event.")]
        for id in (order["attempts"][0]["payment_intent"], refund, ids[-1]):
            again = await processes.json("explain", id, *data_dir)
            assert again["entries"] == told["entries"], id

        short = await processes.command("explain", order["id"], *data_dir)
        text = short + await processes.command("explain", order["id"], "--long", *data_dir)
        assert max(map(len, text.splitlines())) <= 80
        assert "Refund of €5.00: succeeded" in short
        assert refund not in short
        assert refund in text
        assert "not said" not in text
        for hidden in (EMAIL, "Kovacs", VISA, DECLINED, "sk_test_", "whsec_", "_secret_"):
            assert hidden not in text + json.dumps(told)

        async with processes.running("status", "--json", *data_dir) as status:
            said, _ = await status.rest()
        assert status.process.returncode == 1, "the disputed payment is a case, which waits for a person"
        standing = json.loads(said)
        assert standing["services"].keys() == {"gateway", "merchant"}
        asks = {line["name"] for each in standing["services"].values() for line in each["lines"] if line["alert"]}
        assert asks == {"cases"}

        alone = {
            "TALLYSTICK_GATEWAY_URL": line["gateway"]["url"],
            "TALLYSTICK_GATEWAY_OPERATOR_KEY": line["gateway"]["operator_key"],
            "TALLYSTICK_MERCHANT_URL": f"http://127.0.0.1:{nobody}",
            "TALLYSTICK_MERCHANT_OPERATOR_KEY": "opk_of_no_value",
        }
        payment = order["attempts"][1]["payment_intent"]
        text = await processes.command("explain", payment, environment=alone)
        assert "The merchant's half is missing: the merchant service at http://127.0.0.1:" in text.replace("\n ", "")
        half = await processes.json("explain", payment, environment=alone)
        assert {entry["half"] for entry in half["entries"]} == {"gateway"}
        assert half["missing"].keys() == {"merchant"}


def _nothing_is_missing(told: str, databases: dict[str, str]) -> None:
    """Everything that either half has written about the only order that there is stands in what was told."""
    everything = {
        "gateway": [
            "SELECT id FROM charge",
            "SELECT id FROM refund",
            "SELECT id FROM dispute",
            "SELECT id FROM checkout_session",
            "SELECT id FROM acquirer_request",
            "SELECT id FROM ledger_transaction",
            "SELECT id FROM event WHERE object_id !~ '^(we_|cus_)'",
            "SELECT '70:' || delivery || ':' || lpad(number::text, 10, '0') FROM delivery_attempt",
        ],
        "merchant": [
            "SELECT '40:' || lpad(number::text, 19, '0') FROM timeline",
            "SELECT case_id FROM cases",
            "SELECT DISTINCT reference FROM timeline WHERE source = 'webhook'",
            "SELECT gateway_refund FROM refund",
            "SELECT id FROM delivery",
        ],
    }
    for service, questions in everything.items():
        with psycopg.connect(databases[service]) as connection:
            for question in questions:
                ids = [id for (id,) in connection.execute(question).fetchall()]
                assert ids, question
                assert not [id for id in ids if id not in told], question
