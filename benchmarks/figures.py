"""`python -m benchmarks.figures`: every benchmark after the other, with its controls, as the README's table.

Nothing else should run meanwhile. Each benchmark is a process of its own. With `--folder` what it printed is kept, and
a run that broke off goes on: what is there already is not measured again. The table is Markdown: what was measured,
ours, beside what, and how it compares.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

ROUNDS = 3
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "webhooks": ("benchmarks", "webhooks", f"--rounds={ROUNDS}", "--seconds=3"),
    "intents": ("benchmarks", "intents", f"--rounds={ROUNDS}", "--seconds=3"),
    "orders": ("benchmarks", "orders", f"--rounds={ROUNDS}", "--seconds=5"),
    "deliveries": ("benchmarks.deliveries", f"--rounds={ROUNDS}"),
    "expiry": ("benchmarks.expiry",),
    "reconciliation": ("benchmarks.reconciliation",),
    "console": ("benchmarks.console",),
    "gateway_console": ("benchmarks.gateway_console",),
}

Row = tuple[str, str, str, str]


def measured(name: str, folder: Path, options: tuple[str, ...] = ()) -> dict[str, Any]:
    """What a benchmark printed; it is run where it was not before."""
    kept = folder / f"{name}.json"
    if kept.exists():
        text = kept.read_bytes()
    else:
        command = [sys.executable, "-m", *COMMANDS[name], *options]
        print(" ".join(command[1:]), file=sys.stderr)
        text = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    report: dict[str, Any] = json.loads(text)
    kept.write_bytes(text)
    return report


def load_rows(what: str, by_connections: Mapping[str, Mapping[str, Any]]) -> Iterator[Row]:
    """A rate at so many connections beside each control of it."""
    for connections, by_subject in by_connections.items():
        beside = by_subject["beside_controls"]
        ours = next(each for name, each in by_subject.items() if name.endswith("tallystick"))
        for name, ratio in beside.items():
            yield (
                f"{what}, {connections} connections",
                _rate(ours["rate"]),
                f"{name.removeprefix('intents_')}: {_rate(by_subject[name]['rate'])}",
                f"{ratio['times_the_rate']:.2f} × the rate, {ratio['part_of_the_cpu']:.2f} of the CPU",
            )


def order_rows(by_shoppers: Mapping[str, Mapping[str, Any]]) -> Iterator[Row]:
    """Whole orders, by both ways to connect."""
    for shoppers, by_subject in by_shoppers.items():
        for name, way in (("orders_plain_http", "plain HTTP"), ("orders_tls", "TLS")):
            rate = by_subject[name]["rate"]
            yield f"whole orders, {shoppers} shoppers, {way}", _rate(rate), "", ""


def delivery_rows(report: Mapping[str, Any]) -> Iterator[Row]:
    """Deliveries beside pgqueuer, their pick-up, and good endpoints beside bad ones."""
    ours, theirs = (_middle(report["backlog"][name], "per_s") for name in ("tallystick", "pgqueuer"))
    ratio = f"{report['rate_beside_pgqueuer']} × the rate, {report['cpu_beside_pgqueuer']} of the CPU"
    yield "webhook deliveries", _rate(ours), f"pgqueuer: {_rate(theirs)}", ratio
    yield "from commit to receiver, 50 events a second", f"{report['pick_up']['p50_ms']} ms (p50)", "", ""
    bad, well = (_middle(report["others"][name], "p99_ms") for name in ("one_hangs_one_is_slow", "all_well"))
    ratio = f"{report['others']['p99_ratio']} × the time"
    yield "98 endpoints beside one that hangs and a slow one", f"{bad:.0f} ms (p99)", f"all well: {well:.0f} ms", ratio


def expiry_rows(report: Mapping[str, Any]) -> Iterator[Row]:
    """Due orders that end."""
    for size in report["expiry"]:
        memory = f"{size['memory_most_mib']:.0f} MiB at most"
        what = f"{size['orders']:,} due orders expire"
        yield what, _rate(size["orders_per_s"]), "", memory


def reconciliation_rows(report: Mapping[str, Any]) -> Iterator[Row]:
    """Settlement lines against orders."""
    for size in report["reconciliation"]:
        ratio = f"{size['times_control']} × the time, {size['memory_over_idle_mib']:.0f} MiB over the idle process"
        control = f"COPY and FULL JOIN: {size['control_s']:.1f} s"
        yield f"{size['lines']:,} settlement lines", f"{size['seconds']:.1f} s", control, ratio


def console_row(what: str, pages: Mapping[str, Mapping[str, Any]]) -> Row:
    """The slowest page of a console, and the largest."""
    slowest = max(page["p50_ms"] for page in pages.values())
    longest = max(max(page["first_ms"], page["max_ms"]) for page in pages.values())
    largest = max(page["kb"] for page in pages.values())
    return what, f"{slowest:.0f} ms (p50)", "", f"no call over {longest:.0f} ms, no page over {largest:.0f} kB"


def rows(folder: Path, console_folder: Path | None) -> Iterator[Row]:
    """The whole table."""
    kept = {
        name: (f"--data-dir={console_folder / name}",) if console_folder else ()
        for name in ("console", "gateway_console")
    }
    yield from load_rows("webhooks taken in", measured("webhooks", folder)["webhooks"])
    yield from load_rows("payment intents made", measured("intents", folder)["intents"])
    yield from order_rows(measured("orders", folder)["orders"])
    yield from delivery_rows(measured("deliveries", folder))
    yield from expiry_rows(measured("expiry", folder))
    yield from reconciliation_rows(measured("reconciliation", folder))
    for name, what in (("console", "merchant's console, 1,000,000 orders"), ("gateway_console", "gateway's console")):
        yield console_row(f"{what}, its slowest page", measured(name, folder, kept[name])["pages"])


def _rate(rate: float) -> str:
    return f"{rate:,.0f}/s"


def _middle(runs: list[dict[str, float]], name: str) -> float:
    return median(run[name] for run in runs)


def main() -> None:
    """Measure what is not measured yet, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.figures", description=__doc__)
    parser.add_argument("--folder", type=Path, help="where the figures are kept for another run")
    parser.add_argument("--console-folder", type=Path, help="where the consoles' databases are kept for another run")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as passing:
        folder = arguments.folder or Path(passing)
        folder.mkdir(parents=True, exist_ok=True)
        print("| | Tallystick | beside it | |\n|---|---|---|---|")
        for row in rows(folder, arguments.console_folder):
            print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
