"""A gateway with more work waiting than it may hold says so to shoppers on a page, and not by breaking."""

from typing import Any

import pytest

from tallystick.gateway.checkout.commands import Checkout
from tallystick.kernel.batching import QueueFull


def test_a_shopper_is_asked_to_come_back(gateway: Any, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: object) -> None:
        raise QueueFull

    monkeypatch.setattr(Checkout, "page", full)
    answer = client(gateway.url).get("/pay/cs_test_x")
    assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (503, "text/html")
    assert int(answer.headers["retry-after"]) > 0
    assert b"you cannot be charged twice" in answer.body
