"""What a browser posts to the payment page (RULES §9)."""

from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.gateway.cards.pan import CardEntry
from tallystick.gateway.pages import forms, wording
from tallystick.kernel.forms import FIELDS_MAX, FormUnreadable, read_form

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
GOOD = {"cc-number": "4242 4242 4242 4242", "cc-exp": "12 / 30", "cc-csc": "123", "cc-name": "Ada"}


def test_a_form_becomes_a_card() -> None:
    card = forms.read_card(read_form(urlencode(GOOD).encode()), AT)
    assert isinstance(card, CardEntry)
    assert card.code is not None
    assert (card.number.reveal(), card.exp_month, card.exp_year, card.code.reveal()) == (
        "4242424242424242",
        12,
        2030,
        "123",
    )


@pytest.mark.parametrize("text", ["12/30", "12 / 30", "1230", "12-2030", "122030", "12 / 2030"])
def test_expiry_is_read_as_people_and_browsers_write_it(text: str) -> None:
    assert forms.expiry_of(text, AT) == (12, 2030)


def test_a_single_digit_month_needs_no_zero() -> None:
    assert forms.expiry_of("1/30", AT) == (1, 2030)
    assert forms.expiry_of("130", AT) == (1, 2030)


@pytest.mark.parametrize(
    "text", ["", "13/30", "00/30", "12/3", "10/26", "12/2099", "12//", "½/30", "1 2 3 4", "１２/30"]
)
def test_what_is_no_coming_month_is_refused(text: str) -> None:
    assert forms.expiry_of(text, AT) is None


def test_a_card_is_valid_to_the_end_of_its_month() -> None:
    """RULES §9: expiry valid to the end of its month."""
    assert forms.expiry_of("11/26", AT) == (11, 2026)


@pytest.mark.parametrize(
    ("change", "mistakes"),
    [
        ({"cc-number": "4242 4242 4242 4241"}, {"cc-number": wording.NUMBER}),
        ({"cc-number": ""}, {"cc-number": wording.NUMBER}),
        ({"cc-exp": "11/20"}, {"cc-exp": wording.EXPIRY}),
        ({"cc-csc": "12"}, {"cc-csc": wording.CODE}),
        ({"cc-csc": "1234"}, {"cc-csc": wording.CODE}),
        ({"cc-number": "3782 822463 10005", "cc-csc": "123"}, {"cc-csc": wording.CODE}),
        (
            {"cc-number": "x", "cc-exp": "", "cc-csc": ""},
            {"cc-number": wording.NUMBER, "cc-exp": wording.EXPIRY, "cc-csc": wording.CODE},
        ),
    ],
)
def test_mistakes_are_named_by_input(change: dict[str, str], mistakes: dict[str, str]) -> None:
    assert forms.read_card(GOOD | change, AT) == mistakes


def test_a_missing_field_is_a_mistake() -> None:
    mistakes = forms.read_card({}, AT)
    assert isinstance(mistakes, dict)
    assert list(mistakes) == ["cc-number", "cc-exp", "cc-csc"]


def test_number_and_code_are_not_shown_again() -> None:
    """RULES §9: only expiry and name may come back."""
    shown = repr(forms.entered(GOOD))
    assert "4242" not in shown
    assert "123" not in shown
    assert forms.entered(GOOD) == forms.Entered("12 / 30", "Ada")


@pytest.mark.parametrize("body", [b"\xff\xfe", b"&".join(b"a=1" for _ in range(FIELDS_MAX + 1))])
def test_what_is_no_form_is_refused(body: bytes) -> None:
    with pytest.raises(FormUnreadable):
        read_form(body)


@given(st.binary(max_size=400))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    try:
        fields = read_form(body)
    except FormUnreadable:
        return
    forms.read_card(fields, AT)
    forms.entered(fields)


@given(st.dictionaries(st.sampled_from([*GOOD, "x"]), st.text(max_size=40)))
def test_any_content_is_a_card_or_mistakes(fields: dict[str, str]) -> None:
    card = forms.read_card(read_form(urlencode(fields, errors="replace").encode()), AT)
    assert isinstance(card, CardEntry) or card
