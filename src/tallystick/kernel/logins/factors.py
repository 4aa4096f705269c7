"""Secrets of second factors as they are stored: wrapped by the key-encryption key where the installation has one.

A secret of twenty bytes stands at the beginning of a key of 32, so that the key-encryption port wraps it as any key.
The column of the version before then holds random bytes, so that a process of that version, which does not know of
wrapped ones, refuses the codes instead of asking for none. One that was stored unwrapped is wrapped when it is used.
"""

import logging

from tallystick.kernel.logins.lockout import SQL
from tallystick.kernel.logins.totp import SECRET_BYTES
from tallystick.ports.database import Database, Record
from tallystick.ports.entropy import Entropy
from tallystick.ports.key_encryption import KEY_BYTES, KeyEncryption, KeyEncryptionRefused

log = logging.getLogger(__name__)


class Factors:
    """Keeps and opens them. `encryption` is None where the installation has no key-encryption key."""

    def __init__(self, database: Database, encryption: KeyEncryption | None, entropy: Entropy) -> None:
        self._database = database
        self._encryption = encryption
        self._entropy = entropy

    async def propose(self, name: str) -> bytes | None:
        """A new secret, stored; None where one is in use. Raises KeyEncryptionError."""
        secret = self._entropy.token_bytes(SECRET_BYTES)
        made = await self._database.execute(SQL.propose_second_factor, name, *await self._stored(secret))
        return secret if made else None

    async def opened(self, name: str, row: Record) -> bytes | None:
        """The secret in a row; None where it opens with no key of ours, which an administrator ends by `reset-totp`.
        Raises KeyEncryptionUnavailable."""
        if row["wrapped"] is None:
            secret = bytes(row["secret"])
            if self._encryption is not None:
                await self._database.execute(SQL.wrap_second_factor, name, secret, *await self._stored(secret))
            return secret
        try:
            if self._encryption is None:
                raise KeyEncryptionRefused("no key-encryption key is configured")
            [key] = await self._encryption.unwrap([row["wrapped"]])
        except KeyEncryptionRefused as refused:
            log.error("a second factor does not open: %s", refused)
            return None
        return key[:SECRET_BYTES]

    async def _stored(self, secret: bytes) -> tuple[bytes, str | None]:
        """What stands in the two columns."""
        if self._encryption is None:
            return secret, None
        [wrapped] = await self._encryption.wrap([secret + bytes(KEY_BYTES - SECRET_BYTES)])
        return self._entropy.token_bytes(SECRET_BYTES), wrapped
