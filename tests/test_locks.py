"""What is installed is what was looked at: locks pin every version with hashes, and an advisory is noticed."""

import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_every_version_is_pinned_with_hashes_and_no_index_is_named(lock: Path) -> None:
    text = re.sub(r"^\s*#.*$", "", lock.read_text(encoding="utf-8"), flags=re.MULTILINE)
    entries = [entry for entry in re.split(r"\n(?=\S)", text) if entry.strip()]
    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9][a-z0-9._-]*==[^\s;]+( ;[^\\]+)? \\\n", entry), entry[:80]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry[:80]
        assert "://" not in entry, entry[:80]


def test_the_audits_tools_are_kept_apart() -> None:
    """What looks at dependencies is no dependency: it is not installed where Tallystick runs."""
    runtime = (ROOT / "requirements" / "runtime.txt").read_text(encoding="utf-8")
    assert "pip-audit" not in runtime
    assert "cyclonedx" not in runtime


@pytest.fixture(scope="module")
def judged() -> Callable[[dict[str, Any]], tuple[list[str], list[str]]]:
    found: Callable[[dict[str, Any]], tuple[list[str], list[str]]]
    found = runpy.run_path(str(ROOT / "scripts" / "audit.py"))["judged"]
    return found


def test_a_weakness_is_told_and_what_is_not_known_is_not_taken_for_well(judged: Callable[..., Any]) -> None:
    advisory = {"id": "PYSEC-2026-1", "aliases": ["CVE-2026-1"], "fix_versions": ["2.0"]}
    weak, unknown = judged(
        {
            "dependencies": [
                {"name": "fine", "version": "1.0", "vulns": []},
                {"name": "weak", "version": "1.0", "vulns": [advisory]},
                {"name": "mirrored", "skip_reason": "Dependency not found on PyPI"},
            ]
        }
    )
    assert weak == ["weak 1.0: PYSEC-2026-1; fixed in 2.0"]
    assert unknown == ["mirrored"]
