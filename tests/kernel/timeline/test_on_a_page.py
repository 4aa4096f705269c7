"""The console's macro shows a timeline: every entry, what is next, and nothing as markup."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tallystick.kernel import money
from tallystick.kernel.console.views import ConsoleViews
from tallystick.kernel.timeline.entries import Happening, Timeline
from tallystick.kernel.timeline.telling import due, told

AT = datetime(2026, 11, 28, 12, tzinfo=UTC)
CALL = '{% from "timeline.html" import timeline_of %}{{ timeline_of(timeline, more) }}'


def a_timeline(*kinds: str) -> Timeline:
    happened = [
        Happening(
            at=AT + timedelta(seconds=number),
            place=f"40:{number}",
            kind=kind,
            subject="pi_1",
            reference="<script>",
            now="succeeded",
            took_ms=1_500,
            details={"amount_minor": 2500, "currency": "EUR"},
        )
        for number, kind in enumerate(kinds)
    ]
    return Timeline(
        half="gateway",
        id="pi_1",
        owner="acct_1",
        state="succeeded",
        amount="€25.00",
        ids=("pi_1",),
        entries=tuple(told("gateway", each, money.exponent) for each in happened),
        due=tuple(due("gateway", each, money.exponent) for each in happened[:1]),
        next_cursor=None,
    )


def shown(tmp_path: Path, timeline: Timeline, more: str | None = None) -> str:
    (tmp_path / "of_a_test.html").write_text(CALL)
    return ConsoleViews("gateway", tmp_path).render("of_a_test", timeline=timeline, more=more).decode()


def test_entries_are_shown_with_who_said_so_and_how_long_it_took(tmp_path: Path) -> None:
    page = shown(tmp_path, a_timeline("event.payment_intent.succeeded", "event.charge.failed"), "/console/x?cursor=1-a")
    assert page.count("<li class=") == 2
    assert '<li class="good">' in page
    assert '<time datetime="2026-11-28T12:00:00+00:00">2026-11-28 12:00:00</time>' in page
    assert "€25.00 is paid" in page
    assert "now succeeded" in page
    assert "the gateway, took 1.5 s" in page
    assert "What is next" in page
    assert '<a href="/console/x?cursor=1-a">' in page
    assert "<script>" not in page


def test_nothing_known_is_said(tmp_path: Path) -> None:
    page = shown(tmp_path, a_timeline())
    assert "Nothing is known of it." in page
    assert "What is next" not in page
