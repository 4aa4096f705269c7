"""Settings: a frozen struct per service, read from the environment, from files named there, and from one settings file.

For a field `order_ttl_s` and the prefix `TALLYSTICK_MERCHANT_`, in this order of precedence:

    TALLYSTICK_MERCHANT_ORDER_TTL_S=1800           the value itself
    TALLYSTICK_MERCHANT_ORDER_TTL_S_FILE=/a/path   the file that holds it: for secrets, never in a process list
    TALLYSTICK_MERCHANT_SETTINGS_FILE=/a/path      a TOML file with `order_ttl_s = 1800`
    the field's default

Every field carries its sentence and its unit as `Meta`, so that `describe` can list them all.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import msgspec
from msgspec import Struct

FILE_BYTES_MAX = 64 * 1024  # a setting or a settings file is text for people; protects against a wrong path

Settings = TypeVar("Settings", bound=Struct)


class SettingsRefused(ValueError):
    """The settings cannot be used; the text names the setting and says why, and never shows a value."""


class Setting(Struct, frozen=True):
    """One setting as documentation shows it. `default` is None where the setting is required."""

    variable: str
    field: str
    default: str | None
    unit: str
    sentence: str


def load(kind: type[Settings], prefix: str, environ: Mapping[str, str]) -> Settings:
    """The settings in `environ` and in the files that it names. Raises SettingsRefused."""
    given = _from_file(kind, prefix, environ.get(f"{prefix}SETTINGS_FILE"))
    for field in msgspec.structs.fields(kind):
        variable = f"{prefix}{field.name.upper()}"
        if variable in environ:
            given[field.name] = environ[variable]
        elif f"{variable}_FILE" in environ:
            given[field.name] = _read(f"{variable}_FILE", environ[f"{variable}_FILE"]).rstrip("\r\n")
        if field.name not in given and field.required:
            raise SettingsRefused(f"{variable} is not set, and it has no default")
    return _convert(kind, prefix, given)


def describe(kind: type[Struct], prefix: str) -> list[Setting]:
    """Every setting with its variable, default, unit and sentence, in the order of the struct."""
    hints = get_type_hints(kind, include_extras=True)
    return [_describe(field, hints[field.name], prefix) for field in msgspec.structs.fields(kind)]


def _describe(field: msgspec.structs.FieldInfo, hint: Any, prefix: str) -> Setting:
    meta = next((each for each in getattr(hint, "__metadata__", ()) if isinstance(each, msgspec.Meta)), msgspec.Meta())
    assert meta.description, f"setting {field.name} has a sentence"
    return Setting(
        variable=f"{prefix}{field.name.upper()}",
        field=field.name,
        default=None if field.required else str(field.default),
        unit=str((meta.extra or {}).get("unit", "")),
        sentence=meta.description,
    )


def _from_file(kind: type[Struct], prefix: str, path: str | None) -> dict[str, Any]:
    if path is None:
        return {}
    variable = f"{prefix}SETTINGS_FILE"
    try:
        given = tomllib.loads(_read(variable, path))
    except tomllib.TOMLDecodeError as error:
        raise SettingsRefused(f"{variable}: not TOML: {error}") from None
    unknown = sorted(given.keys() - set(kind.__struct_fields__))
    if unknown:
        raise SettingsRefused(f"{variable}: there are no settings named {', '.join(unknown)}")
    return given


def _read(variable: str, path: str) -> str:
    try:
        with Path(path).open(encoding="utf-8") as file:
            text = file.read(FILE_BYTES_MAX + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsRefused(f"{variable}: the file cannot be read: {type(error).__name__}") from None
    if len(text) > FILE_BYTES_MAX:
        raise SettingsRefused(f"{variable}: the file is longer than {FILE_BYTES_MAX} characters")
    return text


def _convert(kind: type[Settings], prefix: str, given: Mapping[str, Any]) -> Settings:
    """One field after the other, so that an error can name its variable."""
    values = {}
    for field in msgspec.structs.fields(kind):
        if field.name in given:
            try:
                values[field.name] = msgspec.convert(given[field.name], field.type, strict=False)
            except msgspec.ValidationError as error:
                raise SettingsRefused(f"{prefix}{field.name.upper()}: {error}") from None
    try:
        return kind(**values)
    except ValueError as error:
        raise SettingsRefused(str(error)) from None
