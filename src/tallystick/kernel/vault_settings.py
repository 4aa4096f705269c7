"""How a service finds Vault, or OpenBao, and logs in: the settings of that."""

from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from tallystick.kernel.addresses import is_this_machine
from tallystick.kernel.settings import SettingsRefused, load


class VaultSettings(Struct, frozen=True, kw_only=True):
    """How one service finds Vault, or OpenBao, and logs in."""

    url: Annotated[str, Meta(description="Vault's address, such as https://vault.example:8200; empty for none.")] = ""
    ca_file: Annotated[
        str, Meta(description="Certificates of authorities to trust for Vault, PEM; empty for the system's.")
    ] = ""
    namespace: Annotated[str, Meta(description="The namespace in which everything below lies; empty for none.")] = ""
    login: Annotated[
        Literal["approle", "jwt", "token"], Meta(description="How the service logs in: approle, jwt or token.")
    ] = "approle"
    login_mount: Annotated[
        str, Meta(description="Where that login method is mounted; empty for a path of its own name.")
    ] = ""
    role_id: Annotated[str, Meta(description="approle: the role's id. A secret.", extra={"secret": True})] = ""
    secret_id: Annotated[
        str,
        Meta(
            description="approle: the secret id, usable as often as the process logs in. A secret.",
            extra={"secret": True},
        ),
    ] = ""
    role: Annotated[str, Meta(description="jwt: the role's name.")] = ""
    jwt: Annotated[
        str,
        Meta(
            description="jwt: the signed token; as a file it is read anew at every login. A secret.",
            extra={"secret": True},
        ),
    ] = ""
    token: Annotated[
        str,
        Meta(
            description="token: one that somebody else keeps alive; as a file it is read anew. A secret.",
            extra={"secret": True},
        ),
    ] = ""
    kv_mount: Annotated[str, Meta(min_length=1, description="Where the key-value store, version 2, is mounted.")] = (
        "secret"
    )
    transit_mount: Annotated[str, Meta(min_length=1, description="Where the transit engine is mounted.")] = "transit"
    transit_key: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9_.-]*$",
            description="The transit key that wraps the data keys of stored cards (gateway) or of people (merchant), "
            "instead of a key file; empty: none.",
        ),
    ] = ""
    poll_s: Annotated[
        float,
        Meta(
            ge=0.2, le=3600, description="The pause between two looks for rotated secrets.", extra={"unit": "seconds"}
        ),
    ] = 30.0
    start_wait_s: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            description="How long a start waits for a Vault that is away or sealed before it fails.",
            extra={"unit": "seconds"},
        ),
    ] = 30.0
    try_deadline_s: Annotated[
        float,
        Meta(ge=0.1, le=60, description="How long one call may take; up to three are made.", extra={"unit": "seconds"}),
    ] = 5.0

    def check(self, prefix: str) -> None:
        """Refuse what cannot be. Raises SettingsRefused."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
            raise SettingsRefused(f"{prefix}URL: it must be an address such as https://vault.example:8200")
        if parts.scheme == "http" and not is_this_machine(parts.hostname):
            raise SettingsRefused(f"{prefix}URL: plain HTTP is for loopback only; secrets travel by https")
        needed = {"approle": ("role_id", "secret_id"), "jwt": ("role", "jwt"), "token": ("token",)}[self.login]
        for name in needed:
            if not getattr(self, name):
                raise SettingsRefused(f"{prefix}{name.upper()} is not set, and the login {self.login} needs it")

    def __repr__(self) -> str:
        return f"VaultSettings(url={self.url!r}, login={self.login!r})"


def vault_prefix(prefix: str) -> str:
    """The beginning of the variables that tell a service of Vault."""
    return f"{prefix}VAULT_"


def read_vault_settings(prefix: str, environ: Mapping[str, str]) -> VaultSettings | None:
    """How the service with this prefix finds Vault; None where it is told of none. Raises SettingsRefused."""
    settings = load(VaultSettings, vault_prefix(prefix), environ)
    if not settings.url:
        return None
    settings.check(vault_prefix(prefix))
    return settings
