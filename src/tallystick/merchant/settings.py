"""The merchant service's own settings, beside those that both services have."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final

from msgspec import Meta

from tallystick.kernel.service_settings import ServiceSettings
from tallystick.kernel.settings import load
from tallystick.kernel.vault import vault_values
from tallystick.merchant.checkout.request import TTL_MAX_S, TTL_MIN_S

PREFIX: Final = "TALLYSTICK_MERCHANT_"


class Settings(ServiceSettings, frozen=True, kw_only=True):
    """The settings of one merchant process. Secrets of connections are not among them: each connection names its
    own.
    """

    prefix: ClassVar = PREFIX
    port: Annotated[int, Meta(ge=1, le=65535, description="The port to listen on.")] = 8420
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
    shops_on_loopback: Annotated[
        bool,
        Meta(description="Whether notifications and stock hooks may go to this machine. For development only."),
    ] = False


def read(environ: Mapping[str, str], secrets: Mapping[str, str] | None = None) -> Settings:
    """The settings in the environment. `secrets` are the values of those that lie in Vault; None: Vault is asked here,
    which blocks. Raises SettingsRefused."""
    return load(Settings, PREFIX, environ, vault_values(Settings, PREFIX, environ) if secrets is None else secrets)
