"""The secrets of one service: its own identity at Vault, the settings that lie there, and what rotates while it runs.

Each service has an identity of its own (`TALLYSTICK_GATEWAY_VAULT_…`, `TALLYSTICK_MERCHANT_VAULT_…`), so that either
can read its own secrets only. docs/secrets.md shows the policies.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Final, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from tallystick.kernel.addresses import is_this_machine
from tallystick.kernel.service import Worker
from tallystick.kernel.settings import SettingsRefused, load, reference_of, vault_references
from tallystick.ports.clock import Clock, SystemClock
from tallystick.ports.secrets import AnySecrets, KeptSecrets, SecretMissing, SecretUnavailable, read_local

if TYPE_CHECKING:  # much code, which is loaded where a Vault is used
    from tallystick.ports.http import Http
    from tallystick.ports.key_encryption import KeyEncryption
    from tallystick.ports.vault import Credential, Login, Vault
    from tallystick.ports.vault_secrets import VaultSecrets

ASK_AGAIN_S: Final = 1.0  # at the start, for a Vault that is not there yet
WATCH_S: Final = 5.0  # how soon a rotated file is noticed; Vault has its own pause

log = logging.getLogger(__name__)


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


class LiveSetting:
    """One secret setting as it is now, and as it was read last where it cannot be read."""

    def __init__(self, secrets: KeptSecrets, reference: str | None, value: str) -> None:
        self._secrets = secrets
        self._reference = reference
        self._value = value

    @property
    def may_change(self) -> bool:
        """Whether it is read from somewhere that can change."""
        return self._reference is not None

    async def now(self) -> str:
        """The value, as far as is known."""
        return await self._read(self._secrets.read)

    async def again(self) -> str:
        """The same, and its keeper is asked anew: what was known turned out to be of no use."""
        return await self._read(self._secrets.read_anew)

    async def _read(self, read: Callable[[str], Awaitable[str]]) -> str:
        if self._reference is not None:
            try:
                self._value = await read(self._reference)
            except SecretMissing as missing:
                log.error("%s; as last known in use", missing)
        return self._value


class Watch:
    """Tells who keeps something that was made of a secret setting that it has changed."""

    def __init__(self, setting: LiveSetting, changed: Callable[[str], Awaitable[None]], clock: Clock) -> None:
        self._setting = setting
        self._changed = changed
        self._clock = clock

    async def run(self) -> None:
        """Look every few seconds, until cancelled."""
        seen = await self._setting.now()
        while True:
            await self._clock.sleep(WATCH_S)
            value = await self._setting.now()
            if value == seen:
                continue
            try:
                await self._changed(value)
                seen = value
            except Exception as error:  # whatever it is made of it: the one before stays in use, and we try again
                log.error("a rotated secret is of no use (%s): the one before stays in use", type(error).__name__)


class ServiceSecrets:
    """All that a service reads secrets by. Settings that lie in Vault are read once here, by `of_settings`. `transit`
    wraps data keys, where the service is told of a key there."""

    def __init__(
        self,
        prefix: str,
        environ: Mapping[str, str],
        vault: "VaultSecrets | None" = None,
        transit: "KeyEncryption | None" = None,
    ) -> None:
        self.secrets = AnySecrets(vault)
        self.transit = transit
        self._watched: list[Watch] = []
        self._prefix = prefix
        self._environ = environ
        self._vault = vault

    async def of_settings(self, kind: type[Struct]) -> dict[str, str]:
        """The values by reference of the settings that lie in Vault. Raises SettingsRefused, SecretUnavailable."""
        values = {}
        for variable, reference in vault_references(kind, self._prefix, self._environ).items():
            try:
                values[reference] = await self.secrets.read(reference)
            except SecretUnavailable:
                raise
            except SecretMissing as missing:
                raise SettingsRefused(f"{variable}: {missing}") from None
        return values

    def live(self, field: str, value: str) -> LiveSetting:
        """A setting of the service, read as `value` at the start, as it will be. A process' environment stays."""
        reference = reference_of(self._prefix, self._environ, field) or ""
        return LiveSetting(self.secrets, reference if reference.startswith(("file:", "vault:")) else None, value)

    def watch(self, setting: LiveSetting, changed: Callable[[str], Awaitable[None]]) -> None:
        """Have `changed` told of every new value, where the setting may change while the service runs."""
        if setting.may_change:
            self._watched.append(Watch(setting, changed, SystemClock()))

    @property
    def workers(self) -> tuple[Worker, ...]:
        """What keeps secrets fresh."""
        return (*([self._vault] if self._vault is not None else []), *self._watched)


@asynccontextmanager
async def opened_secrets(prefix: str, environ: Mapping[str, str]) -> AsyncIterator[ServiceSecrets]:
    """The secrets of the service with this prefix; where it is told of a Vault, it is logged in. Raises
    SettingsRefused."""
    settings = read_vault_settings(prefix, environ)
    if settings is None:
        yield ServiceSecrets(prefix, environ, None)
        return
    from tallystick.ports.http import AiohttpClient
    from tallystick.ports.vault_secrets import VaultSecrets

    http = AiohttpClient(ca_file=settings.ca_file or None)
    try:
        vault = open_vault(prefix, environ, settings, http)
        await _logged_in(vault, settings, vault_prefix(prefix))
        kept = VaultSecrets(vault, SystemClock(), mount=settings.kv_mount, poll_s=settings.poll_s)
        yield ServiceSecrets(prefix, environ, kept, _transit(vault, settings))
    finally:
        await http.close()


def open_vault(prefix: str, environ: Mapping[str, str], settings: VaultSettings, http: "Http") -> "Vault":
    """A client of Vault that has not logged in yet. Leases run in real time, so it takes no sandbox's clock."""
    from tallystick.ports.vault import Vault

    return Vault(
        http,
        SystemClock(),
        settings.url,
        _login(prefix, environ, settings),
        namespace=settings.namespace,
        try_deadline_s=settings.try_deadline_s,
    )


def vault_values(kind: type[Struct], prefix: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The values by reference of the settings that lie in Vault, for a command: it blocks, asks and logs out of mind.
    Nothing is asked where no setting lies there. Raises SettingsRefused."""
    if not vault_references(kind, prefix, environ):
        return {}

    async def ask() -> dict[str, str]:
        async with opened_secrets(prefix, environ) as secrets:
            return await secrets.of_settings(kind)

    return _in_a_loop_of_its_own(ask)


def _in_a_loop_of_its_own(work: Callable[[], Awaitable[dict[str, str]]]) -> dict[str, str]:
    """Commands read their settings in plain functions, also inside a running loop."""
    from concurrent.futures import ThreadPoolExecutor

    async def run() -> dict[str, str]:
        return await work()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(run())).result()


def _transit(vault: "Vault", settings: VaultSettings) -> "KeyEncryption | None":
    from tallystick.ports.vault_transit import TransitKeyEncryption

    key = settings.transit_key
    return TransitKeyEncryption(vault, key, mount=settings.transit_mount) if key else None


async def _logged_in(vault: "Vault", settings: VaultSettings, prefix: str) -> None:
    """Log in, and wait a while for a Vault that is away. Raises SettingsRefused."""
    from tallystick.ports.vault import VaultRefused, VaultUnavailable

    clock = SystemClock()
    give_up_s = clock.monotonic_s() + settings.start_wait_s
    while True:
        try:
            return await vault.log_in()
        except (VaultRefused, SecretMissing) as refused:
            raise SettingsRefused(f"{prefix}LOGIN: {refused}") from None
        except VaultUnavailable as away:
            if clock.monotonic_s() >= give_up_s:
                raise SettingsRefused(f"{prefix}URL: {away}; waited {settings.start_wait_s:g} s") from None
            log.warning("waiting for Vault: %s", away)
            await clock.sleep(ASK_AGAIN_S)


def _login(prefix: str, environ: Mapping[str, str], settings: VaultSettings) -> "Login":
    from tallystick.ports.vault import AppRoleLogin, JwtLogin, TokenLogin

    mount = settings.login_mount or settings.login

    def credential(field: str) -> "Credential":
        reference = reference_of(vault_prefix(prefix), environ, field) or ""
        return (lambda: read_local(reference)) if reference.startswith("file:") else lambda: getattr(settings, field)

    if settings.login == "approle":
        return AppRoleLogin(credential("role_id"), credential("secret_id"), mount)
    if settings.login == "jwt":
        return JwtLogin(settings.role, credential("jwt"), mount)
    return TokenLogin(credential("token"))
