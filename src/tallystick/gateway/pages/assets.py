"""The payment page's own style and script, the icon, and the embed script. Read when the service starts."""

from functools import cache
from pathlib import Path

from msgspec import Struct

from tallystick.kernel.assets import STATIC as COMMON
from tallystick.kernel.assets import Asset, read_asset

STATIC = Path(__file__).parent / "static"


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
        style=read_asset("checkout.css", folder=STATIC),
        script=read_asset("checkout.js", folder=STATIC),
        icon=read_asset("icon.svg", folder=COMMON),
        embed=read_asset("embed.js", "/js/v1", folder=STATIC),
    )
