"""Seeds of the simulated world: nothing lost, nothing charged twice, and every seed replays (RULES §14, DESIGN §8)."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping

import msgspec
import pytest

from tallystick.gateway.faults.faults import KINDS
from tallystick.ports.database import Statement
from tallystick.ports.synchronous import SynchronousConnection
from tallystick.simulation.acts import PLACES
from tallystick.simulation.databases import databases
from tallystick.simulation.faults import ALL, MORE, ON_DEMAND, OPERATORS, SHOP, STOCK
from tallystick.simulation.process import VARIABLE, Asked, Job
from tallystick.simulation.running import Total, regressions, run_seeds
from tallystick.simulation.scenario import BROADEST, SCENARIOS
from tallystick.simulation.seeds import SeedReport, Seeds
from tallystick.simulation.server import TABLES

PROOF_SEEDS = int(os.environ.get("TALLYSTICK_PROOF_SEEDS", "250"))  # what CI has time for; `make seeds` runs 2,000
PROOF_LONG_SEEDS = int(os.environ.get("TALLYSTICK_PROOF_LONG_SEEDS", "0"))  # CI has no time for one: `make seeds`
FAULT_TIMES_MIN = PROOF_SEEDS // 20  # of each kind of RULES §14 that a proof makes
BESIDE_TIMES_MIN = PROOF_SEEDS // 250  # of what people, shops and their stock do wrong beside: few seeds are about that
BESIDE = {*SHOP, *STOCK, *OPERATORS, *(f"on_demand_{place}_{kind}" for place in PLACES for kind in KINDS[place])}
RULES_14 = {*ALL, *MORE} - {*BESIDE, *ON_DEMAND}


def assert_nothing_violated(total: Total) -> None:
    assert [(report.seed, report.scenario, list(map(str, report.violations))) for report in total.violated] == []


async def test_short_seeds_of_every_scenario_hold(postgres_dsn: str) -> None:
    scenarios = {*SCENARIOS, *BROADEST}
    total = await run_seeds(seeds=[Asked(500, scenario) for scenario in sorted(scenarios)], dsn=postgres_dsn)
    assert_nothing_violated(total)
    assert set(total.scenarios) == scenarios
    assert total.counted == len(scenarios)


async def test_seeds_that_once_found_a_fault_hold(postgres_dsn: str) -> None:
    assert_nothing_violated(await run_seeds(seeds=regressions(), dsn=postgres_dsn))


@pytest.fixture(scope="module")
def pair(postgres_dsn: str) -> Iterator[Mapping[str, str]]:
    """A pair of databases, by service, for processes that run one after the other."""
    with databases(1, postgres_dsn) as [made]:
        yield made


def test_a_seed_is_the_same_story_in_every_process(pair: Mapping[str, str]) -> None:
    """Whatever the hashes of texts, the addresses of objects and the order of what a process did before."""
    first = reports(pair, seeds=(501, 502, 503), hash_seed="1")
    second = reports(pair, seeds=(503, 501, 502), hash_seed="2")
    assert {report.seed: report.trace for report in first} == {report.seed: report.trace for report in second}
    assert len({report.trace for report in first}) == 3


def test_keeping_the_story_changes_nothing(pair: Mapping[str, str]) -> None:
    (silent,) = reports(pair, seeds=(504,), hash_seed="0")
    (told,) = reports(pair, seeds=(504,), hash_seed="0", story=True)
    assert told.trace == silent.trace
    assert len(told.story) > 20 > len(silent.story) == 0


def test_nothing_of_a_seed_is_there_for_the_next(pair: Mapping[str, str]) -> None:
    """Only what was written is deleted, and never which version the schema is of."""
    seeds = Seeds(pair["gateway"], pair["merchant"])
    seeds.run(505)
    connections = [SynchronousConnection(dsn, {}) for dsn in pair.values()]
    assert all(any(rows_of(connection).values()) for connection in connections)
    seeds.empty()
    assert [{table: rows for table, rows in rows_of(each).items() if rows} for each in connections] == [{}, {}]
    version = Statement("version", "SELECT version_num FROM schema_version")
    assert [len(connection.run(version, ())[0]) for connection in connections] == [1, 1]
    for connection in connections:
        connection.close()


def rows_of(connection: SynchronousConnection) -> dict[str, int]:
    counts = {}
    for row in connection.run(TABLES, ())[0]:
        count = Statement("count", f"SELECT count(*) AS rows FROM {row['place']}")
        counts[row["name"]] = connection.run(count, ())[0][0]["rows"]
    return counts


def reports(
    pair: Mapping[str, str], *, seeds: tuple[int, ...], hash_seed: str, story: bool = False
) -> list[SeedReport]:
    job = Job(gateway_dsn=pair["gateway"], merchant_dsn=pair["merchant"], seeds=tuple(map(Asked, seeds)), story=story)
    ran = subprocess.run(
        [sys.executable, "-m", "tallystick.simulation.process"],
        env=os.environ | {VARIABLE: msgspec.json.encode(job).decode(), "PYTHONHASHSEED": hash_seed},
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
    )
    return [msgspec.json.decode(line, type=SeedReport) for line in ran.stdout.splitlines()]


@pytest.mark.proof
async def test_many_short_seeds_hold_and_make_every_fault_often(postgres_dsn: str) -> None:
    total = await run_seeds(count=PROOF_SEEDS, processes=os.cpu_count() or 1, dsn=postgres_dsn)
    assert_nothing_violated(total)
    assert total.counted >= PROOF_SEEDS
    assert {kind: total.faults[kind] for kind in RULES_14 if total.faults[kind] < FAULT_TIMES_MIN} == {}
    assert {kind: total.faults[kind] for kind in BESIDE if total.faults[kind] < BESIDE_TIMES_MIN} == {}


@pytest.mark.proof
@pytest.mark.skipif(PROOF_LONG_SEEDS == 0, reason="long seeds are run by `make seeds` and `make simulate`")
async def test_long_seeds_hold(postgres_dsn: str) -> None:
    """Three virtual days, 20 merchants, 500 orders, every flow up to the last payout."""
    total = await run_seeds(count=PROOF_LONG_SEEDS, long=True, processes=os.cpu_count() or 1, dsn=postgres_dsn)
    assert_nothing_violated(total)
    assert total.counted == PROOF_LONG_SEEDS
    assert total.faults.total() >= PROOF_LONG_SEEDS * 100
