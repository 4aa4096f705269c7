"""The secrets port: a setting or a row names a secret by reference, this port reads it (RULES §12).

    env:NAME             a variable of the environment
    file:/path           a file, its trailing newline dropped
    vault:path#field     a field of a secret in Vault's key-value store, version 2 (`vault_secrets.py`)

Whoever needs a secret reads it when it is needed and keeps it no longer, so that a rotated one is taken up.
"""

import os
from pathlib import Path
from typing import Protocol

SECRET_BYTES_MAX = 16 * 1024  # a secret is a line, not a file of data; protects against a wrong path
SCHEMES = ("env", "file", "vault")


class SecretMissing(Exception):
    """The reference names no secret that can be read. Carries the reference, never a value."""


class SecretUnavailable(SecretMissing):
    """The secret cannot be read at present: who keeps it is away."""


class Secrets(Protocol):
    """Reads secrets by reference."""

    async def read(self, reference: str) -> str:
        """The secret behind `reference` as it is now; raises SecretMissing."""
        ...


class LocalSecrets:
    """What lies on this machine. Read anew at every call, so that a rotated file is seen without a restart."""

    async def read(self, reference: str) -> str:
        return read_local(reference)


class KeptSecrets(Secrets, Protocol):
    """Secrets that are kept for a while; `read_anew` asks for what they are at this moment."""

    async def read_anew(self, reference: str) -> str:
        """The secret as its keeper has it now, or as it was seen last; raises SecretMissing."""
        ...


class AnySecrets:
    """Every kind of reference; `vault` is None where the service is told of no Vault."""

    def __init__(self, vault: KeptSecrets | None = None) -> None:
        self._vault = vault

    async def read(self, reference: str) -> str:
        return await self._in_vault(reference).read(reference) if _is_vaults(reference) else read_local(reference)

    async def read_anew(self, reference: str) -> str:
        return await self._in_vault(reference).read_anew(reference) if _is_vaults(reference) else read_local(reference)

    def _in_vault(self, reference: str) -> KeptSecrets:
        if self._vault is None:
            raise SecretMissing(f"secret {reference} lies in Vault, and this service is told of none")
        return self._vault


def _is_vaults(reference: str) -> bool:
    return reference.startswith("vault:")


def read_local(reference: str) -> str:
    """The secret behind an `env:` or `file:` reference. Raises SecretMissing."""
    scheme, _, place = reference.partition(":")
    if scheme == "env":
        value = os.environ.get(place, "")
    elif scheme == "file":
        value = _read_file(reference, Path(place))
    else:
        raise SecretMissing(f"secret reference must begin with env: or file:, not {scheme[:16]!r}")
    if not value:
        raise SecretMissing(f"secret {reference} is empty or not set")
    return value


def _read_file(reference: str, path: Path) -> str:
    try:
        with path.open("r", encoding="utf-8") as file:
            value = file.read(SECRET_BYTES_MAX + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise SecretMissing(f"secret {reference} cannot be read: {type(error).__name__}") from None
    if len(value) > SECRET_BYTES_MAX:
        raise SecretMissing(f"secret {reference} is longer than {SECRET_BYTES_MAX} characters")
    return value.rstrip("\r\n")
