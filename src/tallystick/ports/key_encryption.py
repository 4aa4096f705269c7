"""The key-encryption port: wraps the small keys that data is encrypted with (RULES §9, §12). Batch first.

Envelope encryption: each card (and each person) has a data key of its own; the data key is stored wrapped, by a
key-encryption key that the database never sees. Every wrapped text carries its scheme and the version of the key that
wrapped it, `local:v1:…` or `vault:v1:…`, so that versions can be rotated while both old and new texts are read.

    KeyEncryptionError          every call ends in what it promises, or in one of
    ├── KeyEncryptionUnavailable    not reachable, sealed, not logged in, no key file: try again later
    └── KeyEncryptionRefused        it will not: unknown version, damaged text, no permission; trying again is no use

The local implementation keeps its versions in a file that only its owner may read; `tallystick gateway vault-key` makes
it, and adds versions. Wrapping is AES-KW (RFC 3394, NIST SP 800-38F): made for keys, and without randomness.
"""

import base64
import binascii
import os
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TextIO

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from tallystick.ports.entropy import Entropy

KEY_BYTES = 32  # of data keys and of key-encryption keys: 256 bits
KEY_FILE_BYTES_MAX = 64 * 1024  # some thousand versions; protects against a wrong path
LOCAL = "local"

_WRAPPED = re.compile(r"([a-z][a-z0-9]*):v([1-9][0-9]{0,8}):(.+)")
_LINE = re.compile(r"v([1-9][0-9]{0,8}) ([A-Za-z0-9+/]{43}=)")
_KEY_FILE_BEGINS = (
    "# Key-encryption keys of Tallystick, one version a line; the last one wraps, all unwrap. Whoever loses this file\n"
    "# loses every card that it protects; whoever reads it beside the database reads them. Keep a copy elsewhere.\n"
)


class KeyEncryptionError(Exception):
    """A call to the key-encryption port that did not end as it promises. Says why, never a key nor a wrapped text."""


class KeyEncryptionUnavailable(KeyEncryptionError):
    """Not reachable, sealed, not logged in, or the key file cannot be read: nothing was done, try again later."""


class KeyEncryptionRefused(KeyEncryptionError):
    """It will not do this, now or later. `places` are those of the batch that it refuses, where it can tell: the caller
    may call again without them. Empty: it refuses the whole call."""

    def __init__(self, message: str, places: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.places = tuple(places)


class KeyEncryption(Protocol):
    """Wraps and unwraps data keys of 32 bytes. All or none of a batch; answers stand in the order of the questions."""

    @property
    def scheme(self) -> str:
        """How the texts that it makes begin."""
        ...

    async def wrap(self, keys: Sequence[bytes]) -> list[str]:
        """Each key wrapped by the newest version: `scheme:v1:…`. Raises KeyEncryptionError."""
        ...

    async def unwrap(self, wrapped: Sequence[str]) -> list[bytes]:
        """The keys, whichever version wrapped them. Raises KeyEncryptionError."""
        ...

    async def rewrap(self, wrapped: Sequence[str]) -> list[str]:
        """The same keys wrapped by the newest version; a text that is of the newest may come back as it is. Raises
        KeyEncryptionError."""
        ...

    async def version(self) -> int:
        """The newest version: what `wrap` and `rewrap` use. Raises KeyEncryptionError."""
        ...


def version_of(wrapped: str) -> int:
    """The version that wrapped this text. Raises KeyEncryptionRefused where it is none."""
    return _parts(wrapped)[1]


class HeldKeyEncryption:
    """Key-encryption keys that this process holds: version → key. What `versions` gives is asked at every call."""

    scheme = LOCAL

    def __init__(self, versions: Callable[[], Mapping[int, bytes]]) -> None:
        self._versions = versions

    async def wrap(self, keys: Sequence[bytes]) -> list[str]:
        assert all(len(key) == KEY_BYTES for key in keys), "a data key has 256 bits"
        versions = self._versions()
        return [_wrap(key, versions) for key in keys]

    async def unwrap(self, wrapped: Sequence[str]) -> list[bytes]:
        versions = self._versions()
        keys = [_unwrap(text, versions) for text in wrapped]
        refused = [place for place, key in enumerate(keys) if key is None]
        if refused:
            raise KeyEncryptionRefused("wrapped by no key of the key file, or damaged", refused)
        return [key for key in keys if key is not None]

    async def rewrap(self, wrapped: Sequence[str]) -> list[str]:
        keys = await self.unwrap(wrapped)
        versions = self._versions()
        return [
            text if version_of(text) == max(versions) else _wrap(key, versions)
            for text, key in zip(wrapped, keys, strict=True)
        ]

    async def version(self) -> int:
        return max(self._versions())


class MovingKeyEncryption:
    """While an installation moves from one key-encryption key to another: `wraps` wraps, texts of its `scheme` are its,
    all others are opened by `opens`. Rewrapped, everything is `wraps`' own, and `opens` can go."""

    def __init__(self, wraps: KeyEncryption, opens: KeyEncryption) -> None:
        assert wraps.scheme != opens.scheme, "their texts are told apart by it"
        self.scheme = wraps.scheme
        self._wraps = wraps
        self._opens = opens

    async def wrap(self, keys: Sequence[bytes]) -> list[str]:
        return await self._wraps.wrap(keys)

    async def unwrap(self, wrapped: Sequence[str]) -> list[bytes]:
        found: dict[int, bytes] = {}
        refused: list[int] = []
        for port, places in self._shares(wrapped):
            try:
                found.update(zip(places, await port.unwrap([wrapped[place] for place in places]), strict=True))
            except KeyEncryptionRefused as error:
                if not error.places:
                    raise
                refused += [places[place] for place in error.places]
        if refused:
            raise KeyEncryptionRefused("wrapped by no key that is there, or damaged", sorted(refused))
        return [found[place] for place in range(len(wrapped))]

    async def rewrap(self, wrapped: Sequence[str]) -> list[str]:
        return await self._wraps.wrap(await self.unwrap(wrapped))

    async def version(self) -> int:
        return await self._wraps.version()

    def _shares(self, wrapped: Sequence[str]) -> list[tuple[KeyEncryption, list[int]]]:
        begins = f"{self.scheme}:"
        own = [place for place, text in enumerate(wrapped) if text.startswith(begins)]
        others = [place for place, text in enumerate(wrapped) if not text.startswith(begins)]
        return [(port, places) for port, places in ((self._wraps, own), (self._opens, others)) if places]


class LocalKeyEncryption(HeldKeyEncryption):
    """Key-encryption keys out of a file, for the demo and for installations without a Vault. Reads it anew when it has
    changed, so that a new version is used without a restart."""

    def __init__(self, path: Path) -> None:
        super().__init__(self._read)
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._keys: dict[int, bytes] = {}

    def _read(self) -> dict[int, bytes]:
        try:
            seen = os.stat(self._path)
        except OSError as error:
            raise KeyEncryptionUnavailable(f"the key file cannot be read: {type(error).__name__}") from None
        identity = (seen.st_ino, seen.st_mtime_ns, seen.st_mode)
        if identity != self._seen:
            self._keys = read_key_file(self._path)
            self._seen = identity
        return self._keys


def read_key_file(path: Path) -> dict[int, bytes]:
    """Versions and keys of a key file. Raises KeyEncryptionUnavailable where it is missing, readable by others, or not
    a key file."""
    try:
        with path.open("r", encoding="ascii") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(KEY_FILE_BYTES_MAX + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise KeyEncryptionUnavailable(f"the key file cannot be read: {type(error).__name__}") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise KeyEncryptionUnavailable("the key file may be read by others than its owner: chmod 600")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    matches = [_LINE.fullmatch(line) for line in lines]
    keys = {int(match[1]): base64.b64decode(match[2]) for match in matches if match is not None}
    if not keys or len(keys) != len(lines) or len(text) > KEY_FILE_BYTES_MAX:
        raise KeyEncryptionUnavailable("the key file is damaged: one line `v<number> <base64>` for each version")
    return keys


def make_key_file(path: Path, entropy: Entropy) -> None:
    """A new key file with version 1, for its owner alone. Raises FileExistsError: a key is never overwritten."""
    with _made_for_its_owner(path) as file:
        _write(file, _KEY_FILE_BEGINS + _line(1, entropy))
    _keep_folder(path.parent)


def add_key_version(path: Path, entropy: Entropy) -> int:
    """One more version in the key file, which wraps from now on; its number. The file is replaced whole, so that no
    crash can leave half of one, and by one at a time: of two that are added at once one would take the other's place,
    and every card that it had wrapped would be lost. Raises KeyEncryptionUnavailable."""
    beside = path.with_name(f".{path.name}.new")
    try:
        file = _made_for_its_owner(beside)
    except FileExistsError:
        raise KeyEncryptionUnavailable(
            f"somebody adds a version, or broke off: remove {beside} where nobody does"
        ) from None
    with file:
        try:
            version = max(read_key_file(path)) + 1
            os.fchown(file.fileno(), path.stat().st_uid, -1)  # the service's, also where root adds the version
            _write(file, path.read_text(encoding="ascii") + _line(version, entropy))
            os.replace(beside, path)
        except BaseException:
            beside.unlink()
            raise
    _keep_folder(path.parent)
    return version


def _line(version: int, entropy: Entropy) -> str:
    return f"v{version} {base64.b64encode(entropy.token_bytes(KEY_BYTES)).decode()}\n"


def _made_for_its_owner(path: Path) -> TextIO:
    """A new file that nobody else may read. Raises FileExistsError."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii")


def _write(file: TextIO, text: str) -> None:
    file.write(text)
    file.flush()
    os.fsync(file.fileno())


def _keep_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _wrap(key: bytes, versions: Mapping[int, bytes]) -> str:
    newest = max(versions)
    return f"{LOCAL}:v{newest}:{base64.urlsafe_b64encode(aes_key_wrap(versions[newest], key)).decode()}"


def _unwrap(text: str, versions: Mapping[int, bytes]) -> bytes | None:
    try:
        scheme, version, rest = _parts(text)
        if scheme != LOCAL:
            return None
        return aes_key_unwrap(versions[version], base64.urlsafe_b64decode(rest))
    except (KeyEncryptionRefused, KeyError, InvalidUnwrap, binascii.Error, ValueError):
        return None


def _parts(wrapped: str) -> tuple[str, int, str]:
    match = _WRAPPED.fullmatch(wrapped)
    if match is None:
        raise KeyEncryptionRefused("not a wrapped key: `scheme:v<number>:…`")
    return match[1], int(match[2]), match[3]
