"""Writes the files in monitoring/ that are made from tables: the rules of Prometheus and Grafana's dashboards.

.venv/bin/python scripts/monitoring.py                    # or `make monitoring`
.venv/bin/python scripts/monitoring.py --shortened 30     # prints rules for trials, in a thirtieth of the time
"""

import sys
from pathlib import Path

from tallystick.kernel.monitoring.grafana import DASHBOARDS, dashboard_file
from tallystick.kernel.monitoring.prometheus import rules_file
from tallystick.kernel.monitoring.rules import RULES, shortened

FOLDER = Path(__file__).parent.parent / "monitoring"


def files() -> dict[str, str]:
    """Every file, by its place in the folder."""
    dashboards = {f"grafana/dashboards/{each.uid}.json": dashboard_file(each) for each in DASHBOARDS}
    return {"prometheus/rules.yml": rules_file(RULES)} | dashboards


if __name__ == "__main__":
    if sys.argv[1:2] == ["--shortened"]:
        print(rules_file(shortened(RULES, int(sys.argv[2]))), end="")
        sys.exit()
    for place, text in files().items():
        (FOLDER / place).write_text(text, encoding="utf-8")
