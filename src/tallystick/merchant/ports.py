"""The outside world of the merchant service, as its settings name it."""

from functools import partial

from msgspec import Struct, field

from tallystick.kernel.addresses import address_allowed, own_address_allowed, url_allowed
from tallystick.kernel.monitoring.traces import NO_TRACES, Traces, open_traces
from tallystick.kernel.opening import opened_alerts, opened_database
from tallystick.kernel.people.opening import people_database, people_encryption, who_decides
from tallystick.kernel.service_secrets import ServiceSecrets
from tallystick.kernel.settings import SettingsRefused
from tallystick.merchant.settings import PREFIX, Settings
from tallystick.ports.aiohttp_http import AiohttpClient
from tallystick.ports.alerts import AppriseAlerts, LastingAlerts
from tallystick.ports.clock import Clock, SandboxClock, SystemClock
from tallystick.ports.database import Database
from tallystick.ports.entropy import Entropy, SystemEntropy
from tallystick.ports.http import Downloads, Http
from tallystick.ports.http1 import Http1Client
from tallystick.ports.key_encryption import KeyEncryption
from tallystick.ports.policy import Policy
from tallystick.ports.secrets import Secrets


class Ports(Struct, frozen=True):
    """The outside world as the service sees it. `http` calls gateways, which the operator names; `shops` calls
    strangers' addresses and is guarded (RULES §12); None where nothing is to be kept apart. `personal` is the
    merchant's database as the role that has personal data, None where one role has all. Without `key_encryption` no
    personal data are stored. `policy`: None for the rules built in.
    """

    database: Database
    http: Downloads
    secrets: Secrets
    clock: Clock
    entropy: Entropy
    shops: Http | None = None
    alerts: LastingAlerts = field(default_factory=AppriseAlerts)
    personal: Database | None = None
    key_encryption: KeyEncryption | None = None
    policy: Policy | None = None
    policy_http: Http | None = None
    traces: Traces = NO_TRACES

    async def close(self) -> None:
        """Let connections go."""
        for http in (self.http, self.shops, self.policy_http):
            if isinstance(http, AiohttpClient | Http1Client):
                await http.close()
        await self.traces.close()
        if self.personal is not None:
            await self.personal.close()
        await self.database.close()


async def open_ports(settings: Settings, secrets: ServiceSecrets | None = None) -> Ports:
    """The production ports. `secrets` is where the settings' secrets came from, and rotate; None: they stay as they
    are. Raises DatabaseUnavailable, SettingsRefused."""
    secrets = secrets or ServiceSecrets(PREFIX, {})
    alerts = opened_alerts(settings, secrets)
    key_encryption, decides = people_encryption(settings, secrets), who_decides(settings)
    if key_encryption is not None and not settings.pii_index_key:
        raise SettingsRefused(f"{PREFIX}PII_INDEX_KEY is not set, and personal data need it beside their keys")
    connections_max = settings.database_connections_max
    database = await opened_database(secrets, "database_dsn", settings.database_dsn, connections_max=connections_max)
    http = AiohttpClient(address_allowed=own_address_allowed, ca_file=settings.ca_file or None)
    clock = SandboxClock(SystemClock()) if settings.sandbox_clock else SystemClock()
    shops = Http1Client(
        url_allowed=partial(url_allowed, loopback=settings.shops_on_loopback),
        address_allowed=partial(address_allowed, loopback=settings.shops_on_loopback),
        ca_file=settings.ca_file or None,
    )
    entropy = SystemEntropy()
    return Ports(
        database,
        http,
        secrets.secrets,
        clock,
        entropy,
        shops,
        alerts,
        await people_database(settings, secrets),
        key_encryption,
        decides.policy,
        decides.http,
        open_traces("tallystick-merchant", settings, clock, entropy),
    )
