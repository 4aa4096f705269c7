"""All that a service reads secrets by, and what rotates while it runs."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from tallystick.kernel.service import Worker
from tallystick.kernel.settings import SettingsRefused, reference_of, vault_references
from tallystick.ports.clock import Clock, SystemClock
from tallystick.ports.secrets import AnySecrets, KeptSecrets, SecretMissing, SecretUnavailable

if TYPE_CHECKING:  # much code, which is loaded where a Vault is used
    from tallystick.ports.key_encryption import KeyEncryption
    from tallystick.ports.vault_secrets import VaultSecrets

WATCH_S: Final = 5.0  # how soon a rotated file is noticed; Vault has its own pause

log = logging.getLogger(__name__)


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
