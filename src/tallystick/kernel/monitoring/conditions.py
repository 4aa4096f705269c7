"""Conditions: what must be seen for an alert to be true. Each can look for itself (`holds`), and can say the same in
Prometheus' words (`promql`): both stand side by side, so that neither drifts from the other. Pure.

Small numbers say nothing: a rate is judged only where enough happened to have one (`least`).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from msgspec import Struct

PREFIX: Final = "tallystick_"
UP: Final = "up"
"""Prometheus' own: whether a process answered. Where we look ourselves: whether it said lately that it lives."""
JOB: Final = "job"
"""Prometheus' own label for the service; where we look ourselves there is but one."""

About = tuple[tuple[str, str], ...]
"""The labels of an alert: what of several things it is about; mostly nothing."""


class Value(Struct, frozen=True):
    """A number as it was read, for one set of label values."""

    labels: Mapping[str, str]
    value: float


class Seen(Struct, frozen=True):
    """What a service knows of itself: gauges by name, and what counters grew by within windows that end now, by name
    and length. Names are without `tallystick_`."""

    gauges: Mapping[str, Sequence[Value]]
    increases: Mapping[tuple[str, int], Sequence[Value]]


class Of(Struct, frozen=True):
    """A metric, or those of its series whose `label` has one of `values` (`failed|unavailable`)."""

    metric: str
    label: str = ""
    values: str = ""

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether a series is one of them."""
        if self.label == JOB:
            return JOB not in labels or re.fullmatch(self.values, labels[JOB]) is not None
        return not self.label or labels.get(self.label) in self.values.split("|")

    def promql(self, window_s: int | None = None) -> str:
        """The selector, over a window where one is given."""
        name = self.metric if self.metric == UP else f"{PREFIX}{self.metric}"
        several = any(sign in self.values for sign in "|*")
        where = f'{{{self.label}{"=~" if several else "="}"{self.values}"}}' if self.label else ""
        return f"{name}{where}" + (f"[{duration(window_s)}]" if window_s else "")


class Above(Struct, frozen=True):
    """A gauge is above a threshold; of several values the greatest, or their sum."""

    of: Of
    threshold: float
    by: tuple[str, ...] = ()
    fold: Literal["max", "sum"] = "max"

    def counts(self) -> list[tuple[Of, int, tuple[str, ...]]]:
        return []

    def holds(self, seen: Seen) -> dict[About, float]:
        found = _folded(seen.gauges.get(self.of.metric, ()), self.of, self.by)
        values = {about: sum(each) if self.fold == "sum" else max(each) for about, each in found.items()}
        return {about: value for about, value in values.items() if value > self.threshold}

    def promql(self) -> str:
        return f"{self.fold}{_by(self.by)} ({self.of.promql()}) > {number(self.threshold)}"


class Zero(Struct, frozen=True):
    """A gauge that says whether something is there says that it is not."""

    of: Of
    by: tuple[str, ...] = ()

    def counts(self) -> list[tuple[Of, int, tuple[str, ...]]]:
        return []

    def holds(self, seen: Seen) -> dict[About, float]:
        found = _folded(seen.gauges.get(self.of.metric, ()), self.of, self.by)
        return {about: 0.0 for about, values in found.items() if min(values) == 0}

    def promql(self) -> str:
        return f"min{_by(self.by)} ({self.of.promql()}) == 0"


class Grown(Struct, frozen=True):
    """A counter grew by more than a threshold."""

    of: Of
    window_s: int
    threshold: float
    by: tuple[str, ...] = ()

    def counts(self) -> list[tuple[Of, int, tuple[str, ...]]]:
        return [(self.of, self.window_s, self.by)]

    def holds(self, seen: Seen) -> dict[About, float]:
        found = _grown(seen, self.of, self.window_s, self.by)
        return {about: value for about, value in found.items() if value > self.threshold}

    def promql(self) -> str:
        return f"sum{_by(self.by)} (increase({self.of.promql(self.window_s)})) > {number(self.threshold)}"


class Share(Struct, frozen=True):
    """Of what was counted, `part` is more than a share, and at least so many."""

    part: Of
    whole: Of
    window_s: int
    above: float
    least: int
    by: tuple[str, ...] = ()

    def counts(self) -> list[tuple[Of, int, tuple[str, ...]]]:
        return [(self.part, self.window_s, self.by), (self.whole, self.window_s, self.by)]

    def holds(self, seen: Seen) -> dict[About, float]:
        parts = _grown(seen, self.part, self.window_s, self.by)
        wholes = _grown(seen, self.whole, self.window_s, self.by)
        shares = {about: part / wholes[about] for about, part in parts.items() if part >= self.least}
        return {about: share for about, share in shares.items() if share > self.above}

    def promql(self) -> str:
        part = f"sum{_by(self.by)} (increase({self.part.promql(self.window_s)}))"
        whole = f"sum{_by(self.by)} (increase({self.whole.promql(self.window_s)}))"
        return f"{part} >= {self.least}\nand\n{part}\n  / {whole} > {number(self.above)}"


class Without(Struct, frozen=True):
    """Counters grew, each by so much at least, and one that grows with them where all is well did not grow at all."""

    grown: tuple[tuple[Of, int], ...]
    still: Of
    window_s: int

    def counts(self) -> list[tuple[Of, int, tuple[str, ...]]]:
        return [(of, self.window_s, ()) for of in (*(of for of, _ in self.grown), self.still)]

    def holds(self, seen: Seen) -> dict[About, float]:
        enough = all(_total(seen, of, self.window_s) >= least for of, least in self.grown)
        return {(): 0.0} if enough and not _total(seen, self.still, self.window_s) else {}

    def promql(self) -> str:
        grown = (f"sum(increase({of.promql(self.window_s)})) >= {least}" for of, least in self.grown)
        return "\nand\n".join((*grown, f"sum(increase({self.still.promql(self.window_s)})) == 0"))


class Fell(Struct, frozen=True):
    """The share of `part` is below what a longer window makes usual times `below`, and at least so many were seen."""

    part: Of
    whole: Of
    window_s: int
    usual_s: int
    below: float
    least: int

    def counts(self) -> list[tuple[Of, int, tuple[str, ...]]]:
        return [(of, window_s, ()) for of in (self.part, self.whole) for window_s in (self.window_s, self.usual_s)]

    def holds(self, seen: Seen) -> dict[About, float]:
        now, usual = (_share(seen, self.part, self.whole, window_s) for window_s in (self.window_s, self.usual_s))
        enough = _total(seen, self.whole, self.window_s) >= self.least
        return {(): now} if enough and now is not None and usual is not None and now < self.below * usual else {}

    def promql(self) -> str:
        def share(window_s: int) -> str:
            part, whole = self.part.promql(window_s), self.whole.promql(window_s)
            return f"sum(increase({part}))\n  / sum(increase({whole}))"

        enough = f"sum(increase({self.whole.promql(self.window_s)})) >= {self.least}"
        return f"{enough}\nand\n{share(self.window_s)}\n< {number(self.below)} *\n{share(self.usual_s)}"


class Slow(Struct, frozen=True):
    """More than a share of what a histogram saw took longer than one of its edges, and at least so many were seen."""

    of: str
    edge_s: float
    share: float
    window_s: int
    least: int

    @property
    def within(self) -> Of:
        """What did not take longer."""
        return Of(f"{self.of}_bucket", "le", number(self.edge_s))

    def counts(self) -> list[tuple[Of, int, tuple[str, ...]]]:
        return [(self.within, self.window_s, ()), (Of(f"{self.of}_count"), self.window_s, ())]

    def holds(self, seen: Seen) -> dict[About, float]:
        all_of_them = _total(seen, Of(f"{self.of}_count"), self.window_s)
        if all_of_them < self.least:
            return {}
        share = 1 - _total(seen, self.within, self.window_s) / all_of_them
        return {(): share} if share > self.share else {}

    def promql(self) -> str:
        buckets = Of(f"{self.of}_bucket").promql(self.window_s)
        return (
            f"sum(increase({Of(f'{self.of}_count').promql(self.window_s)})) >= {self.least}\nand\n"
            f"histogram_quantile({number(1 - self.share)}, sum by (le) (rate({buckets}))) > {number(self.edge_s)}"
        )


class Burns(Struct, frozen=True):
    """An allowance (the share of `part` that is allowed of `whole`) is used so many times too fast, over a long window
    and still over a short one: `pairs` of long, short and times, any of which is enough."""

    part: Of
    whole: Of
    allowed: float
    pairs: tuple[tuple[int, int, float], ...]
    least: int

    def counts(self) -> list[tuple[Of, int, tuple[str, ...]]]:
        return [(of, window_s, ()) for of in (self.part, self.whole) for window_s in self.windows()]

    def windows(self) -> list[int]:
        """Over which the share is looked at."""
        return sorted({window_s for long_s, short_s, _ in self.pairs for window_s in (long_s, short_s)})

    def holds(self, seen: Seen) -> dict[About, float]:
        if _total(seen, self.part, self.pairs[0][0]) < self.least:
            return {}
        for long_s, short_s, times in self.pairs:
            shares = [_share(seen, self.part, self.whole, window_s) for window_s in (long_s, short_s)]
            if all(share is not None and share > times * self.allowed for share in shares):
                return {(): max(share for share in shares if share is not None)}
        return {}

    def promql(self) -> str:
        def burning(window_s: int, times: float) -> str:
            return f"{ratio_name(window_s)} > {number(times)} * {number(self.allowed)}"

        either = "\n  or\n".join(
            f"  ({burning(long_s, times)} and {burning(short_s, times)})" for long_s, short_s, times in self.pairs
        )
        return f"sum(increase({self.part.promql(self.pairs[0][0])})) >= {self.least}\nand (\n{either}\n)"

    def records(self) -> dict[str, str]:
        """The ratios that `promql` names, each with what is to be recorded under it."""
        return {
            ratio_name(window_s): f"sum(rate({self.part.promql(window_s)})) / sum(rate({self.whole.promql(window_s)}))"
            for window_s in self.windows()
        }


Condition = Above | Zero | Grown | Share | Without | Fell | Slow | Burns


def ratio_name(window_s: int) -> str:
    """Under which the ratio of errors over a window is recorded in Prometheus."""
    return f"tallystick:errors:ratio{duration(window_s)}"


def duration(seconds: int) -> str:
    """A length of time as Prometheus writes it: 90 s, 5 m, 3 d."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds % length == 0 and seconds:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def number(value: float) -> str:
    """A number as people write it."""
    return f"{round(value, 9):g}" if value < 100_000 else f"{value:.0f}"


def _by(labels: Sequence[str]) -> str:
    return f" by ({', '.join(labels)})" if labels else ""


def _folded(values: Sequence[Value], of: Of, by: Sequence[str]) -> dict[About, list[float]]:
    """The values of what matches, by what they are about."""
    found: dict[About, list[float]] = {}
    for each in values:
        if of.matches(each.labels):
            about = tuple((label, each.labels.get(label, "")) for label in by if label != JOB)
            found.setdefault(about, []).append(each.value)
    return found


def _grown(seen: Seen, of: Of, window_s: int, by: Sequence[str]) -> dict[About, float]:
    found = _folded(seen.increases.get((of.metric, window_s), ()), of, by)
    return {about: sum(values) for about, values in found.items()}


def _total(seen: Seen, of: Of, window_s: int) -> float:
    return sum(_grown(seen, of, window_s, ()).values())


def _share(seen: Seen, part: Of, whole: Of, window_s: int) -> float | None:
    """Which share of `whole` is `part`; None where nothing was counted."""
    all_of_them = _total(seen, whole, window_s)
    return _total(seen, part, window_s) / all_of_them if all_of_them else None
