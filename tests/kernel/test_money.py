"""RULES §2: integer minor units, exact or refused."""

import hashlib
from decimal import Decimal

import iso4217
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.gateway.stripe_wire import currencies as gateway_wire
from tallystick.kernel import money
from tallystick.merchant.gateways.stripe_currencies import STRIPE_CURRENCIES

AMOUNTS = st.integers(0, money.AMOUNT_MAX)
DECIMALS = st.integers(0, 4)


def test_the_currency_data_are_those_that_were_reviewed() -> None:
    """Fails when the `iso4217` package brings other data: look at what changed, then move the hash."""
    data = sorted((str(c.code), c.exponent, c.currency_name) for c in iso4217.Currency)
    assert len(data) == 178
    assert (
        hashlib.sha256(repr(data).encode()).hexdigest()
        == "21f83c0ff92318483e0ffaf4fb35c6867bc482941ba39e54f83a47130c7986d5"
    )


@pytest.mark.parametrize("code", ["XAU", "XAG", "XPT", "XPD", "XXX", "XTS", "XDR", "XBA", "CLF", "USN", "CHE", "BOV"])
def test_metals_test_and_fund_codes_are_refused(code: str) -> None:
    with pytest.raises(money.CurrencyRefused):
        money.chargeable(code)


@pytest.mark.parametrize("code", ["", "EU", "EURO", "ZZZ", "€", "ſek", "EU1", "HRK", "DEM"])
def test_unknown_and_withdrawn_currencies_are_refused_for_new_payments(code: str) -> None:
    with pytest.raises(money.CurrencyRefused):
        money.chargeable(code)


def test_any_case_is_accepted_and_upper_case_kept() -> None:
    assert money.chargeable("eUr") == "EUR"


def test_stored_rows_may_name_a_withdrawn_currency() -> None:
    assert money.exponent("HRK") == 2
    assert money.exponent("BYR") == 0
    assert not money.WITHDRAWN.keys() & money.EXPONENTS.keys()
    with pytest.raises(money.CurrencyRefused):
        money.exponent("XAU")


@pytest.mark.parametrize(("code", "decimals"), [("EUR", 2), ("JPY", 0), ("KWD", 3), ("MGA", 2), ("ISK", 0), ("UGX", 0)])
def test_exponents_are_those_of_iso_4217(code: str, decimals: int) -> None:
    assert money.exponent(code) == decimals


@given(st.integers(-money.AMOUNT_MAX, money.AMOUNT_MAX), DECIMALS)
def test_decimal_texts_come_back_as_the_same_amount(amount: int, decimals: int) -> None:
    text = money.format_decimal(amount, decimals)
    assert money.parse_decimal(text, decimals) == amount
    assert Decimal(text) == Decimal(amount).scaleb(-decimals)


@pytest.mark.parametrize(
    ("text", "decimals"),
    [
        ("12.345", 2),
        ("0.5", 0),
        ("1.00000000000000000001", 2),
        ("1.00000000000000000000000000000000001", 2),
        ("1e3", 2),
        ("NaN", 2),
        ("Infinity", 2),
        ("1_000", 2),
        ("1,000.00", 2),
        ("", 2),
        ("-", 2),
        (".5", 2),
        ("5.", 2),
        (" 5", 2),
        ("٥", 2),
        ("9" * 41, 2),
    ],
)
def test_decimal_texts_parse_exactly_or_are_refused(text: str, decimals: int) -> None:
    with pytest.raises(money.AmountRefused):
        money.parse_decimal(text, decimals)


def test_zeros_beyond_the_decimals_are_the_same_number() -> None:
    assert money.parse_decimal("12.5000", 2) == 1250
    assert money.parse_decimal("-7.0", 0) == -7


@pytest.mark.parametrize(
    ("amount", "basis_points", "fixed", "expected"),
    [(10_000, 290, 30, 320), (50, 100, 0, 1), (49, 100, 0, 0), (0, 290, 30, 30), (150, 100, 0, 2)],
)
def test_fees_round_half_up(amount: int, basis_points: int, fixed: int, expected: int) -> None:
    assert money.fee(amount, basis_points, fixed) == expected


@given(AMOUNTS, st.integers(0, 10_000))
def test_a_fee_is_never_more_than_half_a_unit_off(amount: int, basis_points: int) -> None:
    exact = Decimal(amount) * basis_points / 10_000
    assert -Decimal("0.5") <= exact - money.fee(amount, basis_points, 0) < Decimal("0.5000001")


@pytest.mark.parametrize(
    ("amount", "code", "decimals", "locale", "shown"),
    [
        (123456, "EUR", 2, "en_GB", "€1,234.56"),
        (123456, "EUR", 2, "de", "1.234,56\xa0€"),
        (500, "JPY", 0, "en_US", "¥500"),
        (1200, "KWD", 3, "en_US", "KWD\xa01.200"),
        (500, "ISK", 0, "en_US", "ISK\xa0500"),
        (12345600, "INR", 2, "en_IN", "₹1,23,456.00"),
    ],
)
def test_display_follows_the_locale_and_our_decimals(
    amount: int, code: str, decimals: int, locale: str, shown: str
) -> None:
    assert money.display(amount, code, decimals, locale).replace("\u202f", "\xa0") == shown


def test_the_wires_deviations_are_explicit() -> None:
    """Stripe: MGA 0, ISK and UGX 2 ending in 00, three-decimal currencies ending in 0."""
    wire = gateway_wire.CURRENCIES
    assert (wire["MGA"].exponent, wire["ISK"].exponent, wire["UGX"].exponent) == (0, 2, 2)
    assert (wire["ISK"].step, wire["UGX"].step) == (100, 100)
    assert {code for code in wire if wire[code].exponent == 3} == {"BHD", "JOD", "KWD", "OMR", "TND"}
    assert all(wire[code].step == 10 for code in wire if wire[code].exponent == 3)
    deviating = {code for code in wire if wire[code].exponent != money.exponent(code)}
    assert deviating == {"MGA", "ISK", "UGX"}


def test_both_ends_of_the_wire_hold_the_same_table() -> None:
    theirs = {code: (c.wire_exponent, c.step) for code, c in STRIPE_CURRENCIES.items()}
    assert {code: (c.exponent, c.step) for code, c in gateway_wire.CURRENCIES.items()} == theirs
    assert all(c.iso_exponent == money.exponent(code) for code, c in STRIPE_CURRENCIES.items())
