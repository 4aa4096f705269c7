"""Which key-encryption key the vault uses, by the settings."""

from pathlib import Path

from tallystick.gateway.settings import Settings
from tallystick.ports.key_encryption import KeyEncryption, LocalKeyEncryption


def key_encryption(settings: Settings) -> KeyEncryption | None:
    """The key-encryption port of these settings; None where the installation has no vault."""
    return LocalKeyEncryption(Path(settings.vault_key_file)) if settings.vault_key_file else None
