"""Vault's transit engine as key-encryption key: data keys travel there to be wrapped, its keys never leave it.

Texts are `vault:v1:…`, as transit writes them. A batch is one call for as many as fit; a text that transit refuses is
named by its place. A damaged text, or one of a version below the smallest that may still decrypt, is refused; so is a
call that the role's policy does not permit. Everything else (sealed, stopped, not logged in) may work later.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from tallystick.ports.key_encryption import (
    KEY_BYTES,
    KeyEncryptionError,
    KeyEncryptionRefused,
    KeyEncryptionUnavailable,
    version_of,
)
from tallystick.ports.secrets import SecretMissing
from tallystick.ports.vault import Vault, VaultError, VaultRefused

ITEMS_MAX: Final = 250  # of one call: OpenBao takes JSON lists of 500 at most, and it is done within its deadline
PREFIX: Final = "vault:v"
_PARTLY_REFUSED: Final = 400  # how transit answers a batch of which it refuses some; the items say which


class _Item(Struct, frozen=True):
    ciphertext: str = ""
    plaintext: str = ""
    error: str = ""


class _Batch(Struct, frozen=True):
    batch_results: list[_Item] = []


class _BatchAnswer(Struct, frozen=True):
    data: _Batch = _Batch()


class _Key(Struct, frozen=True):
    latest_version: int = 0


class _KeyAnswer(Struct, frozen=True):
    data: _Key = _Key()


class TransitKeyEncryption:
    """The key-encryption port on a key of transit."""

    scheme = "vault"

    def __init__(self, vault: Vault, key: str, *, mount: str = "transit") -> None:
        self._vault = vault
        self._key = key
        self._mount = mount

    async def wrap(self, keys: Sequence[bytes]) -> list[str]:
        """Each key wrapped by the newest version. Raises KeyEncryptionError."""
        assert all(len(key) == KEY_BYTES for key in keys), "a data key has 256 bits"
        items = await self._all("encrypt", [{"plaintext": base64.b64encode(key).decode()} for key in keys])
        return [self._wrapped(item) for item in items]

    async def unwrap(self, wrapped: Sequence[str]) -> list[bytes]:
        """The keys, whichever version wrapped them. Raises KeyEncryptionError."""
        _check_scheme(wrapped)
        items = await self._all("decrypt", [{"ciphertext": text} for text in wrapped])
        return [_unwrapped(item) for item in items]

    async def rewrap(self, wrapped: Sequence[str]) -> list[str]:
        """The same keys wrapped by the newest version, without leaving Vault. Raises KeyEncryptionError."""
        _check_scheme(wrapped)
        items = await self._all("rewrap", [{"ciphertext": text} for text in wrapped])
        return [self._wrapped(item) for item in items]

    async def version(self) -> int:
        """The newest version. Raises KeyEncryptionError."""
        try:
            answer = await self._vault.ask("GET", f"{self._mount}/keys/{self._key}", _KeyAnswer)
        except (VaultError, SecretMissing) as error:
            raise _named(error) from None
        if answer.data.latest_version < 1:
            raise KeyEncryptionUnavailable("Vault's answer is none of transit's")
        return answer.data.latest_version

    async def _all(self, act: str, items: Sequence[dict[str, str]]) -> list[_Item]:
        """The results of all items, in their order; all or none."""
        results: list[_Item] = []
        for start in range(0, len(items), ITEMS_MAX):
            results += await self._some(act, items[start : start + ITEMS_MAX])
        refused = [place for place, result in enumerate(results) if result.error]
        if refused:
            raise KeyEncryptionRefused("damaged, or of a version that Vault does not take any more", refused)
        return results

    async def _some(self, act: str, items: Sequence[dict[str, str]]) -> list[_Item]:
        path, body = f"{self._mount}/{act}/{self._key}", {"batch_input": items}
        try:
            answer: Any = await self._vault.ask("POST", path, _BatchAnswer, body, also=_PARTLY_REFUSED)
        except (VaultError, SecretMissing) as error:
            raise _named(error) from None
        results: list[_Item] = answer.data.batch_results
        if len(results) != len(items):
            raise KeyEncryptionRefused("Vault's transit does not take the call: is there such a key?")
        return results

    def _wrapped(self, item: _Item) -> str:
        if not item.ciphertext.startswith(PREFIX) or version_of(item.ciphertext) < 1:
            raise KeyEncryptionUnavailable("Vault's answer is none of transit's")
        return item.ciphertext


def _check_scheme(wrapped: Sequence[str]) -> None:
    foreign = [place for place, text in enumerate(wrapped) if not text.startswith(PREFIX)]
    if foreign:
        raise KeyEncryptionRefused("wrapped by another scheme than Vault's transit", foreign)


def _unwrapped(item: _Item) -> bytes:
    try:
        key = base64.b64decode(item.plaintext, validate=True)
    except binascii.Error:
        key = b""
    if len(key) != KEY_BYTES:
        raise KeyEncryptionUnavailable("Vault's answer is none of transit's")
    return key


def _named(error: Exception) -> KeyEncryptionError:
    kind = KeyEncryptionRefused if isinstance(error, VaultRefused) else KeyEncryptionUnavailable
    return kind(str(error))
