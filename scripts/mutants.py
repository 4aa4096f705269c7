"""Plants one bug after the other in a copy of the source and asks the simulation or a test to notice it.

.venv/bin/python scripts/mutants.py                  all of them, as a table
.venv/bin/python scripts/mutants.py --sample 6       some, others every day
.venv/bin/python scripts/mutants.py --only NAME      one

Exits with 1 when one survives, or when the text that it replaces is not in the source any more.
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
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct, convert

ROOT = Path(__file__).parent.parent
MUTANTS = ROOT / "tests" / "mutants" / "mutants.toml"
SEEDS = 60  # of the scenario in which a bug should show; most show in the first dozen
STEP_SEEDS = 12
TIMEOUT_S = 240


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


class TextGone(Exception):
    """A mutant replaces what is not there (once) any more."""


def mutants() -> list[Mutant]:
    """All mutants, as they stand in the list."""
    return convert(tomllib.loads(MUTANTS.read_text(encoding="utf-8"))["mutant"], list[Mutant])


def plant(mutant: Mutant, source: Path) -> None:
    """Change the copy of the source. Raises TextGone."""
    for edit in mutant.edits:
        path = source / "tallystick" / edit.file
        text = path.read_text(encoding="utf-8")
        if text.count(edit.old) != 1:
            raise TextGone(f"{mutant.name}: {edit.file} has this {text.count(edit.old)} times: {edit.old!r}")
        path.write_text(text.replace(edit.old, edit.new), encoding="utf-8")


def caught_by(mutant: Mutant, source: Path) -> str | None:
    """Who noticed the bug, or None."""
    environment = os.environ | {"PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
    if mutant.tests is not None:
        words = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", *mutant.tests.split()]
        ran = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, timeout=TIMEOUT_S, check=False)
        if ran.returncode not in (0, 5):
            return f"tests: {mutant.tests.split('/')[-1]}"
    if mutant.scenario is not None:
        for first in range(1, SEEDS, STEP_SEEDS):
            caught = simulated(mutant.scenario, first, environment)
            if caught is not None:
                return caught
    return None


def simulated(scenario: str, first: int, environment: dict[str, str]) -> str | None:
    """What the simulation finds in some seeds of a scenario, or None."""
    words = ["simulate", "--seeds", str(STEP_SEEDS), "--first", str(first), "--scenario", scenario, "--json"]
    ran = subprocess.run(
        [sys.executable, "-m", "tallystick", *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if ran.returncode == 0:
        return None
    try:
        violated = json.loads(ran.stdout)["violated"][0]
    except (ValueError, IndexError, KeyError):
        return "simulation: it does not run"
    return f"simulation: seed {violated['seed']}, {violated['violations'][0].split(':')[0]}"


def sampled(every: Sequence[Mutant], count: int) -> list[Mutant]:
    """As many, evenly spread over the list, and others on another day."""
    step = max(1, len(every) // count)
    start = datetime.now(UTC).toordinal() % step
    return list(every[start::step])[:count]


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
            except TextGone as gone:
                noticed, failed = None, failed + 1
                print(f"CANNOT   {gone}", flush=True)
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
