"""The page's own style, script and icon, each under an address that carries its hash. Read when the service starts."""

import base64
import hashlib
from functools import cache
from pathlib import Path

from msgspec import Struct

STATIC = Path(__file__).parent / "static"
HASH_CHARACTERS = 16

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


def read_asset(name: str, path: str | None = None, *, folder: Path = STATIC, prefix: str = "/assets") -> Asset:
    """The file `name` under `<prefix>/<stem>.<hash>.<suffix>`, or under `path` where the address is fixed."""
    file = folder / name
    body = file.read_bytes()
    digest = hashlib.sha256(body)
    return Asset(
        path=path or f"{prefix}/{file.stem}.{digest.hexdigest()[:HASH_CHARACTERS]}{file.suffix}",
        media_type=MEDIA_TYPES[file.suffix],
        body=body,
        integrity="sha256-" + base64.b64encode(digest.digest()).decode(),
    )


class Assets(Struct, frozen=True):
    """What the pages load, and the embed script that other origins load."""

    style: Asset
    script: Asset
    icon: Asset
    embed: Asset

    @property
    def hashed(self) -> tuple[Asset, ...]:
        """Those that the pages themselves load."""
        return (self.style, self.script, self.icon)


@cache
def read_assets() -> Assets:
    """Read all of them from the package."""
    return Assets(
        style=read_asset("checkout.css"),
        script=read_asset("checkout.js"),
        icon=read_asset("icon.svg"),
        embed=read_asset("embed.js", "/js/v1"),
    )
