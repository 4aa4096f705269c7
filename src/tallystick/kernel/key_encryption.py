"""Which key-encryption key an installation has: a key file, Vault's transit, or both while it moves between them."""

from pathlib import Path
from typing import Annotated, Final, Literal

from msgspec import Meta

from tallystick.kernel.settings import SettingsRefused
from tallystick.ports.key_encryption import (
    KeyEncryption,
    LocalKeyEncryption,
    MovingKeyEncryption,
)

TRANSIT: Final = "vault"

WrapsWith = Annotated[
    Literal["", "file", "vault"],
    Meta(
        description="Which key-encryption key wraps where both a key file and Vault's transit are set: `file` or "
        "`vault`. The other one still opens what it wrapped, until `rewrap` has gone through all. Empty: one is set."
    ),
]
"""A setting that both services have."""


def chosen(
    file: str, transit: KeyEncryption | None, wraps_with: str, *, prefix: str, name: str
) -> KeyEncryption | None:
    """The key-encryption port; None where nothing is set. `name` is the file's setting. Raises SettingsRefused."""
    if not file:
        return transit
    local = LocalKeyEncryption(Path(file))
    if transit is None:
        return local
    if not wraps_with:
        raise SettingsRefused(
            f"{prefix}{name} and {prefix}VAULT_TRANSIT_KEY: set one of them, not both, or say by {prefix}WRAPS_WITH "
            "which wraps"
        )
    if wraps_with == TRANSIT:
        return MovingKeyEncryption(transit, local)
    return MovingKeyEncryption(local, transit)
