"""One process that runs seeds: `python -m tallystick.simulation.process`. Writes a line of JSON for each.

What it shall do stands in the environment, so that no DSN is in a process list. A seed with a violation is run again
with its story kept; that it then leaves the same trace is checked as well.
"""

import os
import sys
from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from tallystick.kernel.invariants.rules import Violation
from tallystick.simulation.seeds import SeedReport, Seeds

VARIABLE: Final = "TALLYSTICK_SIMULATION"


class Asked(Struct, frozen=True):
    """One seed that somebody wants to see: of a scenario, or of the one that it chooses itself."""

    seed: int
    scenario: str | None = None
    long: bool = False


class Job(Struct, frozen=True, kw_only=True):
    """Which seeds: `first`, `first + step`, … until `count` of them have counted, and those of `seeds`."""

    gateway_dsn: str
    merchant_dsn: str
    first: int = 1
    step: int = 1
    count: int = 0
    scenario: str | None = None
    long: bool = False
    seeds: tuple[Asked, ...] = ()
    story: bool = False

    def __repr__(self) -> str:
        return f"Job(first={self.first}, count={self.count})"


def counts(report: SeedReport) -> bool:
    """Whether a seed proves something: one without a fault does not."""
    return report.faults > 0


def run(job: Job) -> Iterator[SeedReport]:
    """The reports of a job, one by one."""
    seeds = Seeds(job.gateway_dsn, job.merchant_dsn)
    counted, seed = 0, job.first
    while counted < job.count:
        report = _told(seeds, Asked(seed, job.scenario, job.long), story=job.story)
        counted += counts(report)
        seed += job.step
        yield report
    for asked in job.seeds:
        yield _told(seeds, asked, story=job.story)


def _told(seeds: Seeds, asked: Asked, *, story: bool) -> SeedReport:
    report = seeds.run(asked.seed, scenario=asked.scenario, long=asked.long, recording=story)
    if not report.violations or story:
        return report
    again = seeds.run(asked.seed, scenario=asked.scenario, long=asked.long, recording=True)
    if again.trace != report.trace:
        differs = Violation("a_seed_replays", str(asked.seed), f"{report.trace[:12]}, then {again.trace[:12]}")
        return replace(again, violations=(*report.violations, differs))
    return again


def main() -> None:
    """Run the job in the environment."""
    job = msgspec.json.decode(os.environ.pop(VARIABLE), type=Job)
    for report in run(job):
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
