"""The local key-encryption port: a key file that only its owner reads, and versions that rotate. RULES §9."""

import base64
import os
from pathlib import Path

import pytest

from tallystick.ports.entropy import SystemEntropy
from tallystick.ports.key_encryption import (
    KeyEncryptionRefused,
    KeyEncryptionUnavailable,
    LocalKeyEncryption,
    MovingKeyEncryption,
    add_key_version,
    make_key_file,
    read_key_file,
    version_of,
)

ENTROPY = SystemEntropy()
KEYS = [bytes([place]) * 32 for place in range(3)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "vault.keys"
    make_key_file(made, ENTROPY)
    return made


async def test_what_is_wrapped_says_how_and_is_unwrapped_again(path: Path) -> None:
    encryption = LocalKeyEncryption(path)
    wrapped = await encryption.wrap(KEYS)
    assert all(text.startswith("local:v1:") for text in wrapped)
    assert [version_of(text) for text in wrapped] == [1, 1, 1]
    assert await encryption.unwrap(wrapped) == KEYS
    assert await encryption.wrap([]) == [] == await encryption.unwrap([])


async def test_a_new_version_wraps_without_a_restart_and_old_texts_are_still_read(path: Path) -> None:
    encryption = LocalKeyEncryption(path)
    old = await encryption.wrap(KEYS)
    assert add_key_version(path, ENTROPY) == 2
    assert await encryption.version() == 2
    assert await encryption.unwrap(old) == KEYS
    new = await encryption.rewrap([*old[:2], *(await encryption.wrap(KEYS[2:]))])
    assert [version_of(text) for text in new] == [2, 2, 2]
    assert await encryption.unwrap(new) == KEYS
    assert await encryption.rewrap(new) == new


async def test_what_it_refuses_is_named_by_its_place(path: Path, tmp_path: Path) -> None:
    encryption = LocalKeyEncryption(path)
    good = (await encryption.wrap(KEYS[:1]))[0]
    other = tmp_path / "other.keys"
    make_key_file(other, ENTROPY)
    foreign = (await LocalKeyEncryption(other).wrap(KEYS[:1]))[0]
    flipped = good[:-4] + ("A" if good[-4] != "A" else "B") + good[-3:]
    bad = [foreign, flipped, good.replace(":v1:", ":v9:"), good.replace("local", "vault"), "nonsense", "local:v1:%%%"]
    with pytest.raises(KeyEncryptionRefused) as caught:
        await encryption.unwrap([good, *bad, good])
    assert caught.value.places == (1, 2, 3, 4, 5, 6)
    assert good not in str(caught.value)


async def test_a_key_file_that_others_may_read_is_not_used(path: Path) -> None:
    encryption = LocalKeyEncryption(path)
    await encryption.wrap(KEYS)
    for mode in (0o640, 0o604, 0o660):
        _change(path, mode=mode)
        with pytest.raises(KeyEncryptionUnavailable, match="chmod 600"):
            await encryption.wrap(KEYS)
    _change(path, mode=0o600)
    await encryption.wrap(KEYS)


async def test_a_key_file_that_is_away_or_damaged_is_unavailable_and_shows_nothing(path: Path) -> None:
    key = base64.b64encode(read_key_file(path)[1]).decode()
    encryption = LocalKeyEncryption(path)
    for text in ("", "v1 short\n", f"v1 {key}\nv1 {key}\n", f"{key}\n", f"v0 {key}\n"):
        _change(path, text=text)
        with pytest.raises(KeyEncryptionUnavailable) as caught:
            await LocalKeyEncryption(path).version()
        assert key not in str(caught.value)
        with pytest.raises(KeyEncryptionUnavailable):
            await encryption.version()
    with pytest.raises(KeyEncryptionUnavailable):
        await LocalKeyEncryption(path.with_name("none")).version()


def test_a_key_file_is_made_for_its_owner_and_never_overwritten(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        make_key_file(path, ENTROPY)
    assert path.read_bytes() == before
    first = read_key_file(path)
    add_key_version(path, ENTROPY)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_key_file(path)[1] == first[1]
    assert sorted(read_key_file(path)) == [1, 2]
    assert sorted(entry.name for entry in path.parent.iterdir()) == [path.name]


def test_versions_are_added_by_one_at_a_time(path: Path) -> None:
    beside, before = path.with_name(f".{path.name}.new"), path.read_bytes()
    beside.touch()  # of somebody who is at it
    with pytest.raises(KeyEncryptionUnavailable, match=beside.name):
        add_key_version(path, ENTROPY)
    assert path.read_bytes() == before
    beside.unlink()
    assert add_key_version(path, ENTROPY) == 2


def test_a_version_that_cannot_be_added_leaves_nothing_behind(path: Path) -> None:
    _change(path, mode=0o644)
    with pytest.raises(KeyEncryptionUnavailable, match="chmod 600"):
        add_key_version(path, ENTROPY)
    assert list(path.parent.iterdir()) == [path]


def test_a_version_that_root_adds_leaves_the_file_to_its_owner(path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(path, 65534, -1)
    owner = path.stat().st_uid
    add_key_version(path, ENTROPY)
    assert path.stat().st_uid == owner


async def test_a_text_that_is_none_is_named_by_its_place_while_keys_move(path: Path) -> None:
    class Elsewhere(LocalKeyEncryption):
        scheme = "elsewhere"

    local = LocalKeyEncryption(path)
    [good] = await local.wrap(KEYS[:1])
    with pytest.raises(KeyEncryptionRefused) as caught:
        await MovingKeyEncryption(Elsewhere(path), local).unwrap([good, "nonsense", good, "elsewhere:nonsense"])
    assert caught.value.places == (1, 3)


def _change(path: Path, *, mode: int = 0o600, text: str | None = None) -> None:
    """Somebody else does this to the file."""
    if text is not None:
        path.write_text(text)
    path.chmod(mode)
