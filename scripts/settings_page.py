"""Prints docs/settings.md from the services' settings.

.venv/bin/python scripts/settings_page.py > docs/settings.md
"""

from msgspec import Struct

from tallystick.gateway import settings as gateway
from tallystick.kernel.settings import describe
from tallystick.merchant import settings as merchant

INTRODUCTION = """\
# Settings

Every setting of both services. Each is read from the environment; or, for secrets, from the file that the variable
with `_FILE` at its end names; or from the TOML file that `…_SETTINGS_FILE` names, under its short name. A setting
that cannot be used is named at the start, and its value is never shown.
"""


def table(title: str, kind: type[Struct], prefix: str) -> str:
    """One service's settings."""
    rows = [f"\n## {title}\n", "| variable | default | unit | what it is |", "|---|---|---|---|"]
    for setting in describe(kind, prefix):
        default = "required" if setting.default is None else f"`{setting.default}`" if setting.default else "empty"
        rows.append(f"| `{setting.variable}` | {default} | {setting.unit} | {setting.sentence} |")
    return "\n".join(rows) + "\n"


def page() -> str:
    """The whole page."""
    return (
        INTRODUCTION
        + table("Gateway", gateway.Settings, gateway.PREFIX)
        + table("Merchant service", merchant.Settings, merchant.PREFIX)
    )


if __name__ == "__main__":
    print(page(), end="")
