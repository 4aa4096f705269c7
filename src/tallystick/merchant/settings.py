"""Every setting of the merchant service, with default, unit and a sentence; checked against its neighbours at the
start.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from tallystick.kernel.database_address import refusal_of
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
from tallystick.merchant.accounts.commands import AccountRefused, check_origin, is_loopback
from tallystick.merchant.checkout.request import TTL_MAX_S, TTL_MIN_S

PREFIX: Final = "TALLYSTICK_MERCHANT_"


class Settings(Struct, frozen=True, kw_only=True):
    """The settings of one merchant process. Secrets of connections are not among them: each connection names its
    own.
    """

    database_dsn: Annotated[
        str,
        Meta(
            min_length=1,
            description="PostgreSQL 15 or newer that holds the merchant's database, as the service's role. A secret.",
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
    database_connections_max: Annotated[
        int, Meta(ge=2, le=100, description="Connections to PostgreSQL of one process.", extra={"unit": "connections"})
    ] = 8
    host: Annotated[str, Meta(min_length=1, description="The address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535, description="The port to listen on.")] = 8420
    tls_cert_file: Annotated[
        str, Meta(description="The certificate to serve HTTPS with, PEM; empty for plain HTTP, on loopback only.")
    ] = ""
    tls_key_file: Annotated[str, Meta(description="The certificate's private key, PEM.")] = ""
    public_url: Annotated[
        str,
        Meta(description="The origin under which shoppers and gateways reach this service; empty for host and port."),
    ] = ""
    ca_file: Annotated[
        str,
        Meta(description="Certificates of authorities to trust when calling gateways, PEM; empty for the system's."),
    ] = ""
    pii_dsn: PiiDsn = ""
    pii_key_file: PiiKeyFile = ""
    pii_index_key: PiiIndexKey = ""
    pii_index_key_before: PiiIndexKeyBefore = ""
    wraps_with: WrapsWith = ""
    policy_folder: PolicyFolder = ""
    policy_url: PolicyUrl = ""
    policy_token: PolicyToken = ""
    order_ttl_s: Annotated[
        int,
        Meta(
            ge=TTL_MIN_S,
            le=TTL_MAX_S,
            description="How long a shopper may take to pay where the order does not say.",
            extra={"unit": "seconds"},
        ),
    ] = 1800
    declines_max: Annotated[
        int,
        Meta(ge=1, le=10, description="Failed charges after which an attempt is given up.", extra={"unit": "charges"}),
    ] = 3
    audit_retention_days: Annotated[
        int,
        Meta(
            ge=1,
            le=36_500,
            description="How long acts of operators stay in the audit trail at least: `audit purge` leaves them.",
            extra={"unit": "days"},
        ),
    ] = 400  # PCI DSS 10.5.1 asks for twelve months
    shops_on_loopback: Annotated[
        bool,
        Meta(description="Whether notifications and stock hooks may go to this machine. For development only."),
    ] = False
    alert_targets: Annotated[
        str,
        Meta(
            description="Who is told of alerts, dead letters and cases: addresses as apprise reads them (mailtos://…, "
            "slack://…), separated by spaces. A secret.",
            extra={"secret": True},
        ),
    ] = ""
    sandbox_clock: Annotated[
        bool,
        Meta(description="Whether operators may move the service's time forward. For test money only."),
    ] = False
    second_factor_roles: SecondFactorRoles = ""
    trusted_proxies: Annotated[
        str,
        Meta(
            description="Addresses and networks of the proxies in front, whose X-Forwarded-For is believed; empty: the "
            "peer is the client.",
            extra={"unit": "addresses, separated by commas"},
        ),
    ] = ""
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
        for name in ("database_dsn", "owner_dsn", "pii_dsn"):
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
            raise SettingsRefused(
                f"{PREFIX}HOST: plain HTTP is served on loopback only; set a certificate or 127.0.0.1"
            )
        check_personal_settings(self, PREFIX)
        try:
            roles_of(self.second_factor_roles)
        except ValueError as error:
            raise SettingsRefused(f"{PREFIX}SECOND_FACTOR_ROLES: {error}") from None
        if self.public_url:
            try:
                check_origin(self.public_url)
            except AccountRefused as refused:
                raise SettingsRefused(f"{PREFIX}PUBLIC_URL: {refused}") from None

    @property
    def origin(self) -> str:
        """The origin that stands in return addresses and webhook addresses, without a slash at its end."""
        if self.public_url:
            return check_origin(self.public_url)
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls_cert_file else 'http'}://{host}:{self.port}"

    def __repr__(self) -> str:
        return f"Settings(host={self.host!r}, port={self.port})"


def read(environ: Mapping[str, str], secrets: Mapping[str, str] | None = None) -> Settings:
    """The settings in the environment. `secrets` are the values of those that lie in Vault; None: Vault is asked here,
    which blocks. Raises SettingsRefused."""
    return load(Settings, PREFIX, environ, vault_values(Settings, PREFIX, environ) if secrets is None else secrets)
