"""PostgreSQL is away for a while, in the middle of payments. docs/operating.md, "When the database is lost"."""

import asyncio
from typing import Any

import pytest

AWAY_S = 20.0  # longer than a bank's answer is held until it can be written: else both shoppers may notice nothing
IN_USE = 409  # a call that was cut off holds its key for a moment more
BACK_S = 20.0  # "within seconds", on a machine that does other things too


async def test_a_database_that_was_away_has_lost_doubled_and_stuck_nothing(
    installation: Any, shoppers: Any, refused: Any
) -> None:
    """Meanwhile everything is answered 503, and the health endpoints say so; nothing is started again."""
    processes = dict(installation.running)
    shoppers.come()
    await shoppers.pay_meanwhile()

    await asyncio.to_thread(installation.server.stop)
    for service in ("gateway", "merchant"):
        assert await installation.ready(service) == 503
        assert await installation.ready(service, "/healthz") == 200, "the process itself is well"
    with pytest.raises(refused) as answer:
        await installation.api().place({"amount": 1200, "currency": "EUR"}, key="while-it-is-away")
    assert answer.value.status == 503
    await asyncio.sleep(AWAY_S)

    await asyncio.to_thread(installation.server.start)
    async with asyncio.timeout(BACK_S):
        for service in ("gateway", "merchant"):
            await installation.until_ready(service)
    await shoppers.pay_meanwhile()
    assert shoppers.failures, "somebody paid meanwhile"
    assert shoppers.statuses <= {503, IN_USE}
    placed = await installation.api().place({"amount": 1200, "currency": "EUR"}, key="while-it-is-away")
    await shoppers.pay(placed["redirect_url"])
    await shoppers.go()
    await installation.paid_once_each([*shoppers.orders, placed["id"]])

    assert installation.running == processes
    assert all(each.process.returncode is None for each in processes.values()), "nothing was started again"
    unknown = await installation.terminal.json(installation.operating.command("tallystick gateway unknown-outcomes"))
    parked = await installation.terminal.does(
        installation.operating.command("tallystick merchant inbox list --state p")
    )
    assert unknown["unknown_outcomes"] == []
    assert parked == ""
    await installation.doctor()
