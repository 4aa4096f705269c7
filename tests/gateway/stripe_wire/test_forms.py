"""Reading forms and JSON: what Stripe's SDKs send, and what strangers send (DESIGN §5)."""

import json
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.gateway.stripe_wire import errors
from tallystick.gateway.stripe_wire.forms import (
    BODY_BYTES_MAX,
    DEPTH_MAX,
    NAME_CHARACTERS_MAX,
    PAIRS_MAX,
    parse,
    parse_form,
    parse_json,
)


@pytest.mark.parametrize(
    ("encoded", "fields"),
    [
        (b"", {}),
        (b"amount=2000&currency=eur", {"amount": "2000", "currency": "eur"}),
        (b"metadata[order]=17&metadata[note]=", {"metadata": {"order": "17", "note": ""}}),
        (b"expand[]=a&expand[]=b.c", {"expand": ["a", "b.c"]}),
        (b"a[0][b]=1&a[1][b]=2", {"a": {"0": {"b": "1"}, "1": {"b": "2"}}}),
        (b"a[][b]=1&a[][c]=2&a[][b]=3", {"a": [{"b": "1", "c": "2"}, {"b": "3"}]}),
        (b"a[][b][c]=1&a[][b][d]=2&a[][b][c]=3", {"a": [{"b": {"c": "1", "d": "2"}}, {"b": {"c": "3"}}]}),
        (b"name=caf%C3%A9+au+lait%2B", {"name": "café au lait+"}),
        (b"metadata%5Border%5D=1", {"metadata": {"order": "1"}}),
        (b"&&a=1&", {"a": "1"}),
        (b"a", {"a": ""}),
        (b"a=b=c", {"a": "b=c"}),
    ],
)
def test_brackets_become_nested_fields(encoded: bytes, fields: dict[str, Any]) -> None:
    assert parse_form(encoded) == fields


@pytest.mark.parametrize(
    "encoded",
    [
        b"a=1&a=2",
        b"a=1&a[b]=2",
        b"a[b]=1&a=2",
        b"a[]=1&a[b]=2",
        b"a[b]=1&a[]=2",
        b"a[b=1",
        b"[a]=1",
        b"a[b]c=1",
        b"a[[b]]=1",
        b"a=%ff",
        b"a=%00",
        b"%00=a",
        b"a=\xed\xa0\x80",
        b"a" + b"[b]" * (DEPTH_MAX + 1) + b"=1",
        b"a" * (NAME_CHARACTERS_MAX + 1) + b"=1",
        b"&".join(b"a%d=1" % number for number in range(PAIRS_MAX + 1)),
    ],
)
def test_a_form_that_cannot_be_right_is_refused(encoded: bytes) -> None:
    with pytest.raises(errors.InvalidRequest):
        parse_form(encoded)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"1",
        b"{",
        b'{"a": NaN}',
        b'{"a": "\\u0000"}',
        b'{"\\u0000": 1}',
        b'{"a": "\\ud800"}',
        b'{"a": "\xff"}',
        b"[" * 100_000,
        b'{"a":' * (DEPTH_MAX + 2) + b"1" + b"}" * (DEPTH_MAX + 2),
    ],
)
def test_json_that_cannot_be_right_is_refused(body: bytes) -> None:
    with pytest.raises(errors.InvalidRequest):
        parse_json(body)


def test_the_content_type_decides_and_the_query_joins_a_form() -> None:
    assert parse(b"application/x-www-form-urlencoded; charset=utf-8", b"a=1", b"b=2") == {"a": "1", "b": "2"}
    assert parse(b"application/json; charset=utf-8", b"", b'{"a": 1}') == {"a": 1}
    assert parse(b"", b"a=1", b"") == {"a": "1"}
    with pytest.raises(errors.InvalidRequest):
        parse(b"multipart/form-data; boundary=x", b"", b"--x")
    with pytest.raises(errors.InvalidRequest):
        parse(b"application/json", b"a=1", b"{}")


def test_a_request_beyond_the_limit_is_too_large() -> None:
    with pytest.raises(errors.TooLarge):
        parse(b"", b"", b"a" * (BODY_BYTES_MAX + 1))
    with pytest.raises(errors.TooLarge):
        parse(b"", b"a" * (BODY_BYTES_MAX + 1), b"")


texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20)
names = st.text(st.sampled_from("abcxyz_09"), min_size=1, max_size=8)
nested = st.recursive(
    texts,
    lambda inner: st.dictionaries(names, inner, min_size=1, max_size=4) | st.lists(texts, min_size=1, max_size=4),
    max_leaves=12,
)


def flattened(fields: Any, name: str) -> list[tuple[str, str]]:
    """As Stripe's SDKs write nested fields."""
    if isinstance(fields, dict):
        return [pair for key, value in fields.items() for pair in flattened(value, f"{name}[{key}]" if name else key)]
    if isinstance(fields, list):
        return [(f"{name}[]", value) for value in fields]
    return [(name, fields)]


def depth(fields: Any) -> int:
    return 1 + max((depth(value) for value in fields.values()), default=0) if isinstance(fields, dict) else 0


@given(st.dictionaries(names, nested, max_size=5).filter(lambda fields: depth(fields) < DEPTH_MAX))
def test_what_an_sdk_encodes_is_read_back(fields: dict[str, Any]) -> None:
    """Round trip through both encodings gives the same nested fields."""
    assert parse_form(urlencode(flattened(fields, "")).encode()) == fields
    assert parse_form(urlencode(flattened(fields, ""), quote_via=quote).encode()) == fields
    assert parse_json(json.dumps(fields).encode()) == fields


hostile = st.binary(max_size=200) | st.lists(
    st.sampled_from([b"a", b"[", b"]", b"[]", b"[0]", b"=", b"&", b"%", b"%5B", b"%00", b"\xff", b"1", b"+"]),
    max_size=40,
).map(b"".join)


@given(hostile, hostile)
def test_hostile_bytes_give_fields_or_a_wire_error(query: bytes, body: bytes) -> None:
    """Whatever comes in, nothing but a WireError goes out: the edge would make a 500 of anything else."""
    for content_type in (b"", b"application/json"):
        with suppress(errors.InvalidRequest):
            assert isinstance(parse(content_type, query, body), dict)
