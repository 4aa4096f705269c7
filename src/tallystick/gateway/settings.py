"""The gateway's own settings, beside those that both services have; checked against their neighbours at the start."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal

from msgspec import Meta

from tallystick.kernel.backoff import schedule_of
from tallystick.kernel.delivery.protocol import RATE_PER_S
from tallystick.kernel.service_settings import ServiceSettings
from tallystick.kernel.settings import load
from tallystick.kernel.vault import vault_values

PREFIX: Final = "TALLYSTICK_GATEWAY_"
SESSION_TTL_MIN_S: Final = 1800  # what Stripe allows at least, and RULES §3


class Settings(ServiceSettings, frozen=True, kw_only=True):
    """The settings of one gateway process."""

    prefix: ClassVar = PREFIX
    port: Annotated[int, Meta(ge=1, le=65535, description="The port to listen on.")] = 8410
    vault_dsn: Annotated[
        str,
        Meta(
            description="The gateway's database as the role that has the stored cards; empty: as the service's own "
            "role. A secret.",
            extra={"secret": True},
        ),
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
    webhooks_to_loopback: Annotated[
        bool,
        Meta(description="Whether webhooks may be delivered to this machine, by plain HTTP too. For development only."),
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

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sandbox_clock and self.live_allowed:
            raise self.refused("sandbox_clock", "real money keeps real time; use the simulated acquirer")
        if self.acquirer_private_range and not self.card_fingerprint_key:
            raise self.refused("card_fingerprint_key", "numbers that not everybody knows need a secret key")
        try:
            schedule_of(self.webhook_schedule_s)
        except ValueError as error:
            raise self.refused("webhook_schedule_s", str(error)) from None

    @property
    def live_allowed(self) -> bool:
        """Whether live keys can be made (DESIGN §5)."""
        return self.acquirer != "simulated"


def read(environ: Mapping[str, str], secrets: Mapping[str, str] | None = None) -> Settings:
    """The settings in the environment. `secrets` are the values of those that lie in Vault; None: Vault is asked here,
    which blocks. Raises SettingsRefused."""
    return load(Settings, PREFIX, environ, vault_values(Settings, PREFIX, environ) if secrets is None else secrets)
