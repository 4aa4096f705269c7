"""Grafana's dashboards as a plain table: what each panel shows, in which unit, and which alert looks at the same. The
files in `monitoring/grafana/dashboards` are what `dashboard_file` gives. Pure.

What is read in the database is the same whichever process is asked: of it `max` is taken, never `sum`.
"""

import json
from typing import Any, Final

from msgspec import Struct

from tallystick.kernel.monitoring.conditions import Above
from tallystick.kernel.monitoring.rules import RULES, Rule

WIDE: Final = 24  # Grafana's columns
HIGH: Final = 8
SCHEMA: Final = 39  # of Grafana 11; newer ones take it too


class Line(Struct, frozen=True):
    """What is drawn: an expression of Prometheus, and what its lines are called (`{{result}}`)."""

    expr: str
    legend: str


class Panel(Struct, frozen=True):
    """One drawing. `alert` is the rule that looks at the same; its threshold is drawn too."""

    title: str
    words: str
    unit: str
    lines: tuple[Line, ...]
    alert: str = ""


class Dashboard(Struct, frozen=True):
    """A page of panels, three in a row."""

    uid: str
    title: str
    panels: tuple[Panel, ...]


def _share(part: str, whole: str, window: str) -> str:
    return f"sum(rate({part}[{window}])) / sum(rate({whole}[{window}]))"


def _of_orders(part: str, whole: str) -> str:
    """A share of orders by the window in which they were created; each series is the same in every process."""
    counted = "max by (window, state, attempted) (tallystick_orders_created{})"
    parts, wholes = (counted.replace("{}", where) for where in (part, whole))
    return f"sum by (window) ({parts}) / sum by (window) ({wholes})"


def _quantile(share: str, histogram: str, by: str = "") -> str:
    return f"histogram_quantile({share}, sum by (le{by}) (rate(tallystick_{histogram}_bucket[5m])))"


APPROVED: Final = 'tallystick_charges_total{outcome="approved"}'
ANSWERED: Final = 'tallystick_charges_total{outcome=~"approved|declined|unknown"}'

MONEY: Final = Dashboard(
    "tallystick-money",
    "Tallystick: money",
    (
        Panel(
            "Approved by banks",
            "attempt_authorization: approved / charges that reached the acquirer.",
            "percentunit",
            (
                Line(_share(APPROVED, ANSWERED, "10m"), "ten minutes"),
                Line(_share(APPROVED, ANSWERED, "1d"), "a day"),
            ),
            "AuthorizationsDropped",
        ),
        Panel(
            "Orders paid",
            "order_success: PAID / orders that somebody tried to pay, by when they were created.",
            "percentunit",
            (Line(_of_orders('{state="PAID",attempted="yes"}', '{attempted="yes"}'), "of the last {{window}}"),),
        ),
        Panel(
            "Conversion",
            "PAID / created, by when they were created.",
            "percentunit",
            (Line(_of_orders('{state="PAID"}', ""), "of the last {{window}}"),),
        ),
        Panel(
            "Charges",
            "What acquirers answered.",
            "ops",
            (Line("sum by (outcome) (rate(tallystick_charges_total[5m]))", "{{outcome}}"),),
        ),
        Panel(
            "From the bank's yes to PAID",
            "Seconds from the gateway's success to the order being PAID.",
            "s",
            (
                Line(_quantile("0.5", "paid_after_seconds"), "half of them"),
                Line(_quantile("0.99", "paid_after_seconds"), "99 of 100"),
            ),
        ),
        Panel(
            "Unknown outcomes",
            "Of which nobody knows what the bank did.",
            "short",
            (Line("max(tallystick_unknown_outcomes)", "unknown"),),
        ),
        Panel(
            "The oldest unknown outcome",
            "How long nobody has known it.",
            "s",
            (Line("max(tallystick_unknown_outcome_oldest_seconds)", "oldest"),),
            "OutcomeUnknownLong",
        ),
        Panel(
            "Money unmatched",
            "In differences of settlement that are not resolved, in minor units.",
            "short",
            (Line("max by (currency) (tallystick_unmatched_amount_minor)", "{{currency}}"),),
            "MoneyUnmatched",
        ),
        Panel(
            "Differences of settlement",
            "Not resolved, by code.",
            "short",
            (Line("max by (code) (tallystick_mismatches_open)", "{{code}}"),),
        ),
        Panel(
            "Since the last comparison with a settlement",
            "Of the connection that was left longest.",
            "s",
            (Line("max(tallystick_reconciliation_age_seconds)", "age"),),
            "ReconciliationStale",
        ),
        Panel(
            "Cases",
            "They wait for a person.",
            "short",
            (Line("max by (job, kind) (tallystick_cases_open)", "{{job}} {{kind}}"),),
        ),
        Panel(
            "What must never be",
            "Violations that the last round of checks found.",
            "short",
            (Line("max by (job, rule) (tallystick_invariant_violations)", "{{rule}}"),),
            "InvariantViolated",
        ),
    ),
)

WEBHOOKS: Final = Dashboard(
    "tallystick-webhooks",
    "Tallystick: webhooks",
    (
        Panel(
            "Webhooks received",
            "By what became of them.",
            "ops",
            (Line("sum by (result) (rate(tallystick_webhooks_received_total[5m]))", "{{result}}"),),
            "WebhooksNotStored",
        ),
        Panel(
            "How long storing one takes",
            "From its arrival to its answer. The objective is a quarter of a second for 99 of 100.",
            "s",
            (
                Line(_quantile("0.5", "webhook_processing_seconds"), "half of them"),
                Line(_quantile("0.99", "webhook_processing_seconds"), "99 of 100"),
            ),
            "WebhooksSlow",
        ),
        Panel(
            "Stored and not applied",
            "Parked: its order is not known yet. Failed: an inbound dead letter.",
            "short",
            (Line("max by (state) (tallystick_inbound_unapplied)", "{{state}}"),),
            "InboundDeadLetters",
        ),
        Panel(
            "Webhooks sent",
            "Tries, by what became of them.",
            "ops",
            (Line("sum by (job, result) (rate(tallystick_deliveries_total[5m]))", "{{job}} {{result}}"),),
            "DeliveriesFailing",
        ),
        Panel(
            "How long receivers take",
            "99 of 100 answer within.",
            "s",
            (Line(_quantile("0.99", "delivery_seconds", ", job"), "{{job}}"),),
        ),
        Panel(
            "Deliveries that wait",
            "Due, held or dead.",
            "short",
            (Line("max by (job, state) (tallystick_deliveries_unfinished)", "{{job}} {{state}}"),),
        ),
        Panel(
            "The oldest due delivery",
            "How long it waits.",
            "s",
            (Line("max by (job) (tallystick_delivery_due_oldest_seconds)", "{{job}}"),),
            "DeliveriesLate",
        ),
        Panel(
            "Dead letters",
            "Given up within an hour, by whose fault it is.",
            "short",
            (Line("sum by (job, fault) (increase(tallystick_dead_letters_total[1h]))", "{{job}} {{fault}}"),),
            "DeadLetters",
        ),
    ),
)

SERVICE: Final = Dashboard(
    "tallystick-service",
    "Tallystick: service",
    (
        Panel(
            "Alerts that fire",
            "As the services judge themselves.",
            "short",
            (Line("max by (job, alert, severity) (tallystick_alerts_firing)", "{{alert}} ({{severity}})"),),
        ),
        Panel(
            "Technical success",
            "1 − our errors / requests; 99.9 % is meant.",
            "percentunit",
            tuple(
                Line(
                    "1 - "
                    + _share('tallystick_http_requests_total{status="5xx"}', "tallystick_http_requests_total", window),
                    words,
                )
                for window, words in (
                    ("5m", "five minutes"),
                    ("1h", "an hour"),
                    ("6h", "six hours"),
                    ("3d", "three days"),
                )
            ),
            "ErrorBudgetBurns",
        ),
        Panel(
            "Requests",
            "By what they asked and the answer's class.",
            "reqps",
            (Line("sum by (area, status) (rate(tallystick_http_requests_total[5m]))", "{{area}} {{status}}"),),
        ),
        Panel(
            "Work that is due",
            "How long the oldest of each kind waits.",
            "s",
            (Line("max by (job, work) (tallystick_work_overdue_seconds)", "{{job}} {{work}}"),),
            "WorkOverdue",
        ),
        Panel(
            "Orders past their end",
            "How long the oldest is PENDING all the same.",
            "s",
            (Line("max(tallystick_order_overdue_seconds)", "oldest"),),
            "OrderPendingLong",
        ),
        Panel(
            "Heartbeat",
            "Since a process of each kind last ran the workers.",
            "s",
            (Line("max by (job, kind) (tallystick_workers_silent_seconds)", "{{job}} {{kind}}"),),
            "WorkersDead",
        ),
        Panel(
            "Processes and databases that answer",
            "1: it does.",
            "short",
            (
                Line('min by (job, instance) (up{job=~"tallystick.*"})', "{{instance}}"),
                Line("min by (job) (tallystick_database_up)", "database of {{job}}"),
            ),
            "ProcessDown",
        ),
        Panel(
            "Lines logged",
            "By level.",
            "ops",
            (Line("sum by (job, level) (rate(tallystick_log_lines_total[5m]))", "{{job}} {{level}}"),),
            "ErrorsLogged",
        ),
        Panel(
            "Card numbers taken out of logs",
            "Each is a fault of ours.",
            "short",
            (Line("sum by (job) (increase(tallystick_scrubber_hits_total[1h]))", "{{job}}"),),
            "CardNumberInLog",
        ),
        Panel(
            "Steps of traces",
            "That were exported, or dropped.",
            "ops",
            (Line("sum by (job, result) (rate(tallystick_spans_total[5m]))", "{{job}} {{result}}"),),
            "SpansDropped",
        ),
        Panel(
            "Vault",
            "Calls that brought no answer; for how long secrets could not be looked at anew.",
            "short",
            (
                Line("sum by (job, reason) (increase(tallystick_vault_errors_total[5m]))", "{{job}} {{reason}}"),
                Line("max by (job) (tallystick_secrets_stale_seconds)", "{{job}} stale, seconds"),
            ),
        ),
        Panel(
            "CPU",
            "Cores that each process uses.",
            "short",
            (Line('rate(process_cpu_seconds_total{job=~"tallystick.*"}[5m])', "{{instance}}"),),
        ),
        Panel(
            "Memory",
            "Of each process.",
            "bytes",
            (Line('process_resident_memory_bytes{job=~"tallystick.*"}', "{{instance}}"),),
        ),
    ),
)

DASHBOARDS: Final = (MONEY, WEBHOOKS, SERVICE)


def dashboard_file(dashboard: Dashboard) -> str:
    """The file, JSON as Grafana takes it."""
    return json.dumps(_dashboard(dashboard), indent=1, ensure_ascii=False) + "\n"


def _dashboard(dashboard: Dashboard) -> dict[str, Any]:
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "tags": ["tallystick"],
        "schemaVersion": SCHEMA,
        "editable": False,
        "refresh": "15s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "utc",
        "templating": {"list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]},
        "panels": [_panel(number, panel) for number, panel in enumerate(dashboard.panels)],
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    width = WIDE // 3
    source = {"type": "prometheus", "uid": "${datasource}"}
    rule = next((rule for rule in RULES if rule.name == panel.alert), None)
    words = panel.words + (f" Alert {rule.name}: {rule.runbook}." if rule is not None else "")
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": words,
        "datasource": source,
        "gridPos": {"x": number % 3 * width, "y": number // 3 * HIGH, "w": width, "h": HIGH},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, **_threshold(rule)}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + place), "datasource": source, "expr": line.expr, "legendFormat": line.legend}
            for place, line in enumerate(panel.lines)
        ],
    }


def _threshold(rule: Rule | None) -> dict[str, Any]:
    """The line above which the alert is true, where it is one of the panel's own values."""
    if rule is None or not isinstance(rule.condition, Above):
        return {}
    steps = [{"color": "green", "value": None}, {"color": "red", "value": rule.condition.threshold}]
    return {
        "thresholds": {"mode": "absolute", "steps": steps},
        "custom": {"thresholdsStyle": {"mode": "line"}},
    }
