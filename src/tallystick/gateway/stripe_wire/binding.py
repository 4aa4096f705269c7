"""From sent fields to a parameter struct, with Stripe's errors: each names the parameter in bracket notation. Pure.

The shape of a struct is read from its annotations once. A form only knows texts, so numbers and booleans are taken as
texts too.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct, inspect

from tallystick.gateway.stripe_wire import errors

INTEGER_MAX = 2**53  # beyond it JSON readers disagree
LIST_ITEMS_MAX = 1_000

_INTEGER = re.compile(r"-?[0-9]{1,16}", re.ASCII)
_TRUE, _FALSE = ("true", "1"), ("false", "0")
_CARD_DATA = frozenset({"number", "cvc", "cvv"})

Parameter = TypeVar("Parameter", bound=Struct)


class Shape(Struct, frozen=True, kw_only=True):
    """What a parameter may be. Both `scalar` and `struct` may be set: `created=5` or `created[gte]=5`."""

    scalar: Literal["text", "integer", "boolean"] | None = None
    struct: type[Struct] | None = None
    members: Mapping[str, "Shape"] = {}
    required: tuple[str, ...] = ()
    item: "Shape | None" = None
    map: bool = False
    unsettable: bool = False  # an empty text drops what is there


def bind(type: type[Parameter], fields: Mapping[str, Any]) -> Parameter:
    """The parameters of a call from the fields that were sent. Raises InvalidRequest."""
    bound = _bind_struct(shape_of(type), fields, "")
    assert isinstance(bound, type)
    return bound


@cache
def shape_of(type: type[Struct]) -> Shape:
    """The shape of a parameter struct."""
    return _shape(inspect.type_info(type))


def _shape(info: inspect.Type) -> Shape:
    if isinstance(info, inspect.StrType):
        return Shape(scalar="text")
    if isinstance(info, inspect.IntType):
        return Shape(scalar="integer")
    if isinstance(info, inspect.BoolType):
        return Shape(scalar="boolean")
    if isinstance(info, inspect.LiteralType):
        assert info.values == ("",), "the only literal in a parameter is the empty text"
        return Shape(unsettable=True)
    if isinstance(info, inspect.ListType):
        return Shape(item=_shape(info.item_type))
    if isinstance(info, inspect.DictType):
        return Shape(map=True)
    if isinstance(info, inspect.StructType):
        members = {field.encode_name: _shape(field.type) for field in info.fields}
        required = tuple(field.encode_name for field in info.fields if field.required)
        return Shape(struct=info.cls, members=members, required=required)
    assert isinstance(info, inspect.UnionType), (
        "a parameter is a text, number, boolean, list, map, struct or a choice of them"
    )
    return _either([_shape(part) for part in info.types if not isinstance(part, inspect.NoneType)])


def _either(shapes: list[Shape]) -> Shape:
    merged: dict[str, Any] = {}
    for shape in shapes:
        merged |= {name: value for name, value in msgspec.structs.asdict(shape).items() if value}
    return Shape(**merged)


def _bind_struct(shape: Shape, fields: Mapping[str, Any], param: str) -> Struct:
    assert shape.struct is not None
    members = shape.members
    values = {}
    for name, value in fields.items():
        member = members.get(name)
        if member is None:
            raise _unknown([each for each in fields if each not in members], fields, param)
        if value is not None:  # null in JSON: not sent
            values[name] = _bind(member, value, f"{param}[{name}]" if param else name)
    for name in shape.required:
        if name not in values:
            raise errors.missing(f"{param}[{name}]" if param else name)
    return shape.struct(**values)


def _bind(shape: Shape, value: Any, param: str) -> Any:
    if isinstance(value, str):
        return value if shape.scalar == "text" else _bind_scalar(shape, value, param)
    if isinstance(value, dict):
        if shape.map:
            return {key: _text(item, f"{param}[{key}]") for key, item in value.items() if item is not None}
        if shape.struct is not None:
            return _bind_struct(shape, value, param)
        if shape.item is not None:
            return _bind_list(shape.item, _numbered(value, param), param)
        raise errors.invalid(param, f"Invalid {_expected(shape)}")
    if isinstance(value, list):
        if shape.item is None:
            raise errors.invalid(param, f"Invalid {_expected(shape)}")
        return _bind_list(shape.item, [(str(number), item) for number, item in enumerate(value)], param)
    return _bind_scalar(shape, value, param)


def _bind_scalar(shape: Shape, value: Any, param: str) -> Any:
    if shape.scalar == "text":
        return _text(value, param)
    if value == "" and shape.unsettable:
        return ""
    if value == "":
        raise errors.empty(param)
    if shape.scalar == "integer":
        return _integer(value, param)
    if shape.scalar == "boolean":
        return _boolean(value, param)
    raise errors.invalid(param, f"Invalid {_expected(shape)}")


def _bind_list(item: Shape, numbered: list[tuple[str, Any]], param: str) -> list[Any]:
    if len(numbered) > LIST_ITEMS_MAX:
        raise errors.invalid(param, f"Invalid array: must have at most {LIST_ITEMS_MAX} elements.")
    return [_bind(item, value, f"{param}[{number}]") for number, value in numbered if value is not None]


def _numbered(value: Mapping[str, Any], param: str) -> list[tuple[str, Any]]:
    """`{"0": …, "1": …}`, which is how a form writes a list, in the order of its numbers."""
    if not all(key.isascii() and key.isdigit() and len(key) <= 9 for key in value):
        raise errors.invalid(param, "Invalid array")
    return sorted(value.items(), key=lambda pair: int(pair[0]))


def _text(value: Any, param: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    raise errors.invalid(param, "Invalid string")


def _integer(value: Any, param: str) -> int:
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > INTEGER_MAX:
        raise errors.invalid_integer(param, value)
    return value


def _boolean(value: Any, param: str) -> bool:
    if isinstance(value, bool):
        return value
    if value in _TRUE or value in _FALSE:
        return value in _TRUE
    raise errors.invalid(param, f"Invalid boolean: {errors.shown(value)}", "parameter_invalid_boolean")


def _expected(shape: Shape) -> str:
    if shape.item is not None:
        return "array"
    if shape.struct is not None or shape.map:
        return "object"
    return "string" if shape.scalar == "text" else str(shape.scalar)


def _unknown(names: list[str], fields: Mapping[str, Any], param: str) -> errors.InvalidRequest:
    if any(name in _CARD_DATA or _holds_card_data(fields[name]) for name in names):
        return errors.invalid(
            param or errors.shown(names[0]),
            "Card numbers are not taken over the API. Use a test token such as pm_card_visa or tok_visa, or send the "
            "shopper to a checkout session, whose page takes the card.",
        )
    shown = [errors.shown(f"{param}[{name}]" if param else name, 256) for name in names]
    if len(shown) == 1:
        return errors.unknown(shown[0])
    return errors.invalid(shown[0], f"Received unknown parameters: {', '.join(shown[:10])}", "parameter_unknown")


def _holds_card_data(value: Any) -> bool:
    if isinstance(value, dict):
        return any(key in _CARD_DATA or _holds_card_data(item) for key, item in value.items())
    return False
