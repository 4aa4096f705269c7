"""The alert rules: Prometheus takes them, each is tried firing and silent, and says what to do (RULES §13). That each
names what exists is in test_dashboards.py, that we judge by the same in kernel/monitoring/test_alerts.py."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "monitoring" / "prometheus"
RULES: Any = yaml.safe_load((FOLDER / "rules.yml").read_text(encoding="utf-8"))
TRIALS = ("rules_test.yml", "rules_of_days_test.yml")  # the second looks at days, in longer steps
TRIED = [each for name in TRIALS for each in yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))["tests"]]
ALL = [rule for group in RULES["groups"] for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in ALL if "alert" in rule}
IN_CI = os.environ.get("CI") == "true"


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        assert not IN_CI, f"{name} is missing, and CI must have it"
        pytest.skip(f"{name} IS MISSING: install Debian's prometheus and prometheus-alertmanager to run this test")
    return found


def run(*command: str) -> None:
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_rules_and_each_does_as_it_should() -> None:
    promtool = tool("promtool")
    run(promtool, "check", "rules", "rules.yml")
    run(promtool, "check", "config", "--syntax-only", "prometheus.yml")
    run(promtool, "test", "rules", *TRIALS)


def test_alertmanager_takes_its_example() -> None:
    run(tool("amtool"), "check-config", str(ROOT / "monitoring" / "alertmanager" / "alertmanager.yml"))


def test_every_alert_is_tried_firing_and_silent() -> None:
    fires = {each["alert_rule_test"][0]["alertname"] for each in TRIED if each["alert_rule_test"][0]["exp_alerts"]}
    silent = {
        each["alert_rule_test"][0]["alertname"] for each in TRIED if each["alert_rule_test"][0]["exp_alerts"] == []
    }
    assert len(ALERTS) >= 20
    assert fires == silent == set(ALERTS)


def test_every_alert_says_what_to_do() -> None:
    page = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^### (\w+)$", page, re.MULTILINE))
    assert told == set(ALERTS)
    for name, rule in ALERTS.items():
        assert rule["annotations"]["runbook"] == f"docs/alerts.md#{name.lower()}"
        assert rule["labels"]["severity"] in ("page", "ticket")
        section = page.split(f"\n### {name}\n")[1].split("\n### ")[0]
        waits = (("true for", rule.get("for")), ("over after", rule.get("keep_firing_for")))
        said = ", ".join([rule["labels"]["severity"], *(f"{words} {length}" for words, length in waits if length)])
        assert f"\n*{said}*\n" in section
        for part in ("- **Means**", "- **Look at**", "- **Do**"):
            assert section.count(part) == 1, (name, part)
