"""Amounts as a shopper reads them: the shopper's locale says how, ISO 4217 and Stripe's table say how many decimals.

babel is for display only: its precision differs from ISO 4217 for 13 currencies, so the caller brings the exponent
(RULES §2).
"""

import re
from copy import copy
from decimal import Decimal
from functools import lru_cache

from babel import Locale, UnknownLocaleError
from babel.numbers import NumberPattern

ACCEPT_LANGUAGE_CHARACTERS_MAX = 200  # browsers send far less; a longer header is not read to its end
LANGUAGES_TRIED_MAX = 8
FALLBACK = Locale("en", "US")

_LETTER_MEETS_DIGIT = re.compile(r"(?<=[A-Za-z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])")


@lru_cache(maxsize=1024)
def locale_of(accept_language: str) -> Locale:
    """The first locale of an `Accept-Language` header, by weight, that babel knows; US English otherwise."""
    wishes: list[tuple[float, str]] = []
    for item in accept_language[:ACCEPT_LANGUAGE_CHARACTERS_MAX].split(",")[:LANGUAGES_TRIED_MAX]:
        tag, _, weight = item.strip().partition(";")
        try:
            wishes.append((float(weight.strip().removeprefix("q=") or 1), tag.strip()))
        except ValueError:
            continue
    for likes, language in sorted(wishes, key=lambda wish: -wish[0]):
        if likes > 0 and (locale := _locale(language)) is not None:
            return locale
    return FALLBACK


def _locale(tag: str) -> Locale | None:
    try:
        return Locale.parse(tag, sep="-")
    except (ValueError, UnknownLocaleError):
        return None


@lru_cache(maxsize=4096)
def amount_text(amount_minor: int, exponent: int, currency: str, locale: Locale) -> str:
    """`2500` with exponent 2 as `€25.00`, `25,00 €`, … always with exactly the currency's own decimals."""
    major = Decimal(amount_minor).scaleb(-exponent)
    text = _pattern(locale, exponent).apply(major, locale, currency=currency, currency_digits=False)
    return _LETTER_MEETS_DIGIT.sub("\u00a0", text)


@lru_cache(maxsize=1024)
def _pattern(locale: Locale, decimals: int) -> NumberPattern:
    pattern: NumberPattern = copy(locale.currency_formats["standard"])
    pattern.frac_prec = (decimals, decimals)
    return pattern
