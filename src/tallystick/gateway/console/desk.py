"""What the gateway's pages for operators have in common: reading what was asked, whose rows are looked at, amounts.

Which role may open a page or send a form stands in `gateway/access.py`, and the guard of the console has looked there
before anything here runs; `may` is for links and buttons, so that nobody is offered what they may not do.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar

import msgspec
from msgspec import Meta, Struct

from tallystick.gateway.stripe_wire import currencies
from tallystick.kernel.console.console import BrowserRequest, Console, Html
from tallystick.kernel.identifiers import first_id
from tallystick.kernel.money import display
from tallystick.kernel.operators.roles import may
from tallystick.kernel.problems import FieldsRefused, Problem
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Statements

SQL = Statements.beside(__file__)

PAGE_ROWS: Final = 50
ACCOUNTS_MAX: Final = 200
"""Whose newest rows are looked at together where no account is named: one look into an index for each."""
ACCOUNTS_AT_ONCE: Final = 5_000
"""Among which one object is looked for by its id in one statement."""
LAST_ID: Final = "~"  # sorts after every id
LOCALE: Final = "en"

Id = Annotated[str, Meta(pattern="^[0-9A-Za-z_]{1,255}$")]
Cursor = Annotated[str, Meta(pattern="^[0-9A-Za-z_/]{1,600}$")]
Text = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00]*$")]
Instant = Annotated[datetime, Meta(tz=True)]
Mode = Literal["test", "live"]
Currency = Annotated[str, Meta(pattern="^[A-Za-z]{3}$")]

MODES: Final = (("test", "test"), ("live", "live"))

Asked = TypeVar("Asked", bound=Struct)


class Owners(NamedTuple):
    """Whose rows are looked at: accounts, and beside each a mode. `more`: there are further accounts."""

    accounts: list[str]
    livemodes: list[bool]
    more: bool = False


class Desk(Struct, frozen=True):
    """What every page needs."""

    console: Console
    database: Database
    clock: Clock

    def page(self, name: str, request: BrowserRequest, title: str, *, status: int = 200, **shown: Any) -> Html:
        """A template as a page; it may ask `may("POST /console/…")` and write `amount(minor, currency)`."""
        role = request.auth.role
        shown = {"may": lambda asked: may(self.console.access, asked, role), "amount": amount, **shown}
        return self.console.page(name, request.auth, title, status=status, **shown)

    def missing(self, request: BrowserRequest) -> Html:
        """There is no such thing."""
        return self.console.problem(404, request.auth)

    def refused(self, request: BrowserRequest, problem: Problem) -> Html:
        """What the operator API would refuse with the same words."""
        told = [f"{error.field}: {error.message}" for error in problem.errors]
        words = "; ".join(told) or problem.detail or problem.title
        return self.console.problem(problem.status, request.auth, words)

    async def form(self, request: BrowserRequest, kind: type[Asked]) -> Asked:
        """The fields of a form as the operator API takes them; what was left empty was not sent. Raises
        FieldsRefused."""
        fields = await self.console.fields(request) or {}
        given = {name: value for name, value in fields.items() if value and name != "csrf"}
        try:
            return msgspec.convert(given, kind, strict=False)
        except msgspec.ValidationError:
            raise FieldsRefused("One of the fields cannot be read, or is missing.") from None

    async def owners(self, account: str | None, mode: str | None) -> Owners:
        """One account or the first ACCOUNTS_MAX, in one mode or both."""
        found = [account] if account is not None else await self.accounts("", ACCOUNTS_MAX + 1)
        livemodes = [mode == "live"] if mode is not None else [False, True]
        looked_at = [(each, livemode) for each in found[:ACCOUNTS_MAX] for livemode in livemodes]
        return Owners([each for each, _ in looked_at], [mode for _, mode in looked_at], len(found) > ACCOUNTS_MAX)

    async def accounts(self, after: str, rows_max: int) -> list[str]:
        """Ids of accounts behind one."""
        return [row["account_id"] for row in await self.database.rows(SQL.ids_of_accounts, after, rows_max)]

    async def chosen(self, account: str | None) -> str | None:
        """The account whose money is shown: the one that is named, or the only one that there is."""
        if account is not None:
            return account
        found = await self.accounts("", 2)
        return found[0] if len(found) == 1 else None


def sent(request: BrowserRequest) -> dict[str, str]:
    """What the address asks for; what was left empty was not asked for."""
    return {name: value.strip() for name, value in request.query_params.items() if value.strip()}


def asked(given: dict[str, str], kind: type[Asked]) -> Asked | None:
    """What the address asks for as the page takes it, None where it cannot be read."""
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError:
        return None


def filled(given: dict[str, str], kind: type[Struct]) -> dict[str, str]:
    """The filters as the form shows them again: all of them, without the place in the list."""
    return {name: given.get(name, "") for name in kind.__struct_fields__ if name != "cursor"}


def id_in(request: BrowserRequest, name: str) -> str | None:
    """The id in the address; None where it can be none."""
    found = str(request.path_params[name])
    return found if len(found) <= 255 and found.isascii() and found.replace("_", "").isalnum() else None


def cut(rows: Sequence[Any], rows_max: int = PAGE_ROWS, *, id: str = "id") -> tuple[Sequence[Any], str | None]:
    """The rows of a page, and where the next one begins: one more row than the page shows was asked for."""
    shown = rows[:rows_max]
    return shown, shown[-1][id] if len(rows) > rows_max else None


def between(prefix: str, since: datetime | None, until: datetime | None, cursor: str | None) -> tuple[str, str]:
    """Ids from which on and before which is looked: they are in the order of their time."""
    before = first_id(prefix, until) if until is not None else LAST_ID
    return (min(before, cursor) if cursor is not None else before), first_id(prefix, since) if since is not None else ""


def amount(minor: int | None, currency: str | None) -> str:
    """An amount as the gateway's other pages write it; nothing where there is none."""
    if minor is None or currency is None:
        return ""
    return display(minor, currency, currencies.exponent(currency), LOCALE)
