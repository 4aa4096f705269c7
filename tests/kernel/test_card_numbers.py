"""What could be a card number is not repeated. RULES §9."""

import pytest

from tallystick.kernel.card_numbers import could_hold_one, without_card_numbers


@pytest.mark.parametrize(
    "text",
    [
        "4242424242424242",
        "4242 4242 4242 4242",
        "4242-4242.4242/4242",
        "x4242424242424242y",
        "378282246310005",
        "4" * 13,
    ],
)
def test_it_is_left_out_however_it_is_written(text: str) -> None:
    assert could_hold_one(text)
    left = without_card_numbers(f"Invalid enum value '{text}' - see")
    assert "4242" not in left
    assert left.startswith("Invalid enum value '")
    assert left.endswith("' - see")


@pytest.mark.parametrize("text", ["", "Ada Lovelace", "4" * 12, "2026-11-28", "order 12345678, 12 pieces", "12 / 34"])
def test_what_is_none_stays(text: str) -> None:
    assert not could_hold_one(text)
    assert without_card_numbers(text) == text
