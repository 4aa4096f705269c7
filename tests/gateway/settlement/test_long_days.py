"""A day with more lines than one statement takes, or one page holds, is closed like any other."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from tallystick.gateway.settlement import closing

Core = Any


async def test_lines_are_taken_and_written_in_parts(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closing, "TAKEN_LINES", 3)
    monkeypatch.setattr(closing, "PAGE_LINES", 2)
    for amount in range(101, 108):
        await core.create(amount=amount, confirm=True, payment_method="pm_card_visa")
    core.clock.ahead += timedelta(days=2)
    await core.settlement.close_due()
    [report, *_] = await core.rows("SELECT lines, net FROM settlement_report ORDER BY sequence")
    assert report == {"lines": 7, "net": sum(range(101, 108))}
    numbers = await core.rows("SELECT number, net FROM settlement_line WHERE kind = 'charge' ORDER BY number")
    assert [(row["number"], row["net"]) for row in numbers] == [(n, 100 + n) for n in range(1, 8)]


async def test_what_is_paid_out_is_noted_in_parts(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closing, "TAKEN_LINES", 3)
    await core.rows("UPDATE account SET available_days = 0 RETURNING 1")
    written: Counter[str] = Counter()
    transaction = core.database.transaction

    class Counting:
        def __init__(self, tx: Any) -> None:
            self.rows = tx.rows
            self._execute = tx.execute

        async def execute(self, statement: Any, *parameters: Any) -> int:
            count: int = await self._execute(statement, *parameters)
            written[statement.name] = max(written[statement.name], count)
            return count

    @asynccontextmanager
    async def counting() -> AsyncIterator[Any]:
        async with transaction() as tx:
            yield Counting(tx)

    for amount in range(101, 108):
        await core.create(amount=amount, confirm=True, payment_method="pm_card_visa")
    core.clock.ahead += timedelta(days=2)
    monkeypatch.setattr(core.database, "transaction", counting)
    await core.settlement.close_due()
    [payout] = await core.rows("SELECT id, amount FROM payout")
    assert payout["amount"] == sum(range(101, 108))
    noted = await core.rows("SELECT kind, payout FROM settlement_line WHERE payout IS NOT NULL ORDER BY number")
    assert noted == [{"kind": kind, "payout": payout["id"]} for kind in ["charge"] * 7 + ["payout"]]
    assert await core.rows("SELECT 1 FROM balance_release WHERE payout IS DISTINCT FROM (SELECT id FROM payout)") == []
    assert max(written["pay_released"], written["note_payout"]) == 3
