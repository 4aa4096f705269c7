"""The searcher finds what is planted, in every encoding, and nothing where there is nothing. RULES §9."""

import base64
import hashlib
import json
import random
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

NUMBER = "4999907134567899"
OTHERS = ("4242424242424242", "4999907234567899", "499990…7899", "49999071", "34567899")


def _base64(offset: int, number: str) -> str:
    return base64.b64encode(b"xyz"[:offset] + number.encode() + b"end").decode()


def _base64url(offset: int, number: str) -> str:
    spaced = " ".join(number[place : place + 4] for place in range(0, 16, 4))
    return base64.urlsafe_b64encode(b"?>~"[:offset] + spaced.encode()).decode()


PLANTED: dict[str, Callable[[str], str]] = {
    "plain": str,
    "spaced": lambda n: f"{n[:4]} {n[4:8]} {n[8:12]} {n[12:]}",
    "dashed": lambda n: f"{n[:4]}-{n[4:8]}-{n[8:12]}-{n[12:]}",
    "dotted": lambda n: ".".join(n),
    "in groups of six": lambda n: f"{n[:6]} {n[6:12]} {n[12:]}",
    "over lines": lambda n: f"{n[:8]}\n{n[8:]}",
    "reversed": lambda n: n[::-1],
    "hexadecimal": lambda n: n.encode().hex(),
    "HEXADECIMAL": lambda n: f"{n[:4]} {n[4:]}".encode().hex().upper(),
    "bytes repr": lambda n: "".join(f"\\x{ord(d):02x}" for d in n),
    "url-encoded": lambda n: "".join(f"%{ord(d):02X}" for d in n),
    "url-encoded twice": lambda n: quote("".join(f"%{ord(d):02X}" for d in n)),
    "form": lambda n: f"cc-number={n[:4]}+{n[4:8]}%20{n[8:]}",
    "json-escaped": lambda n: "".join(f"\\u{ord(d):04x}" for d in n),
    "json in json": lambda n: json.dumps("".join(f"\\u{ord(d):04x}" for d in n)),
    "html": lambda n: "".join(f"&#{ord(d)};" for d in n),
    "html hexadecimal": lambda n: "".join(f"&#x{ord(d):x};" for d in n),
    "sha256": lambda n: hashlib.sha256(n.encode()).hexdigest(),
    "md5": lambda n: base64.b64encode(hashlib.md5(n.encode()).digest()).decode(),
    **{f"base64 at {offset}": partial(_base64, offset) for offset in range(3)},
    **{f"spaced in base64url at {offset}": partial(_base64url, offset) for offset in range(3)},
}


@pytest.mark.parametrize("encoding", PLANTED)
def test_it_finds_a_number_in_every_encoding_anywhere(searcher_of: Any, encoding: str) -> None:
    dice = random.Random(encoding)
    searcher = searcher_of([NUMBER])
    for _ in range(20):
        before, after = (bytes(dice.randrange(97, 123) for _ in range(dice.randrange(200))) for _ in range(2))
        assert searcher.within(before + PLANTED[encoding](NUMBER).encode() + after), encoding


@pytest.mark.parametrize("encoding", PLANTED)
def test_it_finds_nothing_of_a_number_that_is_another(searcher_of: Any, encoding: str) -> None:
    for other in OTHERS:
        assert searcher_of([NUMBER]).in_record([PLANTED[encoding](other)]) == set()


@pytest.mark.parametrize("place", range(4, 13))
def test_it_finds_a_number_that_is_split_over_fields(searcher_of: Any, place: int) -> None:
    searcher = searcher_of([NUMBER])
    assert searcher.in_record(["pm_1", NUMBER[:place], None, NUMBER[place:], 2026])
    assert searcher.in_record([NUMBER[place:], {"unrelated": 17}, f"begins {NUMBER[:place]}"])
    assert searcher.in_record(["pm_1", NUMBER[:6], NUMBER[-4:], 12, 2030]) == set(), "what may be shown may be stored"


@pytest.mark.parametrize("value", [NUMBER, NUMBER.encode(), base64.b64encode(NUMBER.encode()).decode()])
def test_it_finds_what_is_planted_in_a_table_of_any_schema(searcher_of: Any, gateway_dsn: str, value: Any) -> None:
    searcher = searcher_of([NUMBER])
    assert searcher.in_database(gateway_dsn) == {}
    with psycopg.connect(gateway_dsn) as connection:
        connection.execute("CREATE SCHEMA hidden")
        kind = "bytea" if isinstance(value, bytes) else "text"
        connection.execute(f"CREATE TABLE hidden.planted (id int, value {kind})")
        connection.execute("INSERT INTO hidden.planted VALUES (1, %s)", (value,))
    assert list(searcher.in_database(gateway_dsn)) == ["hidden.planted"]
