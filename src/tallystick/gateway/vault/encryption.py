"""Which key-encryption key the vault uses, by the settings."""

from tallystick.gateway.settings import PREFIX, Settings
from tallystick.kernel.key_encryption import chosen
from tallystick.kernel.service_secrets import ServiceSecrets
from tallystick.ports.key_encryption import KeyEncryption


def key_encryption(settings: Settings, secrets: ServiceSecrets) -> KeyEncryption | None:
    """The key-encryption port of these settings; None where the installation keeps no cards. Raises SettingsRefused."""
    name = "VAULT_KEY_FILE"
    return chosen(settings.vault_key_file, secrets.transit, settings.wraps_with, prefix=PREFIX, name=name)
