"""The outside world of the gateway, as its settings name it."""

from functools import partial

from msgspec import Struct, field

from tallystick.gateway.settings import PREFIX, Settings
from tallystick.gateway.vault.encryption import key_encryption
from tallystick.gateway.webhooks.endpoints import Names
from tallystick.kernel.addresses import address_allowed, url_allowed
from tallystick.kernel.monitoring.traces import NO_TRACES, Traces, open_traces
from tallystick.kernel.opening import opened_alerts, opened_database
from tallystick.kernel.people.opening import people_database, people_encryption, who_decides
from tallystick.kernel.service_secrets import ServiceSecrets
from tallystick.ports.aiohttp_http import AiohttpClient, SystemNames
from tallystick.ports.alerts import AppriseAlerts, LastingAlerts
from tallystick.ports.clock import Clock, SandboxClock, SystemClock
from tallystick.ports.database import Database
from tallystick.ports.entropy import Entropy, SystemEntropy
from tallystick.ports.http import Http
from tallystick.ports.http1 import Http1Client
from tallystick.ports.key_encryption import KeyEncryption
from tallystick.ports.policy import Policy

VAULT_CONNECTIONS = 3  # of one process: cards are kept and opened in batches


class Ports(Struct, frozen=True):
    """The outside world as the gateway sees it. `http` is guarded: it delivers to strangers' addresses (RULES §12).
    Without `encryption` there is no vault: no card is saved, and a number lives no longer than its request. `vault` is
    the gateway's database as the role that has the stored cards, None where one role has all; so is `personal` as
    the role that has personal data. Without `people_encryption` nothing is kept of who customers are. `policy`: None
    for the rules built in."""

    database: Database
    http: Http
    names: Names
    clock: Clock
    entropy: Entropy
    alerts: LastingAlerts = field(default_factory=AppriseAlerts)
    encryption: KeyEncryption | None = None
    vault: Database | None = None
    personal: Database | None = None
    people_encryption: KeyEncryption | None = None
    policy: Policy | None = None
    policy_http: Http | None = None
    traces: Traces = NO_TRACES

    async def close(self) -> None:
        """Let connections go."""
        if isinstance(self.policy_http, AiohttpClient):
            await self.policy_http.close()
        await self.traces.close()
        if self.personal is not None:
            await self.personal.close()
        if self.vault is not None:
            await self.vault.close()
        if isinstance(self.http, Http1Client):
            await self.http.close()
        await self.database.close()


async def open_ports(settings: Settings, secrets: ServiceSecrets | None = None) -> Ports:
    """The production ports. `secrets` is where the settings' secrets came from, and rotate; None: they stay as they
    are. Raises DatabaseUnavailable, SettingsRefused."""
    secrets = secrets or ServiceSecrets(PREFIX, {})
    alerts = opened_alerts(settings, secrets)
    connections_max = settings.database_connections_max
    database = await opened_database(secrets, "database_dsn", settings.database_dsn, connections_max=connections_max)
    http = Http1Client(
        url_allowed=partial(url_allowed, loopback=settings.webhooks_to_loopback),
        address_allowed=partial(address_allowed, loopback=settings.webhooks_to_loopback),
        ca_file=settings.ca_file or None,
    )
    clock = SandboxClock(SystemClock()) if settings.sandbox_clock else SystemClock()
    entropy = SystemEntropy()
    decides = who_decides(settings)
    return Ports(
        database,
        http,
        SystemNames(),
        clock,
        entropy,
        alerts,
        key_encryption(settings, secrets),
        await _vault_database(settings, secrets),
        await people_database(settings, secrets),
        people_encryption(settings, secrets),
        decides.policy,
        decides.http,
        open_traces("tallystick-gateway", settings, clock, entropy),
    )


async def _vault_database(settings: Settings, secrets: ServiceSecrets) -> Database | None:
    """The gateway's database as the role that has the stored cards, where that is another one."""
    if not settings.vault_dsn:
        return None
    return await opened_database(secrets, "vault_dsn", settings.vault_dsn, connections_max=VAULT_CONNECTIONS)
