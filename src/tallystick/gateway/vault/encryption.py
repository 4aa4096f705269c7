"""Which key-encryption key the vault uses, by the settings."""

from pathlib import Path

from tallystick.gateway.settings import PREFIX, Settings
from tallystick.kernel.settings import SettingsRefused
from tallystick.kernel.vault import ServiceSecrets
from tallystick.ports.key_encryption import KeyEncryption, LocalKeyEncryption


def key_encryption(settings: Settings, secrets: ServiceSecrets) -> KeyEncryption | None:
    """The key-encryption port of these settings; None where the installation keeps no cards. Raises SettingsRefused."""
    if secrets.transit is not None:
        if settings.vault_key_file:
            raise SettingsRefused(f"{PREFIX}VAULT_KEY_FILE and {PREFIX}VAULT_TRANSIT_KEY: set one of them, not both")
        return secrets.transit
    return LocalKeyEncryption(Path(settings.vault_key_file)) if settings.vault_key_file else None
