"""The rules as Prometheus reads them: `monitoring/prometheus/rules.yml` is what `rules_file(RULES)` gives. Pure."""

import json
import re
import textwrap
from collections.abc import Sequence
from itertools import groupby

from tallystick.kernel.monitoring.conditions import Burns, duration
from tallystick.kernel.monitoring.rules import Rule

HEAD = """\
# Alerts of Tallystick, written by `make monitoring` from src/tallystick/kernel/monitoring/rules.py: change them there.
# Every one has a page section that says what to do: docs/alerts.md#name-in-small-letters.
# Severity: page (somebody gets up), ticket (somebody looks at it today).
#
# Numbers that are small say nothing: a rate is judged only where enough happened to have one.
groups:
"""


def rules_file(rules: Sequence[Rule]) -> str:
    """The file, YAML."""
    groups = [f"{_group(name, list(some))}" for name, some in groupby(rules, key=lambda rule: rule.group)]
    return HEAD + "\n".join(groups)


def _group(name: str, rules: Sequence[Rule]) -> str:
    records = {
        record: expression
        for rule in rules
        if isinstance(rule.condition, Burns)
        for record, expression in rule.condition.records().items()
    }
    recorded = "".join(f"      - record: {record}\n        expr: {each}\n" for record, each in records.items())
    return f"  - name: tallystick-{name}\n    rules:\n" + recorded + "".join(_alert(rule) for rule in rules)


def _alert(rule: Rule) -> str:
    lines = [f"- alert: {rule.name}"]
    if rule.why:
        lines += [f"  # {line}" for line in textwrap.wrap(rule.why, 110)]
    expression = rule.condition.promql().split("\n")
    lines += (
        [f"  expr: {expression[0]}"] if len(expression) == 1 else ["  expr: |", *(f"    {line}" for line in expression)]
    )
    lines += [f"  for: {duration(rule.for_s)}"] if rule.for_s else []
    lines += [f"  keep_firing_for: {duration(rule.keep_s)}"] if rule.keep_s else []
    summary = re.sub(r"\{(\w+)\}", r"{{ $labels.\1 }}", rule.summary)
    lines += [
        f"  labels: {{severity: {rule.severity}}}",
        "  annotations:",
        f"    summary: {json.dumps(summary, ensure_ascii=False)}",
        f"    runbook: {rule.runbook}",
    ]
    return "".join(f"      {line}\n" for line in lines)
