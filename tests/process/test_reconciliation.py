"""Both halves as they run: orders are paid at our gateway, its days are closed, the merchant reconciles them."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import stripe

from tallystick.cli.clock import Moving
from tallystick.cli.merchant_api import MerchantApi
from tallystick.cli.service_api import ServiceApi
from tallystick.demo.browser import Browser
from tallystick.ports.aiohttp_http import AiohttpClient
from tallystick.ports.clock import SystemClock

TEST_BOUND_S = 180
VISA, DISPUTED = "4242424242424242", "4000000000000259"
LEFT_OUT, OTHER_AMOUNT, TWICE = "4000000000007056", "4000000000007064", "4000000000007072"
CLOCK = SystemClock()


class Halves:
    """A gateway and a merchant service, and what tests do with both."""

    def __init__(self, line: dict[str, Any], account: str, http: AiohttpClient) -> None:
        gateway, merchant = line["gateway"], line["merchant"]
        self.api = MerchantApi(http, merchant["url"], merchant["api_key"])
        self.operator = ServiceApi(http, "the gateway", gateway["url"], gateway["operator_key"])
        self._merchant = ServiceApi(http, "the merchant service", merchant["url"], merchant["api_key"])
        theirs = ServiceApi(http, "the merchant service", merchant["url"], merchant["operator_key"])
        self._moving = Moving({"gateway": self.operator, "merchant": theirs}, CLOCK)
        self.stripe = stripe.StripeClient(gateway["secret_key"], base_addresses={"api": gateway["url"]})
        self._http = http
        self._keys = itertools.count(1)
        self.account = account

    async def move_to(self, hours: float) -> str:
        """Move both to the next time that it is so many hours after midnight; the date that it is then."""
        now = (await self._moving.advance(1, lambda *_: None))["gateway"].now
        seconds = (hours * 3600 - (now.hour * 3600 + now.minute * 60 + now.second)) % 86_400
        return (await self.move(seconds))[:10]

    async def move(self, seconds: float) -> str:
        """Move both by so many seconds; the time that it is then."""
        return (await self._moving.advance(seconds, lambda *_: None))["gateway"].now.isoformat()

    async def pay(self, card: str = VISA, amount: int = 2500) -> str:
        """An order that is paid on the gateway's page by a shopper who then closes the tab; its id."""
        order = await self.api.place({"amount": amount, "currency": "EUR"}, key=f"basket-{next(self._keys)}")
        browser = Browser(self._http)
        page = await browser.open(order["redirect_url"])
        form = next(form for form in page.forms if form.field_for("cc-number"))
        entered = {"cc-number": card, "cc-exp": "12 / 34", "cc-csc": "123", "cc-name": "Ada"}
        values = {field.name: entered[field.autocomplete] for field in form.fields if field.autocomplete in entered}
        await browser.submit(page, form, values)
        id: str = order["id"]
        return id

    async def paid(self, card: str = VISA, amount: int = 2500) -> str:
        """The same, and the merchant has heard of it."""
        id = await self.pay(card, amount)
        await self.until(id, lambda order: order["state"] == "PAID")
        return id

    async def until(self, id: str, true: Callable[[dict[str, Any]], bool]) -> None:
        async with asyncio.timeout(20):
            while not true(await self.api.order(id)):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)

    async def disputed_at_the_gateway(self, id: str) -> None:
        """The bank has told the gateway of an order's dispute: until then, time must not move on to another day."""
        [attempt] = (await self.api.order(id))["attempts"]
        wanted: Any = {"payment_intent": attempt["payment_intent"]}
        disputes = self.stripe.v1.disputes
        while not (await asyncio.to_thread(disputes.list, wanted)).data:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)

    async def webhooks(self, *, disabled: bool) -> None:
        """Nothing is told to the merchant any more, or all of it again."""
        endpoints = self.stripe.v1.webhook_endpoints
        for endpoint in (await asyncio.to_thread(endpoints.list)).data:
            await asyncio.to_thread(endpoints.update, endpoint.id, {"disabled": disabled})

    async def deaf_to_disputes(self) -> None:
        """The merchant's endpoint is not told of disputes any more."""
        endpoints = self.stripe.v1.webhook_endpoints
        for endpoint in (await asyncio.to_thread(endpoints.list)).data:
            heard: Any = [type for type in endpoint.enabled_events if not type.startswith("charge.dispute.")]
            await asyncio.to_thread(endpoints.update, endpoint.id, {"enabled_events": heard})

    async def refund(self, id: str, amount: int) -> None:
        key = {"Idempotency-Key": f"refund-{next(self._keys)}"}
        await self._merchant.ask("POST", f"/v1/orders/{id}/refunds", {"amount": amount}, key)

    async def refund_at_the_gateway(self, id: str, amount: int) -> None:
        [attempt] = (await self.api.order(id))["attempts"]
        wanted: Any = {"payment_intent": attempt["payment_intent"], "amount": amount}
        await asyncio.to_thread(self.stripe.v1.refunds.create, wanted)

    async def fault(self, kind: str) -> None:
        await self.operator.ask("POST", "/operator/v1/faults", {"place": "settlement", "kind": kind, "calls": 1})

    async def reconcile(self, day: str, *, corrected: bool = False) -> "Found":
        """A day reconciled to its end."""
        run = await self.api.reconcile(day, None, corrected=corrected)
        return await self.ended(run["id"])

    async def reconciled_by_itself(self, day: str) -> "Found":
        """What the night brought."""
        [run] = [run for run in await self.api.runs() if run["date"] == day]
        return await self.ended(run["id"])

    async def ended(self, run_id: str) -> "Found":
        async with asyncio.timeout(30):
            while (run := await self.api.run(run_id))["state"] not in ("done", "refused"):  # noqa: ASYNC110 - the same
                await asyncio.sleep(0.1)
        return Found(run, await self.api.mismatches(run_id))

    async def cases(self) -> list[str]:
        return sorted(case["kind"] for case in await self.api.cases(state="open"))


class Found:
    """What a run came to."""

    def __init__(self, run: dict[str, Any], mismatches: list[dict[str, Any]]) -> None:
        self.run = run
        self.state = run["state"]
        self.mismatches = {(each["code"], each["order"], each["state"]) for each in mismatches}
        self.lines = {each["code"]: each["lines"] for each in run["summary"]["lines"]}


@pytest.fixture
async def halves(processes: Any, http: AiohttpClient, tmp_path: Path, collector: Any) -> AsyncIterator[Halves]:
    port = processes.free_ports(1)[0]
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
    traced = {f"TALLYSTICK_{service}_TRACES_URL": collector.url for service in ("GATEWAY", "MERCHANT")}
    async with asyncio.timeout(TEST_BOUND_S), processes.running(*arguments, environment=traced) as demo:
        line = await demo.line()
        yield Halves(line, json.loads((tmp_path / "demo.json").read_text())["account_id"], http)


async def test_a_day_matches_and_lost_news_is_merged(halves: Halves, collector: Any) -> None:
    """Paid, refunded and disputed as the merchant knows it: everything fits. What no webhook told is found by its line
    and merged from the gateway's answer (RULES §11). And one trace tells all that became of an order (RULES §13)."""
    day = await halves.move_to(12)
    for amount in (1200, 2500):
        await halves.paid(amount=amount)
    refunded, told_late = await halves.paid(), await halves.paid()
    await halves.refund(refunded, 700)
    disputed = await halves.paid(DISPUTED)
    await halves.until(disputed, lambda order: order["attention"] == "disputed")
    assert (await halves.api.order(disputed))["fulfilment"] == "held", "told by the webhook, before any report"
    await halves.deaf_to_disputes()
    untold = await halves.paid(DISPUTED)
    await halves.disputed_at_the_gateway(untold)
    await halves.until(refunded, lambda order: order["amount_refunded"] == 700)
    assert await halves.move_to(23.98) == day
    await halves.webhooks(disabled=True)
    lost = await halves.pay()
    await halves.refund_at_the_gateway(told_late, 900)
    assert await halves.move(100) > f"{day}T24"
    settled = await halves.operator.ask("POST", "/operator/v1/settlements", {"date": day})
    assert [row["date"] for row in settled["data"]] == [day]
    assert (await halves.api.order(lost))["state"] == "PENDING"

    found = await halves.reconcile(day)
    assert found.state == "done"
    assert found.mismatches == {
        ("captured_but_pending", lost, "resolved"),
        ("refund_unknown", told_late, "resolved"),
        ("dispute_unknown", untold, "resolved"),
    }
    assert found.lines == {"matched": 8, "captured_but_pending": 1, "refund_unknown": 1, "dispute_unknown": 1}
    assert await halves.cases() == ["disputed", "disputed"]
    assert (await halves.api.order(untold))["attention"] == "disputed"
    assert (await halves.api.order(lost))["state"] == "PAID"
    assert (await halves.api.order(told_late))["amount_refunded"] == 900
    again = await halves.reconcile(day)
    assert again.run == found.run, "nothing is done twice"
    told = lambda spans: {"settle", "reconcile"} <= {span["name"] for span in _of(told_late, spans)}  # noqa: E731
    _the_whole_way(told_late, await asyncio.to_thread(collector.until, told))


def _of(order_id: str, spans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The spans of an order's trace."""
    [trace_id] = {
        span["traceId"]
        for span in spans
        if span["attributes"].get("tallystick.order_id") == order_id and span["name"] == "process webhook"
    }
    return [span for span in spans if span["traceId"] == trace_id]


def _the_whole_way(order_id: str, spans: list[dict[str, Any]]) -> None:
    """From checkout to the settled day, through both services and out to the shop."""
    steps = {(span["service"].removeprefix("tallystick-"), span["name"]) for span in _of(order_id, spans)}
    assert steps >= {
        ("merchant", "POST /v1/orders"),
        ("merchant", "POST gateway"),
        ("gateway", "POST /v1/checkout/sessions"),
        ("gateway", "show the page"),
        ("gateway", "pay on the page"),
        ("gateway", "acquirer charge"),
        ("gateway", "send webhook"),
        ("merchant", "process webhook"),
        ("merchant", "send webhook"),
        ("gateway", "settle"),
        ("merchant", "reconcile"),
    }
    whole = {span["spanId"]: span for span in _of(order_id, spans)}
    for name, of_the_day in (("settle", "close the day"), ("reconcile", "reconcile the day")):
        step = next(span for span in whole.values() if span["name"] == name)
        [link] = step["links"]
        [day] = [span for span in spans if span["spanId"] == link["spanId"]]
        assert (day["name"], day["traceId"]) == (of_the_day, link["traceId"])
        assert day["spanId"] not in whole, "a day is no step of one order"


async def test_planted_errors_are_found_under_their_codes(halves: Halves) -> None:
    """Every fault of the gateway's settlement ends in its code and nothing else does; a truncated file is refused
    whole; the corrected reports fit (RULES §10, §11)."""
    day = await halves.move_to(12)
    left_out, other, twice = [await halves.paid(card) for card in (LEFT_OUT, OTHER_AMOUNT, TWICE)]
    fit = {await halves.paid() for _ in range(4)}
    for kind in ("unknown_payment", "other_day"):
        await halves.fault(kind)
    following = await halves.move_to(1)
    found = await halves.reconciled_by_itself(day)
    [replaced] = [order for code, order, _ in found.mismatches if code == "paid_but_missing" and order in fit]
    [moved] = [order for code, order, _ in found.mismatches if code == "cut_off"]
    assert moved in fit - {replaced}
    assert found.mismatches == {
        ("paid_but_missing", left_out, "waiting"),
        ("paid_but_missing", replaced, "waiting"),
        ("unknown_payment", None, "case"),
        ("amount_differs", other, "case"),
        ("settled_twice", twice, "case"),
        ("cut_off", moved, "noted"),
    }
    assert found.lines == {"matched": 2, "amount_differs": 1, "settled_twice": 2, "unknown_payment": 1, "cut_off": 1}

    await halves.paid()
    await halves.fault("truncated_file")
    last = await halves.move_to(1)
    refused = await halves.reconciled_by_itself(following)
    assert (refused.state, refused.mismatches, refused.lines) == ("refused", set(), {})
    assert "settlement_file_refused" in await halves.cases()
    assert (await halves.reconcile(following)).run == refused.run, "asked for again it is shown"

    await halves.operator.ask("POST", "/operator/v1/settlements/correct", {"date": day, "account": halves.account})
    corrected = await halves.reconcile(day, corrected=True)
    assert (corrected.run["number"], corrected.mismatches, corrected.lines) == (2, set(), {"matched": 7})
    assert (await halves.ended(found.run["id"])).run["superseded"]
    assert {state for _, _, state in (await halves.ended(found.run["id"])).mismatches} == {"case", "noted", "resolved"}
    again = await halves.reconcile(following)
    assert (again.run["number"], again.state, again.mismatches, again.lines) == (
        2,
        "done",
        set(),
        {"matched": 1, "payout": 1},
    )

    await halves.paid()
    await halves.move_to(1)
    after = await halves.reconciled_by_itself(last)
    assert (after.state, after.mismatches) == ("done", set()), after.run["files"]
    assert after.lines == {"matched": 1, "payout": 1}


@pytest.mark.parametrize(("kind", "damage"), [("line_duplicated", "duplicate_line"), ("other_currency", "currency")])
async def test_a_file_with_a_line_that_cannot_be_is_refused_whole(halves: Halves, kind: str, damage: str) -> None:
    """The same line id twice, a line in another currency: nothing of the file is believed, the payments that it names
    are asked about all the same, the day after is not held up; the corrected report is noticed and fits (RULES §11)."""
    day = await halves.move_to(12)
    for _ in range(3):
        await halves.paid()
    await halves.webhooks(disabled=True)
    lost = await halves.pay()
    await halves.fault(kind)
    following = await halves.move_to(1)
    refused = await halves.reconciled_by_itself(day)
    assert (refused.state, refused.mismatches, refused.lines) == ("refused", set(), {})
    assert [(file["state"], file["damage"]) for file in refused.run["files"]] == [("refused", damage)]
    assert await halves.cases() == ["settlement_file_refused"]
    assert (await halves.api.order(lost))["state"] == "PAID"

    await halves.webhooks(disabled=False)
    await halves.paid()
    await halves.move_to(1)
    after = await halves.reconciled_by_itself(following)
    assert (after.state, after.mismatches, after.lines) == ("done", set(), {"matched": 1, "payout": 1})

    await halves.operator.ask("POST", "/operator/v1/settlements/correct", {"date": day, "account": halves.account})
    last = await halves.move_to(1)  # the next day's run finds that there are newer revisions, and compares them first
    await halves.move(120)
    numbers = {run["date"]: run for run in reversed(await halves.api.runs())}
    corrected = await halves.ended(numbers[day]["id"])
    assert (corrected.run["number"], corrected.state, corrected.mismatches) == (2, "done", set())
    assert (corrected.lines, corrected.run["requested_by"]) == ({"matched": 4}, "correction")
    assert (await halves.ended(numbers[following]["id"])).lines == {"matched": 1, "payout": 1}
    assert last not in numbers, "its day is not over"
