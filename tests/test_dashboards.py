"""Grafana's dashboards: written from their table, every expression is Prometheus', and every metric and label that a
panel or a rule names exists (RULES §13)."""

import json
import re
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from tallystick.gateway.monitoring.figures import FIGURES as OF_GATEWAY
from tallystick.kernel.monitoring.grafana import DASHBOARDS, Panel
from tallystick.kernel.monitoring.rules import RULES
from tallystick.merchant.monitoring.figures import FIGURES as OF_MERCHANT
from tallystick.ports import metrics

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "monitoring"
PANELS = [
    pytest.param(panel, id=f"{board.uid.removeprefix('tallystick-')}: {panel.title}")
    for board in DASHBOARDS
    for panel in board.panels
]
OF_PROMETHEUS = {"job", "instance"}


def catalogue() -> dict[str, set[str]]:
    """Every metric that a process can show, with its labels."""
    known: dict[str, set[str]] = {"up": set(), "tallystick_database_up": set()}
    for figure in (*OF_GATEWAY, *OF_MERCHANT):
        labels = {*figure.labels, *(["window"] if figure.windowed else [])}
        known.setdefault(f"tallystick_{figure.name}", set()).update(labels)
    for counted in (each for each in vars(metrics).values() if isinstance(each, MetricWrapperBase)):
        endings = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}
        for ending in endings[str(counted._type)]:
            more = {"le"} if ending == "_bucket" else set()
            known[f"{counted._name}{ending}"] = {*counted._labelnames, *more}
    for family in metrics.REGISTRY.collect():
        for sample in family.samples:
            known.setdefault(sample.name, set(sample.labels))
    return known


def strange(expression: str) -> set[str]:
    """The names in an expression that nobody knows: metrics, and labels that none of its metrics has."""
    known = catalogue()
    bare = re.sub(r'"[^"]*"', '""', expression)
    found = {name for name in re.findall(r"\b(tallystick_\w+|process_\w+|up(?=\{))", bare) if name not in known}
    labels_of_all: set[str] = set(OF_PROMETHEUS)
    for name, where in re.findall(r"\b(tallystick_\w+|process_\w+|up)\b(\{[^}]*\})?", bare):
        labels = known.get(name, set()) | OF_PROMETHEUS
        labels_of_all |= labels
        found |= {f"{name}.{label}" for label in re.findall(r"(\w+)\s*=", where or "") if label not in labels}
    for by in re.findall(r"by \(([^)]*)\)", bare):
        found |= {label for label in re.split(r"[,\s]+", by) if label and label not in labels_of_all}
    return found


def test_the_committed_files_are_what_their_tables_give() -> None:
    """`make monitoring` writes them; none is there beside."""
    files = runpy.run_path(str(ROOT / "scripts" / "monitoring.py"))["files"]()
    for place, text in files.items():
        assert (FOLDER / place).read_text(encoding="utf-8") == text, place
    written = {path.relative_to(FOLDER).as_posix() for path in (FOLDER / "grafana" / "dashboards").iterdir()}
    assert written == {place for place in files if place.startswith("grafana/")}


def test_prometheus_takes_every_expression_of_a_dashboard(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool IS MISSING: install Debian's prometheus to run this test")
    expressions = [line.expr for board in DASHBOARDS for panel in board.panels for line in panel.lines]
    rules = [{"record": f"panel:{number}", "expr": each} for number, each in enumerate(expressions)]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run([promtool, "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(expressions)} rules found" in done.stdout


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_names_what_exists(panel: Panel) -> None:
    """What was mistyped would be an empty panel for ever."""
    for line in panel.lines:
        assert strange(line.expr) == set()
        for label in re.findall(r"\{\{(\w+)\}\}", line.legend):
            grouped = re.findall(r"by \(([^)]*)\)", line.expr)
            assert not grouped or label in re.split(r"[,\s]+", grouped[0]), f"{label} is not in the result"
    assert panel.alert in {"", *(rule.name for rule in RULES)}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_names_what_exists(rule: Any) -> None:
    """A name that was mistyped would be silent for ever."""
    assert strange(rule.condition.promql()) == set()


@pytest.mark.parametrize(
    "expression",
    [
        "sum(tallystick_chargs_total)",
        'sum(tallystick_charges_total{result="approved"})',
        "sum by (outcom) (tallystick_charges_total)",
        "max by (work) (tallystick_heartbeat_age_seconds)",
    ],
)
def test_a_name_that_is_mistyped_is_noticed(expression: str) -> None:
    assert strange(expression)


KINDS = {"timeseries", "stat", "table", "bargauge", "row"}
UNITS = {"s", "short", "ops", "reqps", "percentunit", "percent", "bytes", "none", "dateTimeFromNow"}
SCHEMA_MIN = 36  # of Grafana 9.2: data sources are named by type and uid


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


@pytest.mark.parametrize("path", sorted((FOLDER / "grafana" / "dashboards").iterdir()), ids=lambda path: path.stem)
def test_a_dashboard_is_one_that_grafana_takes(path: Path) -> None:
    """What its schema demands: numbers and names that are each panel's own, places on the grid that do not
    cover each other, known kinds and units, and everywhere the source that is chosen at the top."""
    board = json.loads(path.read_text(encoding="utf-8"))
    assert board["schemaVersion"] >= SCHEMA_MIN
    assert board["uid"] == path.stem
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,40}", board["uid"])
    assert board["title"]
    assert board.get("id") is None, "Grafana gives it a number"
    assert {"from", "to"} <= board["time"].keys()
    [source] = [each for each in board["templating"]["list"] if each["type"] == "datasource"]
    assert (source["name"], source["query"]) == ("datasource", "prometheus")
    panels = board["panels"]
    assert len({each["id"] for each in panels}) == len({each["title"] for each in panels}) == len(panels)
    assert all(isinstance(each["id"], int) and each["id"] > 0 for each in panels)
    for number, panel in enumerate(panels):
        assert panel["type"] in KINDS, panel["title"]
        place = panel["gridPos"]
        assert set(place) == {"x", "y", "w", "h"}
        assert min(place.values()) >= 0
        assert place["x"] + place["w"] <= 24
        assert min(place["w"], place["h"]) > 0
        assert not [each["title"] for each in panels[:number] if overlap(place, each["gridPos"])], panel["title"]
        asked = {"type": "prometheus", "uid": "${datasource}"}
        assert panel["datasource"] == asked
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        references = [target["refId"] for target in panel["targets"]]
        assert references
        assert len(set(references)) == len(references)
        for target in panel["targets"]:
            assert target.get("datasource", asked) == asked
            assert target["expr"].count("(") == target["expr"].count(")")
            assert re.sub(r"\{\{\w+\}\}", "", target["legendFormat"]).count("{") == 0, target["legendFormat"]
    assert max(each["gridPos"]["x"] + each["gridPos"]["w"] for each in panels) == 24


def test_what_provisions_grafana_names_files_and_prometheus() -> None:
    provider = yaml.safe_load((FOLDER / "grafana/provisioning/dashboards/tallystick.yml").read_text(encoding="utf-8"))
    source = yaml.safe_load((FOLDER / "grafana/provisioning/datasources/prometheus.yml").read_text(encoding="utf-8"))
    assert provider["providers"][0]["type"] == "file"
    assert source["datasources"][0]["type"] == "prometheus"
