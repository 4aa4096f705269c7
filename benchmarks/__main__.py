"""`python -m benchmarks webhooks|intents|orders|all`: measure, and print JSON with medians."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import intents, orders, webhooks
from benchmarks.processes import Postgres, postgres, share_cores
from benchmarks.rounds import Subject, interleaved, medians, ratios
from tallystick.ports.postgres import SETTINGS

POSTGRESQL = {name: SETTINGS[name] for name in ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers")}

BENCHMARKS: dict[str, tuple[Callable[[Postgres], Sequence[Subject]], Sequence[int]]] = {
    "webhooks": (webhooks.subjects, webhooks.CONNECTIONS),
    "intents": (intents.subjects, intents.CONNECTIONS),
    "orders": (orders.subjects, orders.SHOPPERS),
}


def main() -> None:
    """Run the benchmark named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("benchmark", nargs="?", choices=[*BENCHMARKS, "all"], default="all")
    parser.add_argument("--rounds", type=int, default=5, help="how often every subject is measured (default 5)")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one measurement (default 4)")
    parser.add_argument("--subject", action="append", help="measure only this one; may be repeated")
    arguments = parser.parse_args()
    cores = share_cores()
    report: dict[str, Any] = {
        "machine": {"cores": cores, "python": platform.python_version(), "postgresql": POSTGRESQL},
        "rounds": arguments.rounds,
        "seconds": arguments.seconds,
    }
    chosen = BENCHMARKS if arguments.benchmark == "all" else [arguments.benchmark]
    with postgres() as server:
        for name in chosen:
            prepare, connections = BENCHMARKS[name]
            subjects = [each for each in prepare(server) if not arguments.subject or each.name in arguments.subject]
            runs = interleaved(subjects, connections, arguments.rounds, arguments.seconds)
            report[name] = {
                count: {
                    **{subject: medians(measured) for subject, measured in by_subject.items()},
                    "beside_controls": ratios(by_subject),
                }
                for count, by_subject in runs.items()
            }
    json.dump(report, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
