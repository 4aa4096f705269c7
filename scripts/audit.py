"""Looks for known weaknesses in what a running Tallystick is made of: pip-audit over requirements/runtime.txt.

.venv/bin/python scripts/audit.py

Ends with 1 where a version has a weakness that is not accepted below. Where no advisories can be had (a mirror without
them, no network), it says so loudly and ends with 0: then the lock's hashes, checked at every installation, are what
keeps a version from being another one than was looked at.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PIP_AUDIT = ROOT / ".venv" / "audit" / "bin" / "pip-audit"
BOUND_S = 180

ACCEPTED: dict[str, str] = {}  # the advisory's id: why it does not concern us, and until when


def judged(report: dict[str, Any]) -> tuple[list[str], list[str]]:
    """What is weak, in words, and the names of what nothing is known about."""
    weak, unknown = [], []
    for dependency in report["dependencies"]:
        if "skip_reason" in dependency:
            unknown.append(dependency["name"])
        for found in dependency.get("vulns", ()):
            if ACCEPTED.keys().isdisjoint({found["id"], *found.get("aliases", ())}):
                fixed = ", ".join(found.get("fix_versions", ())) or "none yet"
                weak.append(f"{dependency['name']} {dependency['version']}: {found['id']}; fixed in {fixed}")
    return weak, unknown


def main() -> int:
    """Audit, say what was found, give the exit code."""
    command = [str(PIP_AUDIT), "--disable-pip", "--require-hashes", "--progress-spinner=off", "--format=json"]
    try:
        ended = subprocess.run(
            [*command, "--requirement", str(ROOT / "requirements" / "runtime.txt")],
            check=False,
            capture_output=True,
            text=True,
            timeout=BOUND_S,
        )
        weak, unknown = judged(json.loads(ended.stdout))
    except (subprocess.TimeoutExpired, ValueError, KeyError, FileNotFoundError) as error:
        print(f"!!! DEPENDENCIES NOT AUDITED: no advisories could be had ({type(error).__name__})")
        return 0
    for line in weak:
        print(f"WEAK {line}")
    if unknown:
        print(f"!!! DEPENDENCIES NOT AUDITED: no advisories for {len(unknown)}, such as {unknown[0]}")
    if not weak and not unknown:
        print("No known weakness in what a running Tallystick is made of.")
    return 1 if weak else 0


if __name__ == "__main__":
    sys.exit(main())
