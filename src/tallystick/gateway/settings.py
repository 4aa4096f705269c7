"""Every setting of the gateway, with default, unit and a sentence; checked against its neighbours at the start."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from tallystick.gateway.accounts.origins import is_loopback, origin_of
from tallystick.kernel.backoff import schedule_of
from tallystick.kernel.database_address import refusal_of
from tallystick.kernel.delivery.protocol import RATE_PER_S
from tallystick.kernel.key_encryption import WrapsWith
from tallystick.kernel.monitoring.collector import CollectorRefused, check_collector
from tallystick.kernel.monitoring.settings import (
    AlertsEveryS,
    AlertsShortened,
    MetricsHost,
    MetricsPort,
    TracesHeaders,
    TracesShare,
    TracesUrl,
)
from tallystick.kernel.operators.roles import roles_of
from tallystick.kernel.people.settings import (
    PiiDsn,
    PiiIndexKey,
    PiiIndexKeyBefore,
    PiiKeyFile,
    PolicyFolder,
    PolicyToken,
    PolicyUrl,
)
from tallystick.kernel.people.settings import check as check_personal_settings
from tallystick.kernel.proxies import Proxies, ProxiesInvalid
from tallystick.kernel.settings import SecondFactorRoles, SettingsRefused, load
from tallystick.kernel.vault import vault_values

PREFIX: Final = "TALLYSTICK_GATEWAY_"
SESSION_TTL_MIN_S: Final = 1800  # what Stripe allows at least, and RULES §3


class Settings(Struct, frozen=True, kw_only=True):
    """The settings of one gateway process."""

    database_dsn: Annotated[
        str,
        Meta(
            min_length=1,
            description="PostgreSQL 15 or newer that holds the gateway's database, as the service's role. A secret.",
            extra={"secret": True},
        ),
    ]
    owner_dsn: Annotated[
        str,
        Meta(
            description="The same database as the role that owns the tables: what `database migrate` connects as. "
            "Services do not need it; empty where one role does everything. A secret.",
            extra={"secret": True},
        ),
    ] = ""
    vault_dsn: Annotated[
        str,
        Meta(
            description="The gateway's database as the role that has the stored cards; empty: as the service's own "
            "role. A secret.",
            extra={"secret": True},
        ),
    ] = ""
    database_connections_max: Annotated[
        int, Meta(ge=2, le=100, description="Connections to PostgreSQL of one process.", extra={"unit": "connections"})
    ] = 8
    host: Annotated[str, Meta(min_length=1, description="The address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535, description="The port to listen on.")] = 8410
    tls_cert_file: Annotated[
        str, Meta(description="The certificate to serve HTTPS with, PEM; empty for plain HTTP, on loopback only.")
    ] = ""
    tls_key_file: Annotated[str, Meta(description="The certificate's private key, PEM.")] = ""
    public_url: Annotated[
        str,
        Meta(description="The origin under which shoppers and merchants reach the gateway; empty for host and port."),
    ] = ""
    ca_file: Annotated[
        str,
        Meta(description="Certificates of authorities to trust when delivering webhooks, PEM; empty for the system's."),
    ] = ""
    acquirer: Annotated[
        Literal["simulated"],
        Meta(description="The bank side. The simulated one knows test cards only, so that live keys cannot be made."),
    ] = "simulated"
    acquirer_delay_s: Annotated[
        float,
        Meta(ge=0, le=10, description="How long the simulated acquirer takes to answer.", extra={"unit": "seconds"}),
    ] = 0.05
    acquirer_remembers: Annotated[
        bool,
        Meta(
            description="Whether the simulated acquirer remembers every request, so that it knows which never reached "
            "it. It costs a commit for each."
        ),
    ] = False
    acquirer_private_range: Annotated[
        str,
        Meta(
            pattern=r"^([2-6][0-9]{5,11})?$",
            description="First digits of card numbers that the simulated acquirer takes beside its public test "
            "numbers, so that a search for them finds every leak. For tests only.",
        ),
    ] = ""
    vault_key_file: Annotated[
        str,
        Meta(
            description="The key-encryption keys of the card vault, as `tallystick gateway vault-key create` makes "
            "them; empty: no card number is kept beyond its request, and no card can be saved."
        ),
    ] = ""
    pii_dsn: PiiDsn = ""
    pii_key_file: PiiKeyFile = ""
    pii_index_key: PiiIndexKey = ""
    pii_index_key_before: PiiIndexKeyBefore = ""
    wraps_with: WrapsWith = ""
    policy_folder: PolicyFolder = ""
    policy_url: PolicyUrl = ""
    policy_token: PolicyToken = ""
    card_fingerprint_key: Annotated[
        str,
        Meta(
            pattern=r"^([!-~]{32,})?$",
            description="What card fingerprints are keyed with: 32 random characters or more. Another one makes other "
            "fingerprints; empty: a key that everybody knows, for public test numbers only. A secret.",
            extra={"secret": True},
        ),
    ] = ""
    card_retention_s: Annotated[
        int,
        Meta(
            ge=0,
            le=30 * 86_400,
            description="How long a card number that is not saved stays in the vault at least; it stays longer only "
            "while its payment can still need it.",
            extra={"unit": "seconds"},
        ),
    ] = 900
    session_ttl_min_s: Annotated[
        int,
        Meta(
            ge=1,
            le=SESSION_TTL_MIN_S,
            description="How far ahead a checkout session must expire at least. Less than 1800 is for development.",
            extra={"unit": "seconds"},
        ),
    ] = SESSION_TTL_MIN_S
    audit_retention_days: Annotated[
        int,
        Meta(
            ge=1,
            le=36_500,
            description="How long acts of operators stay in the audit trail at least: `audit purge` leaves them.",
            extra={"unit": "days"},
        ),
    ] = 400  # PCI DSS 10.5.1 asks for twelve months
    webhooks_to_loopback: Annotated[
        bool,
        Meta(description="Whether webhooks may be delivered to this machine, by plain HTTP too. For development only."),
    ] = False
    sandbox_clock: Annotated[
        bool,
        Meta(description="Whether operators may move the gateway's time forward. For test money only."),
    ] = False
    webhook_schedule_s: Annotated[
        str,
        Meta(
            pattern=r"^[0-9]{1,7}(,[0-9]{1,7}){0,19}$",
            description="Waits before each try of a webhook, counted from the previous try.",
            extra={"unit": "seconds, separated by commas"},
        ),
    ] = "0,60,300,3600,14400,43200,86400,86400"
    webhook_rate_max: Annotated[
        float,
        Meta(
            ge=1,
            le=100_000,
            description="How many webhooks one endpoint gets at most from each process that delivers.",
            extra={"unit": "deliveries per second"},
        ),
    ] = RATE_PER_S
    alert_targets: Annotated[
        str,
        Meta(
            description="Who is told of alerts, dead letters and cases: addresses as apprise reads them (mailtos://…, "
            "slack://…), separated by spaces. A secret.",
            extra={"secret": True},
        ),
    ] = ""
    second_factor_roles: SecondFactorRoles = ""
    trusted_proxies: Annotated[
        str,
        Meta(
            description="Addresses and networks of the proxies in front, whose X-Forwarded-For is believed; empty: the "
            "peer is the client.",
            extra={"unit": "addresses, separated by commas"},
        ),
    ] = ""
    card_tries_max: Annotated[
        int,
        Meta(
            ge=0,
            le=1000000,
            description="How often one card may be tried at one account within an hour; 0: no limit. Live mode.",
            extra={"unit": "tries"},
        ),
    ] = 60
    card_declines_max: Annotated[
        int,
        Meta(
            ge=0,
            le=1000000,
            description="After how many declines within an hour a card is not tried any more; 0: no limit. Live mode.",
            extra={"unit": "declines"},
        ),
    ] = 15
    address_tries_max: Annotated[
        int,
        Meta(
            ge=0,
            le=1000000,
            description="How often shoppers of one address may try to pay at one account within an hour; 0: no limit.",
            extra={"unit": "tries"},
        ),
    ] = 300
    address_declines_max: Annotated[
        int,
        Meta(
            ge=0,
            le=1000000,
            description="After how many declines within an hour shoppers of an address must wait; 0: no limit.",
            extra={"unit": "declines"},
        ),
    ] = 60
    session_declines_max: Annotated[
        int,
        Meta(
            ge=0,
            le=1000000,
            description="After how many declines a checkout session takes no card any more; 0: no limit.",
            extra={"unit": "declines"},
        ),
    ] = 20
    card_limits_in_test_mode: Annotated[
        bool,
        Meta(description="Whether cards are counted in test mode too, where everybody has the same few."),
    ] = False
    pages_per_address_max: Annotated[
        float,
        Meta(
            ge=0,
            le=1000000,
            description="Payment pages that one address may ask one process for; 0: no limit.",
            extra={"unit": "pages per second"},
        ),
    ] = 100
    calls_per_key_max: Annotated[
        float,
        Meta(
            ge=0,
            le=1000000,
            description="Calls with one API key that one process answers; 0: no limit.",
            extra={"unit": "calls per second"},
        ),
    ] = 10_000
    refusals_per_address_max: Annotated[
        float,
        Meta(
            ge=0,
            le=1000000,
            description="Keys that open nothing, from one address, until the next are not looked at; 0: no limit.",
            extra={"unit": "refusals per second"},
        ),
    ] = 20
    invariants_every_s: Annotated[
        int,
        Meta(
            ge=0,
            le=86_400,
            description="The pause between two checks of what must always be true; 0: never. Violations are logged.",
            extra={"unit": "seconds"},
        ),
    ] = 300
    alerts_every_s: AlertsEveryS = 15
    alerts_shortened: AlertsShortened = 1
    metrics_host: MetricsHost = "127.0.0.1"
    metrics_port: MetricsPort = 0
    traces_url: TracesUrl = ""
    traces_headers: TracesHeaders = ""
    traces_share: TracesShare = 1.0
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least important lines that are logged.")
    ] = "info"

    def __post_init__(self) -> None:
        for name in ("database_dsn", "owner_dsn", "vault_dsn", "pii_dsn"):
            if (refusal := refusal_of(getattr(self, name))) is not None:
                raise SettingsRefused(f"{PREFIX}{name.upper()}: {refusal}")
        try:
            Proxies(self.trusted_proxies)
        except ProxiesInvalid as invalid:
            raise SettingsRefused(f"{PREFIX}TRUSTED_PROXIES: {invalid}") from None
        try:
            check_collector(self.traces_url, self.traces_headers)
        except CollectorRefused as refused:
            raise SettingsRefused(f"{PREFIX}TRACES_URL and {PREFIX}TRACES_HEADERS: {refused}") from None
        if bool(self.tls_cert_file) != bool(self.tls_key_file):
            raise SettingsRefused(f"{PREFIX}TLS_CERT_FILE and {PREFIX}TLS_KEY_FILE: set both or none")
        if not self.tls_cert_file and not is_loopback(self.host):
            raise SettingsRefused(f"{PREFIX}HOST: plain HTTP is served on loopback only; set a certificate")
        if self.sandbox_clock and self.live_allowed:
            raise SettingsRefused(f"{PREFIX}SANDBOX_CLOCK: real money keeps real time; use the simulated acquirer")
        check_personal_settings(self, PREFIX)
        try:
            roles_of(self.second_factor_roles)
        except ValueError as error:
            raise SettingsRefused(f"{PREFIX}SECOND_FACTOR_ROLES: {error}") from None
        if self.public_url:
            self._check_public_url()
        if self.acquirer_private_range and not self.card_fingerprint_key:
            raise SettingsRefused(f"{PREFIX}CARD_FINGERPRINT_KEY: numbers that not everybody knows need a secret key")
        try:
            schedule_of(self.webhook_schedule_s)
        except ValueError as error:
            raise SettingsRefused(f"{PREFIX}WEBHOOK_SCHEDULE_S: {error}") from None

    def _check_public_url(self) -> None:
        parts = urlsplit(self.public_url)
        if origin_of(self.public_url) is None or parts.path not in ("", "/") or parts.query or parts.fragment:
            raise SettingsRefused(f"{PREFIX}PUBLIC_URL: it must be an origin such as https://pay.example")
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            raise SettingsRefused(f"{PREFIX}PUBLIC_URL: plain HTTP is for loopback only")

    @property
    def origin(self) -> str:
        """The origin of the pages, as it stands in session urls, without a slash at its end."""
        if self.public_url:
            origin = origin_of(self.public_url)
            assert origin is not None, "checked when the settings were read"
            return origin
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls_cert_file else 'http'}://{host}:{self.port}"

    @property
    def https(self) -> bool:
        """Whether shoppers reach the gateway by HTTPS."""
        return self.origin.startswith("https://")

    @property
    def live_allowed(self) -> bool:
        """Whether live keys can be made (DESIGN §5)."""
        return self.acquirer != "simulated"

    def __repr__(self) -> str:
        return f"Settings(host={self.host!r}, port={self.port})"


def read(environ: Mapping[str, str], secrets: Mapping[str, str] | None = None) -> Settings:
    """The settings in the environment. `secrets` are the values of those that lie in Vault; None: Vault is asked here,
    which blocks. Raises SettingsRefused."""
    return load(Settings, PREFIX, environ, vault_values(Settings, PREFIX, environ) if secrets is None else secrets)
