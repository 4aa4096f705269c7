"""Secrets in Vault's key-value store (version 2): read once, kept, and looked at again and again.

A service must not stop when Vault does. What was read stays in use while Vault is stopped, sealed or out of reach, and
also when a secret was deleted there; that is logged at once and every minute, and measured. As soon as Vault answers,
what was rotated meanwhile is taken up. Nothing is written to disk: a process that starts needs Vault.
"""

import asyncio
import logging
from typing import Any, Final

from msgspec import Struct

from tallystick.ports.clock import Clock
from tallystick.ports.metrics import SECRETS_STALE_S
from tallystick.ports.secrets import SecretMissing, SecretUnavailable
from tallystick.ports.vault import Vault, VaultError, VaultRefused, VaultUnavailable

FIELD: Final = "value"  # of a reference that names none
PATHS_MAX: Final = 10_000  # secrets kept by one process, about a kilobyte each
LOOK_AGAIN_S: Final = 1.0  # how long a failure is remembered: callers of a Vault that is away must not wait in a queue
RETRY_FIRST_S: Final = 1.0  # after a failed look; doubled each time, up to the usual pause
PAUSE_MIN_S: Final = 0.1  # also where a token lives for a moment only
COMPLAIN_EVERY_S: Final = 60.0

log = logging.getLogger(__name__)


class _Metadata(Struct, frozen=True):
    version: int = 0


class _Kv(Struct, frozen=True):
    data: dict[str, Any] | None = None
    metadata: _Metadata = _Metadata()


class _Answer(Struct, frozen=True):
    data: _Kv = _Kv()


class _Kept(Struct):
    """A secret as it was read last."""

    version: int
    fields: dict[str, str]


class VaultSecrets:
    """Reads `vault:path#field`."""

    def __init__(self, vault: Vault, clock: Clock, *, mount: str = "secret", poll_s: float = 30.0) -> None:
        self._vault = vault
        self._clock = clock
        self._mount = mount
        self._poll_s = poll_s
        self._kept: dict[str, _Kept] = {}
        self._failed: dict[str, tuple[float, Exception]] = {}  # path → when, and why
        self._reading: dict[str, asyncio.Task[_Kept]] = {}
        self._stale_since_s: float | None = None
        self._complained_s: dict[str, float] = {}

    async def read(self, reference: str) -> str:
        """The secret as it was seen last; asks Vault where it never was. Raises SecretMissing."""
        path, field = _place(reference)
        kept = self._kept.get(path)
        if kept is None or field not in kept.fields:
            kept = await self._first(path, reference)
        return _field(kept, field, reference)

    async def read_anew(self, reference: str) -> str:
        """The secret as Vault has it now; as it was seen last where Vault does not say. Raises SecretMissing."""
        path, field = _place(reference)
        try:
            if path in self._reading:  # a look that began before we asked may not see what we ask for
                await asyncio.wait([self._reading[path]])
            kept = await self._read(path)
        except (VaultError, SecretMissing) as error:
            self._complain(path, error)
            return await self.read(reference)
        return _field(kept, field, reference)

    async def run(self) -> None:
        """Keep the token alive and look for rotated secrets, until cancelled."""
        retry_s: float | None = None
        while True:
            await self._clock.sleep(self._pause_s() if retry_s is None else retry_s)
            if await self._look():
                retry_s = None
            else:
                retry_s = min(RETRY_FIRST_S if retry_s is None else 2 * retry_s, max(self._poll_s, RETRY_FIRST_S))

    def _pause_s(self) -> float:
        """Until the next look: the token may have to be renewed before."""
        renew_s = self._vault.renew_in_s()
        return self._poll_s if renew_s is None else min(self._poll_s, max(renew_s, PAUSE_MIN_S))

    async def _look(self) -> bool:
        """Look at everything that is kept. Whether Vault answered."""
        try:
            await self._vault.keep_token()
            for path in list(self._kept):
                try:
                    await self._read(path)
                except VaultRefused as refused:
                    self._complain(path, refused)
        except (VaultError, SecretMissing) as error:
            now_s = self._clock.monotonic_s()
            self._stale_since_s = now_s if self._stale_since_s is None else self._stale_since_s
            SECRETS_STALE_S.set(max(now_s - self._stale_since_s, 0.001))
            self._complain("", error)
            return False
        if self._stale_since_s is not None:
            log.info("Vault is back after %.1f s", self._clock.monotonic_s() - self._stale_since_s)
        self._stale_since_s = None
        self._complained_s.pop("", None)
        SECRETS_STALE_S.set(0)
        return True

    async def _first(self, path: str, reference: str) -> _Kept:
        """Ask for a secret that is not known; what failed a moment ago fails again."""
        failed = self._failed.get(path)
        if failed is not None and self._clock.monotonic_s() - failed[0] < LOOK_AGAIN_S:
            raise _missing(reference, failed[1])
        try:
            return await self._read(path)
        except (VaultError, SecretMissing) as error:
            if len(self._failed) >= PATHS_MAX:
                self._failed.clear()
            self._failed[path] = (self._clock.monotonic_s(), error)
            self._complain(path, error)
            raise _missing(reference, error) from None

    async def _read(self, path: str) -> _Kept:
        """The secret as Vault has it; who wants the same at the same time shares one call."""
        task = self._reading.get(path)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._ask(path))
            self._reading[path] = task
            task.add_done_callback(lambda _: self._reading.pop(path))
        return await asyncio.shield(task)

    async def _ask(self, path: str) -> _Kept:
        answer = await self._vault.ask("GET", f"{self._mount}/data/{path}", _Answer)
        fields = {name: value for name, value in (answer.data.data or {}).items() if isinstance(value, str)}
        kept, before = _Kept(answer.data.metadata.version, fields), self._kept.get(path)
        if before is None and len(self._kept) >= PATHS_MAX:
            raise SecretMissing(f"this process keeps {PATHS_MAX} secrets already")
        self._kept[path] = kept
        self._failed.pop(path, None)
        self._complained_s.pop(path, None)
        if before is not None and before.fields != fields:
            log.info("the secret %s was rotated: version %d is in use", path, kept.version)
        return kept

    def _complain(self, path: str, error: Exception) -> None:
        """Say that the last known secrets are in use: at once, and then every minute."""
        now_s = self._clock.monotonic_s()
        if now_s - self._complained_s.get(path, -COMPLAIN_EVERY_S) < COMPLAIN_EVERY_S:
            return
        self._complained_s[path] = now_s
        kept = len(self._kept) if not path else int(path in self._kept)
        log.error("%s: %s; secrets as last known in use: %d", path or "secrets in Vault", error, kept)


def _missing(reference: str, error: Exception) -> SecretMissing:
    kind = SecretUnavailable if isinstance(error, VaultUnavailable) else SecretMissing
    return kind(f"secret {reference}: {error}")


def _place(reference: str) -> tuple[str, str]:
    path, _, field = reference.removeprefix("vault:").partition("#")
    if not path or path.startswith("/") or ".." in path.split("/") or any(mark in path for mark in "?% \r\n"):
        raise SecretMissing(f"secret reference must be vault:path#field, not {reference[:80]!r}")
    return path, field or FIELD


def _field(kept: _Kept, field: str, reference: str) -> str:
    value = kept.fields.get(field, "")
    if not value:
        raise SecretMissing(f"secret {reference}: there is no such field in version {kept.version}, or it is empty")
    return value
