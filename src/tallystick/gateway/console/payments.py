"""Payments as pages: the newest ones, those that somebody asks about, and everything that is known of one."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, get_args

from msgspec import Meta, Struct

from tallystick.gateway.acts.commands import Acts
from tallystick.gateway.console import payment
from tallystick.gateway.console.desk import (
    ACCOUNTS_AT_ONCE,
    MODES,
    PAGE_ROWS,
    SQL,
    Currency,
    Cursor,
    Desk,
    Id,
    Instant,
    Mode,
    Owners,
    Text,
    asked,
    between,
    cut,
    filled,
    id_in,
    sent,
)
from tallystick.gateway.console.search import (
    EXAMPLES,
    ByAmount,
    ByCard,
    ById,
    ByOrder,
    CardNumberTyped,
    meant,
)
from tallystick.gateway.timeline.timeline import Payment, Timelines
from tallystick.kernel.console.access import ROOT
from tallystick.kernel.console.console import BrowserRequest, Html
from tallystick.kernel.timeline.entries import BEGINNING, CursorRefused, place_of
from tallystick.ports.database import Record, Statement

PAYMENTS: Final = f"{ROOT}/payments"
TITLE: Final = "Payments"
SEEN_MAX: Final = 5_000
"""Payments that are looked at for one page, where only some of them fit."""
CHARGES_OF_CARD: Final = 5
TIMELINE_ROWS: Final = 100
REFRESH_S: Final = 15
CANCELABLE: Final = ("requires_payment_method", "requires_confirmation", "requires_action", "requires_capture")
"""Where giving up could make sense; whether it can be done, the command decides."""
Status = Literal[
    "succeeded",
    "requires_capture",
    "processing",
    "requires_action",
    "requires_confirmation",
    "requires_payment_method",
    "canceled",
]
STATUSES: Final[tuple[str, ...]] = get_args(Status)

_BY_ANOTHER: Final[dict[str, Statement]] = {
    "txn": SQL.payment_of_transaction,
    "pm": SQL.payment_of_method,
    "dlv": SQL.event_of_delivery,
}
"""What leads to an object of the payment; timelines know all others by themselves."""


class PaymentsQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`GET /console/payments`."""

    q: Text | None = None
    account: Id | None = None
    mode: Mode | None = None
    status: Status | None = None
    currency: Currency | None = None
    since: Instant | None = None
    until: Instant | None = None
    cursor: Cursor | None = None


class ShownQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`GET /console/payments/{payment_id}`: where the timeline goes on; of how many outcomes the bank was `asked`."""

    cursor: Annotated[str, Meta(min_length=1, max_length=600)] | None = None
    asked: Annotated[int, Meta(ge=0, le=1_000)] | None = None


class PaymentPages(Struct, frozen=True):
    """What the routes do."""

    desk: Desk
    timelines: Timelines
    acts: Acts

    async def list_payments(self, request: BrowserRequest) -> Html:
        """The newest payments that fit the filters, or what was searched for."""
        given = sent(request)
        wanted = asked(given, PaymentsQuery)
        if wanted is None:
            return self._list(request, given, status=422, problem="One of the filters cannot be read.")
        owners = await self.desk.owners(wanted.account, wanted.mode)
        if wanted.q is None:
            rows, cursor = await self._newest(wanted, owners)
            return self._list(request, given, rows=rows, cursor=cursor, more=owners.more)
        try:
            looked_for = meant(wanted.q)
        except CardNumberTyped:
            typed = "That could be a whole card number. Search by the brand and the last four digits: visa 4242."
            return self._list(request, {**given, "q": ""}, status=422, problem=typed)
        if isinstance(looked_for, ById):
            found = await self._find(looked_for.kind, looked_for.id)
            if found is not None:
                return self.desk.console.see_other(f"{PAYMENTS}/{found.intent}")
            return self._list(request, given, problem="There is no payment to which that belongs.")
        rows, cursor = await self._search(wanted, looked_for, owners)
        return self._list(request, given, rows=rows, cursor=cursor, more=owners.more)

    async def show_payment(self, request: BrowserRequest) -> Html:
        """One payment with all that belongs to it."""
        id = id_in(request, "payment_id")
        found = await self._find("pi", id) if id is not None else None
        if found is None:
            return self.desk.missing(request)
        key = (found.account_id, found.livemode, found.id)
        shown = await payment.load(self.desk.database, key)
        wanted = asked(sent(request), ShownQuery)
        try:
            after = place_of(wanted.cursor) if wanted is not None and wanted.cursor is not None else BEGINNING
        except CursorRefused:
            wanted = None
        if shown is None or wanted is None:
            return self.desk.missing(request)
        standing = await self.acts.standing_of(key)
        timeline = await self.timelines.read(found, after=after, rows_max=TIMELINE_ROWS)
        return self.desk.page(
            "payment",
            request,
            f"Payment {found.id}",
            live=None if wanted.cursor else REFRESH_S,
            timeline=timeline,
            standing=standing,
            cancelable=standing.status in CANCELABLE,
            asked=wanted.asked,
            **shown,
        )

    def _list(self, request: BrowserRequest, given: dict[str, str], *, status: int = 200, **shown: Any) -> Html:
        first: dict[str, Any] = {"rows": [], "cursor": None, "more": False, "problem": ""}
        first["at"] = given.get("cursor", "")
        choices = {"modes": MODES, "statuses": [(each, each) for each in STATUSES], "examples": EXAMPLES}
        given = filled(given, PaymentsQuery)
        return self.desk.page("payments", request, TITLE, status=status, given=given, **(choices | first | shown))

    async def _newest(self, wanted: PaymentsQuery, owners: Owners) -> tuple[Sequence[Record], str | None]:
        """Where filters leave some out, so many are looked at for one page; the next one goes on behind them."""
        before, since = between("pi", wanted.since, wanted.until, wanted.cursor)
        filtered = wanted.status is not None or wanted.currency is not None
        each = max(SEEN_MAX // max(len(owners.accounts), 1), PAGE_ROWS + 1) if filtered else PAGE_ROWS + 1
        currency = wanted.currency.upper() if wanted.currency else None
        found = await self.desk.database.rows(
            SQL.newest_payments, *owners[:2], before, since, each, wanted.status, currency, PAGE_ROWS + 1
        )
        rows = [row for row in found if row["id"] is not None]
        shown, cursor = cut(rows)
        return shown, cursor or found[0]["edge"] or None

    async def _search(
        self, wanted: PaymentsQuery, looked_for: ByAmount | ByCard | ByOrder, owners: Owners
    ) -> tuple[Sequence[Record], str | None]:
        place = (*owners[:2], *between("pi", wanted.since, wanted.until, wanted.cursor))
        rows, database = PAGE_ROWS + 1, self.desk.database
        if isinstance(looked_for, ByAmount):
            sought = (looked_for.currency, looked_for.minor)
            return cut(await database.rows(SQL.payments_by_amount, *place, *sought, rows))
        if isinstance(looked_for, ByOrder):
            return cut(await database.rows(SQL.payments_by_order, *place, looked_for.reference, rows))
        place = (*owners[:2], *between("pm", wanted.since, wanted.until, wanted.cursor))
        found = await database.rows(
            SQL.payments_by_card, *place, looked_for.last4, list(looked_for.brands), rows, CHARGES_OF_CARD
        )
        return _of_cards(found)

    async def _find(self, kind: str, id: str) -> Payment | None:
        """The payment to which an object belongs, in whatever account it is; None too where nobody has paid yet."""
        leads = await self._led_from(_BY_ANOTHER[kind], id) if kind in _BY_ANOTHER else id
        found = await self.timelines.find(leads) if leads is not None else None
        return found if found is not None and found.intent is not None else None

    async def _led_from(self, statement: Statement, id: str) -> str | None:
        after = ""
        while accounts := await self.desk.accounts(after, ACCOUNTS_AT_ONCE):
            if found := await self.desk.database.rows(statement, accounts, id):
                return str(found[0]["id"])
            after = accounts[-1]
        return None


def _of_cards(found: Sequence[Record]) -> tuple[Sequence[Record], str | None]:
    """Each payment once. The last card of a full page may have further payments: it begins the next one."""
    cursor = None
    if len(found) > PAGE_ROWS:
        whole = [row for row in found if row["method"] != found[-1]["method"]]
        found, cursor = (whole, whole[-1]["method"]) if whole else (found[:PAGE_ROWS], found[-1]["method"])
    return list({(row["account_id"], row["livemode"], row["id"]): row for row in found}.values()), cursor
