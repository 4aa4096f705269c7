"""Runs many seeds in several processes, each with databases of its own, and adds up what they tell."""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from tallystick.simulation.databases import databases
from tallystick.simulation.process import VARIABLE, Asked, Job, counts
from tallystick.simulation.seeds import SeedReport

LINE_BYTES_MAX: Final = 64 * 1024 * 1024  # a story of 20,000 lines is a few megabytes
REGRESSIONS: Final = Path(__file__).parent / "regressions.txt"


class SimulationBroke(Exception):
    """A process of the simulation ended by itself: a fault of the simulation, not of a seed."""


class Total(Struct):
    """What a run comes to, so far. `virtual_s` is the sum of its seeds'."""

    seeds: int = 0
    counted: int = 0
    orders: int = 0
    statements: int = 0
    commits: int = 0
    lock_waits: int = 0
    virtual_s: float = 0.0
    faults: Counter[str] = msgspec.field(default_factory=Counter)
    scenarios: Counter[str] = msgspec.field(default_factory=Counter)
    violated: list[SeedReport] = msgspec.field(default_factory=list)

    def add(self, report: SeedReport) -> None:
        """One more seed."""
        self.seeds += 1
        self.counted += counts(report)
        self.orders += report.orders
        self.statements += report.statements
        self.commits += report.commits
        self.lock_waits += report.lock_waits
        self.virtual_s += report.virtual_s
        self.faults.update(report.counts)
        self.scenarios[report.scenario] += 1
        if report.violations:
            self.violated.append(report)


async def run_seeds(
    *,
    count: int = 0,
    first: int = 1,
    scenario: str | None = None,
    long: bool = False,
    seeds: Sequence[Asked] = (),
    story: bool = False,
    processes: int = 1,
    dsn: str | None = None,
    told: Callable[[SeedReport], None] = lambda _: None,
) -> Total:
    """`count` seeds that count from `first` on, all of `scenario` or `long`, and those of `seeds`, on databases made
    once. `told` hears of each. Raises SimulationBroke."""
    total = Total()

    def add(report: SeedReport) -> None:
        total.add(report)
        told(report)

    processes = max(1, min(processes, count + len(seeds)))
    with databases(processes, dsn) as pairs:
        jobs = [
            Job(
                gateway_dsn=pair["gateway"],
                merchant_dsn=pair["merchant"],
                first=first + number,
                step=processes,
                count=count // processes + (number < count % processes),
                scenario=scenario,
                long=long,
                seeds=tuple(seeds[number::processes]),
                story=story,
            )
            for number, pair in enumerate(pairs)
        ]
        await asyncio.gather(*(_run(job, add) for job in jobs))
    return total


async def _run(job: Job, told: Callable[[SeedReport], None]) -> None:
    environment = os.environ | {VARIABLE: msgspec.json.encode(job).decode()}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tallystick.simulation.process"),
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE_BYTES_MAX,
    )
    assert process.stdout is not None
    try:
        async for line in process.stdout:
            told(msgspec.json.decode(line, type=SeedReport))
        if await process.wait():
            raise SimulationBroke("a process of the simulation broke: what it wrote above says why")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def regressions() -> list[Asked]:
    """The seeds that found a fault once, from `regressions.txt`: number and scenario, `any` or `long`."""
    lines = REGRESSIONS.read_text(encoding="utf-8").splitlines()
    read = [line.split("#")[0].split() for line in lines]
    return [
        Asked(int(words[0]), None if words[1] in ("any", "long") else words[1], words[1] == "long")
        for words in read
        if words
    ]
