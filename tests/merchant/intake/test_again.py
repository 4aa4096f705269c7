"""RULES §7: inbound dead letters are tried again in bulk, by API and command: a dry run first, and on after a break."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tallystick.cli.command import run
from tallystick.kernel.operators.keys import create_key
from tallystick.kernel.operators.roles import Role
from tallystick.merchant.accounts.commands import create_merchant
from tallystick.merchant.intake import again
from tallystick.merchant.intake.again import Again, Unapplied
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import DatabaseUnavailable, Statement
from tallystick.ports.entropy import SystemEntropy

Stage = Any
CAME = datetime(2026, 3, 2, 12, tzinfo=UTC)
INSERT = Statement(
    "a_dead_letter",
    "INSERT INTO inbox (merchant_id, connection_id, event_id, type, state, error, tries, received_at, raw)"
    " VALUES ($1::text, $2::text, $3::text, $4::text, $5::text, CASE WHEN $5::text = 'failed' THEN 'broken' END, 5,"
    " $6::timestamptz, '')",
)
DUE = Statement("due", "SELECT event_id FROM inbox WHERE due_at IS NOT NULL ORDER BY event_id")
NOT_DUE = Statement("not_due", "UPDATE inbox SET due_at = NULL")


@pytest.fixture
async def dead(stage: Stage) -> Stage:
    """Five webhooks of one merchant and one of another that nobody tries any more."""
    for number in range(5):
        state, type = ("failed", "charge.refunded") if number < 3 else ("parked", "payment_intent.succeeded")
        came = CAME + timedelta(hours=number)
        await stage.database.execute(INSERT, stage.merchant_id, stage.connection_id, f"evt_{number}", type, state, came)
    other = await create_merchant(stage.database, SystemClock(), SystemEntropy(), name="Other")
    place = (other.merchant_id, f"con_{other.merchant_id.removeprefix('mer_')}x")
    await stage.database.execute(INSERT, *place, "evt_9", "charge.refunded", "failed", CAME)
    return stage


async def due(stage: Stage) -> list[str]:
    return [row["event_id"] for row in await stage.database.rows(DUE)]


async def send(stage: Stage, body: Any, role: Role = Role.SUPPORT) -> tuple[int, Any]:
    made = await create_key(stage.database, "ada", role=role, at=SystemClock().now(), entropy=SystemEntropy())
    headers = {"Authorization": f"Bearer {made.key}"}
    url = f"{stage.url}/operator/v1/inbox/run"
    async with stage.client.post(url, headers=headers, json=body) as answer:
        return answer.status, await answer.json()


@pytest.mark.parametrize(
    ("asked", "events"),
    [
        ({"state": "failed"}, ["evt_0", "evt_1", "evt_2", "evt_9"]),
        ({"type": "payment_intent.succeeded"}, ["evt_3", "evt_4"]),
        ({"since": "2026-03-02T13:00:00Z", "until": "2026-03-02T15:00:00Z"}, ["evt_1", "evt_2"]),
        ({"event": "evt_2"}, ["evt_2"]),
        ({"all": True}, ["evt_0", "evt_1", "evt_2", "evt_3", "evt_4", "evt_9"]),
        ({"state": "failed", "type": "payout.paid"}, []),
        ({"merchant": "mer_nobody"}, []),
        ({"connection": "con_nobody"}, []),
    ],
)
async def test_first_how_many_then_they_are_due(dead: Stage, asked: Any, events: list[str]) -> None:
    told = {"matched": len(events), "due": 0, "dry_run": True}
    assert await send(dead, {**asked, "dry_run": True}) == (200, told)
    assert await due(dead) == []
    assert await send(dead, asked) == (202, {"matched": len(events), "due": len(events), "dry_run": False})
    assert await due(dead) == events
    assert await send(dead, asked) == (202, {"matched": len(events), "due": 0, "dry_run": False}), "once"


async def test_a_merchants_and_a_connections_only(dead: Stage) -> None:
    assert (await send(dead, {"merchant": dead.merchant_id}))[1]["due"] == 5
    await dead.database.execute(NOT_DUE)
    assert (await send(dead, {"connection": dead.connection_id, "state": "failed"}))[1]["due"] == 3


@pytest.mark.parametrize("wrong", [{}, {"state": "applied"}, {"since": "yesterday"}, {"dry_run": True}, {"x": 1}, []])
async def test_what_says_nothing_or_nonsense_is_refused(dead: Stage, wrong: Any) -> None:
    assert (await send(dead, wrong))[0] == 422
    assert (await send(dead, {"all": True}, Role.AUDITOR))[0] == 403
    assert await due(dead) == []


class BreaksOff:
    """A database that goes away after so many steps."""

    def __init__(self, database: Any, steps: int) -> None:
        self._database, self._steps = database, steps

    async def rows(self, *asked: Any) -> Any:
        if not self._steps:
            raise DatabaseUnavailable("away")
        self._steps -= 1
        return await self._database.rows(*asked)


async def test_what_broke_off_goes_on_where_it_was(dead: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step is a commit; asked for again, those that are due already are left as they are."""
    monkeypatch.setattr(again, "STEP_ROWS", 2)
    clock: Any = SystemClock()
    breaks: Any = BreaksOff(dead.database, 1)
    with pytest.raises(DatabaseUnavailable):
        await Again(breaks, clock).run(dead.merchant_id, Unapplied())
    assert await due(dead) == ["evt_0", "evt_1"]
    assert await Again(dead.database, clock).run(dead.merchant_id, Unapplied()) == 3
    assert await due(dead) == [f"evt_{number}" for number in range(5)]


async def test_by_command(dead: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    made = await create_key(dead.database, "ada", role=Role.SUPPORT, at=SystemClock().now(), entropy=SystemEntropy())
    monkeypatch.setenv("TALLYSTICK_MERCHANT_URL", dead.url)
    monkeypatch.setenv("TALLYSTICK_MERCHANT_OPERATOR_KEY", made.key)

    async def command(*words: str, ends: int = 0) -> Any:
        asked = ["merchant", "inbox", "run", *words]
        assert await asyncio.to_thread(run, [*asked, "--json"]) == ends
        shown = capsys.readouterr().out
        return json.loads(shown) if shown else None

    assert await command("--state", "failed", "--dry-run") == {"matched": 4, "due": 0, "dry_run": True}
    assert await command(ends=2) is None
    assert await command("--since", "whenever", ends=2) is None
    assert (await command(dead.connection_id, "--type", "charge.refunded"))["due"] == 3
    assert (await command("--all"))["due"] == 3
    assert await due(dead) == ["evt_0", "evt_1", "evt_2", "evt_3", "evt_4", "evt_9"]
