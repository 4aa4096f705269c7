"""A stage whose attempts can be made older than they are."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tallystick.merchant.accounts.directory import Directory
from tallystick.merchant.expiry.worker import AttemptWorker
from tallystick.merchant.gateways.stripe import StripeGateway
from tallystick.merchant.orders.outbox import Outbox
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Record, Statement
from tallystick.ports.entropy import SystemEntropy

Stage = Any


class Attempts:
    """The attempts of a stage, and the worker that attends to them."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def worker(self) -> AttemptWorker:
        """One more worker on the stage's rows."""
        clock, entropy = SystemClock(), SystemEntropy()
        gateway = StripeGateway(self.stage.http, self.stage.secrets, clock, entropy)
        directory = Directory(self.stage.database, clock)
        return AttemptWorker(
            self.stage.database, {"stripe": gateway}, directory, clock, entropy, Outbox(clock, entropy)
        )

    async def work(self) -> int:
        """Attend to what is due until nothing is; how many times an attempt was attended to."""
        worker, worked = self.worker(), 0
        while claimed := await worker.run_once():
            worked += claimed
        return worked

    async def row(self, number: int = 1) -> Record:
        """The only order's attempt of this number."""
        rows = await self.stage.database.rows(Statement("x", f"SELECT * FROM attempt WHERE number = {number}"))
        (row,) = rows
        found: Record = row
        return found

    async def age(self, **ago: float) -> None:
        """Let all orders and attempts be made so long ago, and be due. Durations as `timedelta` takes them."""
        seconds = timedelta(**ago).total_seconds()
        for change in (
            "UPDATE orders SET created_at = created_at - s, expires_at = expires_at - s",
            "UPDATE attempt SET created_at = created_at - s, gateway_expires_at = gateway_expires_at - s",
        ):
            text = change.replace(" - s", f" - interval '{seconds} s'")
            await self.stage.database.execute(Statement("x", text))
        await self.make_due()

    async def make_due(self) -> None:
        """Let every attempt that waits be due now."""
        text = "UPDATE attempt SET due_at = $1::timestamptz WHERE due_at IS NOT NULL"
        await self.stage.database.execute(Statement("x", text), self.now)

    @property
    def now(self) -> datetime:
        return SystemClock().now()


@pytest.fixture
def attempts(stage: Stage) -> Attempts:
    """The stage's attempts."""
    return Attempts(stage)
