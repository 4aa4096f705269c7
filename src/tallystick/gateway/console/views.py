"""The operators' pages as bytes, and the style that they have beside that of the payment pages."""

from pathlib import Path
from typing import Any

import jinja2

from tallystick.gateway.pages.assets import Asset, Assets, read_asset

HERE = Path(__file__).parent


class ConsoleViews:
    """The templates, compiled once."""

    def __init__(self, assets: Assets) -> None:
        self.style: Asset = read_asset("console.css", folder=HERE / "static", prefix="/console/assets")
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(HERE / "templates"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
            auto_reload=False,
        )
        self._environment.globals.update(assets=assets, console_style=self.style)
        self._environment.filters["clock"] = lambda at: at.strftime("%Y-%m-%d %H:%M:%S")

    def render(self, name: str, **shown: Any) -> bytes:
        """The template `name` with what it shows."""
        return self._environment.get_template(f"{name}.html").render(shown).encode()
