"""Amounts in the shopper's locale, with the currency's own decimals (RULES §2, §9)."""

import pytest
from babel import Locale
from hypothesis import given
from hypothesis import strategies as st

from tallystick.gateway.pages import locale
from tallystick.gateway.pages.locale import FALLBACK, locale_of
from tallystick.kernel.money import display


@pytest.mark.parametrize(
    ("header", "locale"),
    [
        ("de-DE,de;q=0.9,en;q=0.8", "de_DE"),
        ("en;q=0.1,fr-CH;q=0.9", "fr_CH"),
        ("xx-yy, pt-BR", "pt_BR"),
        ("", "en_US"),
        ("*", "en_US"),
        ("de;q=0", "en_US"),
        ("de;q=nan,es;q=x", "en_US"),
        ("en_US.UTF-8", "en_US"),
    ],
)
def test_the_first_known_language_by_weight_wins(header: str, locale: str) -> None:
    assert str(locale_of(header)) == locale


@given(st.text(max_size=300))
def test_no_header_is_too_strange(header: str) -> None:
    assert isinstance(locale_of(header), Locale)


@pytest.mark.parametrize(
    ("amount", "exponent", "currency", "locale", "text"),
    [
        (2500, 2, "EUR", "en_US", "€25.00"),
        (2500, 2, "EUR", "de_DE", "25,00\u00a0€"),
        (123456, 2, "USD", "en_US", "$1,234.56"),
        (2500, 0, "JPY", "en_US", "¥2,500"),
        (2500, 3, "KWD", "en_US", "KWD\u00a02.500"),
        (2500, 2, "ISK", "de_DE", "25,00\u00a0ISK"),  # two decimals on the wire, whatever babel thinks
        (5, 2, "EUR", "en_US", "€0.05"),
        (999_999_999_999, 2, "EUR", "en_US", "€9,999,999,999.99"),
    ],
)
def test_amounts_have_the_decimals_that_the_caller_says(
    amount: int, exponent: int, currency: str, locale: str, text: str
) -> None:
    assert display(amount, currency, exponent, Locale.parse(locale)) == text


@given(st.integers(1, 999_999_999_999), st.sampled_from([0, 2, 3]))
def test_no_digit_is_lost(amount: int, exponent: int) -> None:
    shown = display(amount, "EUR", exponent, FALLBACK)
    assert int("".join(character for character in shown if character.isdigit())) == amount


def test_what_is_not_read_is_not_remembered() -> None:
    """Strangers' headers may be 64 KiB long, each another: a thousand of them would be kept."""
    before = locale._wished.cache_info().currsize
    for number in range(100):
        assert str(locale_of("de," * 100 + str(number))) == "de"
    assert locale._wished.cache_info().currsize <= before + 1
