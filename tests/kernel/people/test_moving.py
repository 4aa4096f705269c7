"""From one key-encryption key to another, and to its newest version: both open meanwhile. RULES §9, §12."""

from collections.abc import Sequence

import pytest

from tallystick.ports.key_encryption import (
    HeldKeyEncryption,
    KeyEncryptionRefused,
    MovingKeyEncryption,
    scheme_of,
    version_of,
)

KEY, OTHER = bytes([1] * 32), bytes([2] * 32)


class Elsewhere(HeldKeyEncryption):
    """Another key-encryption key, as a Vault's would be."""

    scheme = "vault"

    async def wrap(self, keys: Sequence[bytes]) -> list[str]:
        return [f"vault{text.removeprefix('local')}" for text in await super().wrap(keys)]

    async def unwrap(self, wrapped: Sequence[str]) -> list[bytes]:
        return await super().unwrap([f"local{text.removeprefix('vault')}" for text in wrapped])


@pytest.fixture
def file() -> HeldKeyEncryption:
    return HeldKeyEncryption(lambda: {1: bytes([7] * 32), 2: bytes([8] * 32)})


@pytest.fixture
def vault() -> Elsewhere:
    return Elsewhere(lambda: {1: bytes([9] * 32)})


async def test_both_open_one_wraps_and_rewrapped_the_other_is_not_needed(
    file: HeldKeyEncryption, vault: Elsewhere
) -> None:
    before = await file.wrap([KEY, OTHER])
    moving = MovingKeyEncryption(vault, file)
    mixed = [before[0], *await moving.wrap([OTHER]), before[1]]
    assert await moving.unwrap(mixed) == [KEY, OTHER, OTHER]
    after = await moving.rewrap(mixed)
    assert {scheme_of(text) for text in after} == {"vault"}
    assert await vault.unwrap(after) == [KEY, OTHER, OTHER]
    back = await MovingKeyEncryption(file, vault).rewrap(after)
    assert {(scheme_of(text), version_of(text)) for text in back} == {("local", 2)}
    assert await file.unwrap(back) == [KEY, OTHER, OTHER]


async def test_what_neither_opens_is_named_by_its_place(file: HeldKeyEncryption, vault: Elsewhere) -> None:
    [good] = await file.wrap([KEY])
    [own] = await vault.wrap([KEY])
    with pytest.raises(KeyEncryptionRefused) as refused:
        await MovingKeyEncryption(vault, file).unwrap([own, good[:-4] + "AAA=", good, own[:-4] + "AAA="])
    assert refused.value.places == (1, 3)
