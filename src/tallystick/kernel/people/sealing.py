"""Sealing a field with a person's key: AES-256-GCM, bound to whose field it is (RULES §12).

A sealed field is one byte for the format, twelve for the nonce, then ciphertext and tag. It opens only with the key of
its person and in its own place: moved to another customer, owner or field it does not.
"""

from typing import Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tallystick.kernel.people.person import Field
from tallystick.ports.entropy import Entropy

FORMAT: Final = b"\x01"
NONCE_BYTES: Final = 12

Place = Field | Literal["answer"]
"""What stands sealed: a field, or an answer that names the person and is kept for a replay."""


class Damaged(Exception):
    """What is stored was not sealed with this key in this place. Shows nothing of it."""


class Seal:
    """One person's key at work."""

    def __init__(self, key: bytes, owner: str, customer_id: str) -> None:
        self._cipher = AESGCM(key)
        self._place = f"{owner}\0{customer_id}\0"

    def seal(self, field: Place, text: str, entropy: Entropy) -> bytes:
        """`text` as it is stored. A key seals few fields, so a random nonce is never used twice."""
        nonce = entropy.token_bytes(NONCE_BYTES)
        return FORMAT + nonce + self._cipher.encrypt(nonce, text.encode(), self._bound(field))

    def open(self, field: Place, sealed: bytes) -> str:
        """The text again. Raises Damaged."""
        nonce = sealed[1 : 1 + NONCE_BYTES]
        if sealed[:1] != FORMAT or len(nonce) != NONCE_BYTES:
            raise Damaged
        try:
            return self._cipher.decrypt(nonce, sealed[1 + NONCE_BYTES :], self._bound(field)).decode()
        except InvalidTag:
            raise Damaged from None

    def _bound(self, field: Place) -> bytes:
        return f"{self._place}{field}".encode()
