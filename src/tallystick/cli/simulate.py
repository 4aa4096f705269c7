"""`tallystick simulate`: both services under virtual time, with the world's faults, as often as one likes."""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from tallystick.cli.showing import AsJson

if TYPE_CHECKING:
    from rich.console import Console

    from tallystick.simulation.running import Total
    from tallystick.simulation.seeds import SeedReport

STORY_LINES_MAX = 400  # of one violated seed; `--seed` shows the whole
STORIES_MAX = 3


def simulate(
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds that prove something.")] = 100,
    seed: Annotated[int | None, typer.Option(min=0, help="This seed alone, with its whole story.")] = None,
    first: Annotated[int, typer.Option(min=0, help="The seed to begin with.")] = 1,
    scenario: Annotated[str | None, typer.Option(help="Of all seeds, such as `expiry`; default: each chooses.")] = None,
    long: Annotated[bool, typer.Option("--long", help="Three virtual days, 20 merchants, 500 orders each.")] = False,
    processes: Annotated[int, typer.Option(min=1, max=64, help="Seeds at a time: as many as there are cores.")] = (
        os.cpu_count() or 1
    ),
    database: Annotated[
        str | None,
        typer.Option(
            envvar="TALLYSTICK_SIMULATION_DSN",
            help="DSN of a PostgreSQL server to use instead of ours.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run gateway and merchant service in one process: virtual time, real SQL, and everything that can go wrong.

    Requests are lost, doubled and late, processes die at any statement, clocks are wrong; then the faults stop, and
    everything must be true that must always be true. A violation is told with its seed and its story. The same seed is
    the same story, everywhere.
    """
    import asyncio

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from tallystick.cli.failures import CommandRefused
    from tallystick.cli.showing import console
    from tallystick.ports.clock import SystemClock
    from tallystick.simulation.process import Asked, counts
    from tallystick.simulation.running import run_seeds
    from tallystick.simulation.scenario import NAMES

    if scenario is not None and scenario not in NAMES:
        raise CommandRefused(f"there is no scenario {scenario}; there are {', '.join(sorted(NAMES))}")
    board = console(stderr=as_json)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    clock = SystemClock()
    reports: list[SeedReport] = []
    begun_s = clock.monotonic_s()
    with Progress(*columns, console=board) as progress:
        task = progress.add_task("seeds", total=seeds if seed is None else 1)

        def told(report: "SeedReport") -> None:
            progress.advance(task, int(counts(report) or seed is not None))
            if seed is not None:
                reports.append(report)

        total = asyncio.run(
            run_seeds(
                count=seeds if seed is None else 0,
                first=first,
                seeds=() if seed is None else (Asked(seed, scenario, long),),
                scenario=scenario,
                long=long,
                story=seed is not None,
                processes=processes,
                dsn=database,
                told=told,
            )
        )
    elapsed_s = clock.monotonic_s() - begun_s
    if as_json:
        typer.echo(_as_json(total, elapsed_s))
    else:
        _show(board, total, elapsed_s)
        for report in reports or total.violated[:STORIES_MAX]:
            _show_story(board, report, whole=seed is not None)
        board.print("no violation" if not total.violated else f"{len(total.violated)} seeds with violations")
    if total.violated:
        raise typer.Exit(1)


def _as_json(total: "Total", elapsed_s: float) -> str:
    import msgspec

    shown = msgspec.to_builtins(total) | {
        "elapsed_s": round(elapsed_s, 1),
        "violated": [
            {"seed": report.seed, "scenario": report.scenario, "violations": [str(each) for each in report.violations]}
            for report in total.violated
        ],
    }
    return msgspec.json.encode(shown).decode()


def _show(board: "Console", total: "Total", elapsed_s: float) -> None:
    from rich.table import Table

    table = Table(title="Faults that were made", title_justify="left")
    table.add_column("fault")
    table.add_column("times", justify="right")
    for kind, times in sorted(total.faults.items()):
        table.add_row(kind.replace("_", " "), f"{times:,}")
    board.print(table)
    seeds = max(total.seeds, 1)
    board.print(
        f"{total.seeds:,} seeds ({total.counted:,} counted) in {elapsed_s:.1f} s, "
        f"{total.seeds / max(elapsed_s, 0.001):.1f} a second, {total.virtual_s / 86400:,.1f} virtual days"
    )
    board.print(
        f"for each seed: {total.orders / seeds:.1f} orders, {total.statements / seeds:.0f} statements, "
        f"{total.commits / seeds:.0f} commits, {sum(total.faults.values()) / seeds:.1f} faults, "
        f"{total.lock_waits / seeds:.1f} waits for locks"
    )
    if len(total.violated) > STORIES_MAX:
        others = " ".join(str(report.seed) for report in total.violated[STORIES_MAX:])
        board.print(f"violations also in the seeds {others}")


def _show_story(board: "Console", report: "SeedReport", *, whole: bool) -> None:
    board.rule(f"seed {report.seed}, {report.scenario}")
    lines = report.story if whole else report.story[-STORY_LINES_MAX:]
    for line in lines:
        board.print(f"{line.at_s:12.3f}  {line.who:<14} {line.what}", markup=False, soft_wrap=True)
    for violation in report.violations:
        board.print(f"violated: {violation}", markup=False, style="red", soft_wrap=True)
