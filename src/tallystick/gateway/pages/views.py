"""The pages as bytes: what a template needs to know, and nothing that it must not show. Templates are read once."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import jinja2
from msgspec import Struct

from tallystick.gateway.checkout.results import SavedCard
from tallystick.gateway.pages import wording
from tallystick.gateway.pages.assets import Assets
from tallystick.gateway.pages.forms import Entered
from tallystick.gateway.pages.wording import Problem

LINES_SHOWN_MAX = 4  # more line items fold away, so that a phone's form is not far below


class Page(Struct, frozen=True, kw_only=True):
    """What every page has."""

    title: str
    status: str
    path: str
    nonce: str
    test: bool
    embedded: bool = False
    parents: str = ""
    """Origins that may frame an embedded page and be told its status, separated by spaces."""
    refresh: str | None = None
    """Content of a meta refresh: seconds, and where to."""
    scripted: bool = False


class Line(Struct, frozen=True):
    """A position of the order, ready to read."""

    name: str
    amount: str
    quantity: int
    each: str


class Order(Struct, frozen=True):
    """What is paid, and to whom."""

    merchant: str
    total: str
    lines: tuple[Line, ...] = ()


class Notice(Struct, frozen=True, kw_only=True):
    """A page that tells the outcome instead of asking for a card."""

    sign: str
    heading: str
    text: str
    total_label: str = ""
    link: str | None = None
    link_text: str = ""
    to_top: bool = False
    """Whether the link leaves the frame of an embedded page."""
    other_link: str | None = None
    other_link_text: str = ""


class Challenged(Struct, frozen=True):
    """What the simulated bank shows of a payment."""

    merchant: str
    amount: str
    card: str


@cache
def _templates(assets: Assets) -> jinja2.Environment:
    """The templates, compiled once in a process, however often the gateway is built in it."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        auto_reload=False,
    )
    environment.globals.update(assets=assets, advice=wording.ADVICE, LINES_SHOWN_MAX=LINES_SHOWN_MAX)
    return environment


class Views:
    """The pages that can be shown."""

    def __init__(self, assets: Assets) -> None:
        environment = _templates(assets)
        self._form = environment.get_template("pay.html")
        self._notice = environment.get_template("notice.html")
        self._challenge = environment.get_template("challenge.html")

    def form(
        self,
        page: Page,
        order: Order,
        *,
        problem: Problem | None = None,
        mistakes: Mapping[str, str] | None = None,
        entered: Entered | None = None,
        bank_path: str | None = None,
        back_url: str | None = None,
        saved: Sequence[SavedCard] = (),
        saving: str = "",
    ) -> bytes:
        """The page that asks for a card; `mistakes` by input, `bank_path` while a bank waits for the shopper. `saved`
        are cards to pay with at once; `saving` says whether the one that is typed is saved (`presenting.saving`)."""
        return self._form.render(
            page=page,
            order=order,
            problem=problem,
            errors=mistakes or {},
            entered=entered or Entered(),
            bank_path=bank_path,
            back_url=back_url,
            saved=saved,
            saving=saving,
            names=wording.BRANDS,
        ).encode()

    def notice(self, page: Page, notice: Notice, order: Order | None = None) -> bytes:
        """A page that tells an outcome."""
        return self._notice.render(page=page, notice=notice, order=order).encode()

    def challenge(self, page: Page, challenge: Challenged) -> bytes:
        """The simulated bank's page."""
        return self._challenge.render(page=page, challenge=challenge).encode()
