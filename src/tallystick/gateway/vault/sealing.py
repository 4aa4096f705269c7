"""A card number under its own data key: AES-256-GCM, bound to the row in which it stands (RULES §9). Pure.

The data key encrypts once and never again, and the nonce is random all the same, so that no mistake elsewhere could
make the two the same twice. What is associated is owner, mode and token: a ciphertext that was moved to another row
does not open.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tallystick.gateway.cards.pan import Pan

DATA_KEY_BYTES = 32
NONCE_BYTES = 12

Place = tuple[str, bool, str]
"""Account, livemode, token: where a number stands."""


def seal(number: Pan, place: Place, data_key: bytes, nonce: bytes) -> bytes:
    """Nonce, ciphertext and tag."""
    assert len(data_key) == DATA_KEY_BYTES
    assert len(nonce) == NONCE_BYTES
    return nonce + AESGCM(data_key).encrypt(nonce, number.reveal().encode(), _associated(place))


def unseal(sealed: bytes, place: Place, data_key: bytes) -> Pan | None:
    """The number; None where key, place or bytes are not those it was sealed with."""
    nonce, ciphertext = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
    try:
        digits = AESGCM(data_key).decrypt(nonce, ciphertext, _associated(place))
    except (InvalidTag, ValueError):
        return None
    return Pan(digits.decode())


def _associated(place: Place) -> bytes:
    account_id, livemode, token = place
    return f"{account_id}/{'live' if livemode else 'test'}/{token}".encode()
