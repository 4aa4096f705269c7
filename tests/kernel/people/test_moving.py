"""From a key file to the transit engine of a Vault, a real one, and back: both open meanwhile. RULES §9, §12."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tallystick.ports.aiohttp_http import AiohttpClient
from tallystick.ports.clock import SystemClock
from tallystick.ports.key_encryption import (
    HeldKeyEncryption,
    KeyEncryptionRefused,
    MovingKeyEncryption,
    version_of,
)
from tallystick.ports.vault import TokenLogin, Vault
from tallystick.ports.vault_transit import TransitKeyEncryption

KEY, OTHER = bytes([1] * 32), bytes([2] * 32)


@pytest.fixture
def file() -> HeldKeyEncryption:
    return HeldKeyEncryption(lambda: {1: bytes([7] * 32), 2: bytes([8] * 32)})


@pytest.fixture
async def vault(openbao: Any) -> AsyncIterator[TransitKeyEncryption]:
    openbao.ask("POST", "transit/keys/moved", {})
    openbao.policy("moved", *(f"update transit/{act}/moved" for act in ("encrypt", "decrypt", "rewrap")))
    token, http = openbao.token("moved", ttl="1h"), AiohttpClient()
    yield TransitKeyEncryption(Vault(http, SystemClock(), openbao.url, TokenLogin(lambda: token)), "moved")
    await http.close()


async def test_both_open_one_wraps_and_rewrapped_the_other_is_not_needed(
    file: HeldKeyEncryption, vault: TransitKeyEncryption
) -> None:
    before = await file.wrap([KEY, OTHER])
    moving = MovingKeyEncryption(vault, file)
    mixed = [before[0], *await moving.wrap([OTHER]), before[1]]
    assert await moving.unwrap(mixed) == [KEY, OTHER, OTHER]
    after = await moving.rewrap(mixed)
    assert {text.partition(":")[0] for text in after} == {"vault"}
    assert await vault.unwrap(after) == [KEY, OTHER, OTHER]
    back = await MovingKeyEncryption(file, vault).rewrap(after)
    assert {(text.partition(":")[0], version_of(text)) for text in back} == {("local", 2)}
    assert await file.unwrap(back) == [KEY, OTHER, OTHER]


async def test_what_neither_opens_is_named_by_its_place(file: HeldKeyEncryption, vault: TransitKeyEncryption) -> None:
    [good] = await file.wrap([KEY])
    [own] = await vault.wrap([KEY])
    with pytest.raises(KeyEncryptionRefused) as refused:
        await MovingKeyEncryption(vault, file).unwrap([own, good[:-4] + "AAA=", good, own[:-8] + "AAAAAAA="])
    assert refused.value.places == (1, 3)
