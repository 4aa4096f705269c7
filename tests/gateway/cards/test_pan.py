"""RULES §9: card numbers and security codes cannot leak, whatever is tried."""

import copy
import dataclasses
import json
import logging
import pickle
import pprint
import reprlib
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from tallystick.gateway.cards import pan
from tallystick.gateway.cards.brands import brand_of, code_digits
from tallystick.gateway.cards.pan import CardEntry, Cvc, Pan

NUMBER = "371449635398431"
GROUPED = "3714 496353 98431"
CODE = "7391"
KEY = bytes(range(32))


def an_entry() -> CardEntry:
    number, code = Pan.read(NUMBER), Cvc.read(CODE, "amex")
    assert number is not None
    assert code is not None
    return CardEntry(number=number, exp_month=12, exp_year=2030, code=code)


@dataclasses.dataclass
class Holder:
    secret: Any


class HolderStruct(msgspec.Struct):
    secret: Any


def _raised(secret: Any) -> str:
    try:
        raise ValueError("the card was", secret, f"{secret}", {"card": secret})
    except ValueError as error:
        return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


def _wrong_attribute(secret: Any) -> str:
    try:
        secret.no_such_thing = secret.nothing_here
    except AttributeError as error:
        return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    return ""


def _logged(secret: Any) -> str:
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "card %s %r", (secret, secret), None)
    return logging.Formatter("%(message)s %(args)s").format(record)


def _structlog(secret: Any) -> str:
    event = {"event": "card", "card": secret, "list": [secret], "nested": {"card": secret}}
    return str(structlog.processors.JSONRenderer()(None, "info", dict(event))) + str(
        structlog.dev.ConsoleRenderer(colors=False)(None, "info", dict(event))
    )


PRINTERS: dict[str, Callable[[Any], str]] = {
    "repr": repr,
    "str": str,
    "ascii": ascii,
    "format": lambda secret: format(secret, ""),
    "format wide": lambda secret: f"{secret:>40}{secret:s}{secret!r}{secret!s}{secret!a}",
    "str.format": lambda secret: "{} {0!r} {0:x}".replace("{}", "{0}").format(secret),
    "percent": lambda secret: "%s %r" % (secret, secret),  # noqa: UP031
    "list": lambda secret: str([secret, (secret,), {"card": secret}]),
    "pprint": pprint.pformat,
    "reprlib": reprlib.repr,
    "dataclass": lambda secret: repr(Holder(secret)),
    "struct": lambda secret: repr(HolderStruct(secret)),
    "json with default=str": lambda secret: json.dumps({"card": secret}, default=str),
    "msgspec with enc_hook=str": lambda secret: msgspec.json.encode({"card": secret}, enc_hook=str).decode(),
    "exception": _raised,
    "wrong attribute": _wrong_attribute,
    "logging": _logged,
    "structlog": _structlog,
    "dir": lambda secret: str(dir(secret)),
    "struct asdict": lambda secret: str(msgspec.structs.asdict(HolderStruct(secret))),
}

SERIALISERS: dict[str, Callable[[Any], Any]] = {
    "json": json.dumps,
    "json nested": lambda secret: json.dumps({"a": [secret]}),
    "msgspec json": msgspec.json.encode,
    "msgspec msgpack": msgspec.msgpack.encode,
    "msgspec struct": lambda secret: msgspec.json.encode(HolderStruct(secret)),
    "msgspec builtins": msgspec.to_builtins,
    **{f"pickle {protocol}": partial(pickle.dumps, protocol=protocol) for protocol in range(6)},
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "dataclass asdict": lambda secret: dataclasses.asdict(Holder(secret)),
    "getstate": lambda secret: secret.__getstate__(),
    "reduce": lambda secret: secret.__reduce_ex__(2),
    "vars": vars,
    "int": int,
    "bytes": bytes,
    "iter": iter,
    "len": len,
    "concatenated": lambda secret: "" + secret,
    "joined": lambda secret: "".join([secret]),
}


@pytest.mark.parametrize("printer", PRINTERS.values(), ids=PRINTERS.keys())
def test_no_way_of_printing_shows_the_digits(printer: Callable[[Any], str]) -> None:
    entry = an_entry()
    for secret in (entry, entry.number, entry.code):
        text = printer(secret)
        assert text
        assert NUMBER not in text
        assert NUMBER[6:-4] not in text
        assert CODE not in text


@pytest.mark.parametrize("serialise", SERIALISERS.values(), ids=SERIALISERS.keys())
def test_serialisers_and_copies_are_refused(serialise: Callable[[Any], Any]) -> None:
    entry = an_entry()
    for secret in (entry, entry.number, entry.code):
        with pytest.raises((TypeError, AttributeError)) as refusal:
            serialise(secret)
        assert NUMBER not in str(refusal.value)
        assert CODE not in str(refusal.value)


def test_reading_returns_faults_instead_of_raising_them() -> None:
    """An exception would carry the text in its traceback's locals."""
    for text in ("", "4242", "4242424242424241", f"{GROUPED} x", "٤" * 16, "0" * 20, NUMBER * 2):
        assert Pan.read(text) is None
    for text in ("", "12", "12345", "12a", "١٢٣"):
        assert Cvc.read(text, "visa") is None


def test_numbers_are_read_as_people_write_them() -> None:
    for text in (NUMBER, f" {GROUPED} ", GROUPED.replace(" ", "-"), GROUPED.replace(" ", "\u00a0")):
        number = Pan.read(text)
        assert number is not None
        assert number.reveal() == NUMBER


def test_there_is_one_format_of_a_truncated_number() -> None:
    number = Pan.read("378282246310005")
    assert number is not None
    assert (str(number), number.first6, number.last4, number.brand) == ("378282…0005", "378282", "0005", "amex")


def test_equal_numbers_are_equal_and_hash_nowhere() -> None:
    assert Pan(NUMBER) == Pan(NUMBER)
    assert Pan(NUMBER) != Pan("5555555555554444")
    assert Pan("123") != Cvc("123")
    with pytest.raises(TypeError):
        hash(Pan(NUMBER))


def test_numbers_never_change_and_cannot_be_subclassed() -> None:
    with pytest.raises(AttributeError):
        Pan(NUMBER)._digits = "1"
    with pytest.raises(TypeError):
        type("Loud", (Pan,), {})


@given(st.integers(0, 10**15 - 1))
def test_luhn_accepts_exactly_one_last_digit(beginning: int) -> None:
    digits = f"{beginning:015d}"
    assert sum(pan.luhn(f"{digits}{last}") for last in range(10)) == 1


@pytest.mark.parametrize(
    ("digits", "brand"),
    [
        ("4242424242424242", "visa"),
        ("5555555555554444", "mastercard"),
        ("2223003122003222", "mastercard"),
        ("2720990000000000", "mastercard"),
        ("2721000000000000", "unknown"),
        ("378282246310005", "amex"),
        ("6011111111111117", "discover"),
        ("6221260000000000", "discover"),
        ("6221250000000000", "unionpay"),
        ("6200000000000005", "unionpay"),
        ("3056930009020004", "diners"),
        ("36227206271667", "diners"),
        ("3566002020360505", "jcb"),
        ("9999999999999995", "unknown"),
        ("", "unknown"),
    ],
)
def test_the_longest_prefix_decides_the_brand(digits: str, brand: str) -> None:
    assert brand_of(digits) == brand


def test_only_american_express_prints_four_digits() -> None:
    assert (code_digits("amex"), code_digits("visa"), code_digits("unknown")) == (4, 3, 3)


def test_a_card_is_valid_to_the_end_of_its_month() -> None:
    last = datetime(2030, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    next_month = datetime(2031, 1, 1, tzinfo=UTC)
    assert not pan.expired(12, 2030, last)
    assert pan.expired(12, 2030, next_month)
    assert pan.plausible_expiry(12, 2030, last)
    assert not pan.plausible_expiry(13, 2030, last)
    assert not pan.plausible_expiry(0, 2031, last)
    assert not pan.plausible_expiry(1, 2081, last)


def test_the_fingerprint_is_keyed_and_the_same_for_the_same_number() -> None:
    number, other = Pan(NUMBER), Pan("5555555555554444")
    assert number.fingerprint(KEY) == Pan(NUMBER).fingerprint(KEY)
    assert number.fingerprint(KEY) != other.fingerprint(KEY)
    assert number.fingerprint(KEY) != number.fingerprint(KEY[::-1])
    assert len(number.fingerprint(KEY)) == pan.FINGERPRINT_CHARACTERS
    with pytest.raises(AssertionError):
        number.fingerprint(b"short")


def test_the_same_card_has_another_fingerprint_at_another_account() -> None:
    keyed = Pan(NUMBER).fingerprint(KEY)
    assert pan.fingerprint_for("acct_a", keyed) == pan.fingerprint_for("acct_a", keyed)
    assert len({keyed, pan.fingerprint_for("acct_a", keyed), pan.fingerprint_for("acct_b", keyed)}) == 3
