"""Styles, scripts and icons of pages, each under an address that carries its hash. Read when a service starts."""

import base64
import hashlib
from pathlib import Path

from msgspec import Struct

HASH_CHARACTERS = 16
STATIC = Path(__file__).parent / "static"  # the ground and the icon of all pages

MEDIA_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


class Asset(Struct, frozen=True):
    """One file: its address, its bytes and what the page says they must be."""

    path: str
    media_type: str
    body: bytes
    integrity: str


def read_asset(name: str, path: str | None = None, *, folder: Path, prefix: str = "/assets") -> Asset:
    """The file `name` under `<prefix>/<stem>.<hash>.<suffix>`, or under `path` where the address is fixed. Styles stand
    on the ground of all pages."""
    file = folder / name
    body = ((STATIC / "ground.css").read_bytes() if file.suffix == ".css" else b"") + file.read_bytes()
    digest = hashlib.sha256(body)
    return Asset(
        path=path or f"{prefix}/{file.stem}.{digest.hexdigest()[:HASH_CHARACTERS]}{file.suffix}",
        media_type=MEDIA_TYPES[file.suffix],
        body=body,
        integrity="sha256-" + base64.b64encode(digest.digest()).decode(),
    )
