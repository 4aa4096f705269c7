"""Settings: a frozen struct per service, read from the environment, from files and Vault's secrets that it names, and
from one settings file.

For a field `order_ttl_s` and the prefix `TALLYSTICK_MERCHANT_`, in this order of precedence:

    TALLYSTICK_MERCHANT_ORDER_TTL_S=1800           the value itself
    TALLYSTICK_MERCHANT_ORDER_TTL_S_FILE=/a/path   the file that holds it: for secrets, never in a process list
    TALLYSTICK_MERCHANT_ORDER_TTL_S_VAULT=a/path#field   the secret in Vault that holds it (`kernel/vault.py`)
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
    """One setting as documentation shows it. `default` is None where the setting is required; a `secret` is marked as
    one and never shown."""

    variable: str
    field: str
    default: str | None
    unit: str
    sentence: str
    secret: bool = False


def load(
    kind: type[Settings], prefix: str, environ: Mapping[str, str], secrets: Mapping[str, str] | None = None
) -> Settings:
    """The settings in `environ` and in the files that it names. `secrets` are the values by reference of those that
    lie in Vault (`vault_references`). Raises SettingsRefused."""
    given = _from_file(kind, prefix, environ.get(f"{prefix}SETTINGS_FILE"))
    for field in msgspec.structs.fields(kind):
        _find(field, prefix, environ, secrets or {}, given)
    return _convert(kind, prefix, given)


def faults_of(
    kind: type[Struct], prefix: str, environ: Mapping[str, str], secrets: Mapping[str, str] | None = None
) -> list[str]:
    """Everything for which `load` would refuse, one sentence each. What does not fit its neighbours is told where
    nothing else is wrong."""
    faults = []
    try:
        given = _from_file(kind, prefix, environ.get(f"{prefix}SETTINGS_FILE"))
    except SettingsRefused as refused:
        faults, given = [str(refused)], {}
    for field in msgspec.structs.fields(kind):
        try:
            _find(field, prefix, environ, secrets or {}, given)
            _value(field, prefix, given)
        except SettingsRefused as refused:
            faults.append(str(refused))
    if not faults:
        try:
            _convert(kind, prefix, given)
        except SettingsRefused as refused:
            faults.append(str(refused))
    return faults


def reference_of(prefix: str, environ: Mapping[str, str], field: str) -> str | None:
    """Where a setting comes from, as the secrets port names it: `env:NAME`, `file:/path`, `vault:path#field`; None
    where the environment does not name it."""
    variable = f"{prefix}{field.upper()}"
    if variable in environ:
        return f"env:{variable}"
    if f"{variable}_FILE" in environ:
        return f"file:{environ[f'{variable}_FILE']}"
    if f"{variable}_VAULT" in environ:
        return f"vault:{environ[f'{variable}_VAULT']}"
    return None


def vault_references(kind: type[Struct], prefix: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that name secrets in Vault, with the references that they name."""
    found = {}
    for field in msgspec.structs.fields(kind):
        reference = reference_of(prefix, environ, field.name)
        if reference is not None and reference.startswith("vault:"):
            found[f"{prefix}{field.name.upper()}_VAULT"] = reference
    return found


def describe(kind: type[Struct], prefix: str) -> list[Setting]:
    """Every setting with its variable, default, unit and sentence, in the order of the struct."""
    hints = get_type_hints(kind, include_extras=True)
    return [_describe(field, hints[field.name], prefix) for field in msgspec.structs.fields(kind)]


def _find(
    field: msgspec.structs.FieldInfo,
    prefix: str,
    environ: Mapping[str, str],
    secrets: Mapping[str, str],
    given: dict[str, Any],
) -> None:
    """Put what is said of a field outside the settings file into `given`. Raises SettingsRefused."""
    variable = f"{prefix}{field.name.upper()}"
    reference = reference_of(prefix, environ, field.name) or ""
    scheme, _, place = reference.partition(":")
    if scheme == "env":
        given[field.name] = environ[place]
    elif scheme == "file":
        given[field.name] = _read(f"{variable}_FILE", place).rstrip("\r\n")
    elif scheme == "vault":
        if reference not in secrets:
            raise SettingsRefused(f"{variable}_VAULT: Vault was not asked for it; is {prefix}VAULT_URL set?")
        given[field.name] = secrets[reference]
    if field.name not in given and field.required:
        raise SettingsRefused(f"{variable} is not set, and it has no default")


def _value(field: msgspec.structs.FieldInfo, prefix: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The field with its value in its type, or nothing where it has its default. Raises SettingsRefused."""
    if field.name not in given:
        return {}
    try:
        return {field.name: msgspec.convert(given[field.name], field.type, strict=False)}
    except msgspec.ValidationError as error:
        says = str(error).replace(repr(given[field.name]), "it is none that there is")  # of choices it shows the value
        raise SettingsRefused(f"{prefix}{field.name.upper()}: {says}") from None


def _describe(field: msgspec.structs.FieldInfo, hint: Any, prefix: str) -> Setting:
    meta = next((each for each in getattr(hint, "__metadata__", ()) if isinstance(each, msgspec.Meta)), msgspec.Meta())
    assert meta.description, f"setting {field.name} has a sentence"
    return Setting(
        variable=f"{prefix}{field.name.upper()}",
        field=field.name,
        default=None if field.required else str(field.default),
        unit=str((meta.extra or {}).get("unit", "")),
        sentence=meta.description,
        secret=bool((meta.extra or {}).get("secret", False)),
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
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        values |= _value(field, prefix, given)
    try:
        return kind(**values)
    except ValueError as error:
        raise SettingsRefused(str(error)) from None
