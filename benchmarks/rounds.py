"""Interleaved rounds and medians: every round measures every subject, so that what disturbs one disturbs all."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, Protocol

import msgspec


class Measured(msgspec.Struct):
    """One run. Rate per second, latencies in milliseconds, CPU seconds of each process per 1,000 done."""

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_s_per_1000: dict[str, float]


class Subject(Protocol):
    name: str

    def measure(self, connections: int, seconds: float) -> Measured: ...


def interleaved(
    subjects: Sequence[Subject], connections: Sequence[int], rounds: int, seconds: float
) -> dict[str, dict[str, list[Measured]]]:
    """`{connections: {subject: [one Measured per round]}}`; the order of the subjects changes from round to round."""
    runs: dict[str, dict[str, list[Measured]]] = {
        str(count): {subject.name: [] for subject in subjects} for count in connections
    }
    shuffled = random.Random(0)
    for number in range(1, rounds + 1):
        for count in connections:
            for subject in shuffled.sample(list(subjects), len(subjects)):
                measured = subject.measure(count, seconds)
                runs[str(count)][subject.name].append(measured)
                print(
                    f"round {number}, {count} connections, {subject.name}: {measured.rate:,.0f}/s, "
                    f"p50 {measured.p50_ms} ms, p99 {measured.p99_ms} ms",
                    file=sys.stderr,
                )
    return runs


def medians(runs: Sequence[Measured]) -> dict[str, Any]:
    """The median of each figure over the rounds, and the slowest and fastest rate."""
    processes = runs[0].cpu_s_per_1000
    cpu = {name: median(run.cpu_s_per_1000[name] for run in runs) for name in processes}
    return {
        "rate": round(median(run.rate for run in runs), 1),
        "rate_min": round(min(run.rate for run in runs), 1),
        "rate_max": round(max(run.rate for run in runs), 1),
        "p50_ms": median(run.p50_ms for run in runs),
        "p99_ms": median(run.p99_ms for run in runs),
        "cpu_s_per_1000": {name: round(seconds, 4) for name, seconds in cpu.items()},
        "cpu_s_per_1000_without_client": round(median(map(_without_client, runs)), 4),
    }


def ratios(by_subject: dict[str, list[Measured]]) -> dict[str, dict[str, float]]:
    """Ours beside each control: how many times its rate, and which part of its CPU (client left out).

    The median of the rounds' own ratios: what disturbed a round disturbed both.
    """
    ours = next((name for name in by_subject if name.endswith("tallystick")), None)
    if ours is None:
        return {}
    return {
        name: {
            "times_the_rate": round(median(_pairwise(by_subject[ours], runs, lambda run: run.rate)), 2),
            "part_of_the_cpu": round(median(_pairwise(by_subject[ours], runs, _without_client)), 3),
        }
        for name, runs in by_subject.items()
        if name != ours
    }


def _pairwise(ours: Sequence[Measured], theirs: Sequence[Measured], of: Callable[[Measured], float]) -> list[float]:
    return [of(mine) / of(other) for mine, other in zip(ours, theirs, strict=True)]


def _without_client(run: Measured) -> float:
    return sum(seconds for name, seconds in run.cpu_s_per_1000.items() if name != "client")
