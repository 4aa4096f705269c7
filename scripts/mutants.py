"""Plants one bug after the other in a copy of the source and asks the simulation or a test to notice it.

.venv/bin/python scripts/mutants.py                  all of them, as a table
.venv/bin/python scripts/mutants.py --sample 6       some, spread over the list
.venv/bin/python scripts/mutants.py --only NAME      one

Exits with 1 when one survives, when the text that it replaces is not in the source any more, or when whoever should
notice it did not run, or complains without it too.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from msgspec import Struct, convert

ROOT = Path(__file__).parent.parent
MUTANTS = ROOT / "tests" / "mutants" / "mutants.toml"
SEEDS = 60  # of the scenario in which a bug should show; most show in the first dozen
STEP_SEEDS = 12
TIMEOUT_S = 600  # of one look; a busy machine takes its time, and nothing is caught by being slow


class Edit(Struct, frozen=True):
    """One exact replacement in one file below src/tallystick. The text stands there once."""

    file: str
    old: str
    new: str


class Mutant(Struct, frozen=True):
    """A planted bug: its name, what it is, and who must notice it: a scenario of the simulation, or tests."""

    name: str
    bug: str
    edits: tuple[Edit, ...]
    scenario: str | None = None
    tests: str | None = None


class ProvesNothing(Exception):
    """A mutant replaces what is not there (once); or who should notice it did not look, or always complains."""


def mutants() -> list[Mutant]:
    """All mutants, as they stand in the list."""
    return convert(tomllib.loads(MUTANTS.read_text(encoding="utf-8"))["mutant"], list[Mutant])


def plant(mutant: Mutant, source: Path) -> None:
    """Change the copy of the source. Raises ProvesNothing."""
    for edit in mutant.edits:
        path = source / "tallystick" / edit.file
        text = path.read_text(encoding="utf-8")
        if text.count(edit.old) != 1:
            raise ProvesNothing(f"{edit.file} has this {text.count(edit.old)} times: {edit.old!r}")
        path.write_text(text.replace(edit.old, edit.new), encoding="utf-8")


def caught_by(mutant: Mutant, source: Path) -> str | None:
    """Who noticed the bug, or None. Raises ProvesNothing."""
    environment = os.environ | {"PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
    if mutant.tests is not None:
        words = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", *mutant.tests.split()]
        ran = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, timeout=TIMEOUT_S, check=False)
        if ran.returncode not in (0, 1):  # interrupted, no such test, none collected: nobody looked
            raise ProvesNothing(f"pytest ended with {ran.returncode}")
        if ran.returncode == 1:
            if not passes(mutant.tests):
                raise ProvesNothing(f"{mutant.tests} fails without the bug too")
            return f"tests: {mutant.tests.split('/')[-1]}"
    if mutant.scenario is not None:
        for first in range(1, SEEDS, STEP_SEEDS):
            caught = simulated(mutant.scenario, first, environment)
            if caught is not None:
                return caught
    return None


@cache
def passes(tests: str) -> bool:
    """Whether tests pass as the source stands."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    words = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", *tests.split()]
    return (
        subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, timeout=TIMEOUT_S, check=False).returncode
        == 0
    )


def simulated(scenario: str, first: int, environment: dict[str, str]) -> str | None:
    """What the simulation finds in some seeds of a scenario, or None. Raises ProvesNothing."""
    words = ["simulate", "--seeds", str(STEP_SEEDS), "--first", str(first), "--scenario", scenario, "--json"]
    ran = _tallystick(words, environment)
    if ran.returncode == 0:
        return None
    try:
        violated = json.loads(ran.stdout)["violated"][0]
    except (ValueError, IndexError, KeyError):
        raise ProvesNothing(f"the simulation of {scenario} does not run") from None
    same = ["simulate", "--seed", str(violated["seed"]), "--scenario", scenario, "--json"]
    if _tallystick(same, os.environ | {"PYTHONPATH": str(ROOT / "src")}).returncode != 0:
        raise ProvesNothing(f"seed {violated['seed']} of {scenario} is violated without the bug too")
    return f"simulation: seed {violated['seed']}, {violated['violations'][0].split(':')[0]}"


def _tallystick(words: Sequence[str], environment: Mapping[str, str]) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "tallystick", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=TIMEOUT_S, check=False)


def sampled(every: Sequence[Mutant], count: int) -> list[Mutant]:
    """As many, evenly spread over the list; the same ones every day, so that a date never decides whether CI passes."""
    return list(every[:: max(1, len(every) // count)])[:count]


def run(chosen: Sequence[Mutant]) -> int:
    """Plant each, print who noticed it; how many survived or could not be planted."""
    failed = 0
    for mutant in chosen:
        began_s = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="tallystick-mutant-") as folder:
            source = Path(folder) / "src"
            shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
            try:
                plant(mutant, source)
                noticed = caught_by(mutant, source)
            except (ProvesNothing, subprocess.TimeoutExpired) as gone:
                noticed, failed = None, failed + 1
                print(f"CANNOT   {mutant.name}: {gone}", flush=True)
                continue
        failed += noticed is None
        verdict = "caught  " if noticed else "SURVIVED"
        print(f"{verdict} {mutant.name:<44} {noticed or mutant.bug}  ({time.monotonic() - began_s:.0f} s)", flush=True)
    print(f"{len(chosen) - failed} of {len(chosen)} planted bugs were caught")
    return failed


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=0, metavar="N")
    parser.add_argument("--only", default="", metavar="NAME")
    chosen = parser.parse_args()
    every = [mutant for mutant in mutants() if chosen.only in ("", mutant.name)]
    return 1 if run(sampled(every, chosen.sample) if chosen.sample else every) else 0


if __name__ == "__main__":
    sys.exit(main())
