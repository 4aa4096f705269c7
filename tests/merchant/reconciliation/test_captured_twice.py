"""RULES §11, captured_twice under one payment: two charges, both confirmed by the gateway. The one that is not the
payment's own goes back by itself, once, whatever is lost on the way."""

from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from tallystick.merchant.accounts.directory import Directory
from tallystick.merchant.gateways.port import KEY_LIFE_S
from tallystick.merchant.gateways.stripe import StripeGateway
from tallystick.merchant.late_money.stock import Stock
from tallystick.merchant.late_money.worker import ErrandWorker
from tallystick.merchant.orders.facts import decode_facts
from tallystick.merchant.orders.outbox import Outbox
from tallystick.ports.entropy import SystemEntropy

Books = Any
Files = Any


def lines(books: Books, files: Files, order_id: str, *charges: str) -> None:
    """A day's report with these charges of payment 1."""
    for number, charge in enumerate(charges, start=1):
        fields = {"balance_transaction_id": f"txn_of_{number}", "source_id": charge, "charge_id": charge}
        line = files.stripe_row(1, created_utc="2026-11-26 10:00:00", **fields)
        books.gateway.lines.append(line | {"payment_metadata[order_id]": order_id})


def worker(books: Books) -> ErrandWorker:
    entropy = SystemEntropy()
    gateways = {"stripe": StripeGateway(books.http, Keys(), books.clock, entropy)}
    directory = Directory(books.database, books.clock)
    outbox = Outbox(books.clock, entropy)
    return ErrandWorker(books.database, gateways, directory, Stock(books.http), books.clock, entropy, outbox)


class Keys:
    """The secret of the connection."""

    async def read(self, reference: str) -> str:
        return "sk_test_of_no_value"


async def work(books: Books, hours: float = 1) -> None:
    """Errands, and what of them is tried again within so many hours."""
    for _ in range(12):
        await worker(books).run_once()
        books.clock.at += timedelta(hours=hours / 12)


async def doubled(books: Books, files: Files, state: str = "PAID") -> str:
    """An order whose payment the gateway captured twice, as its report and its API say."""
    order_id: str = await books.order(1, state)
    books.gateway.captured(1, order_id)
    books.gateway.charged(1, "ch_1")
    books.gateway.charged(1, "ch_0")
    lines(books, files, order_id, "ch_1", "ch_0")
    return order_id


async def money(books: Books) -> tuple[str, bool, int, int]:
    [order] = await books.rows("SELECT * FROM orders")
    return order["state"], order["overpaid"], order["amount_captured_minor"], order["amount_refunded_minor"]


async def test_the_surplus_goes_back_by_charge_and_once(books: Books, files: Files) -> None:
    """Found by its lines, confirmed by the gateway, returned under a key of the charge; the payment's own stays."""
    await doubled(books, files)
    await books.run()
    assert await books.found() == {("captured_twice", "resolved")}
    assert await money(books) == ("PAID", True, 5000, 0)
    await work(books)
    assert await money(books) == ("PAID", True, 5000, 2500)
    assert {each["id"]: each["amount_refunded"] for each in books.gateway.charges} == {"ch_1": 0, "ch_0": 2500}
    [(key, refund)] = books.gateway.by_key.items()
    [order] = await books.rows("SELECT order_id, facts::text AS facts, fulfilment FROM orders")
    assert key == f"return:{order['order_id']}:1:ch_0" == refund["metadata"]["reference"]
    assert decode_facts(order["facts"]).attempts[1].charges_returned == {"ch_0": "re_of_ch_0"}
    assert order["fulfilment"] == "allowed"
    assert await books.cases() == []
    calls = len(books.gateway.calls)
    await work(books)
    await books.run()
    assert len(books.gateway.calls) == calls, "nothing is done twice"


async def test_the_day_after_tells_of_the_return_and_everything_fits(books: Books, files: Files) -> None:
    order_id = await doubled(books, files)
    await books.run()
    await work(books, hours=0.5)
    await books.next_day()
    fields = {"gross": "-25.00", "fee": "0.00", "net": "-25.00", "source_id": "re_of_ch_0", "charge_id": "ch_0"}
    line = files.stripe_row(1, "refund", created_utc="2026-11-27 10:00:00", **fields)
    books.gateway.lines.append(line | {"payment_metadata[order_id]": order_id, "balance_transaction_id": "txn_9"})
    await books.run()
    assert await books.found() == {("captured_twice", "resolved")}
    assert {each["state"] for each in await books.rows("SELECT state FROM reconciliation")} == {"done"}


@pytest.mark.parametrize("state", ["PENDING", "EXPIRED"])
async def test_a_lost_webhook_and_two_charges_in_one(books: Books, files: Files, state: str) -> None:
    """The order is paid by the payment's own charge, and the other one goes back."""
    await doubled(books, files, state)
    await books.run()
    assert await books.found() == {("captured_twice", "resolved")}
    assert await books.state((await books.rows("SELECT order_id FROM orders"))[0]["order_id"]) == "PAID"
    await work(books)
    assert (await money(books))[2:] == (5000, 2500)
    own = next(each for each in books.gateway.charges if each["id"] == "ch_0")
    assert own["amount_refunded"] == 2500


@pytest.mark.parametrize("trouble", [[500], [500, 500, 500, 500], [429, 500]])
async def test_an_unknown_outcome_is_repeated_under_the_same_key(
    books: Books, files: Files, trouble: list[int]
) -> None:
    await doubled(books, files)
    await books.run()
    await worker(books)._claim()  # and died
    books.clock.at += timedelta(minutes=5)
    books.gateway.trouble = list(trouble)
    await work(books)
    assert await money(books) == ("PAID", True, 5000, 2500)
    assert len(books.gateway.by_key) == 1


async def test_an_answer_that_was_lost_gives_nothing_back_twice(
    books: Books, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made, and the answer is lost again and again until the key is too old: it is found by our reference."""
    await doubled(books, files)
    await books.run()
    real, lost = books.gateway.refund, 0

    def losing(asked: Any, key: str) -> web.Response:
        nonlocal lost
        lost += 1
        real(asked, key)
        return web.json_response({"error": {"type": "api_error", "message": "Lost."}}, status=500)

    monkeypatch.setattr(books.gateway, "refund", losing)
    await worker(books).run_once()
    assert (lost, await money(books)) == (3, ("PAID", True, 5000, 0))
    books.gateway.by_key.clear()
    next(each for each in books.gateway.charges if each["id"] == "ch_0")["amount_captured"] = 9900  # something is left
    books.clock.at += timedelta(seconds=KEY_LIFE_S + 60)
    await work(books)
    assert lost == 3, "it is not asked for again"
    assert len(books.gateway.refunds) == 1
    assert (await money(books))[3] == 2500


async def test_a_return_that_comes_back_is_a_case_and_is_not_repeated(books: Books, files: Files) -> None:
    await doubled(books, files)
    await books.run()
    await work(books)
    books.gateway.refunds[0]["status"] = "failed"
    next(each for each in books.gateway.charges if each["id"] == "ch_0")["amount_refunded"] = 0
    order_id = (await books.rows("SELECT order_id FROM orders"))[0]["order_id"]
    await books.next_day()
    fields = {"gross": "25.00", "fee": "0.00", "net": "25.00", "source_id": "re_of_ch_0", "charge_id": "ch_0"}
    line = files.stripe_row(1, "refund_failure", created_utc="2026-11-27 10:00:00", **fields)
    books.gateway.lines.append(line | {"payment_metadata[order_id]": order_id, "balance_transaction_id": "txn_9"})
    await books.run()
    await work(books)
    assert "refund_returned" in await books.cases()
    assert await money(books) == ("PAID", True, 5000, 0)
    assert len(books.gateway.refunds) == 1


async def test_what_the_gateway_gives_back_by_itself_is_left_to_it(books: Books, files: Files) -> None:
    """It refuses while it is at it; once its reversal is there the errand ends without a refund of ours."""
    await doubled(books, files)
    await books.run()
    books.gateway.refusal = "charge_already_refunded"
    await work(books)
    assert await books.cases() == []
    next(each for each in books.gateway.charges if each["id"] == "ch_0")["amount_refunded"] = 2500
    await work(books)
    assert books.gateway.refunds == []
    assert await money(books) == ("PAID", True, 5000, 2500)
    assert await books.rows("SELECT 1 FROM errand WHERE due_at IS NOT NULL") == []


async def test_a_refusal_is_a_persons_decision(books: Books, files: Files) -> None:
    await doubled(books, files)
    await books.run()
    books.gateway.refusal = "charge_disputed"
    await work(books)
    assert await books.cases() == ["return_refused"]
    assert await books.rows("SELECT 1 FROM errand WHERE due_at IS NOT NULL") == []


@pytest.mark.parametrize("changed", ["one charge", "given back", "own is gone"])
async def test_what_the_gateway_does_not_confirm_is_a_persons_decision(
    books: Books, files: Files, changed: str
) -> None:
    await doubled(books, files)
    if changed == "one charge":
        books.gateway.charges.pop()
    else:
        books.gateway.charges[0 if changed == "own is gone" else 1]["amount_refunded"] = 2500
    await books.run()
    assert await books.found() == {("captured_twice", "case")}
    await work(books)
    assert books.gateway.by_key == {}
