"""Reading what was sent: a form with brackets (`line_items[0][quantity]=2`, `expand[]=…`, `metadata[order]=…`) or JSON.

Both become nested dicts, lists and texts. In a form an indexed list (`a[0]`, `a[1]`) stays a dict with numbers as keys,
because only the parameter's type can tell it from a map; `binding.py` knows the type. Pure. Whatever bytes come in, the
one error that goes out is a WireError: everything has a limit.
"""

import re
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from tallystick.gateway.stripe_wire import errors

BODY_BYTES_MAX = 256 * 1024  # a session with 100 long line items has 60 KiB
PAIRS_MAX = 2_000  # 100 line items with all their members
NAME_CHARACTERS_MAX = 512  # as sent
DEPTH_MAX = 8  # the deepest parameter has five levels

Fields = dict[str, Any]

_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
_FORM_TYPES = (b"", b"application/x-www-form-urlencoded")


def parse(content_type: bytes, query: bytes, body: bytes) -> Fields:
    """The fields that a request sent in its query and its body. Raises InvalidRequest or TooLarge."""
    if len(body) > BODY_BYTES_MAX or len(query) > BODY_BYTES_MAX:
        raise errors.TooLarge(f"The request is larger than {BODY_BYTES_MAX} bytes.")
    if not body:
        return parse_form(query)
    media_type = content_type.partition(b";")[0].strip().lower()
    if media_type in _FORM_TYPES:
        return parse_form(query + b"&" + body if query else body)
    if media_type == b"application/json":
        if query:
            raise errors.InvalidRequest("Parameters stand in the JSON body or in the query, not in both.")
        return parse_json(body)
    raise errors.InvalidRequest("The content type must be application/x-www-form-urlencoded or application/json.")


def parse_form(encoded: bytes) -> Fields:
    """`a=1&b[c]=2&d[]=3` as `{"a": "1", "b": {"c": "2"}, "d": ["3"]}`."""
    fields: Fields = {}
    if not encoded:
        return fields
    if encoded.count(b"&") >= PAIRS_MAX:
        raise errors.InvalidRequest(f"A request can have at most {PAIRS_MAX} parameters.")
    quoted = b"%" in encoded or b"+" in encoded
    for pair in _utf8(encoded).split("&"):
        if pair:
            name, _, value = pair.partition("=")
            if len(name) > NAME_CHARACTERS_MAX:
                raise errors.InvalidRequest(
                    f"The name of a parameter can have at most {NAME_CHARACTERS_MAX} characters."
                )
            if quoted:
                name, value = _unquoted(name), _unquoted(value)
            _put(fields, name, value)
    return fields


def parse_json(body: bytes) -> Fields:
    """A JSON object; nesting beyond the limit, NUL and half surrogates are refused, since no table could hold them."""
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise errors.InvalidRequest("The request body is not valid JSON.") from None
    if not isinstance(fields, dict):
        raise errors.InvalidRequest("The request body must be a JSON object.")
    _check_nested(fields, 0)
    return fields


def _check_nested(value: Any, depth: int) -> None:
    if depth > DEPTH_MAX:
        raise errors.InvalidRequest(f"Parameters can be nested at most {DEPTH_MAX} deep.")
    if isinstance(value, str):
        _check_storable(value)
    elif isinstance(value, list):
        for item in value:
            _check_nested(item, depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_storable(key)
            _check_nested(item, depth + 1)


def _unquoted(text: str) -> str:
    if "%" not in text and "+" not in text:
        return text
    return _utf8(unquote_to_bytes(text.replace("+", " ")))


def _utf8(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise errors.InvalidRequest("Invalid request: parameters must be UTF-8.") from None
    _check_storable(text)
    return text


def _check_storable(text: str) -> None:
    if "\x00" in text:
        raise errors.InvalidRequest("Invalid request: parameters must not hold the NUL character.")


def _put(fields: Fields, name: str, value: str) -> None:
    """Store `value` under a name in bracket notation."""
    head, bracket, _ = name.partition("[")
    if not bracket:
        if name in fields:
            raise _sent_twice(name)
        fields[name] = value
        return
    keys = _BRACKETS.findall(name, len(head))
    if not head or sum(len(key) + 2 for key in keys) != len(name) - len(head):
        raise errors.InvalidRequest("Invalid request: brackets in a parameter's name do not match.")
    if len(keys) > DEPTH_MAX:
        raise errors.InvalidRequest(f"Parameters can be nested at most {DEPTH_MAX} deep.")
    _put_nested(fields, head, keys, value, name)


def _put_nested(parent: Fields, key: str, rest: list[str], value: str, name: str) -> None:
    while rest:
        if rest[0] == "":
            items = parent.setdefault(key, [])
            if not isinstance(items, list):
                raise _contradiction(name)
            if len(rest) == 1:
                items.append(value)
                return
            # `a[][x]=1&a[][y]=2&a[][x]=3`: a member that the last item has already begins the next item.
            if not items or not isinstance(items[-1], dict) or _has(items[-1], rest[1:]):
                items.append({})
            parent, key, rest = items[-1], rest[1], rest[2:]
        else:
            members = parent.setdefault(key, {})
            if not isinstance(members, dict):
                raise _contradiction(name)
            parent, key, rest = members, rest[0], rest[1:]
    if key in parent:
        raise _sent_twice(name)
    parent[key] = value


def _has(fields: Any, keys: list[str]) -> bool:
    for key in keys:
        if not isinstance(fields, dict) or key not in fields:
            return False
        fields = fields[key]
    return True


def _sent_twice(name: str) -> errors.InvalidRequest:
    return errors.invalid(errors.shown(name), f"Received the parameter more than once: {errors.shown(name)}")


def _contradiction(name: str) -> errors.InvalidRequest:
    return errors.invalid(
        errors.shown(name), f"Received the parameter in two forms that contradict each other: {errors.shown(name)}"
    )
