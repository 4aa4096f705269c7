"""The secrets port: a setting or a row names a secret by reference, this port reads it (RULES §12)."""

import os
from pathlib import Path
from typing import Protocol

SECRET_BYTES_MAX = 16 * 1024  # a secret is a line, not a file of data; protects against a wrong path


class SecretMissing(Exception):
    """The reference names no secret that can be read. Carries the reference, never a value."""


class Secrets(Protocol):
    """Reads secrets by reference."""

    def read(self, reference: str) -> str:
        """The secret behind `reference`; raises SecretMissing."""
        ...


class LocalSecrets:
    """`env:NAME` from the environment, `file:/path` from a file (its trailing newline dropped). Read anew at every
    call, so that a rotated file is seen without a restart."""

    def read(self, reference: str) -> str:
        scheme, _, place = reference.partition(":")
        if scheme == "env":
            value = os.environ.get(place, "")
        elif scheme == "file":
            value = self._read_file(reference, Path(place))
        else:
            raise SecretMissing(f"secret reference must begin with env: or file:, not {scheme[:16]!r}")
        if not value:
            raise SecretMissing(f"secret {reference} is empty or not set")
        return value

    def _read_file(self, reference: str, path: Path) -> str:
        try:
            with path.open("r", encoding="utf-8") as file:
                value = file.read(SECRET_BYTES_MAX + 1)
        except (OSError, UnicodeDecodeError) as error:
            raise SecretMissing(f"secret {reference} cannot be read: {type(error).__name__}") from None
        if len(value) > SECRET_BYTES_MAX:
            raise SecretMissing(f"secret {reference} is longer than {SECRET_BYTES_MAX} characters")
        return value.rstrip("\r\n")
