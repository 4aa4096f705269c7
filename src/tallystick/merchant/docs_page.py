"""The API's description as a page to browse: `/docs`. Pure. One document, its style inside, no script at all."""

from collections.abc import Iterator
from html import escape
from typing import Any, Final

import msgspec

from tallystick.kernel.page_headers import document_headers

Json = dict[str, Any]

STYLE: Final = """
:root{color-scheme:light dark;--ink:#1d1c19;--soft:#615d55;--paper:#fff;--panel:#f6f3ec;--rule:#e2ddd1;--accent:#0b6a4a}
@media(prefers-color-scheme:dark){:root{--ink:#f2f0ea;--soft:#aba79c;--paper:#151513;--panel:#1d1c1a;--rule:#34322d;
--accent:#63d0a2}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:60rem;padding:2rem 1.25rem 6rem;background:var(--paper);color:var(--ink);
font:1rem/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 .5rem}
h2{font-size:1.3rem;margin:3rem 0 .75rem}h3{font-size:1rem;margin:1.25rem 0 .4rem}
code,.method,pre{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.9em}
a{color:var(--accent)}nav ul{list-style:none;margin:0;padding:0;columns:18rem}nav li{margin:.15rem 0}
details{border:1px solid var(--rule);border-radius:.5rem;margin:.6rem 0;background:var(--panel)}
summary{cursor:pointer;padding:.7rem 1rem}details>div{padding:0 1rem 1rem}
.method{display:inline-block;min-width:3.2rem;font-weight:700;color:var(--accent)}
table{border-collapse:collapse;width:100%;font-size:.93em}th,td{text-align:left;vertical-align:top;padding:.35rem .5rem;
border-top:1px solid var(--rule)}th{color:var(--soft);font-weight:600}.soft{color:var(--soft)}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
"""
HEADERS: Final = document_headers(STYLE)


def render(document: Json) -> str:
    """The whole description as one HTML page."""
    title = escape(document["info"]["title"])
    schemas = document["components"]["schemas"]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head><body>"
        f"<h1>{title}</h1>{''.join(_paragraphs(document['info']['description']))}"
        '<p>Machine-readable: <a href="/openapi.json">/openapi.json</a> (OpenAPI 3.1).</p>'
        f"<h2>Calls</h2>{''.join(_calls(document['paths']))}"
        f"<h2>Objects</h2><nav><ul>{''.join(_index(schemas))}</ul></nav>{''.join(_objects(schemas))}"
        "</body></html>"
    )


def _calls(paths: Json) -> Iterator[str]:
    for path, operations in paths.items():
        for method, operation in operations.items():
            yield (
                f'<details id="{escape(operation["operationId"])}">'
                f'<summary><span class="method">{method.upper()}</span> '
                f"<code>{escape(path)}</code> {escape(operation['summary'])}</summary><div>"
                f"<p>{_text(operation['description'])}</p>{''.join(_call(operation))}</div></details>"
            )


def _call(operation: Json) -> Iterator[str]:
    if not operation["security"]:
        yield '<p class="soft">Public: no API key.</p>'
    if operation["parameters"]:
        rows = ((each["name"], _kind(each["schema"]), each) for each in operation["parameters"])
        yield "<h3>Parameters</h3><table><tr><th>Name</th><th>In</th><th>Type</th><th>Meaning</th></tr>"
        for name, kind, each in rows:
            needed = "" if each["required"] else " Optional."
            yield (
                f"<tr><td><code>{escape(name)}</code></td><td>{each['in']}</td><td>{kind}</td>"
                f"<td>{_text(each['description'])}{needed}</td></tr>"
            )
        yield "</table>"
    if "requestBody" in operation:
        yield f"<h3>Body</h3><p>{_body_kind(operation['requestBody']['content'])}</p>"
    yield "<h3>Answers</h3><table><tr><th>Status</th><th>Body</th><th>Meaning</th></tr>"
    for status, answer in sorted(operation["responses"].items()):
        bodies = [_kind(each["schema"]) if each else escape(kind) for kind, each in answer.get("content", {}).items()]
        yield f"<tr><td>{status}</td><td>{', '.join(bodies)}</td><td>{_text(answer['description'])}</td></tr>"
    yield "</table>"


def _index(schemas: Json) -> Iterator[str]:
    for name in sorted(schemas):
        yield f'<li><a href="#{escape(name)}">{escape(name)}</a></li>'


def _objects(schemas: Json) -> Iterator[str]:
    for name in sorted(schemas):
        schema = schemas[name]
        required = set(schema.get("required", ()))
        yield f'<h3 id="{escape(name)}">{escape(name)}</h3><p>{_text(schema.get("description", ""))}</p>'
        yield "<table><tr><th>Member</th><th>Type</th><th>Meaning</th></tr>"
        for member, kind in schema.get("properties", {}).items():
            notes = [kind.get("description") or _inner(kind).get("description", "")]
            if member not in required and kind.get("default") is not None:
                notes.append(f"Default `{msgspec.json.encode(kind['default']).decode()}`.")
            meaning = _text(" ".join(filter(None, notes)))
            yield f"<tr><td><code>{escape(member)}</code></td><td>{_kind(kind)}</td><td>{meaning}</td></tr>"
        yield "</table>"


def _body_kind(content: Json) -> str:
    """What a body is: an object of ours, or bytes of a media type."""
    [(media_type, described)] = content.items()
    return _kind(described["schema"]) if described["schema"] else escape(media_type)


def _kind(schema: Json) -> str:
    """A schema in a few words, with links to the objects it names."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"<code>{escape(str(each))}</code>" for each in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items') or {})}"
    limits = [
        text.format(schema[key])
        for key, text in (
            ("minimum", "≥ {}"),
            ("maximum", "≤ {}"),
            ("maxLength", "≤ {} characters"),
            ("maxItems", "≤ {} items"),
            ("format", "{}"),
        )
        if key in schema
    ]
    kind = escape(str(schema.get("type", "any")))
    return f"{kind} <span class=soft>{escape(', '.join(limits))}</span>" if limits else kind


def _inner(schema: Json) -> Json:
    """The schema of an optional member without its null."""
    return next((each for each in schema.get("anyOf", ()) if each != {"type": "null"}), {})


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in text.strip().split("\n\n"):
        yield f"<p>{_text(paragraph)}</p>"


def _text(text: str) -> str:
    """Escaped text with `code` between backticks."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))
