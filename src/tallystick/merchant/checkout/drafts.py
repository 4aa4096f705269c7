"""An order before it is stored: its ids, its times, and the call that will open its session. Pure, but for
what is written.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from msgspec import Struct

from tallystick.kernel.columns import columns
from tallystick.kernel.identifiers import owned_id
from tallystick.merchant.accounts.directory import Merchant
from tallystick.merchant.checkout.request import Wanted, title_of
from tallystick.merchant.customers.people import Kept
from tallystick.merchant.errors import NotChargeable
from tallystick.merchant.expiry.steps import next_look_at
from tallystick.merchant.gateways.port import AmountRefused, Gateway, Item, Opening, UiMode
from tallystick.merchant.orders.facts import NO_FACTS, Attempted, encode
from tallystick.merchant.orders.ids import ORDER_PREFIX
from tallystick.merchant.orders.learning import OrderKey
from tallystick.merchant.orders.merge import merge
from tallystick.merchant.orders.view import LineItem, decode_line_items
from tallystick.ports.database import Record, Statements, Transaction
from tallystick.ports.entropy import Entropy
from tallystick.ports.tracing import stored

SQL = Statements.beside(__file__)

FIRST_ATTEMPT: Final = 1
GATEWAY_TTL_MIN_S: Final = 30 * 60  # Stripe refuses sessions that live less (RULES §8)
# The time to live is enforced by our closing; the gateway's clock only catches what we miss.
GATEWAY_TTL_MARGIN_S: Final = 5 * 60
GATEWAY_TTL_MAX_S: Final = 24 * 3600 - 60  # Stripe refuses sessions that live longer; a minute for clocks that differ


class Terms(Struct, frozen=True):
    """What every order of this installation starts with. `public_url` is where shoppers reach us."""

    public_url: str
    ttl_s: int
    declines_max: int


class Draft(Struct, frozen=True):
    """An order with everything that is stored before the gateway is called. `customer` is set once the customer is
    stored, apart from the order."""

    key: OrderKey
    wanted: Wanted
    customer: Kept | None
    declines_max: int
    created_at: datetime
    expires_at: datetime
    gateway_expires_at: datetime
    open_key: str
    open_request: bytes
    trace: str | None


def draft_order(
    merchant: Merchant, wanted: Wanted, terms: Terms, gateway: Gateway, at: datetime, entropy: Entropy
) -> Draft:
    """The order that is stored for `wanted`, with the call that will open its session. Raises NotChargeable."""
    order_id = owned_id(ORDER_PREFIX, merchant.merchant_id, at, entropy)
    opening = opening_of(
        order_id, FIRST_ATTEMPT, wanted.currency, wanted.items, wanted.ui_mode, wanted.ttl_s, terms, at
    )
    open_request = _planned(gateway, opening)
    return Draft(
        key=OrderKey(merchant.merchant_id, order_id),
        wanted=wanted,
        customer=None,
        declines_max=terms.declines_max,
        created_at=at,
        expires_at=at + timedelta(seconds=wanted.ttl_s),
        gateway_expires_at=opening.expires_at,
        open_key=f"order:{order_id}:{FIRST_ATTEMPT}",
        open_request=open_request,
        trace=stored(),
    )


class AttemptDraft(Struct, frozen=True):
    """A further attempt of an order, with everything that is stored before the gateway is called."""

    key: OrderKey
    number: int
    created_at: datetime
    expires_at: datetime
    gateway_expires_at: datetime
    open_key: str
    open_request: bytes
    trace: str | None


def draft_attempt(key: OrderKey, row: Record, terms: Terms, gateway: Gateway, at: datetime) -> AttemptDraft:
    """The next attempt of the order in `row`, with the call that will open its session. Raises NotChargeable."""
    number = row["attempt_newest"] + 1
    if row["line_items"] is not None:
        lines = decode_line_items(row["line_items"])
        items = tuple(Item(line.name, line.amount, line.quantity) for line in lines)
    else:
        items = (Item(title_of(row["reference"]), row["amount_minor"], 1),)
    opening = opening_of(key.order_id, number, row["currency"], items, row["ui_mode"], row["ttl_s"], terms, at)
    return AttemptDraft(
        key=key,
        number=number,
        created_at=at,
        expires_at=at + timedelta(seconds=row["ttl_s"]),
        gateway_expires_at=opening.expires_at,
        open_key=f"order:{key.order_id}:{number}",
        open_request=_planned(gateway, opening),
        trace=stored(),
    )


def opening_of(
    order_id: str,
    attempt: int,
    currency: str,
    items: tuple[Item, ...],
    ui_mode: UiMode,
    ttl_s: int,
    terms: Terms,
    at: datetime,
) -> Opening:
    """What an attempt's session is opened for."""
    gateway_ttl_s = min(max(ttl_s, GATEWAY_TTL_MIN_S) + GATEWAY_TTL_MARGIN_S, GATEWAY_TTL_MAX_S)
    return_to = f"{terms.public_url}/return/{order_id}"
    return Opening(
        order_id=order_id,
        attempt=attempt,
        currency=currency,
        items=items,
        ui_mode=ui_mode,
        return_to=return_to,
        cancel_to=f"{return_to}?from=cancel",
        expires_at=at + timedelta(seconds=gateway_ttl_s),
    )


def _planned(gateway: Gateway, opening: Opening) -> bytes:
    try:
        return gateway.plan_session(opening)
    except AmountRefused as refused:
        raise NotChargeable(str(refused), code=refused.code) from None


async def insert_attempt(tx: Transaction, draft: AttemptDraft) -> None:
    """Store a further attempt; the order lives as long as it."""
    await tx.execute(
        SQL.insert_attempt,
        *draft.key,
        draft.number,
        draft.open_key,
        draft.open_request,
        draft.gateway_expires_at,
        next_look_at(draft.created_at, draft.expires_at, draft.created_at),
        draft.created_at,
        draft.expires_at,
        draft.trace,
    )


async def forgotten_of(tx: Transaction, drafts: Sequence[Draft], at: datetime) -> set[OrderKey]:
    """The orders whose customers were forgotten since they were stored. The others' cannot be before this commit, and
    after it there is an order that names them."""
    naming = {
        draft.key: (draft.key.merchant_id, draft.customer.customer_id)
        for draft in drafts
        if draft.customer is not None and draft.customer.newcomer
    }
    if not naming:
        return set()
    rows = await tx.rows(SQL.name_newcomers, *columns(2, sorted(set(naming.values()))), at)
    there = {(row["merchant_id"], row["customer_id"]) for row in rows}
    return {key for key, place in naming.items() if place not in there}


async def insert_orders(tx: Transaction, drafts: Sequence[Draft]) -> None:
    """Store new orders with their first attempts, in one statement."""
    await tx.execute(SQL.insert_orders, *columns(23, [_row(draft) for draft in drafts]))


_ATTEMPTED = encode(merge(NO_FACTS, FIRST_ATTEMPT, Attempted()))
_ATTEMPTED_LINE = encode(Attempted())


def _row(draft: Draft) -> tuple[Any, ...]:
    wanted = draft.wanted
    line_items = [LineItem(item.name, item.amount_minor, item.quantity) for item in wanted.items]
    return (
        *draft.key,
        wanted.connection.connection_id,
        draft.customer.customer_id if draft.customer else None,
        wanted.reference,
        wanted.amount_minor,
        wanted.currency,
        msgspec.json.encode(line_items).decode() if wanted.itemised else None,
        msgspec.json.encode(wanted.metadata).decode(),
        wanted.return_url,
        wanted.cancel_url,
        wanted.ui_mode,
        wanted.ttl_s,
        draft.declines_max,
        _ATTEMPTED,
        _ATTEMPTED_LINE,
        draft.expires_at,
        draft.open_key,
        draft.open_request,
        draft.gateway_expires_at,
        draft.created_at,
        next_look_at(draft.created_at, draft.expires_at, draft.created_at),
        draft.trace,
    )
