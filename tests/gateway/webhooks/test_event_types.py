"""One table of the events that the gateway tells of: nothing else is told, and everything in it is."""

import ast
from pathlib import Path

import tallystick.gateway
from tallystick.gateway.webhooks.event_types import EVENT_TYPES


def told() -> set[str]:
    """The types in the source: texts that look like one, in what decides about payments."""
    types = set()
    source = Path(tallystick.gateway.__file__).parent
    for path in sorted([*(source / "payments").glob("*.py"), *(source / "settlement").glob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("Told", "told"):
                parts = ast.walk(node.args[0])
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
