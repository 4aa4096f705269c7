"""The operators' pages as bytes, and their style, icon and script."""

from datetime import datetime
from pathlib import Path
from typing import Any, Final

import jinja2
from msgspec import Struct

from tallystick.kernel.assets import STATIC, Asset, read_asset
from tallystick.kernel.console.charts import figure
from tallystick.kernel.money import CurrencyRefused, display, exponent

HERE = Path(__file__).parent
PREFIX: Final = "/console/assets"
LOCALE: Final = "en"  # in which the pages are written


class Link(Struct, frozen=True):
    """A page in the bar on top, for those whose role may open it. One that `carries` takes along what the page before
    was about, such as the merchant."""

    words: str
    path: str
    carries: bool = False


class ConsoleViews:
    """The templates: those that both services have, and those in `folder`.

    All are compiled here and not when the first visitor comes: a template takes ten to forty milliseconds, a service's
    all together a fifth to a third of a second, once in a process.
    """

    def __init__(self, service: str, folder: Path | None = None, links: tuple[Link, ...] = ()) -> None:
        self.style: Asset = read_asset("console.css", folder=HERE / "static", prefix=PREFIX)
        self.icon: Asset = read_asset("icon.svg", folder=STATIC, prefix=PREFIX)
        self.script: Asset = read_asset("live.js", folder=HERE / "static", prefix=PREFIX)
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
        self._environment.globals.update(style=self.style, icon=self.icon, script=self.script, service=service)
        self._environment.filters.update(clock=_clock, money=_money, figure=figure)
        for name in self._environment.list_templates():
            self._environment.get_template(name)
        _money(0, "EUR")  # reads how amounts are written in our language, which takes as long as a template

    def render(self, name: str, **shown: Any) -> bytes:
        """The template `name` with what it shows."""
        return self._environment.get_template(f"{name}.html").render(shown).encode()


def _clock(at: datetime | None) -> str:
    return "" if at is None else at.strftime("%Y-%m-%d %H:%M:%S")


def _money(amount_minor: int | None, currency: str | None) -> str:
    """An amount by ISO 4217; of an unknown currency the minor units."""
    if amount_minor is None or currency is None:
        return ""
    try:
        return display(amount_minor, currency, exponent(currency), LOCALE)
    except CurrencyRefused:
        return f"{amount_minor} minor units"
