"""People's data keys, in three steps: key-encryption key → a key of this process → the person's key (RULES §12).

The key-encryption key may stand in a Vault, which is a call to the outside, and may be sealed. So a process has one
key wrapped there, and wraps people's keys with that itself: storing a person calls nobody, and orders go on while the
Vault does not answer. What a process wrapped is read back by any: the wrapped key of the process stands beside it.
"""

import logging
from typing import Final

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap
from msgspec import Struct

from tallystick.ports.clock import Clock
from tallystick.ports.entropy import Entropy
from tallystick.ports.key_encryption import KEY_BYTES, KeyEncryption, KeyEncryptionError

log = logging.getLogger(__name__)

RENEWED_AFTER_S: Final = 3600.0  # a new version of the key-encryption key is in use within the hour
TRY_AGAIN_S: Final = 30.0  # while it cannot be renewed, the old one serves
KEPT_MAX: Final = 1000  # keys of processes that are kept unwrapped; one an hour and process


class KeysUnavailable(Exception):
    """No key can be made or opened now: none is configured, or the key-encryption key cannot be reached."""


class KeyRefused(Exception):
    """A stored key does not open: damaged, or its key-encryption key is gone for good."""


class Wrapping(Struct, frozen=True):
    """A key of a process, and how it is stored."""

    key: bytes
    wrapped: str

    def __repr__(self) -> str:
        return "Wrapping()"

    def wrap(self, data_key: bytes) -> bytes:
        """A person's key as it is stored."""
        return aes_key_wrap(self.key, data_key)

    def unwrap(self, wrapped_key: bytes) -> bytes:
        """A person's key. Raises KeyRefused."""
        try:
            return aes_key_unwrap(self.key, wrapped_key)
        except InvalidUnwrap:
            raise KeyRefused from None


class Keys:
    """Makes and opens people's keys. `encryption` is None where none is configured."""

    def __init__(self, encryption: KeyEncryption | None, clock: Clock, entropy: Entropy) -> None:
        self._encryption = encryption
        self._clock = clock
        self._entropy = entropy
        self._current: Wrapping | None = None
        self._renew_at_s = 0.0
        self._kept: dict[str, Wrapping] = {}

    def new_key(self) -> bytes:
        """A person's key."""
        return self._entropy.token_bytes(KEY_BYTES)

    async def current(self) -> Wrapping:
        """What new people's keys are wrapped with. Raises KeysUnavailable where this process never had one."""
        now_s = self._clock.monotonic_s()
        if self._current is None or now_s >= self._renew_at_s:
            try:
                self._current = await self._made()
                self._renew_at_s = now_s + RENEWED_AFTER_S
            except KeysUnavailable as error:
                if self._current is None:
                    raise
                self._renew_at_s = now_s + TRY_AGAIN_S
                log.warning("people's keys are still wrapped with an old key: %s", error)
        return self._current

    async def opening(self, wrapped_by: str) -> Wrapping:
        """The key of a process that wrapped people's keys. Raises KeysUnavailable and KeyRefused."""
        kept = self._kept.get(wrapped_by)
        if kept is not None:
            return kept
        if self._encryption is None:
            raise KeysUnavailable("no key-encryption key is configured")
        try:
            [key] = await self._encryption.unwrap([wrapped_by])
        except KeyEncryptionError as error:
            refused = getattr(error, "places", None)
            if refused:
                raise KeyRefused from None
            raise KeysUnavailable(type(error).__name__) from None
        return self._keep(Wrapping(key, wrapped_by))

    async def _made(self) -> Wrapping:
        if self._encryption is None:
            raise KeysUnavailable("no key-encryption key is configured")
        key = self.new_key()
        try:
            [wrapped] = await self._encryption.wrap([key])
        except KeyEncryptionError as error:
            raise KeysUnavailable(type(error).__name__) from None
        return self._keep(Wrapping(key, wrapped))

    def _keep(self, wrapping: Wrapping) -> Wrapping:
        if len(self._kept) >= KEPT_MAX:
            self._kept.clear()
        self._kept[wrapping.wrapped] = wrapping
        return wrapping
