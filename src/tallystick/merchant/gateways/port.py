"""The gateway port: what the merchant service asks of any gateway, and in which words it is answered.

An adapter translates: our orders into the gateway's requests, its answers and events into facts (RULES §4). What it
says ends in one of four ways (`Done | Refused | NotSent | Unknown`, DESIGN §2.8); it never decides anything about an
order.
"""

from datetime import datetime
from typing import Final, Literal, Protocol

from msgspec import Struct

from tallystick.kernel.outcomes import Done, NotSent, Refused, Unknown
from tallystick.merchant.orders.facts import AnyFact

KEY_LIFE_S: Final = 24 * 3600 - 600
"""How long a call may be repeated under its key: published as 24 h, less what clocks may differ (RULES §5, §14)."""

UiMode = Literal["hosted", "embedded"]
SignatureScheme = Literal["stripe", "standard"]


class Connection(Struct, frozen=True):
    """One merchant's account at one gateway. Secrets are references that the secrets port reads (`env:NAME`,
    `file:/path`, `vault:path#field`).
    """

    merchant_id: str
    connection_id: str
    gateway: str
    url: str
    secret_key_ref: str
    signature_scheme: SignatureScheme
    webhook_secret_refs: tuple[str, ...]


class Item(Struct, frozen=True):
    """A line of an order: `amount_minor` for each of `quantity`."""

    name: str
    amount_minor: int
    quantity: int


class Opening(Struct, frozen=True):
    """What a checkout session is opened for. `return_to` and `cancel_to` are addresses of ours."""

    order_id: str
    attempt: int
    currency: str
    items: tuple[Item, ...]
    ui_mode: UiMode
    return_to: str
    cancel_to: str
    expires_at: datetime


class AmountRefused(Exception):
    """The gateway could not take this amount or currency; the text says why, for the caller of our API."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Told(Struct, frozen=True):
    """What the gateway told about one attempt: facts, in the order in which they became true."""

    facts: tuple[AnyFact, ...]


Answer = Done[Told] | Refused | NotSent | Unknown


class Refunding(Struct, frozen=True):
    """What is given back of an attempt's payment, or of one `charge` of it: an amount, or all that is left where it is
    None. `reference` is ours, and finds the refund again when its key is too old to be repeated.
    """

    order_id: str
    attempt: int
    intent: str
    currency: str
    reference: str
    amount_minor: int | None = None
    charge: str | None = None


class CapturedCharge(Struct, frozen=True):
    """A charge of a payment by which money was taken, how much of that is there to be given back, and whether it is the
    one that the payment calls its own.
    """

    charge: str
    captured_minor: int
    refundable_minor: int
    currency: str
    own: bool


class Payment(Struct, frozen=True):
    """How a payment stands at the gateway: facts, and how much of its money is there to be given back."""

    facts: tuple[AnyFact, ...]
    refundable_minor: int


class EventRead(Struct, frozen=True):
    """An event as the intake needs it.

    `order_id` and `attempt` are our own reference, None where the event does not carry it; then `intent` names the
    payment. An event without facts says nothing about an order: it is stored as ignored. `error` says why an event
    that does concern orders could not be translated: it is stored as failed, for a person to look at.
    """

    event_id: str
    type: str
    created: int
    order_id: str | None
    attempt: int | None
    intent: str | None
    facts: tuple[AnyFact, ...]
    error: str | None = None


class EventPage(Struct, frozen=True):
    """A page of what happened at the gateway, the newest first: each event as its bytes, the id of the last one, and
    whether there are older ones.
    """

    events: tuple[bytes, ...]
    last_id: str | None
    has_more: bool


class EventMalformed(Exception):
    """These bytes are no event of this gateway."""


class Gateway(Protocol):
    """One wire. Calls repeat themselves within their deadline, under one key, and say Unknown only when that did not
    help.
    """

    def read_event(self, raw: bytes) -> EventRead:
        """What a verified event says. Raises EventMalformed for what is no event at all. Pure, and fast: the hot
        path.
        """
        ...

    def plan_session(self, opening: Opening) -> bytes:
        """The request that opens the session, to be stored before it is sent, so that repeating it repeats it to the
        byte. Raises AmountRefused. Pure.
        """
        ...

    async def open_session(self, connection: Connection, planned: bytes, key: str) -> Answer:
        """Open the checkout session that was planned; the same key gives the same session."""
        ...

    async def look_up(self, connection: Connection, session: str) -> Answer:
        """Everything that the gateway now knows of a session and its payment."""
        ...

    async def close_session(self, connection: Connection, session: str, key: str) -> Answer:
        """Close the session and tell how it stands now: closed, or paid before we came, or still busy with a
        payment.
        """
        ...

    async def find_session(
        self, connection: Connection, order_id: str, attempt: int, created_from: datetime, created_until: datetime
    ) -> Answer:
        """Look for an attempt's session among all that were created between these times; its facts, or none where a
        full listing does not hold it.
        """
        ...

    async def list_events(
        self, connection: Connection, created_from: datetime, after: str | None
    ) -> Done[EventPage] | Refused | NotSent | Unknown:
        """A page of the events since `created_from`, those behind the event `after` where one is given."""
        ...

    async def look_up_payment(self, connection: Connection, intent: str) -> Done[Payment] | Refused | NotSent | Unknown:
        """How a payment stands, before anything is done about its money."""
        ...

    async def captured_charges(
        self, connection: Connection, intent: str
    ) -> Done[tuple[CapturedCharge, ...]] | Refused | NotSent | Unknown:
        """Every charge of a payment by which money was taken; there ought to be one."""
        ...

    def plan_refund(self, refunding: Refunding) -> bytes:
        """The request that gives money back, to be stored before it is sent. Raises AmountRefused. Pure."""
        ...

    async def refund(self, connection: Connection, planned: bytes, key: str) -> Answer:
        """Give back what was planned; the same key gives it back once."""
        ...

    async def find_refund(self, connection: Connection, intent: str, reference: str) -> Answer:
        """Look for the refund with our reference among all of a payment; its facts, or none where a full listing does
        not hold it.
        """
        ...
