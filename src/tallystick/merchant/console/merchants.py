"""Which merchant a page is about: operators belong to the installation, and what they look at belongs to a merchant."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from tallystick.kernel.console.console import BrowserRequest, Console, Html
from tallystick.kernel.identifiers import OWNER_CHARACTERS
from tallystick.ports.database import Database, Statements

SQL = Statements.beside(__file__)

MERCHANTS_MAX: Final = 500  # that can be chosen from a list; others are reached by their address
_LENGTH: Final = len("mer_") + OWNER_CHARACTERS


class Known(Struct, frozen=True):
    """A merchant as it is chosen."""

    id: str
    name: str


class Scope(Struct, frozen=True):
    """The merchant that a page is about, and those that it could be about. `id` is empty where there is none."""

    id: str
    known: tuple[Known, ...]

    @property
    def choices(self) -> list[tuple[str, str]]:
        """As a filter form has them."""
        return [(each.id, each.name) for each in self.known]


class Merchants(Struct, frozen=True):
    """Finds the merchant of a page, and shows the page."""

    console: Console
    database: Database

    async def scope(self, request: BrowserRequest) -> Scope:
        """By the parameter `merchant` or the path; the first one where nothing is said."""
        rows = await self.database.rows(SQL.merchants_shown, MERCHANTS_MAX)
        known = tuple(Known(row["merchant_id"], row["name"]) for row in rows)
        said = request.path_params.get("merchant") or request.query_params.get("merchant", "")
        if said:
            return Scope(said if is_merchant_id(said) else "", known)
        return Scope(known[0].id if known else "", known)

    def page(self, name: str, request: BrowserRequest, title: str, scope: Scope, **shown: Any) -> Html:
        """A template as a page about a merchant; the pages linked from it are about the same one."""
        carry: Mapping[str, str] = {"merchant": scope.id} if scope.id and len(scope.known) > 1 else {}
        return self.console.page(name, request.auth, title, carry=carry, scope=scope, **shown)


def is_merchant_id(text: str) -> bool:
    """Whether a text can be a merchant's id."""
    return text.startswith("mer_") and len(text) == _LENGTH and text.isascii() and text[4:].isalnum()


def said(request: BrowserRequest) -> dict[str, str]:
    """What the address says beside the merchant: the filters that are not empty."""
    sent = {name: value.strip() for name, value in request.query_params.items() if value.strip()}
    sent.pop("merchant", None)
    return sent
