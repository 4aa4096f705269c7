"""PostgreSQL's disk is full, in the middle of payments. docs/operating.md, "When the disk is full".

The disk is a small one in memory, which only root may mount: without root the walk is skipped, with a loud line.
"""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SIZE_MIB = 400
FULL_S = 8.0
IN_USE = 409  # a call that was cut off holds its key for a moment more


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "postgres"
    folder.mkdir(mode=0o700)
    options = f"size={SIZE_MIB}m,mode=0700"
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True)
    if mount.returncode:
        pytest.skip("FULL DISK TESTS SKIPPED: a small disk is mounted by root alone")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_room_is_made_and_nothing_else_is_to_be_done(installation: Any, shoppers: Any, disk: Path) -> None:
    """Also where PostgreSQL itself has stopped for want of room: it is started, and has all that it had answered."""
    server, processes = installation.server, dict(installation.running)
    ballast = disk / "ballast"
    shoppers.come()
    await shoppers.pay_meanwhile()

    _fill(ballast)
    await installation.until(lambda: 503 in shoppers.statuses)
    for service in ("gateway", "merchant"):
        assert await installation.ready(service) == 200, "reads go on"
    await asyncio.sleep(FULL_S)
    assert "the database refuses what is asked of it: DiskFullError" in installation.said(
        "gateway"
    ) + installation.said("merchant")
    ballast.unlink()
    await shoppers.pay_meanwhile()

    _fill(ballast)
    await asyncio.to_thread(_no_more_log, installation)
    await installation.until(lambda: not server.running)
    assert [await installation.ready(service) for service in ("gateway", "merchant")] == [503, 503]
    ballast.unlink()
    await asyncio.to_thread(server.start)
    await shoppers.pay_meanwhile()
    await shoppers.go()
    await installation.paid_once_each(shoppers.orders)

    assert shoppers.statuses <= {503, IN_USE}
    assert all(each.process.returncode is None for each in processes.values()), "nothing was started again"
    await installation.doctor()


def _fill(ballast: Path) -> None:
    """To the last byte."""
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue


def _no_more_log(installation: Any) -> None:
    """Write until the write-ahead log needs a file that there is no room for."""
    import psycopg

    with psycopg.connect(installation.server.dsn(), autocommit=True) as connection:
        try:
            for _ in range(100):
                connection.execute("SELECT pg_logical_emit_message(false, 'walk', repeat('x', 1000000))")
        except psycopg.OperationalError:
            pass  # it has stopped
