"""Writes the reference pages from the code: the commands, the merchant service's API, the gateway's.

.venv/bin/python scripts/reference_pages.py docs/reference

Nothing here is written by hand but the headings, so nothing can differ from what the services do.
"""

import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import msgspec
import typer

from tallystick import gateway
from tallystick.cli.command import app
from tallystick.gateway import access as gateway_access
from tallystick.gateway.stripe_wire.reads import Reads
from tallystick.gateway.stripe_wire.routing import Route
from tallystick.kernel.operators.roles import Access
from tallystick.merchant import access as merchant_access
from tallystick.merchant import openapi

ORIGIN = "https://merchant.example"


ROOT = Path(__file__).parent.parent
COPIED = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")  # pages above docs/, which the site has too


def write(folder: Path) -> None:
    """Write all pages into `folder`, which is made where it is missing."""
    folder.mkdir(exist_ok=True)
    pages = {"cli": cli(), "merchant-api": merchant_api(), "gateway-api": gateway_api()}
    for name, text in (pages | {name.removesuffix(".md"): copied(name) for name in COPIED}).items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def copied(name: str) -> str:
    """A page from the repository's root, with its links as they are from the folder of the reference."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.sub(r"\]\((?![a-z]+:|#)([^)]+)\)", r"](../../\1)", text).replace("](../../docs/", "](../")


def cli() -> str:
    """Every command, with its arguments and options as `--help` knows them."""
    parts = ["# Commands\n", "Every command has `--help`; what it says there stands here.\n"]
    for words, command in _commands(typer.main.get_command(app), ["tallystick"]):
        parts.append(f"## {' '.join(words)}\n")
        parts.append(f"{inspect.cleandoc(command.help or '')}\n")
        rows = [_parameter(each) for each in command.params if each.name != "help"]
        if rows:
            parts.append("| | | |\n|---|---|---|")
            parts += rows
            parts.append("")
    return "\n".join(parts)


def _commands(command: Any, words: list[str]) -> Iterator[tuple[list[str], Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield words, command
        return
    for name, each in inner.items():
        yield from _commands(each, [*words, name])


def _parameter(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        name, needed = f"`{(parameter.metavar or parameter.name).upper()}`", "" if parameter.required else "optional"
    else:
        name, needed = " ".join(f"`{each}`" for each in parameter.opts), "required" if parameter.required else ""
    annotation = parameter.type_descriptor.annotation
    said = [getattr(parameter, "help", None) or ""]
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        said.append("One of " + ", ".join(f"`{each.value}`" for each in annotation) + ".")
    default = parameter.default
    if default not in (None, False, [], ()) and not callable(default) and not parameter.required:
        said.append(f"Default: `{getattr(default, 'value', default)}`.")
    return _row(name, needed, " ".join(each for each in said if each))


def merchant_api() -> str:
    """The merchant service's API, from the OpenAPI document that it serves."""
    document = openapi.document(ORIGIN)
    parts = [
        "# The merchant service's API\n",
        f"{document['info']['description']}\n",
        "A running service has this at `/docs`, and as OpenAPI 3.1 at `/openapi.json`.\n",
    ]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts += _operation(method, path, operation)
    parts.append("## Schemas\n")
    for name, schema in document["components"]["schemas"].items():
        parts += _schema(name, schema)
    parts.append(_operators("Operators' API", merchant_access.OPERATORS, merchant_access.SANDBOX))
    return "\n".join(parts)


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> list[str]:
    parts = [f"## {method.upper()} {path}\n", f"{operation['summary']}. {operation.get('description', '')}\n"]
    rows = [
        _row(
            f"`{each['name']}`",
            f"{each['in']}{', required' if each.get('required') else ''}",
            _type(each["schema"]),
            each.get("description", ""),
        )
        for each in operation.get("parameters", [])
    ]
    if rows:
        parts += ["| parameter | in | type | |\n|---|---|---|---|", *rows, ""]
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(f"Body: `{kind}`, {_type(content['schema'])}\n")
    parts.append("| answer | | |\n|---|---|---|")
    for status, answer in operation["responses"].items():
        kinds = ", ".join(_type(each.get("schema", {})) for each in answer.get("content", {}).values())
        parts.append(_row(status, answer.get("description", ""), kinds))
    return [*parts, ""]


def _schema(name: str, schema: Mapping[str, Any]) -> list[str]:
    parts = [f"### {name}\n", f"{inspect.cleandoc(schema.get('description', ''))}\n"]
    rows = [
        _row(
            f"`{field}`",
            _type(each),
            "required" if field in schema.get("required", []) else "",
            each.get("description", ""),
        )
        for field, each in schema.get("properties", {}).items()
    ]
    return [*parts, "| field | type | | |\n|---|---|---|---|", *rows, ""] if rows else parts


def _type(schema: Mapping[str, Any]) -> str:
    """A JSON schema in a few words; a schema of a name of its own leads to it."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema and "properties" not in schema:
            return " or ".join(dict.fromkeys(_type(each) for each in schema[choice]))
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"] if each is not None)
    kind = schema.get("type", "object")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if isinstance(kind, list):
        return " or ".join(kind)
    return f"{kind}, {schema['format']}" if "format" in schema else str(kind)


def gateway_api() -> str:
    """The gateway's routes and parameters, from the tables by which it answers."""
    parts = [
        "# The gateway's API\n",
        "A subset of Stripe's: the same paths, parameters, objects, errors and events, so Stripe's reference says what "
        "each does. What is not here is answered 404; a parameter that is not here is refused (`parameter_unknown`). "
        "Every call takes `expand`, and every POST an `Idempotency-Key`.\n",
    ]
    for route in sorted(_routes(), key=lambda route: (route.path, route.method)):
        parts += _route(route)
    parts.append(_operators("Operators' API", gateway_access.OPERATORS, gateway_access.SANDBOX))
    return "\n".join(parts)


def _routes() -> Iterator[Route]:
    """Every room's `api.py` has its routes; what carries them out is not needed to describe them."""
    reads = Reads(MagicMock(), MagicMock())
    for room in pkgutil.iter_modules(gateway.__path__):
        name = f"{gateway.__name__}.{room.name}"
        if not room.ispkg or not any(each.name == "api" for each in pkgutil.iter_modules(_folder_of(name))):
            continue
        routes = importlib.import_module(f"{name}.api").routes
        given = inspect.signature(routes).parameters.values()
        yield from routes(*(reads if each.annotation is Reads else MagicMock() for each in given))


def _folder_of(name: str) -> list[str]:
    return list(importlib.import_module(name).__path__)


def _route(route: Route) -> list[str]:
    parts = [f"## {route.method} {route.path}\n"]
    if route.publishable:
        parts.append("Also with a publishable key.\n")
    _, schemas = msgspec.json.schema_components((route.parameters,), ref_template="{name}")
    fields = schemas[route.parameters.__name__]
    rows = []
    for name, field in fields.get("properties", {}).items():
        if name != "expand":
            needed = "required" if name in fields.get("required", []) else ""
            rows += [_row(f"`{path}`", kind, needed) for path, kind in _fields(name, field, schemas)]
    return [*parts, "| parameter | type | |\n|---|---|---|", *rows, ""] if rows else [*parts, "No parameters.\n"]


def _fields(path: str, schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A parameter in bracket notation, and those inside it."""
    choices = schema.get("anyOf", [schema])
    plain = [each for each in choices if "$ref" not in each and each.get("type") != "null" and not _is_list(each)]
    if plain:
        yield path, " or ".join(dict.fromkeys(_type(each) for each in plain))
    for each in choices:
        if _is_list(each):
            yield from _fields(f"{path}[]", each["items"], schemas)
        if "$ref" in each:
            for name, field in schemas[each["$ref"]].get("properties", {}).items():
                yield from _fields(f"{path}[{name}]", field, schemas)


def _is_list(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "array"


def _operators(title: str, *tables: Access) -> str:
    rows = [_row(f"`{route}`", ", ".join(sorted(roles))) for table in tables for route, roles in table.items()]
    said = "JSON; errors as problems (RFC 9457); `Authorization: Bearer opk_…`. Roles: [Access](../access.md#roles).\n"
    return "\n".join([f"## {title}\n", said, "| route | roles |\n|---|---|", *rows, ""])


def _row(*cells: str) -> str:
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"


if __name__ == "__main__":
    write(Path(sys.argv[1]))
