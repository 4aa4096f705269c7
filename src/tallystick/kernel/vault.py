"""The secrets of one service: its own identity at Vault, and the settings that lie there.

Each service has an identity of its own (`TALLYSTICK_GATEWAY_VAULT_…`, `TALLYSTICK_MERCHANT_VAULT_…`), so that either
can read its own secrets only. docs/secrets.md shows the policies.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from tallystick.kernel.service_secrets import ServiceSecrets
from tallystick.kernel.settings import SettingsRefused, reference_of, vault_references
from tallystick.kernel.vault_settings import VaultSettings, read_vault_settings, vault_prefix
from tallystick.ports.clock import SystemClock
from tallystick.ports.secrets import SecretMissing, read_local

if TYPE_CHECKING:  # much code, which is loaded where a Vault is used
    from tallystick.ports.http import Http
    from tallystick.ports.key_encryption import KeyEncryption
    from tallystick.ports.vault import Credential, Login, Vault

ASK_AGAIN_S: Final = 1.0  # at the start, for a Vault that is not there yet

log = logging.getLogger(__name__)


@asynccontextmanager
async def opened_secrets(prefix: str, environ: Mapping[str, str]) -> AsyncIterator[ServiceSecrets]:
    """The secrets of the service with this prefix; where it is told of a Vault, it is logged in. Raises
    SettingsRefused."""
    settings = read_vault_settings(prefix, environ)
    if settings is None:
        yield ServiceSecrets(prefix, environ, None)
        return
    from tallystick.ports.aiohttp_http import AiohttpClient
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
    """The values by reference of the settings that lie in Vault, for a command: it blocks, asks and keeps nothing.
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
