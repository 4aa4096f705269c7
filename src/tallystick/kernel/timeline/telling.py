"""Happenings become entries: the sentence of their kind with their figures in it, and nothing else. Pure."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from tallystick.kernel import money
from tallystick.kernel.card_numbers import REMOVED, without_card_numbers
from tallystick.kernel.timeline.entries import Due, Entry, Half, Happening
from tallystick.kernel.timeline.wording import DUE, ERRANDS, HALF, NOUNS, REASONS, SOURCES, WORDS

LOCALE: Final = "en_IE"
TEXT_CHARACTERS_MAX: Final = 120  # of one value in a sentence
NOT_SAID: Final = "not said"

Exponent = Callable[[str], int]
"""Decimals of a currency in the amounts of a service: ISO 4217's at the merchant service, the wire's at the gateway."""

_CODES: Final = frozenset({"code", "reason", "status", "state", "outcome", "action", "error", "entry", "request"})
_AMOUNTS: Final = frozenset({"amount", "fee"})
_MAIL: Final = re.compile(r"[^\s@<>,;:]+@[^\s@<>,;]+")
_SECRET: Final = re.compile(r"\b(?:sk|rk|pk|opk|tsk|whsec|seti|vt)_[0-9A-Za-z_]+|_secret_[0-9A-Za-z]+")


def told(half: Half, happening: Happening, exponent: Exponent) -> Entry:
    """A happening in words. A kind that has none, because a later version wrote it, is told by its name."""
    tone, by, sentence = WORDS.get(happening.kind, ("plain", HALF, happening.kind.replace("_", " ")))
    return Entry(
        half=half,
        at=happening.at,
        place=happening.place,
        kind=happening.kind,
        tone=tone,
        words=_filled(sentence, happening.details, exponent),
        by=_teller(happening.by) or by or NOUNS[half],
        now=happening.now,
        subject=harmless(happening.subject),
        reference=harmless(happening.reference),
        took_ms=happening.took_ms,
        more=happening.more,
    )


def due(half: Half, happening: Happening, exponent: Exponent) -> Due:
    """What is next, in words."""
    sentence = DUE.get(happening.kind, happening.kind.replace("_", " "))
    return Due(
        half=half,
        at=happening.at,
        kind=happening.kind,
        words=_filled(sentence, happening.details, exponent),
        subject=harmless(happening.subject),
    )


def amount_in_words(amount_minor: int, currency: str, exponent: Exponent) -> str:
    """An amount with its currency."""
    code = currency.upper()
    return money.display(amount_minor, code, exponent(code), LOCALE)


def harmless(text: str | None) -> str | None:
    """A value without what looks like a card number, a mail address or a key: what others made up may hold one."""
    if text is None:
        return None
    text = _SECRET.sub(REMOVED, _MAIL.sub(REMOVED, without_card_numbers(text)))
    return text if len(text) <= TEXT_CHARACTERS_MAX else text[: TEXT_CHARACTERS_MAX - 1] + REMOVED


def _teller(by: str | None) -> str | None:
    return None if by is None else SOURCES.get(by) or harmless(by)


class _Figures(dict[str, str]):
    """Values by name; what was not told says so."""

    def __missing__(self, name: str) -> str:
        return NOT_SAID


def _filled(sentence: str, details: Mapping[str, Any], exponent: Exponent) -> str:
    currency = details.get("currency")
    figures = _Figures()
    for name, value in details.items():
        if value is None:
            continue
        if name.removesuffix("_minor") in _AMOUNTS and name.endswith("_minor"):
            if currency:
                figures[name.removesuffix("_minor")] = amount_in_words(int(value), str(currency), exponent)
        elif name == "errand":
            figures[name] = ERRANDS.get(str(value), str(value))
        elif name in _CODES:
            figures[name] = REASONS.get(str(value), (harmless(str(value)) or "").replace("_", " "))
        else:
            figures[name] = harmless(str(value)) or ""
    return sentence.format_map(figures)
