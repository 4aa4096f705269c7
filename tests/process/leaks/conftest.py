"""A searcher for card numbers in every encoding that a leak could have. It has tests of its own."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

import psycopg
import pytest
from psycopg import sql

GROUPED = (" ", "-", ".", "\u00a0")
SPLIT_MIN = 4  # digits of the shorter part of a number that is split over two fields

Searched = Callable[[Sequence[str]], "Searcher"]


class Searcher:
    """Looks for some digits, which stand nowhere by chance."""

    def __init__(self, numbers: Sequence[str]) -> None:
        self.numbers = [number.encode() for number in numbers]
        self._needles: dict[bytes, str] = {}
        for number in self.numbers:
            for form, shown in _forms(number.decode()):
                self._needles |= {needle: f"{form} {name}" for needle, name in _encodings(shown)}
            self._needles |= dict(_digests(number))

    def exactly(self, text: bytes) -> set[str]:
        """How the digits stand in these bytes as they are: plain, grouped, base64, hexadecimal, hashed."""
        lower = text.lower()
        return {name for needle, name in self._needles.items() if needle in text or needle.lower() in lower}

    def within(self, text: bytes) -> set[str]:
        """The same, and whatever comes out once escapes are undone and everything but digits is dropped."""
        found = self.exactly(text)
        for name, undo in _ESCAPES.items():
            digits = _NOT_DIGITS.sub(b"", undo(text))
            found |= {name for number in self.numbers if number in digits or number[::-1] in digits}
        return found

    def in_record(self, values: Iterable[Any]) -> set[str]:
        """What stands in one of the fields, goes over from one to the next, or is split over two of them."""
        whole = b"\n".join(_bytes(value) for value in values if value is not None)
        found = self.within(whole)
        runs = set(_RUNS.findall(whole))
        for number in self.numbers:
            places = range(SPLIT_MIN, len(number) - SPLIT_MIN + 1)
            if any(number[:place] in runs and number[place:] in runs for place in places):
                found.add("split over fields")
        return found

    def in_database(self, dsn: str) -> dict[str, set[str]]:
        """Every table of every schema of ours, row by row: where something was found, and what."""
        found: dict[str, set[str]] = {}
        with psycopg.connect(dsn) as connection:
            tables = connection.execute(_TABLES).fetchall()
            assert len(tables) > 10, "there is something to search"
            for schema, table in tables:
                rows = connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(schema, table)))
                for row in rows:
                    hits = self.in_record(row)
                    if hits:
                        found.setdefault(f"{schema}.{table}", set()).update(hits)
        return found


_TABLES = """
SELECT table_schema, table_name FROM information_schema.tables
 WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')
 ORDER BY 1, 2"""
_NOT_DIGITS = re.compile(rb"[^0-9]+")
_RUNS = re.compile(rb"[0-9]+")
_UNICODE = re.compile(rb"\\u00(3[0-9])")
_HEX = re.compile(rb"(?:\\x|0x|&#x)(3[0-9]);?", re.IGNORECASE)
_PAIRS = re.compile(rb"(?:[2-7][0-9a-f]){8,}", re.IGNORECASE)
_PAIRS_LATER = re.compile(rb"(?<=[0-9a-f])(?:[2-7][0-9a-f]){8,}", re.IGNORECASE)


def _text(match: re.Match[bytes]) -> bytes:
    return bytes.fromhex(match[0].decode())


def _digit(match: re.Match[bytes]) -> bytes:
    return bytes.fromhex(match[1].decode())


_ESCAPES: dict[str, Callable[[bytes], bytes]] = {
    "digits": lambda text: text,
    "url-encoded": unquote_to_bytes,
    "url-encoded twice": lambda text: unquote_to_bytes(unquote_to_bytes(text)),
    "json-escaped": lambda text: _UNICODE.sub(_digit, text),
    "json-escaped twice": lambda text: _UNICODE.sub(_digit, text.replace(b"\\\\", b"\\")),
    "hex-escaped": lambda text: _HEX.sub(_digit, text),
    "html-escaped": lambda text: html.unescape(text.decode("latin-1")).encode("latin-1", "replace"),
    "hexadecimal": lambda text: _PAIRS.sub(_text, text),
    "hexadecimal, one later": lambda text: _PAIRS_LATER.sub(_text, text),
}


def _forms(number: str) -> list[tuple[str, str]]:
    groups = [number[place : place + 4] for place in range(0, len(number), 4)]
    return [("plain", number), *((f"grouped by {separator!r}", separator.join(groups)) for separator in GROUPED)]


def _encodings(text: str) -> Iterable[tuple[bytes, str]]:
    raw = text.encode()
    yield raw, "as it is"
    yield raw.hex().encode(), "hexadecimal"
    for offset in range(3):
        coded = base64.b64encode(bytes(offset) + raw)
        whole = coded[-(-offset * 8 // 6) : (offset + len(raw)) * 8 // 6]
        yield whole, f"base64 at offset {offset}"
        yield whole.translate(bytes.maketrans(b"+/", b"-_")), f"base64url at offset {offset}"


def _digests(number: bytes) -> Iterable[tuple[bytes, str]]:
    for algorithm in ("md5", "sha1", "sha256", "sha512"):
        digest = hashlib.new(algorithm, number).digest()
        yield digest.hex().encode(), f"{algorithm} without a key"
        yield base64.b64encode(digest).rstrip(b"="), f"{algorithm} without a key"


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes | memoryview | bytearray):
        return bytes(value)
    if isinstance(value, dict | list):
        return json.dumps(value, default=str, ensure_ascii=False).encode()
    return str(value).encode()


@pytest.fixture(scope="session")
def searcher_of() -> Searched:
    """Makes searchers."""
    return Searcher
