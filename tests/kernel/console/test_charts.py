"""Charts of the operators' pages: what is drawn is what the figures say, and a table says it too (RULES §13)."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.kernel.console.charts import BOTTOM, LEFT, RIGHT, TOP, Series, bar_chart, figure, line_chart, nice
from tallystick.kernel.console.views import ConsoleViews

FIGURES = st.one_of(st.none(), st.floats(min_value=0, max_value=1e12, allow_nan=False))
LABELS = ("10:00", "11:00", "12:00")


@given(st.lists(st.tuples(FIGURES, FIGURES), min_size=1, max_size=60))
def test_everything_is_drawn_within_the_axes(pairs: list[tuple[float | None, float | None]]) -> None:
    labels = [str(n) for n in range(len(pairs))]
    series = [Series("a", tuple(a for a, _ in pairs)), Series("b", tuple(b for _, b in pairs))]
    for bar in bar_chart("c", "C", labels, series).bars:
        assert bar.x >= LEFT
        assert bar.x + bar.width <= RIGHT + 0.2
        assert TOP <= bar.y <= BOTTOM
        assert abs(bar.y + bar.height - BOTTOM) < 0.11
    chart = line_chart("c", "C", labels, series)
    for line in chart.lines:
        steps = [step for run in line.path.split("M")[1:] for step in run.split("L")]
        points = [tuple(map(float, step.split())) for step in steps] + list(line.dots)
        assert len(points) == sum(value is not None for value in series[line.number].values)
        assert all(LEFT <= x <= RIGHT and TOP <= y <= BOTTOM for x, y in points)
    assert [row.label for row in chart.rows] == labels


@given(st.floats(min_value=1e-9, max_value=1e15))
def test_the_axis_ends_at_a_round_number_above(most: float) -> None:
    assert most * (1 - 1e-6) <= nice(most) <= 2.6 * most


@given(st.integers(min_value=0, max_value=10**9))
def test_what_is_counted_has_whole_numbers_at_its_axis(most: int) -> None:
    chart = line_chart("c", "C", ("10:00",), [Series("a", (float(most),))])
    assert not any("." in tick.words for tick in chart.up)


def test_a_gap_is_not_a_nought() -> None:
    chart = line_chart("c", "C", LABELS, [Series("a", (1.0, None, 3.0))])
    assert chart.lines[0].path == ""
    assert len(chart.lines[0].dots) == 2
    assert chart.rows[1].values == ("–",)


def test_what_is_drawn_is_said() -> None:
    chart = line_chart("c", "Success", LABELS, [Series("order_success", (0.5, None, 0.875))], unit="percent")
    said = "From 10:00 to 12:00. order_success: between 50 % and 87.5 %, last 87.5 %."
    assert chart.description == said
    assert chart.up[-1].words == "100 %"
    assert line_chart("c", "C", [], []).description == "There are no figures."


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (None, "count", "–"),
        (1234567, "count", "1,234,567"),
        (0.5, "count", "0.50"),
        (0.9731, "percent", "97.3 %"),
        (0, "seconds", "0 s"),
        (0.0123, "seconds", "12.3 ms"),
        (90, "seconds", "1.5 min"),
        (7200, "seconds", "2 h"),
        (259200, "seconds", "3 d"),
        (2048, "bytes", "2 KiB"),
    ],
)
def test_a_figure_is_written_for_people(value: float | None, unit: object, words: str) -> None:
    assert figure(value, unit) == words  # type: ignore[arg-type]


def test_a_drawn_chart_has_a_title_a_description_and_a_table(tmp_path: Path) -> None:
    (tmp_path / "one.html").write_text('{% import "parts.html" as parts with context %}{{ parts.chart(chart) }}')
    chart = line_chart("rate", "A & B", LABELS, [Series("<b>", (1, 2, 3)), Series("c", (1, 2, 3))])
    drawn = ConsoleViews("merchant", tmp_path).render("one", chart=chart, session=None).decode()
    assert 'role="img" aria-labelledby="rate-title" aria-describedby="rate-desc"' in drawn
    assert "A &amp; B" in drawn
    assert "&lt;b&gt;: between 1 and 3, last 3." in drawn
    assert drawn.count('<th scope="row">') == 3
    assert "<b>" not in drawn
    assert "style=" not in drawn, "the policy takes no style from within the page"
