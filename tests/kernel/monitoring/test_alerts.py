"""What an alert goes through, and that both ways of looking mean the same by a rule (RULES §13)."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tallystick.kernel.monitoring.alerts import FIRING, PENDING, QUIET, Alert, Key, decide, news, sentence, true_of
from tallystick.kernel.monitoring.conditions import Above, Of, Seen, Value, duration
from tallystick.kernel.monitoring.prometheus import rules_file
from tallystick.kernel.monitoring.rules import RULES, Rule, shortened

FOLDER = Path(__file__).parents[3] / "monitoring" / "prometheus"
TRIALS = [
    pytest.param(each, trials["evaluation_interval"], id=each["name"])
    for name in ("rules_test.yml", "rules_of_days_test.yml")
    for trials in [yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))]
    for each in trials["tests"]
]
START = datetime(2026, 3, 2, tzinfo=UTC)
UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
RULE = Rule("g", "Long", Above(Of("age_seconds"), 10, by=("work",)), "page", "It waits: {work}.", for_s=60, keep_s=120)


# A rule means the same to Prometheus and to us


class Series:
    """A series of promtool's notation: `0+60x30 5`, a value for each step."""

    def __init__(self, text: str, values: str) -> None:
        name, labels = re.fullmatch(r"(\w+)\{(.*)\}", text).groups()  # type: ignore[union-attr]
        self.name = name.removeprefix("tallystick_")
        self.labels = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        self.values: list[float] = []
        for first, step, times in re.findall(r"([\d.]+)(?:\+(\d+))?(?:x(\d+))?(?:\s|$)", values):
            self.values += [float(first) + float(step or 0) * n for n in range(int(times or 0) + 1)]

    def grown(self, step: int, steps: int) -> float:
        """By how much a counter grew within the last `steps`."""
        last = min(step, len(self.values) - 1)
        return self.values[last] - self.values[max(0, min(step - steps, last))]


def seconds(text: str) -> int:
    return int(text[:-1]) * UNITS[text[-1]]


def seen(series: Sequence[Series], at_s: int, interval_s: int) -> Seen:
    step = at_s // interval_s
    gauges: dict[str, list[Value]] = {}
    increases: dict[tuple[str, int], list[Value]] = {}
    for each in series:
        if step < len(each.values):
            gauges.setdefault(each.name, []).append(Value(each.labels, each.values[step]))
        for window_s in {window_s for rule in RULES for _, window_s, _ in rule.condition.counts()}:
            grown = each.grown(step, window_s // interval_s)
            increases.setdefault((each.name, window_s), []).append(Value(each.labels, grown))
    return Seen(gauges, increases)


@pytest.mark.parametrize(("trial", "every"), TRIALS)
def test_we_judge_as_prometheus_does(trial: Mapping[str, Any], every: str) -> None:
    """The trials that promtool makes of rules.yml, made with the rules themselves: none drifts from the other."""
    interval_s, every_s = seconds(trial["interval"]), min(seconds(every), seconds(trial["interval"]))
    series = [Series(each["series"], each["values"]) for each in trial["input_series"]]
    [expected] = trial["alert_rule_test"]
    fires = set()
    for job in {each.labels["job"] for each in series}:  # a service judges itself alone
        known: dict[Key, Alert] = {}
        for at_s in range(0, seconds(expected["eval_time"]) + 1, every_s):
            own = [each for each in series if each.labels["job"] == job]
            true = true_of(RULES, seen(own, at_s, interval_s))
            changed = decide(RULES, true, known, START + timedelta(seconds=at_s), unseen=False)
            known |= {alert.key: alert for alert in changed}
        rule = next(rule for rule in RULES if rule.name == expected["alertname"])
        fires |= {
            (rule.severity, sentence(rule, alert.about), rule.runbook)
            for alert in known.values()
            if alert.name == rule.name and alert.state == FIRING
        }
    assert fires == {
        (each["exp_labels"]["severity"], each["exp_annotations"]["summary"], each["exp_annotations"]["runbook"])
        for each in expected["exp_alerts"]
    }


def test_the_rules_of_prometheus_are_ours() -> None:
    """`make monitoring` writes them."""
    assert (FOLDER / "rules.yml").read_text(encoding="utf-8") == rules_file(RULES)


def test_shortened_rules_are_the_same_but_for_their_windows_and_waits() -> None:
    short, long = yaml.safe_load(rules_file(shortened(RULES, 60))), yaml.safe_load(rules_file(RULES))
    alerts = [
        [each for group in file["groups"] for each in group["rules"] if "alert" in each] for file in (long, short)
    ]
    for ours, theirs in zip(*alerts, strict=True):
        for name in ("for", "keep_firing_for"):
            if name in ours:
                assert seconds(theirs[name]) == max(seconds(ours[name]) // 60, 1)
        numbers = [re.sub(r"\[\w+\]|ratio\w+", "", each["expr"]) for each in (ours, theirs)]
        assert numbers[0] == numbers[1]
        windows = [re.findall(r"\[(\w+)\]", each["expr"]) for each in (ours, theirs)]
        assert [seconds(each) // 60 for each in windows[0]] == [seconds(each) for each in windows[1]]


@pytest.mark.parametrize(
    ("length_s", "text"), [(90, "90s"), (60, "1m"), (5_400, "90m"), (86_400, "1d"), (259_200, "3d")]
)
def test_lengths_of_time_are_written_as_prometheus_reads_them(length_s: int, text: str) -> None:
    assert duration(length_s) == text


# The life of an alert


class Life:
    """One alert of RULE, judged at one second after the other."""

    def __init__(self) -> None:
        self.known: dict[Key, Alert] = {}
        self.told: list[tuple[int, str]] = []

    def judge(self, at_s: int, true: bool, *, unseen: bool = False, rules: Sequence[Rule] = (RULE,)) -> str:
        keys = {("Long", "work=a")} if true else set()
        for alert in decide(rules, keys, self.known, START + timedelta(seconds=at_s), unseen=unseen):
            if news(self.known.get(alert.key), alert):
                self.told.append((at_s, alert.state))
            self.known[alert.key] = alert
        return self.known["Long", "work=a"].state if self.known else QUIET


def test_it_fires_when_it_was_true_long_enough_and_ends_when_it_was_not() -> None:
    life = Life()
    states = [life.judge(at_s, true=at_s < 100) for at_s in range(0, 300, 20)]
    assert states == [PENDING] * 3 + [FIRING] * 8 + [QUIET] * 4
    assert life.told == [(60, FIRING), (220, QUIET)]
    alert = life.known["Long", "work=a"]
    assert (alert.fired_at, alert.ended_at) == (START + timedelta(seconds=60), START + timedelta(seconds=220))


def test_what_was_true_for_a_moment_is_no_news() -> None:
    life = Life()
    for at_s in range(0, 600, 20):
        life.judge(at_s, true=at_s % 60 != 0)
    assert life.told == []


def test_what_swings_around_its_threshold_is_one_alert() -> None:
    life = Life()
    for at_s in range(0, 900, 20):
        life.judge(at_s, true=at_s <= 60 or at_s % 100 == 0)
    assert life.told == [(60, FIRING)]


def test_durations_begin_anew_where_nobody_looked() -> None:
    """A process that was away for an hour knows of two moments, not of an hour."""
    life = Life()
    life.judge(0, true=True)
    assert life.judge(3_600, true=True, unseen=True) == PENDING
    assert life.judge(3_660, true=True) == FIRING
    life.judge(3_680, true=False)
    assert life.judge(7_200, true=False, unseen=True) == FIRING
    assert life.judge(7_320, true=False) == QUIET


def test_it_goes_on_firing_where_nobody_looked_and_is_not_told_again() -> None:
    life = Life()
    life.judge(0, true=True)
    life.judge(60, true=True)
    assert life.judge(7_200, true=True, unseen=True) == FIRING
    assert life.told == [(60, FIRING)]


def test_a_rule_that_is_no_more_falls_quiet() -> None:
    life = Life()
    life.judge(0, true=True)
    life.judge(60, true=True)
    assert life.judge(80, true=True, rules=()) == QUIET


def test_a_sentence_names_what_it_is_about() -> None:
    assert sentence(RULE, "work=attempts") == "It waits: attempts."
