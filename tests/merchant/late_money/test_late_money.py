"""RULES §4: late money is kept or given back by policy, surplus is given back, each once; the stock hook."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from tallystick.kernel.signatures import sign_standard, verify_standard
from tallystick.merchant.accounts.commands import AccountRefused, set_late_policy, set_stock_hook
from tallystick.merchant.accounts.directory import Directory
from tallystick.merchant.gateways.stripe import StripeGateway
from tallystick.merchant.late_money.stock import Stock
from tallystick.merchant.late_money.worker import ErrandWorker
from tallystick.merchant.orders.outbox import Outbox
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Statement
from tallystick.ports.entropy import SystemEntropy
from tallystick.ports.traced_http import TracedHttp
from tallystick.ports.tracing import Followed, SpanTracer

Stage = Any
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Shelf:
    """The shop's stock: what it was asked, and what it says."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.says: list[tuple[int, Any]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = [(name.lower().encode(), value.encode()) for name, value in request.headers.items()]
        id = verify_standard([SECRET], headers, body, SystemClock().now())
        told = await request.json()
        self.asked.append((told["type"], told["order"]["id"], id))
        status, says = self.says.pop(0) if self.says else (200, {"available": True})
        return web.json_response(says, status=status)


@pytest.fixture
async def shelf() -> AsyncIterator[Shelf]:
    shelf = Shelf()
    application = web.Application()
    application.router.add_post("/stock", shelf.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    shelf.url = f"http://127.0.0.1:{runner.addresses[0][1]}/stock"
    yield shelf
    await runner.cleanup()


def a_worker(stage: Stage, http: Any = None) -> ErrandWorker:
    clock, entropy = SystemClock(), SystemEntropy()
    gateways = {"stripe": StripeGateway(http or stage.http, stage.secrets, clock, entropy)}
    directory, stock = Directory(stage.database, clock), Stock(http or stage.http)
    return ErrandWorker(stage.database, gateways, directory, stock, clock, entropy, Outbox(clock, entropy))


async def work(stage: Stage) -> int:
    worker, worked = a_worker(stage), 0
    while claimed := await worker.run_once():
        worked += claimed
    return worked


async def make_due(stage: Stage) -> None:
    text = "UPDATE errand SET due_at = $1::timestamptz WHERE due_at IS NOT NULL"
    await stage.database.execute(Statement("x", text), SystemClock().now())


async def policy(stage: Stage, late_policy: str, shelf: Shelf | None = None) -> None:
    text = "UPDATE merchant SET late_policy = $1::text, stock_url = $2::text, stock_secret = $3::text"
    await stage.database.execute(
        Statement("x", text), late_policy, shelf.url if shelf else None, SECRET if shelf else None
    )


async def a_late_payment(stage: Stage) -> str:
    """An order that expired, and was paid after all; its id."""
    _, order = await stage.place()
    await stage.close(order)
    await stage.pay(order)
    order_id: str = order["id"]
    assert (await stage.order(order_id))["fulfilment"] == "held"
    return order_id


async def overpaid(stage: Stage) -> str:
    """An order that was paid by its second attempt, and then by its first one too."""
    _, order = await stage.place()
    await stage.close(order)
    _, again = await stage.post(f"/v1/orders/{order['id']}/attempts")
    await stage.pay(again, 2)
    await stage.pay(again, 1)
    order_id: str = order["id"]
    found = await stage.order(order_id)
    assert (found["overpaid"], found["fulfilment"], found["late"]) == (True, "allowed", False)
    return order_id


async def test_late_money_goes_back_by_default(stage: Stage) -> None:
    """RULES §4: refund (default) → refused for ever, money returned; the payment is retrieved first."""
    order_id = await a_late_payment(stage)
    assert await work(stage) == 2
    order = await stage.order(order_id)
    assert (order["state"], order["fulfilment"], order["late"], order["amount_refunded"]) == (
        "PAID",
        "refused",
        True,
        2500,
    )
    assert [method for method, path, _ in stage.gateway.calls[-2:]] == ["GET", "POST"]
    assert stage.gateway.calls[-2][1].startswith("/v1/payment_intents/")
    assert stage.gateway.keys[-1] == f"return:{order_id}:1"
    assert [row["fact"]["fact"] for row in (await stage.timeline(order_id))[-2:]] == ["refund_seen", "returned"]
    await make_due(stage)
    assert await work(stage) == 0


async def test_late_money_is_kept_where_the_merchant_wants_it(stage: Stage) -> None:
    await policy(stage, "accept")
    order_id = await a_late_payment(stage)
    assert await work(stage) == 1
    order = await stage.order(order_id)
    assert (order["fulfilment"], order["late"], order["amount_refunded"]) == ("allowed", True, 0)


@pytest.mark.parametrize(("available", "fulfilment", "returned"), [(True, "allowed", 0), (False, "refused", 2500)])
async def test_the_stock_decides(stage: Stage, shelf: Shelf, available: bool, fulfilment: str, returned: int) -> None:
    """RULES §4: accept_if_available asks the stock hook; an unknown answer is asked again, as the same question."""
    await policy(stage, "accept_if_available", shelf)
    _, order = await stage.place()
    order_id = order["id"]
    await stage.close(order)
    await work(stage)
    await stage.pay(order)
    shelf.says = [(500, {}), (200, {"perhaps": 1}), (200, {"available": available})]
    await work(stage)
    for _ in range(2):
        assert (await stage.order(order_id))["fulfilment"] == "held", "nobody has answered"
        await make_due(stage)
        await work(stage)
    order = await stage.order(order_id)
    assert (order["fulfilment"], order["amount_refunded"]) == (fulfilment, returned)
    reserved = [(about, id) for type, about, id in shelf.asked if type == "stock.reserve"]
    assert reserved == [(order_id, f"stock_reserve_{order_id}_1")] * 3


async def test_without_a_stock_to_ask_late_money_goes_back(stage: Stage) -> None:
    await policy(stage, "accept_if_available")
    order_id = await a_late_payment(stage)
    await work(stage)
    assert (await stage.order(order_id))["fulfilment"] == "refused"


async def test_stock_is_told_once_the_end_is_stored(stage: Stage, shelf: Shelf) -> None:
    """RULES §8: stock is released (hook) only after EXPIRED is stored; until that was heard it is told again."""
    await policy(stage, "refund", shelf)
    shelf.says = [(503, {})]
    _, order = await stage.place()
    assert await work(stage) == 0
    await stage.close(order)
    assert await work(stage) == 1
    await make_due(stage)
    assert await work(stage) == 1
    await make_due(stage)
    assert await work(stage) == 0
    assert shelf.asked == [("stock.release", order["id"], f"stock_release_{order['id']}_1")] * 2


async def test_surplus_goes_back_and_the_keeper_stays(stage: Stage) -> None:
    """RULES §4: two attempts succeeded → overpaid: the one that is not the keeper is returned."""
    order_id = await overpaid(stage)
    assert await work(stage) == 1
    order = await stage.order(order_id)
    assert (order["fulfilment"], order["amount_captured"], order["amount_refunded"]) == ("allowed", 5000, 2500)
    assert [len(attempt["refunds"]) for attempt in order["attempts"]] == [1, 0]


@pytest.mark.parametrize("trouble", ["lose", "cut"])
async def test_an_unknown_return_is_repeated_under_its_key(stage: Stage, trouble: str) -> None:
    """RULES §4, §5: returned once, whatever is lost; the payment is looked at before each try."""
    order_id = await overpaid(stage)
    stage.gateway.trouble = ["", *[trouble] * 3]
    await work(stage)
    assert (await stage.order(order_id))["amount_refunded"] == 0
    await make_due(stage)
    await work(stage)
    assert sum(refund["amount"] for refund in stage.gateway.refunds) == 2500
    assert (await stage.order(order_id))["overpaid"] is True
    bodies = [fields for _, path, fields in stage.gateway.calls if path == "/v1/refunds"]
    assert bodies == [bodies[0]] * len(bodies)


@pytest.mark.parametrize(("trouble", "made"), [("lose", 1), ("cut", 0)])
async def test_past_the_keys_life_a_return_is_looked_for_before_it_is_sent_again(
    stage: Stage, trouble: str, made: int
) -> None:
    """RULES §4, §5: its refund was made, its answer lost, and it bounced since: so there is money to be given back, and
    the key is too old to be repeated. It is not repeated by itself, and a case."""
    order_id = await overpaid(stage)
    stage.gateway.trouble = ["", *[trouble] * 3]
    await work(stage)
    assert len(stage.gateway.refunds) == made
    for refund in stage.gateway.refunds:
        refund["status"] = "failed"
    stage.gateway.forget_keys()
    await stage.database.execute(Statement("x", "UPDATE errand SET created_at = created_at - interval '24 h'"))
    stage.gateway.trouble = ["", *[(500, "api_error")] * 3]
    await make_due(stage)
    await work(stage)
    assert len(stage.gateway.refunds) == made, "nothing is sent while nobody knows"
    for _ in range(2):
        await make_due(stage)
        await work(stage)
    assert len(stage.gateway.refunds) == 1
    _, page = await stage.get("/v1/cases")
    assert [case["kind"] for case in page["data"]] == ["refund_returned"] * made
    assert (await stage.order(order_id))["amount_refunded"] == (0 if made else 2500)


async def test_a_return_that_fails_later_is_a_case_and_not_repeated(stage: Stage) -> None:
    """RULES §4: a return that fails later opens a case refund_returned and is not repeated by itself."""
    order_id = await overpaid(stage)
    await work(stage)
    [refund] = stage.gateway.refunds
    refund["status"] = "failed"
    for _ in range(2):
        assert await stage.tell("refund.failed", refund) == 200
    _, page = await stage.get("/v1/cases")
    assert [(case["kind"], case["order"], case["attempt"]) for case in page["data"]] == [
        ("refund_returned", order_id, 1)
    ]
    await make_due(stage)
    assert await work(stage) == 0
    assert len(stage.gateway.refunds) == 1


async def test_every_refund_that_comes_back_is_a_case(stage: Stage) -> None:
    """RULES §4, §11: the return of a late approval that nobody here ever knew of, and each refund of the shop's: the
    money is with the gateway, and the shopper waits for it."""
    _, order = await stage.place()
    await stage.close(order)
    ours = {"order_id": order["id"], "attempt": "1"}
    bounced = {"object": "refund", "amount": 2500, "currency": "eur", "status": "failed", "payment_intent": "pi_1"}
    for id in ("re_1", "re_1", "re_2"):
        for type in ("refund.created", "refund.failed"):
            assert await stage.tell(type, {**bounced, "id": id, "metadata": ours}) == 200
    _, page = await stage.get("/v1/cases")
    assert [(case["kind"], case["order"], case["details"]["refund"]) for case in reversed(page["data"])] == [
        ("refund_returned", order["id"], "re_1"),
        ("refund_returned", order["id"], "re_2"),
    ]
    canceled = {**bounced, "status": "canceled", "id": "re_3", "metadata": ours}
    assert await stage.tell("refund.updated", canceled) == 200
    _, page = await stage.get("/v1/cases")
    assert len(page["data"]) == 2, "somebody canceled it: a person knows"
    assert (await stage.order(order["id"]))["state"] == "EXPIRED"


async def test_a_return_that_the_gateway_refuses_is_a_case(stage: Stage) -> None:
    order_id = await overpaid(stage)
    stage.gateway.trouble = ["", (400, "charge_disputed")]
    await work(stage)
    _, page = await stage.get("/v1/cases")
    assert [(case["kind"], case["order"], case["details"]["code"]) for case in page["data"]] == [
        ("return_refused", order_id, "charge_disputed")
    ]
    await make_due(stage)
    assert await work(stage) == 0


async def test_what_the_shop_gave_back_already_is_not_given_back_twice(stage: Stage) -> None:
    order_id = await overpaid(stage)
    session = stage.gateway.sessions[(await stage.order(order_id))["attempts"][0]["checkout_session"]]
    intent = session["payment_intent"]["id"]
    stage.gateway.refunds.append({"id": "re_x", "amount": 2500, "status": "succeeded", "payment_intent": intent})
    await work(stage)
    assert len(stage.gateway.refunds) == 1


async def test_another_amount_is_a_persons_decision(stage: Stage) -> None:
    """RULES §4: amount differs → never PAID by it: attention, case; nothing is returned by itself."""
    _, order = await stage.place()
    session = stage.gateway.session
    stage.gateway.pay(session)
    intent = {**session["payment_intent"], "amount": 2400, "amount_received": 2400}
    assert await stage.tell("payment_intent.succeeded", intent) == 200
    found = await stage.order(order["id"])
    assert (found["state"], found["attention"]) == ("PENDING", "amount_mismatch")
    _, page = await stage.get("/v1/cases")
    [case] = page["data"]
    assert (case["kind"], case["order"]) == ("amount_mismatch", order["id"])
    assert case["details"]["authorised"] == [{"currency": "EUR", "amount": 2400}]
    assert await work(stage) == 0


async def test_of_many_workers_one_gives_back(stage: Stage) -> None:
    """DESIGN §2.7: claimed by lease and generation."""
    await overpaid(stage)
    counts = await asyncio.gather(*(a_worker(stage).run_once() for _ in range(5)))
    assert sum(counts) == 1
    assert len(stage.gateway.refunds) == 1


async def test_policy_and_hook_are_set_by_command(stage: Stage, shelf: Shelf) -> None:
    """The hook's secret is shown once; plain HTTP is for loopback alone."""
    await set_late_policy(stage.database, merchant_id=stage.merchant_id, policy="accept_if_available")
    secret = await set_stock_hook(
        stage.database, SystemEntropy(), merchant_id=stage.merchant_id, url=shelf.url, loopback=True
    )
    assert secret is not None
    assert verify_standard([secret], _signed(secret), b"{}", SystemClock().now()) == "id"
    for refused in (
        set_late_policy(stage.database, merchant_id=stage.merchant_id, policy="keep"),
        set_late_policy(stage.database, merchant_id="mer_none", policy="accept"),
        set_stock_hook(stage.database, SystemEntropy(), merchant_id=stage.merchant_id, url="http://shop.example"),
    ):
        with pytest.raises(AccountRefused):
            await refused
    assert await set_stock_hook(stage.database, SystemEntropy(), merchant_id=stage.merchant_id, url=None) is None


def _signed(secret: str) -> list[tuple[bytes, bytes]]:
    timestamp = int(SystemClock().now().timestamp())
    signature = sign_standard([secret], "id", timestamp, b"{}")
    headers = {"webhook-id": "id", "webhook-timestamp": str(timestamp), "webhook-signature": signature}
    return [(name.encode(), value.encode()) for name, value in headers.items()]


async def test_a_policy_does_not_decide_about_goods_that_are_held(stage: Stage, shelf: Shelf) -> None:
    """RULES §4, §11: what holds the goods is settled first; then the policy decides, once. Also where it comes up while
    the stock hook is being asked."""
    await policy(stage, "accept_if_available", shelf)
    order_id = await a_late_payment(stage)
    attempt = (await stage.order(order_id))["attempts"][0]
    dispute = {"id": "dp_1", "object": "dispute", "payment_intent": attempt["payment_intent"], "currency": "eur"}
    reserve = Stock.reserve

    async def disputed_meanwhile(self: Stock, *asked: Any) -> Any:
        answer = await reserve(self, *asked)
        await stage.tell("charge.dispute.created", dispute | {"status": "needs_response"})
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stock, "reserve", disputed_meanwhile)
        await work(stage)
    found = await stage.order(order_id)
    assert (found["fulfilment"], found["attention"]) == ("held", "disputed")
    asked = len([type for type, _, _ in shelf.asked if type == "stock.reserve"])
    await make_due(stage)
    await work(stage)
    assert len([type for type, _, _ in shelf.asked if type == "stock.reserve"]) == asked, "nobody is asked meanwhile"
    await stage.tell("charge.dispute.closed", dispute | {"status": "won"})
    await make_due(stage)
    await work(stage)
    found = await stage.order(order_id)
    assert (found["fulfilment"], found["attention"]) == ("allowed", None)


TRACE = "0af7651916cd43dd8448eb211c80319c"


async def test_what_is_done_about_late_money_is_a_step_of_its_orders_trace(stage: Stage, shelf: Shelf) -> None:
    """RULES §13: the stock is asked, the payment looked at, the money given back in the trace that opened the attempt;
    what is learnt of it is told there."""
    await policy(stage, "accept_if_available", shelf)
    shelf.says = [(200, {"available": False})] * 2  # to the release too, which may come first or second
    await a_late_payment(stage)
    opened = f"00-{TRACE}-b7ad6b7169203331-01"
    await stage.database.execute(Statement("x", "UPDATE attempt SET trace = $1::text"), opened)
    spans: list[Followed] = []
    traced = TracedHttp(stage.http, SpanTracer(SystemClock(), SystemEntropy(), spans.append), "peer")
    while await a_worker(stage, traced).run_once():
        pass
    assert Counter(span.name for span in spans) == {"POST peer": 3, "GET peer": 1}, "stock twice, a look, a refund"
    assert {span.context.trace_id for span in spans} == {TRACE}


async def test_nothing_is_followed_where_nobody_followed_the_attempt(stage: Stage) -> None:
    await policy(stage, "refund")
    await a_late_payment(stage)
    spans: list[Followed] = []
    traced = TracedHttp(stage.http, SpanTracer(SystemClock(), SystemEntropy(), spans.append), "peer")
    while await a_worker(stage, traced).run_once():
        pass
    assert spans == []
