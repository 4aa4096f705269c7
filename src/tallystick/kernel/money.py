"""Money: integer minor units and a three-letter currency, never a float (RULES §2). Pure.

Amounts here are minor units by ISO 4217. How a gateway writes them on its wire is its adapter's table, nowhere else:
the merchant's adapter and the gateway's `stripe_wire/currencies.py` each hold a frozen copy of Stripe's, because they
are two programs that must each be right alone; a contract test compares them.

    MoneyRefused
      CurrencyRefused    no such currency, or none that can be charged
      AmountRefused      not whole, not a number
"""

import copy
import re
from decimal import Decimal
from functools import lru_cache
from types import MappingProxyType

import iso4217
from babel import Locale
from babel.numbers import NumberPattern

AMOUNT_MAX = 999_999_999_999  # twelve digits: what every acquirer's message can carry, and far below 2**63 when summed
BASIS_POINTS = 10_000
DECIMAL_CHARACTERS_MAX = 24  # a longer text is no amount; below the 28 digits up to which decimal arithmetic is exact

_LETTER_MEETS_DIGIT = re.compile(r"(?<=[A-Za-z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])")
_DECIMAL = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?", re.ASCII)

# Codes of ISO 4217 that nobody pays a basket with: funds, units of account, next-day dollars. Metals, test and "no
# currency" codes have no exponent and are refused by that.
NOT_CHARGEABLE = frozenset({"BOV", "CHE", "CHW", "CLF", "COU", "MXV", "USN", "UYI", "UYW"})

WITHDRAWN: MappingProxyType[str, int] = MappingProxyType(
    {
        "ANG": 2,
        "ATS": 2,
        "BEF": 0,
        "BGN": 2,
        "BYR": 0,
        "CUC": 2,
        "CYP": 2,
        "DEM": 2,
        "EEK": 2,
        "ESP": 0,
        "FIM": 2,
        "FRF": 2,
        "GHC": 2,
        "GRD": 0,
        "HRK": 2,
        "IEP": 2,
        "ITL": 0,
        "LTL": 2,
        "LUF": 0,
        "LVL": 2,
        "MRO": 2,
        "MTL": 2,
        "MZM": 2,
        "NLG": 2,
        "PTE": 0,
        "ROL": 2,
        "SIT": 2,
        "SKK": 2,
        "SLL": 2,
        "STD": 2,
        "TMM": 2,
        "TRL": 0,
        "VEB": 2,
        "VEF": 2,
        "ZMK": 2,
        "ZWL": 2,
    }
)
"""Currencies that ISO 4217 has withdrawn, with their exponents: stored rows may name them, new payments may not."""

EXPONENTS: MappingProxyType[str, int] = MappingProxyType(
    {
        currency.code: currency.exponent
        for currency in sorted(iso4217.Currency, key=lambda currency: str(currency.code))
        if currency.exponent is not None and currency.code not in NOT_CHARGEABLE and currency.code not in WITHDRAWN
    }
)
"""Every currency that can be charged, and its number of decimals."""


class MoneyRefused(ValueError):
    """Root of what this module refuses."""


class CurrencyRefused(MoneyRefused):
    """Unknown, withdrawn, or no currency to pay with."""


class AmountRefused(MoneyRefused):
    """No whole number of minor units, or no number at all."""


def chargeable(code: str) -> str:
    """The currency in upper case, from any case. Raises CurrencyRefused for what cannot be charged."""
    upper = code.upper() if len(code) == 3 and code.isascii() else ""
    if upper not in EXPONENTS:
        raise CurrencyRefused("unknown currency, or one that cannot be charged")
    return upper


def exponent(code: str) -> int:
    """Decimals of a currency in upper case, also of a withdrawn one that a stored row names. Raises CurrencyRefused."""
    found = EXPONENTS.get(code, WITHDRAWN.get(code))
    if found is None:
        raise CurrencyRefused("unknown currency")
    return found


def parse_decimal(text: str, decimals: int) -> int:
    """Minor units of a decimal text in major units, exactly: `"12.50"` with 2 decimals is 1250. Raises AmountRefused.

    Zeros beyond the currency's decimals are the same number; any other digit there is refused, never rounded.
    """
    if len(text) > DECIMAL_CHARACTERS_MAX or not _DECIMAL.fullmatch(text):
        raise AmountRefused("not a decimal number")
    scaled = Decimal(text).scaleb(decimals)
    minor = int(scaled)
    if minor != scaled:
        raise AmountRefused(f"more than {decimals} decimals")
    return minor


def format_decimal(amount_minor: int, decimals: int) -> str:
    """The decimal text of an amount, with exactly the currency's decimals; the inverse of `parse_decimal`."""
    digits = str(abs(amount_minor)).rjust(decimals + 1, "0")
    sign = "-" if amount_minor < 0 else ""
    return f"{sign}{digits[:-decimals]}.{digits[-decimals:]}" if decimals else f"{sign}{digits}"


def fee(amount_minor: int, basis_points: int, fixed_minor: int) -> int:
    """A fee by contract: basis points of the amount, rounded half up, plus a fixed part."""
    assert amount_minor >= 0
    assert basis_points >= 0
    return (amount_minor * basis_points + BASIS_POINTS // 2) // BASIS_POINTS + fixed_minor


@lru_cache(maxsize=4096)
def display(amount_minor: int, code: str, decimals: int, locale: Locale | str) -> str:
    """The amount as a person of `locale` (`en_GB`, `de`) reads it. For display only: nothing is ever parsed from it.

    The decimals are the caller's, since babel's own differ from ISO 4217 and from a gateway's wire for some currencies.
    """
    known = locale if isinstance(locale, Locale) else Locale.parse(locale)
    major = Decimal(amount_minor).scaleb(-decimals)
    text = _pattern(known, decimals).apply(major, known, currency=code, currency_digits=False)
    # CLDR's spacing of currencies without a sign, which babel leaves out.
    return _LETTER_MEETS_DIGIT.sub("\u00a0", text)


@lru_cache(maxsize=1024)
def _pattern(locale: Locale, decimals: int) -> NumberPattern:
    pattern: NumberPattern = copy.copy(locale.currency_formats["standard"])
    pattern.frac_prec = (decimals, decimals)
    return pattern
