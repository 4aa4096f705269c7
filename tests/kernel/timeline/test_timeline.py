"""RULES §13: entries in one order, pages that miss and repeat nothing, sentences that give nothing away."""

import string
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.kernel import money
from tallystick.kernel.timeline.entries import (
    BEGINNING,
    CursorRefused,
    Happening,
    Place,
    cursor,
    duration,
    page,
    place_of,
)
from tallystick.kernel.timeline.telling import NOT_SAID, due, harmless, told
from tallystick.kernel.timeline.wording import DUE, WORDS

AT = datetime(2026, 11, 28, 12, 0, 0, 123456, UTC)

places = st.builds(
    Place,
    st.integers(0, 10**15).map(lambda microseconds: AT + timedelta(microseconds=microseconds)),
    st.text(string.ascii_letters + string.digits + ":_-", max_size=40),
)


def happened(seconds: int = 0, place: str = "40:x", kind: str = "order.placed", **more: Any) -> Happening:
    return Happening(at=AT + timedelta(seconds=seconds), place=place, kind=kind, **more)


def words(kind: str, **details: Any) -> str:
    return told("gateway", happened(kind=kind, details=details), money.exponent).words


@given(places)
def test_a_cursor_is_the_place_that_it_was_made_of(place: Place) -> None:
    assert place_of(cursor(place)) == place


@pytest.mark.parametrize("text", ["", "x", "-", "1", "1 2", "-1-x", "9" * 30 + "-x", "999999999999999999-x", "1-\n"])
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(CursorRefused):
        place_of(text)


@given(st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20)), unique=True)), st.integers(1, 7))
def test_pages_together_are_everything_in_one_order(sources: list[list[tuple[int, int]]], rows_max: int) -> None:
    """Whatever the sources, and however many things were recorded in one instant."""
    everything = [
        sorted((happened(at, f"{number:02}:{place:02}") for at, place in source), key=lambda one: (one.at, one.place))
        for number, source in enumerate(sources)
    ]
    read: list[Happening] = []
    after: Place | None = BEGINNING
    while after is not None:
        begun = after
        behind = [[one for one in source if Place(one.at, one.place) > begun][: rows_max + 1] for source in everything]
        shown, after = page(behind, rows_max)
        assert len(shown) <= rows_max
        read += shown
    assert read == sorted((one for source in everything for one in source), key=lambda one: (one.at, one.place))


@pytest.mark.parametrize("kind", sorted(WORDS))
def test_every_sentence_stands_without_its_figures(kind: str) -> None:
    tone, by, sentence = WORDS[kind]
    said = words(kind)
    assert said
    assert "{" not in said
    assert (NOT_SAID in said) == ("{" in sentence)
    assert tone in ("good", "bad", "waiting", "plain")
    assert told("merchant", happened(kind=kind), money.exponent).by
    assert by or kind.startswith(("act.", "case.", "outcome.", "delivery.", "tr"))


@pytest.mark.parametrize("kind", sorted(DUE))
def test_what_is_next_stands_without_its_figures(kind: str) -> None:
    assert "{" not in due("merchant", happened(kind=kind), money.exponent).words


def test_a_sentence_with_its_figures() -> None:
    assert words("event.charge.failed", amount_minor=2500, currency="eur", code="generic_decline") == (
        "The bank declined €25.00: generic decline"
    )
    assert words("ledger.charge", amount_minor=500, fee_minor=0, currency="JPY") == "Booked: charge of JP¥500, fee JP¥0"
    assert words("fact.close_requested", attempt=2, reason="declined_out") == (
        "We decided to close attempt 2: too many cards were declined"
    )


def test_a_kind_of_a_later_version_is_told_by_its_name() -> None:
    assert words("some.new_kind") == "some.new kind"


@pytest.mark.parametrize(
    "text",
    ["4242424242424242", "4242 4242 4242 4242", "ana@example.com", "sk_test_abc", "pi_1_secret_abc", "whsec_abc"],
)
def test_what_must_not_be_told_is_left_out_wherever_it_stands(text: str) -> None:
    """Keys of calls, references and error texts are others' words: a shop may put anything into them."""
    happening = happened(
        kind="call.done", subject=text, reference=text, by=text, details={"key": f"order {text} 1", "status": text}
    )
    entry = told("merchant", happening, money.exponent)
    for said in (entry.words, entry.subject, entry.reference, entry.by):
        assert text not in (said or "")
    assert harmless(text) != text


@pytest.mark.parametrize("id", ["ord_0AbC", "pi_0123456789abcdefghijklmno", "cs_test_a1B2", "evt_1", "order:ord_1:2"])
def test_ids_are_told_as_they_are(id: str) -> None:
    assert harmless(id) == id


@pytest.mark.parametrize(
    ("milliseconds", "said"),
    [
        (0, "0 ms"),
        (999, "999 ms"),
        (1_000, "1.0 s"),
        (59_940, "59.9 s"),
        (61_000, "1 min 1 s"),
        (3_600_000, "1 h 0 min"),
        (90_000_000, "1 d 1 h"),
        (-5, "0 ms"),
    ],
)
def test_lengths_of_time_as_people_say_them(milliseconds: int, said: str) -> None:
    assert duration(milliseconds) == said
