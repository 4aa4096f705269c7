"""Both databases are backed up with orders in every state; one is lost, and the backup takes its place.
docs/operating.md, "Backup and restore".
"""

import asyncio
import json
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tallystick.cli.service_api import ApiRefused, ServiceApi
from tallystick.demo.browser import Browser
from tallystick.demo.shoppers import ASKS_THE_BANK, DECLINED
from tallystick.kernel.signatures import sign_stripe
from tallystick.ports.http import Answered, HttpRequest

DISPUTED = "4000000000000259"
KNOWN = ("state", "fulfilment", "attention", "late", "overpaid", "amount_captured", "amount_refunded")
EVENT = """
SELECT body FROM message
 WHERE convert_from(body, 'UTF8') LIKE '%%checkout.session.completed%%' AND position(%s::bytea in body) > 0
"""


async def test_the_merchants_database_is_restored(installation: Any, shoppers: Any) -> None:
    """Older than the gateway's: everything of before the dump is there, what was paid after it is found, and what was
    ordered after it is told to a person."""
    does, api = installation.terminal.does, installation.api()
    orders = await _in_every_state(installation, shoppers)
    paid_later = await shoppers.order("paid-later")
    await _dump(installation)
    before = {name: await _known(installation, id) for name, id in orders.items() if name not in ("open", "unknown")}

    await shoppers.pay(paid_later["redirect_url"])
    await installation.until_paid(paid_later["id"])
    lost = await shoppers.buy("ordered-after-the-dump")
    await installation.until_paid(lost)
    await _restore(installation, "merchant", await _signed(installation, paid_later["id"]))

    await does(f"export CONNECTION={installation.connection}")
    await does(installation.operating.command("tallystick merchant connections backfill"))
    await installation.until_paid(paid_later["id"])
    assert {name: await _known(installation, orders[name]) for name in before} == before
    with pytest.raises(ApiRefused):
        await api.order(lost)
    await installation.until_paid(orders["unknown"])
    await shoppers.pay((await api.order(orders["open"]))["redirect_url"])
    await installation.until_paid(orders["open"])

    # What was ordered after the dump: after an hour and with the day's report it is a case with all that is known.
    day = (await installation.now()).date().isoformat()
    await _next_day(installation)
    assert await _reconciled(installation, day) == {("unknown_payment", lost)}
    [payment] = installation.rows("gateway", PAYMENT, lost)
    cases = {case["kind"]: json.dumps(case) for case in await api.cases(state="open", pages=5)}
    assert {"webhook_unmatched", "recon_unknown_payment"} <= cases.keys()
    for kind in ("webhook_unmatched", "recon_unknown_payment"):
        assert payment["payment_intent"] in cases[kind], kind
        assert lost in cases[kind], kind
    assert "2500" in cases["recon_unknown_payment"]
    nobodys = f"both_sides_agree: {payment['payment_intent']}: was paid for {lost}, which is no order"
    assert await installation.broken_rules() == [nobodys]
    await installation.doctor()


async def test_the_gateways_database_is_restored(installation: Any, shoppers: Any) -> None:
    """Older than the merchant's, by a midnight: what the page says of every order that lies in the gap."""
    api = installation.api()
    early = await shoppers.buy("early")
    await installation.until_paid(early)
    open_then = await shoppers.order("open-then")
    await _dump(installation)
    gap_paid = await shoppers.buy("paid-in-the-gap")
    await installation.until_paid(gap_paid)
    first = (await installation.now()).date()
    await _next_day(installation)
    assert await _reconciled(installation, first.isoformat()) == set()
    gap_open = await shoppers.order("open-in-the-gap")

    await _restore(installation, "gateway")
    assert (await api.order(gap_paid))["state"] == "PAID"
    page = await Browser(installation.http).open(gap_open["redirect_url"])
    assert page.status == 404
    assert (await api.order(open_then["id"]))["state"] == "EXPIRED", "its time was over before"
    today = await shoppers.buy("today")
    await installation.until_paid(today)

    await _next_day(installation)
    run = await _run_of(installation, (first + timedelta(days=1)).isoformat())
    assert run["state"] == "refused"
    await _next_day(installation)
    assert (await _run_of(installation, (first + timedelta(days=2)).isoformat()))["state"] == "done", "as usual"
    assert (await api.order(gap_open["id"]))["state"] == "PENDING", "never ended on our clock alone"
    kinds = {case["kind"] for case in await api.cases(state="open", pages=5)}
    assert {"close_stuck", "settlement_file_refused"} <= kinds
    await installation.doctor()


async def _in_every_state(installation: Any, shoppers: Any) -> dict[str, str]:
    """Orders, by what became of them."""
    merchant = ServiceApi(installation.http, "the merchant service", installation.urls["merchant"], shoppers.api_key)

    async def act(path: str, body: dict[str, Any]) -> None:
        await merchant.ask("POST", path, body, {"Idempotency-Key": path})

    wanted = {"amount": 2500, "currency": "EUR", "expires_in_s": 60}
    expired = await shoppers.order("expired", wanted)
    await installation.pass_time("5m")
    failed, waits, bank, unknown = [await shoppers.order(key) for key in ("failed", "waits", "bank", "unknown")]
    for _ in range(3):
        await shoppers.pay(failed["redirect_url"], DECLINED)
    canceled = await shoppers.order("canceled")
    await act(f"/v1/orders/{canceled['id']}/cancel", {})
    paid, refunded = [await shoppers.buy(key) for key in ("paid", "refunded")]
    await installation.until_paid(refunded)
    await act(f"/v1/orders/{refunded}/refunds", {"amount": 700})
    disputed = await shoppers.buy("disputed", DISPUTED)
    asked = await shoppers.pay(bank["redirect_url"], ASKS_THE_BANK)
    assert asked.status == 200
    for id, true in (
        (expired["id"], lambda order: order["state"] == "EXPIRED"),
        (failed["id"], lambda order: order["state"] == "FAILED"),
        (canceled["id"], lambda order: order["state"] == "CANCELED"),
        (paid, lambda order: order["state"] == "PAID"),
        (refunded, lambda order: order["amount_refunded"] == 700),
        (disputed, lambda order: order["attention"] == "disputed"),
    ):
        await installation.until_order(id, true)
    await installation.terminal.does("tallystick gateway faults add acquirer drop_answer --calls 1")
    await shoppers.pay(unknown["redirect_url"])
    return {
        "expired": expired["id"],
        "failed": failed["id"],
        "canceled": canceled["id"],
        "paid": paid,
        "refunded": refunded,
        "disputed": disputed,
        "unknown": unknown["id"],
        "open": waits["id"],
        "at the bank": bank["id"],
    }


async def _known(installation: Any, id: str) -> dict[str, Any]:
    order = await installation.api().order(id)
    return {name: order[name] for name in KNOWN}


async def _dump(installation: Any) -> None:
    for service in ("gateway", "merchant"):
        await installation.terminal.does(installation.operating.command(f"pg_dump --format custom --file {service}"))


async def _restore(installation: Any, service: str, webhook: HttpRequest | None = None) -> None:
    """In the order of the page, whose steps name the merchant's database. A webhook that was signed before is taken."""
    page, terminal = installation.operating, installation.terminal

    def of_service(command: str) -> str:
        return str(command.replace("merchant", service))

    ahead = installation.clock_of("merchant")
    await installation.stop(service)
    await terminal.asks_the_server(of_service(page.command("ALTER DATABASE")))
    for beginning in ("createdb --owner tallystick_owner tallystick_m", "pg_restore --exit-on-error --dbname tallys"):
        await terminal.does(of_service(page.command(beginning)))
    stranger = installation.dsn({"gateway": "tallystick_merchant", "merchant": "tallystick_gateway"}[service], service)
    psycopg.connect(stranger).close()  # who may connect is not in a dump: until it is migrated everybody may
    await installation.migrate()
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(stranger)
    installation.set_clock(service, ahead)
    await installation.start(service)
    if webhook is not None:
        answer = await installation.http.send(webhook)
        assert isinstance(answer, Answered)
        assert answer.status == 200, answer.body
    await installation.doctor()


async def _signed(installation: Any, order: str) -> HttpRequest:
    """What the gateway has sent of an order, signed now."""
    [row] = installation.rows("gateway", EVENT, order.encode())
    secret = (installation.etc / "webhook-secret").read_text().strip()
    signature = sign_stripe([secret], int((await installation.now()).timestamp()), row["body"])
    url = f"{installation.urls['merchant']}/webhooks/{installation.connection}"
    return HttpRequest(
        "POST", url, {"Stripe-Signature": signature, "Content-Type": "application/json"}, row["body"], 20
    )


async def _next_day(installation: Any) -> None:
    """One o'clock of the next night: the day is closed, and half an hour after midnight it is compared. In parts: where
    an order cannot be closed, time stands still every few minutes for its next try, and a command is not waited for
    without end."""
    now = await installation.now()
    ends = (now + timedelta(days=1)).replace(hour=1, minute=0, second=0, microsecond=0)
    while now < ends:
        part = min(ends - now, timedelta(hours=6))
        await installation.pass_time(f"{part // timedelta(seconds=1) + 1}s")
        now = await installation.now()


async def _run_of(installation: Any, day: str) -> dict[str, Any]:
    api = installation.api()
    run: dict[str, Any] = await api.reconcile(day, None)
    async with asyncio.timeout(60):
        while run["state"] not in ("done", "refused"):
            await asyncio.sleep(0.2)
            run = await api.run(run["id"])
    return run


async def _reconciled(installation: Any, day: str) -> set[tuple[str, str | None]]:
    """What a day's comparison has found, besides what fits."""
    run = await _run_of(installation, day)
    assert run["state"] == "done", run
    return {(each["code"], each["order"]) for each in await installation.api().mismatches(run["id"])}


PAYMENT = """
SELECT i.id AS payment_intent FROM payment_intent i
  JOIN checkout_session s ON (s.account_id, s.livemode, s.id) = (i.account_id, i.livemode, i.checkout_session)
 WHERE s.client_reference_id = %s
"""
