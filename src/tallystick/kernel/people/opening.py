"""The ports of personal data by the settings: what wraps people's keys, who decides, and as whom to connect."""

from pathlib import Path
from typing import Final

from msgspec import Struct

from tallystick.kernel.addresses import own_address_allowed
from tallystick.kernel.key_encryption import chosen
from tallystick.kernel.opening import opened_database
from tallystick.kernel.service_secrets import ServiceSecrets
from tallystick.kernel.service_settings import ServiceSettings
from tallystick.ports.aiohttp_http import AiohttpClient
from tallystick.ports.database import Database
from tallystick.ports.key_encryption import KeyEncryption, KeyEncryptionError, read_key_file
from tallystick.ports.policy import OpaPolicy, Policy, PolicyInvalid, RegoPolicy

POLICIES: Final = Path(__file__).parent / "policies"  # the folder policies/ of the repository
DECISION: Final = "pii/access"
CONNECTIONS: Final = 2  # under a role of its own: one batch in flight, and people who read


def people_encryption(settings: ServiceSettings, secrets: ServiceSecrets) -> KeyEncryption | None:
    """What wraps people's keys; None where nothing of people is kept. Raises SettingsRefused."""
    name = "PII_KEY_FILE"
    found = chosen(settings.pii_key_file, secrets.transit, settings.wraps_with, prefix=settings.prefix, name=name)
    if settings.pii_key_file:
        try:
            read_key_file(Path(settings.pii_key_file))
        except KeyEncryptionError as error:
            raise settings.refused("pii_key_file", str(error)) from None
    return found


class Decides(Struct, frozen=True):
    """Who decides about personal data, and the client by which it is asked, if it is another program."""

    policy: Policy
    http: AiohttpClient | None = None


def who_decides(settings: ServiceSettings) -> Decides:
    """The policy of these settings. Raises SettingsRefused."""
    if settings.policy_url:
        http = AiohttpClient(address_allowed=own_address_allowed, ca_file=settings.ca_file or None)
        return Decides(OpaPolicy(http, settings.policy_url, DECISION, settings.policy_token), http)
    try:
        return Decides(built_in(Path(settings.policy_folder) if settings.policy_folder else POLICIES))
    except PolicyInvalid as invalid:
        raise settings.refused("policy_folder", str(invalid)) from None


def built_in(folder: Path = POLICIES) -> RegoPolicy:
    """The rules of a folder, decided in this process. Raises PolicyInvalid."""
    return RegoPolicy.of_folder(folder, DECISION)


async def people_database(settings: ServiceSettings, secrets: ServiceSecrets) -> Database | None:
    """The service's database as the role that has personal data, where that is another one. Raises
    DatabaseUnavailable."""
    if not settings.pii_dsn:
        return None
    return await opened_database(secrets, "pii_dsn", settings.pii_dsn, connections_max=CONNECTIONS)
