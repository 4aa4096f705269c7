"""The settings that both services have, with default, unit and a sentence, and what must be true of them together."""

from typing import Annotated, ClassVar, Final, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from tallystick.kernel.addresses import UrlRefused, check_own_url, is_this_machine
from tallystick.kernel.database_address import refusal_of
from tallystick.kernel.monitoring.collector import CollectorRefused, check_collector
from tallystick.kernel.operators.roles import roles_of
from tallystick.kernel.origins import origin_of
from tallystick.kernel.proxies import Proxies, ProxiesInvalid
from tallystick.kernel.settings import SettingsRefused

INDEX_KEY_CHARACTERS_MIN: Final = 32  # of random text; fewer could be tried out


class ServiceSettings(Struct, frozen=True, kw_only=True):
    """The settings of a process of either service, which adds its own."""

    prefix: ClassVar[str]

    database_dsn: Annotated[
        str,
        Meta(
            min_length=1,
            description="PostgreSQL 15 or newer that holds the service's database, as the service's role. A secret.",
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
    pii_dsn: Annotated[
        str,
        Meta(
            description="The same database as the role that may read personal data; empty: as the service's own role. "
            "A secret.",
            extra={"secret": True},
        ),
    ] = ""
    database_connections_max: Annotated[
        int, Meta(ge=2, le=100, description="Connections to PostgreSQL of one process.", extra={"unit": "connections"})
    ] = 8
    host: Annotated[str, Meta(min_length=1, description="The address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535, description="The port to listen on.")]
    tls_cert_file: Annotated[
        str, Meta(description="The certificate to serve HTTPS with, PEM; empty for plain HTTP, on loopback only.")
    ] = ""
    tls_key_file: Annotated[str, Meta(description="The certificate's private key, PEM.")] = ""
    public_url: Annotated[
        str,
        Meta(description="The origin under which shoppers and the other service reach this one; empty: host and port."),
    ] = ""
    ca_file: Annotated[
        str,
        Meta(description="Certificates of authorities to trust in calls to others, PEM; empty for the system's."),
    ] = ""
    trusted_proxies: Annotated[
        str,
        Meta(
            description="Addresses and networks of the proxies in front, whose X-Forwarded-For is believed; empty: the "
            "peer is the client.",
            extra={"unit": "addresses, separated by commas"},
        ),
    ] = ""
    pii_key_file: Annotated[
        str,
        Meta(
            description="The file with the key-encryption keys of personal data, as `customers keys` makes it; empty: "
            "what names a customer is refused, unless Vault's transit wraps the keys."
        ),
    ] = ""
    pii_index_key: Annotated[
        str,
        Meta(
            description="The key of the hashes by which customers are found, 32 characters or more; empty: what names "
            "a customer is refused. A secret.",
            extra={"secret": True},
        ),
    ] = ""
    pii_index_key_before: Annotated[
        str,
        Meta(
            description="The key before this one, by which customers are found too until `customers reindex` has gone "
            "through them; empty: none. A secret.",
            extra={"secret": True},
        ),
    ] = ""
    wraps_with: Annotated[
        Literal["", "file", "vault"],
        Meta(
            description="Which key-encryption key wraps where both a key file and Vault's transit are set: `file` or "
            "`vault`. The other one still opens what it wrapped, until `rewrap` has gone through all. Empty: one is "
            "set."
        ),
    ] = ""
    policy_folder: Annotated[
        str,
        Meta(description="The Rego policies (*.rego) that say who may see which personal data; empty: those built in."),
    ] = ""
    policy_url: Annotated[
        str,
        Meta(
            description="The origin of an Open Policy Agent that decides instead, such as https://opa.internal:8181; "
            "empty: the service decides itself."
        ),
    ] = ""
    policy_token: Annotated[
        str,
        Meta(
            description="The bearer token that the Open Policy Agent asks for; empty: none. A secret.",
            extra={"secret": True},
        ),
    ] = ""
    second_factor_roles: Annotated[
        str,
        Meta(
            pattern=r"^([a-z]+(,[a-z]+)*)?$",
            description="Roles whose people need a second factor: they can do nothing on the operators' pages before "
            "they have one. Empty: none.",
            extra={"unit": "roles, separated by commas"},
        ),
    ] = ""
    audit_retention_days: Annotated[
        int,
        Meta(
            ge=1,
            le=36_500,
            description="How long acts of operators stay in the audit trail at least: `audit purge` leaves them.",
            extra={"unit": "days"},
        ),
    ] = 400  # PCI DSS 10.5.1 asks for twelve months
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
    sandbox_clock: Annotated[
        bool,
        Meta(description="Whether operators may move the service's time forward. For test money only."),
    ] = False
    alert_targets: Annotated[
        str,
        Meta(
            description="Who is told of alerts, dead letters and cases: addresses as apprise reads them (mailtos://…, "
            "slack://…), separated by spaces. A secret.",
            extra={"secret": True},
        ),
    ] = ""
    alerts_every_s: Annotated[
        int,
        Meta(
            ge=0,
            le=300,
            description="The pause between two looks at whether an alert is true, where no Prometheus looks; 0: never.",
            extra={"unit": "seconds"},
        ),
    ] = 15
    alerts_shortened: Annotated[
        int,
        Meta(
            ge=1,
            le=300,
            description="By how much the windows and waits of alert rules are divided. For trials only.",
        ),
    ] = 1
    metrics_host: Annotated[
        str, Meta(min_length=1, description="The address on which Prometheus finds the process's metrics.")
    ] = "127.0.0.1"
    metrics_port: Annotated[
        int,
        Meta(ge=0, le=65535, description="The port of `/metrics`; 0: none. Every process has its own."),
    ] = 0
    traces_url: Annotated[
        str,
        Meta(
            description="Where traces are sent: the address for them of an OTLP/HTTP collector, such as "
            "http://127.0.0.1:4318/v1/traces; empty: none are made."
        ),
    ] = ""
    traces_headers: Annotated[
        str,
        Meta(
            description="What the collector asks for: headers as name=value, separated by commas. A secret.",
            extra={"secret": True},
        ),
    ] = ""
    traces_share: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="How many of the orders that begin here are followed; one that a caller follows always is.",
            extra={"unit": "share, 0 to 1"},
        ),
    ] = 1.0
    invariants_every_s: Annotated[
        int,
        Meta(
            ge=0,
            le=86_400,
            description="The pause between two checks of what must always be true; 0: never. Violations are logged.",
            extra={"unit": "seconds"},
        ),
    ] = 300
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least important lines that are logged.")
    ] = "info"

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if name.endswith("_dsn") and (refusal := refusal_of(getattr(self, name))) is not None:
                raise self.refused(name, refusal)
        try:
            Proxies(self.trusted_proxies)
        except ProxiesInvalid as invalid:
            raise self.refused("trusted_proxies", str(invalid)) from None
        try:
            check_collector(self.traces_url, self.traces_headers)
        except CollectorRefused as refused:
            raise SettingsRefused(f"{self.prefix}TRACES_URL and {self.prefix}TRACES_HEADERS: {refused}") from None
        if bool(self.tls_cert_file) != bool(self.tls_key_file):
            raise SettingsRefused(f"{self.prefix}TLS_CERT_FILE and {self.prefix}TLS_KEY_FILE: set both or none")
        if not self.tls_cert_file and not is_this_machine(self.host):
            raise self.refused("host", "plain HTTP is served on loopback only; set a certificate or 127.0.0.1")
        try:
            roles_of(self.second_factor_roles)
        except ValueError as error:
            raise self.refused("second_factor_roles", str(error)) from None
        self._check_personal_data()
        if self.public_url:
            self._check_public_url()

    def refused(self, field: str, why: str) -> SettingsRefused:
        """That a setting cannot be used."""
        return SettingsRefused(f"{self.prefix}{field.upper()}: {why}")

    @property
    def origin(self) -> str:
        """The origin that stands in the addresses which the service tells others, without a slash at its end."""
        if self.public_url:
            origin = origin_of(self.public_url)
            assert origin is not None, "checked when the settings were read"
            return origin
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls_cert_file else 'http'}://{host}:{self.port}"

    @property
    def index_keys(self) -> tuple[bytes, ...]:
        """The keys of the hashes by which people are found, the newest first."""
        return tuple(key.encode() for key in (self.pii_index_key, self.pii_index_key_before) if key)

    def _check_personal_data(self) -> None:
        for name in ("pii_index_key", "pii_index_key_before"):
            if 0 < len(getattr(self, name)) < INDEX_KEY_CHARACTERS_MIN:
                raise self.refused(name, f"has less than {INDEX_KEY_CHARACTERS_MIN} characters")
        if self.pii_key_file and not self.pii_index_key:
            raise SettingsRefused(
                f"{self.prefix}PII_INDEX_KEY is not set, and personal data need it beside their key file"
            )
        if self.pii_index_key_before and self.pii_index_key_before == self.pii_index_key:
            raise self.refused("pii_index_key_before", f"is the same key as {self.prefix}PII_INDEX_KEY")
        if self.policy_url:
            try:
                check_own_url(self.policy_url)
            except UrlRefused as refused:
                raise self.refused("policy_url", str(refused)) from None

    def _check_public_url(self) -> None:
        parts = urlsplit(self.public_url)
        if origin_of(self.public_url) is None or parts.path not in ("", "/") or parts.query or parts.fragment:
            raise self.refused("public_url", "it must be an origin such as https://pay.example")
        if parts.scheme == "http" and not is_this_machine(parts.hostname or ""):
            raise self.refused("public_url", "plain HTTP is for loopback only")

    def __repr__(self) -> str:
        return f"Settings(host={self.host!r}, port={self.port})"
