"""Which key-encryption key an installation has: a key file, Vault's transit, or both while it moves between them."""

from pathlib import Path
from typing import Final

from tallystick.kernel.settings import SettingsRefused
from tallystick.ports.key_encryption import (
    KeyEncryption,
    LocalKeyEncryption,
    MovingKeyEncryption,
)

TRANSIT: Final = "vault"


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
