"""RULES §5: kept 24 h published, reaped at 72 h, an unfinished key never."""

from datetime import UTC, datetime, timedelta

from tallystick.kernel.idempotency import Claim, ClaimRequest, Idempotency, Scope, fingerprint
from tallystick.kernel.idempotency.worker import KeyReaper
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Database, Statement

NOW = datetime(2030, 1, 4, tzinfo=UTC)


class FixedClock(SystemClock):
    """A clock that stands still."""

    def now(self) -> datetime:
        return NOW


async def test_only_finished_keys_past_their_time_are_dropped(merchant_database: Database) -> None:
    engine = Idempotency(merchant_database)
    for key, age_h, finished in (("old", 73, True), ("young", 71, True), ("unfinished", 999, False)):
        request = ClaimRequest(Scope("mer_1", "live", key), fingerprint("POST", "/", key))
        [claim] = await engine.claim([request], NOW - timedelta(hours=age_h))
        assert isinstance(claim, Claim)
        if finished:
            async with merchant_database.transaction() as tx:
                await engine.finish(tx, [(claim, 201, b"{}")])
    reaper = KeyReaper(engine, FixedClock())
    assert await reaper.run_once() == 1
    assert await reaper.run_once() == 0
    left = await merchant_database.rows(Statement("x", "SELECT key FROM idempotency_key ORDER BY key"))
    assert [row["key"] for row in left] == ["unfinished", "young"]
