"""One table of the events that the gateway tells of: nothing else is told, and everything in it is."""

import ast
from pathlib import Path

import tallystick.gateway
from tallystick.gateway.webhooks.event_types import EVENT_TYPES


def told() -> set[str]:
    """The types in the source: texts that look like one, in what decides about payments."""
    types = set()
    source = Path(tallystick.gateway.__file__).parent
    for path in sorted(
        path for room in ("payments", "settlement", "customers") for path in (source / room).glob("*.py")
    ):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = getattr(node.func, "id", None) or getattr(node.func, "attr", None)
            if called in ("Told", "told") or (called == "_tell" and len(node.args) > 1):
                parts = ast.walk(node.args[1 if called == "_tell" else 0])
                types |= {
                    part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)
                }
    from tallystick.gateway.reporting.worker import SUCCEEDED

    return types | {SUCCEEDED}


def test_what_is_told_is_in_the_table_and_the_other_way_round() -> None:
    assert told() == set(EVENT_TYPES)
    assert all(EVENT_TYPES.values())


def test_the_documentation_lists_every_event() -> None:
    page = (Path(__file__).parents[3] / "docs" / "webhooks.md").read_text(encoding="utf-8")
    for type, words in EVENT_TYPES.items():
        assert f"| `{type}` | {words} |" in page
