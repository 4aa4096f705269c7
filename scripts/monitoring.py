"""Writes the files in monitoring/ that are made from tables: the rules of Prometheus and Grafana's dashboards.

.venv/bin/python scripts/monitoring.py
"""

from pathlib import Path

from tallystick.kernel.monitoring.grafana import DASHBOARDS, dashboard_file
from tallystick.kernel.monitoring.prometheus import rules_file
from tallystick.kernel.monitoring.rules import RULES

FOLDER = Path(__file__).parent.parent / "monitoring"


def files() -> dict[str, str]:
    """Every file, by its place in the folder."""
    dashboards = {f"grafana/dashboards/{each.uid}.json": dashboard_file(each) for each in DASHBOARDS}
    return {"prometheus/rules.yml": rules_file(RULES)} | dashboards


if __name__ == "__main__":
    for place, text in files().items():
        (FOLDER / place).write_text(text, encoding="utf-8")
