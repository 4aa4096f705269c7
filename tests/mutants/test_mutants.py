"""Planted bugs are noticed: a sample here, all of them by `make mutants`."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
MUTANTS_MIN = 30
SAMPLE = 4


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutants", ROOT / "scripts" / "mutants.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_bug_can_still_be_planted(tmp_path: Path) -> None:
    """A mutant whose text is not in the source any more proves nothing: mend it with the code that it was made for."""
    mutants = script()
    every = mutants.mutants()
    assert len(every) >= MUTANTS_MIN
    assert len({mutant.name for mutant in every}) == len(every)
    for mutant in every:
        assert mutant.scenario or mutant.tests, mutant.name
        for edit in mutant.edits:
            there = tmp_path / mutant.name / "tallystick" / edit.file
            there.parent.mkdir(parents=True, exist_ok=True)
            if not there.exists():
                shutil.copy(ROOT / "src" / "tallystick" / edit.file, there)
        mutants.plant(mutant, tmp_path / mutant.name)


def test_a_bug_that_cannot_be_planted_is_told(tmp_path: Path) -> None:
    mutants = script()
    gone = mutants.Mutant("gone", "", (mutants.Edit("x.py", "what was there once", ""),))
    (tmp_path / "tallystick").mkdir()
    (tmp_path / "tallystick" / "x.py").write_text("something else")
    with pytest.raises(mutants.ProvesNothing):
        mutants.plant(gone, tmp_path)


def test_tests_that_are_not_there_catch_nothing() -> None:
    mutants = script()
    with pytest.raises(mutants.ProvesNothing):
        mutants.caught_by(mutants.Mutant("idle", "", (), tests="tests/no_such_test.py"), ROOT / "src")


def test_tests_that_fail_without_the_bug_catch_nothing(tmp_path: Path) -> None:
    mutants = script()
    (tmp_path / "test_broken.py").write_text("def test_broken() -> None:\n    assert False\n")
    broken = mutants.Mutant("idle", "", (), tests=str(tmp_path / "test_broken.py"))
    with pytest.raises(mutants.ProvesNothing, match="without the bug too"):
        mutants.caught_by(broken, ROOT / "src")


@pytest.mark.proof
def test_a_sample_of_planted_bugs_is_noticed() -> None:
    words = [sys.executable, "scripts/mutants.py", "--sample", str(SAMPLE)]
    ran = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, ran.stdout
