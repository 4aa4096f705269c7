"""Vault's transit engine, a real one, as key-encryption key: what it wraps it unwraps, and what it refuses is named."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tallystick.ports.clock import SystemClock
from tallystick.ports.http import Answered, HttpRequest
from tallystick.ports.key_encryption import (
    KeyEncryption,
    KeyEncryptionRefused,
    KeyEncryptionUnavailable,
    version_of,
)
from tallystick.ports.vault import TokenLogin, Vault
from tallystick.ports.vault_transit import TransitKeyEncryption

MAY = ("update transit/encrypt/cards", "update transit/decrypt/cards", "update transit/rewrap/cards")
KEYS = [bytes([number]) * 32 for number in range(5)]


@pytest.fixture
def transit(http: Any, openbao: Any) -> KeyEncryption:
    """A key of its own for each test; there are no versions of others'."""
    if openbao.status("GET", "transit/keys/cards") == 200:
        openbao.ask("POST", "transit/keys/cards/config", {"deletion_allowed": True})
        openbao.ask("DELETE", "transit/keys/cards")
    openbao.ask("POST", "transit/keys/cards", {})
    openbao.policy("cards", *MAY, "read transit/keys/cards")
    token = openbao.token("cards", ttl="1h")
    return TransitKeyEncryption(Vault(http, SystemClock(), openbao.url, TokenLogin(lambda: token)), "cards")


async def test_what_is_wrapped_is_unwrapped_in_order(transit: KeyEncryption) -> None:
    wrapped = await transit.wrap(KEYS)
    assert [version_of(text) for text in wrapped] == [1] * 5
    assert all(text.startswith("vault:v1:") for text in wrapped)
    assert await transit.unwrap(wrapped[::-1]) == KEYS[::-1]
    assert [await transit.wrap([]), await transit.unwrap([]), await transit.rewrap([])] == [[], [], []]


async def test_a_batch_of_thousands_is_several_calls(transit: KeyEncryption) -> None:
    keys = [number.to_bytes(32, "big") for number in range(2500)]
    assert await transit.unwrap(await transit.wrap(keys)) == keys


async def test_a_new_version_wraps_and_old_texts_are_read_and_rewrapped(transit: KeyEncryption, openbao: Any) -> None:
    old = await transit.wrap(KEYS)
    assert await transit.version() == 1
    openbao.ask("POST", "transit/keys/cards/rotate")
    assert await transit.version() == 2
    new = await transit.rewrap(old)
    assert [version_of(text) for text in new] == [2] * 5
    assert await transit.unwrap([*old, *new]) == [*KEYS, *KEYS]
    openbao.ask("POST", "transit/keys/cards/config", {"min_decryption_version": 2})
    assert await transit.unwrap(new) == KEYS
    with pytest.raises(KeyEncryptionRefused) as refused:
        await transit.unwrap([new[0], old[1], new[2], old[3]])
    assert refused.value.places == (1, 3)


@pytest.mark.parametrize("act", ["unwrap", "rewrap"])
@pytest.mark.parametrize("damage", [lambda text: text[:-8] + "AAAAAAA=", lambda text: "vault:v1:" + "A" * 16])
async def test_damaged_texts_are_named_by_their_places(transit: KeyEncryption, act: str, damage: Any) -> None:
    wrapped = await transit.wrap(KEYS)
    wrapped[1], wrapped[4] = damage(wrapped[1]), damage(wrapped[4])
    with pytest.raises(KeyEncryptionRefused) as refused:
        await getattr(transit, act)(wrapped)
    assert refused.value.places == (1, 4)
    assert "vault:v1" not in str(refused.value)


async def test_texts_of_another_scheme_are_refused_without_asking(transit: KeyEncryption) -> None:
    [good] = await transit.wrap(KEYS[:1])
    with pytest.raises(KeyEncryptionRefused) as refused:
        await transit.unwrap([good, "local:v1:AAAA"])
    assert refused.value.places == (1,)


async def test_sealed_and_stopped_is_try_again_later(transit: KeyEncryption, openbao: Any) -> None:
    [wrapped] = await transit.wrap(KEYS[:1])
    openbao.seal()
    for call in (transit.wrap(KEYS), transit.unwrap([wrapped]), transit.rewrap([wrapped]), transit.version()):
        with pytest.raises(KeyEncryptionUnavailable, match="sealed"):
            await call
    openbao.stop()
    with pytest.raises(KeyEncryptionUnavailable, match="is it running"):
        await transit.unwrap([wrapped])
    openbao.start()
    openbao.unseal()
    assert await transit.unwrap([wrapped]) == KEYS[:1]


async def test_what_the_policy_or_the_key_does_not_allow_is_refused(http: Any, openbao: Any, transit: Any) -> None:
    [wrapped] = await transit.wrap(KEYS[:1])
    openbao.policy("wraps", "update transit/encrypt/cards", "update transit/decrypt/none")
    token = openbao.token("wraps", ttl="1h")
    vault = Vault(http, SystemClock(), openbao.url, TokenLogin(lambda: token))
    with pytest.raises(KeyEncryptionRefused, match="policy"):
        await TransitKeyEncryption(vault, "cards").unwrap([wrapped])
    with pytest.raises(KeyEncryptionRefused):
        await TransitKeyEncryption(vault, "none").unwrap([wrapped])


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"data": {"batch_results": []}}',
        b'{"data": {"batch_results": [{"plaintext": "AAAA"}]}}',
        b'{"data": {"batch_results": [{"plaintext": "not base64"}]}}',
        b'{"data": {"batch_results": [{}]}}',
        b"nonsense",
    ],
)
async def test_an_answer_that_is_none_gives_no_key(body: bytes) -> None:
    class Stranger:
        async def send(self, request: HttpRequest) -> Answered:
            return Answered(200, {}, b"{}" if request.url.endswith("lookup-self") else body)

    vault = Vault(Stranger(), Still(), "https://vault.example", TokenLogin(lambda: "t"))
    transit = TransitKeyEncryption(vault, "cards")
    with pytest.raises((KeyEncryptionUnavailable, KeyEncryptionRefused)):
        await transit.unwrap(["vault:v1:AAAA"])
    with pytest.raises((KeyEncryptionUnavailable, KeyEncryptionRefused)):
        await transit.wrap([KEYS[0]])
    with pytest.raises(KeyEncryptionUnavailable):
        await transit.version()


class Still:
    """A clock that stands."""

    def now(self) -> datetime:
        return datetime(2026, 11, 28, tzinfo=UTC)

    def monotonic_s(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        pass
