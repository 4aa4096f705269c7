"""One of the two is away for long while the other goes on. docs/operating.md, "When a process is lost"."""

import asyncio
from typing import Any

import pytest

from tallystick.cli.service_api import ApiRefused

HOURS_MAX = 6  # what came to nothing for long is tried every hour
ALONE_S = 15.0  # of real time, for which a gateway that did not answer is left alone
MOMENTS_S = 30.0  # on a machine that does other things too


@pytest.mark.parametrize(("away", "dead"), [("20m", False), ("4d", True)])
async def test_the_merchant_service_was_away_and_finds_everything(
    installation: Any, shoppers: Any, manual: Any, away: str, dead: bool
) -> None:
    """For less than the retries go on, and for longer than they do."""
    does, told = installation.terminal.does, installation.terminal.json
    before = await shoppers.buy("before")
    pages = {name: await shoppers.order(name) for name in ("one", "two", "three", "left", "declined")}
    await installation.until_paid(before)

    await installation.kill("merchant")
    for name in ("one", "two", "three"):
        await shoppers.pay(pages[name]["redirect_url"])
    await shoppers.pay(pages["declined"]["redirect_url"], "4000000000000002")
    await does("unset TALLYSTICK_MERCHANT_URL")
    await does(f"tallystick gateway clock advance {away}")
    await does(f"export TALLYSTICK_MERCHANT_URL={installation.urls['merchant']}")
    letters = (await told("tallystick gateway dead-letters list"))["dead_letters"]
    assert bool(letters) == dead

    installation.set_clock("merchant", installation.clock_of("gateway"))
    await installation.start("merchant")
    paid = [before, *(pages[name]["id"] for name in ("one", "two", "three"))]
    for order in paid:
        await installation.until_paid(order, MOMENTS_S)
    if dead:
        for name in ("left", "declined"):
            await installation.until_order(pages[name]["id"], lambda order: order["state"] == "EXPIRED", MOMENTS_S)
    await installation.until(lambda: not _missed(installation), MOMENTS_S)

    # What was given up is delivered after all, and changes nothing; what is still to be tried finds a receiver.
    if dead:
        await does(manual("webhooks").command("tallystick gateway dead-letters redrive --all"))
        assert (await told("tallystick gateway dead-letters list"))["dead_letters"] == []
    else:
        await installation.pass_time("2h")
        for name in ("left", "declined"):
            await installation.until_order(pages[name]["id"], lambda order: order["state"] == "EXPIRED")
    assert not _missed(installation)
    assert (await told("tallystick merchant inbox list"))["webhooks"] == []
    await installation.paid_once_each(paid)
    again = await shoppers.buy("after")
    await installation.paid_once_each([*paid, again])
    await installation.doctor()


def _missed(installation: Any) -> set[str]:
    """Events for the merchant's endpoint that its inbox does not know."""
    sent = {row["event_id"] for row in installation.rows("gateway", "SELECT message AS event_id FROM delivery")}
    return sent - {row["event_id"] for row in installation.rows("merchant", "SELECT event_id FROM inbox")}


async def test_the_gateway_was_away_and_no_order_ended_without_its_word(installation: Any, shoppers: Any) -> None:
    """docs/operating.md, "When the gateway is away". RULES §8: never EXPIRED on our clock alone."""
    does, api = installation.terminal.does, installation.api()
    wanted = {"amount": 1200, "currency": "EUR"}
    left = [await shoppers.order("waiting"), await shoppers.order("left")]

    await installation.kill("gateway")
    for key in ("early", "late"):
        with pytest.raises(ApiRefused) as answer:
            await api.place(wanted, key=key)
        assert answer.value.status in (502, 503)
        if key == "early":
            await does("unset TALLYSTICK_GATEWAY_URL")
            await does("tallystick merchant clock advance 2h")
            await does(f"export TALLYSTICK_GATEWAY_URL={installation.urls['gateway']}")
    left.append((await api.orders())[1])  # the newest is "late"
    assert left[-1]["redirect_url"] is None
    assert {(await api.order(order["id"]))["state"] for order in left} == {"PENDING"}
    call = asyncio.create_task(shoppers.order("late", wanted))

    installation.set_clock("gateway", installation.clock_of("merchant"))
    await installation.start("gateway")
    order = await call
    await shoppers.pay(order["redirect_url"])
    await installation.until_paid(order["id"])
    for _ in range(HOURS_MAX):
        if {(await api.order(each["id"]))["state"] for each in left} == {"EXPIRED"}:
            break
        await asyncio.sleep(ALONE_S)
        await installation.pass_time("1h")
    assert (await api.place(wanted, key="early"))["state"] == "EXPIRED"
    again = await shoppers.buy("after")
    await installation.paid_once_each([order["id"], again])
    assert len(await api.orders()) == 5, "the same call is the same order"
    await installation.doctor()
