"""The operators' pages as bytes, and their style and icon."""

from pathlib import Path
from typing import Any, Final

import jinja2
from msgspec import Struct

from tallystick.kernel.assets import Asset, read_asset

HERE = Path(__file__).parent
PREFIX: Final = "/console/assets"


class Link(Struct, frozen=True):
    """A page in the bar on top, for those whose role may open it."""

    words: str
    path: str


class ConsoleViews:
    """The templates, compiled once: those that both services have, and those in `folder`."""

    def __init__(self, service: str, folder: Path | None = None, links: tuple[Link, ...] = ()) -> None:
        self.style: Asset = read_asset("console.css", folder=HERE / "static", prefix=PREFIX)
        self.icon: Asset = read_asset("icon.svg", folder=HERE / "static", prefix=PREFIX)
        self.links = (*links, Link("Audit trail", "/console/audit"))
        folders = [HERE / "templates", *([folder] if folder else [])]
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(folders),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
            auto_reload=False,
        )
        self._environment.globals.update(style=self.style, icon=self.icon, service=service)
        self._environment.filters["clock"] = lambda at: at.strftime("%Y-%m-%d %H:%M:%S")

    def render(self, name: str, **shown: Any) -> bytes:
        """The template `name` with what it shows."""
        return self._environment.get_template(f"{name}.html").render(shown).encode()
