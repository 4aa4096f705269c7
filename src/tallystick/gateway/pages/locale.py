"""In which language's manner a shopper reads amounts: what the browser asks for, as far as babel knows it. Pure."""

from functools import lru_cache

from babel import Locale, UnknownLocaleError

ACCEPT_LANGUAGE_CHARACTERS_MAX = 200  # browsers send far less; a longer header is not read to its end
LANGUAGES_TRIED_MAX = 8
FALLBACK = Locale("en", "US")


def locale_of(accept_language: str) -> Locale:
    """The first locale of an `Accept-Language` header, by weight, that babel knows; US English otherwise."""
    return _wished(accept_language[:ACCEPT_LANGUAGE_CHARACTERS_MAX])  # remembered is what is read, and no more


@lru_cache(maxsize=1024)
def _wished(accept_language: str) -> Locale:
    wishes: list[tuple[float, str]] = []
    for item in accept_language.split(",")[:LANGUAGES_TRIED_MAX]:
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
