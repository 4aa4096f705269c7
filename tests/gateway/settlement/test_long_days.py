"""A day with more lines than one statement takes, or one page holds, is closed like any other."""

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
