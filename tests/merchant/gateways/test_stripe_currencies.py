"""RULES §2: Stripe's deviations live in its adapter, as an explicit table; what is not in it is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.merchant.gateways.port import AmountRefused
from tallystick.merchant.gateways.stripe_currencies import STRIPE_CURRENCIES, from_wire, to_wire


@pytest.mark.parametrize(
    ("currency", "ours", "wire"),
    [
        ("EUR", 2500, 2500),
        ("JPY", 500, 500),
        ("KWD", 5120, 5120),
        ("ISK", 5, 500),
        ("UGX", 7, 700),
        ("MGA", 200, 2),
    ],
)
def test_amounts_travel_as_the_table_says(currency: str, ours: int, wire: int) -> None:
    assert to_wire(ours, currency) == wire
    assert from_wire(wire, currency) == ours


@pytest.mark.parametrize(
    ("currency", "amount", "code"),
    [
        ("MGA", 250, "amount_not_chargeable"),  # sent unchanged it would charge 100 times too much
        ("KWD", 5124, "amount_not_chargeable"),
        ("XAU", 100, "currency_not_supported"),
        ("IQD", 1000, "currency_not_supported"),  # in ISO, not in the table: never defaulted
        ("ZZZ", 100, "currency_not_supported"),
        ("eur", 100, "currency_not_supported"),
    ],
)
def test_what_the_wire_cannot_carry_is_refused(currency: str, amount: int, code: str) -> None:
    with pytest.raises(AmountRefused) as refused:
        to_wire(amount, currency)
    assert refused.value.code == code


def test_a_wire_amount_that_is_no_whole_minor_unit_is_refused() -> None:
    for amount in (1, 50, 101):
        with pytest.raises(AmountRefused):
            from_wire(amount, "ISK")


@given(st.sampled_from(sorted(STRIPE_CURRENCIES)), st.integers(1, 999_999_999_999))
def test_an_amount_comes_back_as_it_went_or_does_not_go(currency: str, amount: int) -> None:
    try:
        wire = to_wire(amount, currency)
    except AmountRefused:
        return
    assert from_wire(wire, currency) == amount
