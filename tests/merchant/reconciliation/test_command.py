"""`tallystick merchant reconcile` and `cases`, as a person would type them, against a running service."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from tallystick.kernel.operators.keys import create_key
from tallystick.kernel.operators.roles import Role
from tallystick.ports.clock import SystemClock
from tallystick.ports.entropy import SystemEntropy

Files = Any
Stage = Any


async def command(stage: Stage, *arguments: str, operator: str = "") -> tuple[int, str]:
    """Run it while the service works; its status and what it said."""
    [worker] = [each for each in stage.service.workers if type(each).__name__ == "Reconciler"]
    working = asyncio.create_task(worker.run())
    environment = os.environ | {
        "TALLYSTICK_MERCHANT_URL": stage.url,
        "TALLYSTICK_MERCHANT_API_KEY": stage.api_key,
        "TALLYSTICK_MERCHANT_OPERATOR_KEY": operator,
    }
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("tallystick")),
        "merchant",
        *arguments,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        said, _ = await process.communicate()
    working.cancel()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def test_a_file_is_reconciled_and_its_case_decided_by_two(stage: Stage, files: Files, tmp_path: Path) -> None:
    (tmp_path / "day.csv").write_bytes(files.stripe(files.stripe_row(1)))
    file = ("--file", str(tmp_path / "day.csv"), "--format", "stripe", "--date", "2026-11-26")
    status, said = await command(stage, "reconcile", *file, "--dry-run")
    assert status == 0, said
    assert "dry run: nothing was done" in said
    status, said = await command(stage, "reconcile", *file, "--report", str(tmp_path / "day.html"))
    assert status == 0, said
    assert "unknown_payment" in said
    assert "<h1>Reconciliation of 2026-11-26</h1>" in (tmp_path / "day.html").read_text()
    _, page = await stage.get("/v1/cases")
    case = page["data"][0]["id"]
    keys = [
        (await create_key(stage.database, name, role=Role.ADMIN, at=SystemClock().now(), entropy=SystemEntropy())).key
        for name in ("Ada", "Bob")
    ]
    about = ("--merchant", stage.merchant_id)
    wanted = ("--action", "close", "--note", "known to us")
    assert (await command(stage, "cases", "propose", case, *about, *wanted, operator=keys[0]))[0] == 0
    status, said = await command(stage, "cases", "approve", case, *about, operator=keys[0])
    assert (status != 0, "another person" in said) == (True, True), said
    status, said = await command(stage, "cases", "approve", case, *about, operator=keys[1])
    assert (status, "is done" in said) == (0, True), said


async def test_a_refused_file_is_an_error(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "day.csv").write_bytes(b"damaged")
    status, said = await command(stage, "reconcile", "--file", str(tmp_path / "day.csv"), "--format", "adyen")
    assert (status != 0, "refused" in said) == (True, True), said
    assert ("Nothing was compared" in said, "Everything fits" in said) == (True, False), said


async def test_fees_are_agreed_by_command(stage: Stage, files: Files) -> None:
    key = (
        await create_key(stage.database, "Ada", role=Role.ADMIN, at=SystemClock().now(), entropy=SystemEntropy())
    ).key
    about = ("connections", "fees", stage.connection_id)
    status, said = await command(stage, *about, operator=key)
    assert (status, "fees are not looked at" in said) == (0, True), said
    terms = ("--basis-points", "140", "--fixed", "25", "--from", "2026-11-01")
    status, said = await command(stage, *about, "eur", *terms, operator=key)
    assert (status, said.strip()) == (0, "EUR from 2026-11-01: 140 basis points and 25 minor units"), said
    status, said = await command(stage, *about, "eur", "--drop", "--from", "2026-11-01", operator=key)
    assert (status, "fees are not looked at" in said) == (0, True), said
