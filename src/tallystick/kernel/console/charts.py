"""Charts as geometry: where lines, bars and ticks stand. A template draws it as SVG (`templates/parts.html`). Pure.

The figures stand beside the drawing as a table, for whoever does not see it or wants to read exactly.
"""

import math
from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct

WIDTH: Final = 420
HEIGHT: Final = 190
LEFT: Final = 48.0  # room for the words of the upright axis
RIGHT: Final = WIDTH - 8.0
TOP: Final = 10.0
BOTTOM: Final = HEIGHT - 24.0
WORDS_BELOW_MAX: Final = 6  # more than that run into each other on a phone
POINTS_MAX: Final = 400  # more than there are pixels say nothing, and a page is to stay small
SERIES_MAX: Final = 5
"""As many can be told apart; the style has a colour and a dash for each."""
STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
WHOLE_STEPS: Final = (1.0, 2.0, 5.0, 10.0)
TICKS: Final = 4
BAR_SHARE: Final = 0.72  # of the room that a group of bars has

Unit = Literal["count", "percent", "seconds", "bytes"]


class Series(Struct, frozen=True):
    """What is drawn as one line, or one bar in each group. None where there is no figure: a gap, not a zero."""

    name: str
    values: tuple[float | None, ...]


class Tick(Struct, frozen=True):
    """A word on an axis, and where."""

    at: float
    words: str


class Line(Struct, frozen=True):
    """A series as a path; single figures between gaps are dots."""

    number: int
    name: str
    path: str
    dots: tuple[tuple[float, float], ...]


class Bar(Struct, frozen=True):
    """One figure as a bar; `words` say what it is."""

    number: int
    x: float
    y: float
    width: float
    height: float
    words: str


class Row(Struct, frozen=True):
    """A line of the table beside the drawing."""

    label: str
    values: tuple[str, ...]


class Chart(Struct, frozen=True):
    """Everything that is drawn."""

    id: str
    title: str
    description: str
    names: tuple[str, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    rows: tuple[Row, ...]
    lines: tuple[Line, ...] = ()
    bars: tuple[Bar, ...] = ()
    width: int = WIDTH
    height: int = HEIGHT
    left: float = LEFT
    right: float = RIGHT
    top: float = TOP
    bottom: float = BOTTOM


def line_chart(id: str, title: str, labels: Sequence[str], series: Sequence[Series], *, unit: Unit = "count") -> Chart:
    """Figures over time. `id` is unique on its page."""
    scale = _checked(labels, series, unit)
    step = (RIGHT - LEFT) / max(len(labels) - 1, 1)
    xs = [LEFT + step * place for place in range(len(labels))]
    lines = tuple(_line(number, each, xs, scale) for number, each in enumerate(series))
    return _chart(id, title, labels, series, unit, scale, xs, lines=lines)


def bar_chart(id: str, title: str, labels: Sequence[str], series: Sequence[Series], *, unit: Unit = "count") -> Chart:
    """Figures beside each other: a group of bars for each label."""
    scale = _checked(labels, series, unit)
    room = (RIGHT - LEFT) / max(len(labels), 1)
    width = room * BAR_SHARE / max(len(series), 1)
    bars = []
    for number, each in enumerate(series):
        for place, value in enumerate(each.values):
            if value is not None:
                x = LEFT + room * (place + (1 - BAR_SHARE) / 2) + width * number
                y = _y(value, scale)
                words = f"{labels[place]}: {each.name} {figure(value, unit)}"
                bars.append(Bar(number, round(x, 1), y, round(width, 1), round(BOTTOM - y, 1), words))
    xs = [LEFT + room * (place + 0.5) for place in range(len(labels))]
    return _chart(id, title, labels, series, unit, scale, xs, bars=tuple(bars))


def figure(value: float | None, unit: Unit) -> str:
    """A figure as a person reads it; a dash where there is none."""
    if value is None:
        return "–"
    if unit == "percent":
        return f"{100 * value:.1f}".removesuffix(".0") + " %"
    if unit == "seconds":
        return _duration(value)
    if unit == "bytes":
        return _scaled(value, 1024, (" B", " KiB", " MiB", " GiB"))
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


def _duration(seconds: float) -> str:
    for length, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds / length:.1f}".removesuffix(".0") + f" {name}"
    if seconds >= 1 or not seconds:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    return f"{1000 * seconds:.3g} ms"


def _scaled(value: float, step: int, names: Sequence[str]) -> str:
    for name in names[:-1]:
        if value < step:
            return f"{value:.1f}".removesuffix(".0") + name
        value /= step
    return f"{value:.1f}".removesuffix(".0") + names[-1]


def nice(most: float, steps: Sequence[float] = STEPS) -> float:
    """The round number at or above `most` that the upright axis reaches to."""
    if most <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(most))
    return next(step * power for step in steps if step * power >= most * (1 - 1e-9))


def _checked(labels: Sequence[str], series: Sequence[Series], unit: Unit) -> float:
    """What the upright axis reaches to."""
    assert len(labels) <= POINTS_MAX
    assert len(series) <= SERIES_MAX
    assert all(len(each.values) == len(labels) for each in series), "a figure for each label"
    values = [value for each in series for value in each.values if value is not None]
    assert all(math.isfinite(value) and value >= 0 for value in values), "what is drawn begins at nought"
    most = max(values, default=0.0)
    if unit == "count":  # whole numbers at each tick
        return TICKS * nice(max(math.ceil(most / TICKS), 1), WHOLE_STEPS)
    return 1.0 if unit == "percent" and most <= 1 else nice(most)


def _y(value: float, scale: float) -> float:
    return round(BOTTOM - (BOTTOM - TOP) * value / scale, 1)


def _line(number: int, series: Series, xs: Sequence[float], scale: float) -> Line:
    runs: list[list[tuple[float, float]]] = [[]]
    for x, value in zip(xs, series.values, strict=True):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((round(x, 1), _y(value, scale)))
    path = "".join("M" + "L".join(f"{x} {y}" for x, y in run) for run in runs if len(run) > 1)
    return Line(number, series.name, path, tuple(run[0] for run in runs if len(run) == 1))


def _chart(
    id: str,
    title: str,
    labels: Sequence[str],
    series: Sequence[Series],
    unit: Unit,
    scale: float,
    xs: Sequence[float],
    *,
    lines: tuple[Line, ...] = (),
    bars: tuple[Bar, ...] = (),
) -> Chart:
    every = max(1, math.ceil(len(labels) / WORDS_BELOW_MAX))
    across = tuple(Tick(round(xs[place], 1), labels[place]) for place in range(0, len(labels), every))
    ups = [scale * step / TICKS for step in range(TICKS + 1)]
    up = tuple(Tick(_y(value, scale), figure(value, unit)) for value in ups)
    rows = tuple(
        Row(label, tuple(figure(each.values[place], unit) for each in series)) for place, label in enumerate(labels)
    )
    return Chart(
        id, title, _described(labels, series, unit), tuple(s.name for s in series), across, up, rows, lines, bars
    )


def _described(labels: Sequence[str], series: Sequence[Series], unit: Unit) -> str:
    """What the drawing says, for whoever hears it: from when to when, and of each series the least, most and last."""
    if not labels:
        return "There are no figures."
    told = []
    for each in series:
        known = [value for value in each.values if value is not None]
        if known:
            least, most, last = (figure(value, unit) for value in (min(known), max(known), known[-1]))
            told.append(f"{each.name}: between {least} and {most}, last {last}.")
        else:
            told.append(f"{each.name}: no figures.")
    return f"From {labels[0]} to {labels[-1]}. " + " ".join(told)
