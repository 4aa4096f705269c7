"""Prints docs/settings.md from the services' settings.

.venv/bin/python scripts/settings_page.py > docs/settings.md
"""

from msgspec import Struct

from tallystick.gateway import settings as gateway
from tallystick.kernel.settings import describe
from tallystick.kernel.vault_settings import VaultSettings, vault_prefix
from tallystick.merchant import settings as merchant

INTRODUCTION = """\
# Settings

Every setting of both services. Each is read from the environment; or, for secrets, from the file that the variable
with `_FILE` at its end names, or from the secret in Vault that the one with `_VAULT` at its end names (`path#field`);
or from the TOML file that `…_SETTINGS_FILE` names, under its short name. A setting that cannot be used is named at the
start, and its value is never shown; `tallystick doctor` looks at all of them and says what to do about each that is
wrong. [Secrets](secrets.md) shows how to keep them in files or in Vault, and how to rotate them.
"""

VAULT = """
How a service finds Vault (or OpenBao) and logs in. Each service has an identity of its own: for the merchant service
the same begin with `TALLYSTICK_MERCHANT_VAULT_`.
"""


def table(title: str, kind: type[Struct], prefix: str, sentence: str = "") -> str:
    """One service's settings."""
    rows = [f"\n## {title}\n{sentence}", "| variable | default | unit | what it is |", "|---|---|---|---|"]
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
        + table("Vault", VaultSettings, vault_prefix(gateway.PREFIX), VAULT)
    )


if __name__ == "__main__":
    print(page(), end="")
