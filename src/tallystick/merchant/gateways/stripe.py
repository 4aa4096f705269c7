"""The adapter for Stripe's wire: our own gateway's, and Stripe's. Form-encoded calls over the HTTP port, with retries
of its own.

Every call that changes something carries a key, so repeating it is safe: what is not sent, unknown, busy (409),
throttled (429) or broken on their side (5xx) is repeated a few times within one deadline. What is left then is said
honestly:

    2xx → Done      4xx → Refused      never left, or 429 → NotSent      anything else → Unknown

Where something is to be made, a refusal says nothing of an earlier try whose outcome is unknown: the whole is Unknown.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Final, TypeVar
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct

from tallystick.kernel.outcomes import Done, NotSent, Refused, Unknown
from tallystick.merchant.gateways.port import (
    AmountRefused,
    Answer,
    CapturedCharge,
    Connection,
    EventPage,
    EventRead,
    Opening,
    Payment,
    Refunding,
    Told,
)
from tallystick.merchant.gateways.stripe_currencies import to_wire
from tallystick.merchant.gateways.stripe_objects import (
    Object,
    ObjectPage,
    captured_by,
    decode_object,
    decode_page,
    is_of,
    is_refund_of,
    payment_of,
    read_event,
    told_by_refund,
    told_by_session,
)
from tallystick.ports.clock import Clock
from tallystick.ports.entropy import Entropy
from tallystick.ports.http import Answered, Exchange, Http, HttpRequest
from tallystick.ports.secrets import SecretMissing, Secrets

STRIPE_VERSION: Final = "2026-10-28.endive"  # the pinned package's, whose shapes we read; a test compares them
TRIES_MAX: Final = 3  # a fourth try in the same call helps nobody; the caller's own retry resumes
TRY_DEADLINE_S: Final = 8.0  # Stripe answers within 2 s; a bank behind it may take more
BACKOFF_S: Final = 0.25  # before the second try; doubled before each further one, jittered by half
CALL_DEADLINE_S: Final = TRIES_MAX * TRY_DEADLINE_S + 2 * BACKOFF_S * (2**TRIES_MAX)  # the longest that a call can take
ANSWER_BYTES_MAX: Final = 256 * 1024  # a session with a hundred lines is a tenth of it

LISTING_DEADLINE_S: Final = 60.0  # for all pages of a listing; one that takes longer is asked for again later
REFUNDS_DEADLINE_S: Final = 30.0  # for those of one payment, which are few: a call under a key waits for them
PAGE_OBJECTS: Final = 100  # the most that the wire gives at a time
PAGE_BYTES_MAX: Final = PAGE_OBJECTS * 64 * 1024

assert CALL_DEADLINE_S < 30, "the idempotency engine's leases count on calls below 30 s"

# Refusals of us, not of what we asked: somebody must mend the configuration, and then the same call works.
MISCONFIGURED: Final = "gateway_misconfigured"
_MISCONFIGURED_STATUSES = frozenset({401, 403, 404})
_BUSY_STATUSES = frozenset({409, 429})


class _Error(Struct, frozen=True):
    code: str | None = None
    type: str | None = None
    message: str | None = None


class _ErrorEnvelope(Struct, frozen=True):
    error: _Error


class _Id(Struct, frozen=True):
    id: str


class _EventList(Struct, frozen=True):
    data: list[msgspec.Raw]
    has_more: bool = False


EXPANDED: Final = urlencode([("expand[]", "payment_intent")]).encode()

Value = TypeVar("Value")

_decode_id = msgspec.json.Decoder(_Id).decode
_decode_events = msgspec.json.Decoder(_EventList).decode
_decode_error = msgspec.json.Decoder(_ErrorEnvelope).decode


class StripeGateway:
    """The gateway port on Stripe's wire. Any number of connections share one adapter."""

    def __init__(self, http: Http, secrets: Secrets, clock: Clock, entropy: Entropy) -> None:
        self._http = http
        self._secrets = secrets
        self._clock = clock
        self._entropy = entropy

    def read_event(self, raw: bytes) -> EventRead:
        return read_event(raw)

    def plan_session(self, opening: Opening) -> bytes:
        return urlencode(list(_session_parameters(opening))).encode()

    async def open_session(self, connection: Connection, planned: bytes, key: str) -> Answer:
        return await self._ask(connection, "POST", "/v1/checkout/sessions", planned, key, makes=True)

    async def look_up(self, connection: Connection, session: str) -> Answer:
        path = f"/v1/checkout/sessions/{quote(session, safe='')}?expand[]=payment_intent"
        return await self._ask(connection, "GET", path, b"", None)

    async def close_session(self, connection: Connection, session: str, key: str) -> Answer:
        path = f"/v1/checkout/sessions/{quote(session, safe='')}/expire"
        # With its payment: a session alone does not tell how much of an authorised amount was captured.
        answer = await self._ask(connection, "POST", path, EXPANDED, key)
        if isinstance(answer, Refused) and answer.code != MISCONFIGURED:
            # Completed before we came, closed already, or busy with a payment: what it is now says which.
            return await self.look_up(connection, session)
        return answer

    async def find_session(
        self, connection: Connection, order_id: str, attempt: int, created_from: datetime, created_until: datetime
    ) -> Answer:
        bounds = (("created[gte]", int(created_from.timestamp())), ("created[lte]", int(created_until.timestamp()) + 1))
        session = await self._search(
            connection,
            "/v1/checkout/sessions",
            bounds,
            lambda found: is_of(found, order_id, attempt),
            LISTING_DEADLINE_S,
        )
        if not isinstance(session, Done):
            return session
        return Done(told_by_session(session.value) if session.value is not None else Told(()))

    async def _search(
        self,
        connection: Connection,
        path: str,
        filters: Sequence[tuple[str, str | int]],
        is_it: Callable[[Object], bool],
        deadline_s: float,
    ) -> Done[Object | None] | Refused | NotSent | Unknown:
        """The object of a listing that is the one; None where the whole listing does not hold it."""
        query = [("limit", PAGE_OBJECTS), *filters]
        ends_s = self._clock.monotonic_s() + deadline_s - CALL_DEADLINE_S
        while True:
            page = await self._exchange(
                connection, "GET", f"{path}?{urlencode(query)}", b"", None, _read_page, PAGE_BYTES_MAX
            )
            if not isinstance(page, Done):
                return page
            for found in page.value.data:
                if is_it(found):
                    return Done(found)
            if not page.value.has_more or not page.value.data:
                return Done(None)
            if self._clock.monotonic_s() > ends_s:
                return Unknown("the listing did not end in time")
            query = [("limit", PAGE_OBJECTS), *filters, ("starting_after", page.value.data[-1].id)]

    async def look_up_payment(self, connection: Connection, intent: str) -> Done[Payment] | Refused | NotSent | Unknown:
        path = f"/v1/payment_intents/{quote(intent, safe='')}?expand[]=latest_charge"
        return await self._exchange(connection, "GET", path, b"", None, _read_payment, ANSWER_BYTES_MAX)

    async def captured_charges(
        self, connection: Connection, intent: str
    ) -> Done[tuple[CapturedCharge, ...]] | Refused | NotSent | Unknown:
        own = await self.look_up_payment(connection, intent)
        if not isinstance(own, Done):
            return own
        query = urlencode([("payment_intent", intent), ("limit", PAGE_OBJECTS)])
        page = await self._exchange(connection, "GET", f"/v1/charges?{query}", b"", None, _read_page, PAGE_BYTES_MAX)
        if not isinstance(page, Done):
            return page
        if page.value.has_more:
            return Unknown("there are more charges than are read")
        try:
            return Done(captured_by(page.value.data, own.value.facts))
        except AmountRefused as refused:
            return Unknown(str(refused))

    def plan_refund(self, refunding: Refunding) -> bytes:
        return urlencode(list(_refund_parameters(refunding))).encode()

    async def refund(self, connection: Connection, planned: bytes, key: str) -> Answer:
        return await self._exchange(
            connection, "POST", "/v1/refunds", planned, key, _read_refund, ANSWER_BYTES_MAX, makes=True
        )

    async def find_refund(self, connection: Connection, intent: str, reference: str) -> Answer:
        refund = await self._search(
            connection,
            "/v1/refunds",
            [("payment_intent", intent)],
            lambda found: is_refund_of(found, reference),
            REFUNDS_DEADLINE_S,
        )
        if not isinstance(refund, Done):
            return refund
        try:
            return Done(Told(told_by_refund(refund.value) if refund.value is not None else ()))
        except AmountRefused as refused:
            return Unknown(str(refused))

    async def list_events(
        self, connection: Connection, created_from: datetime, after: str | None
    ) -> Done[EventPage] | Refused | NotSent | Unknown:
        query: list[tuple[str, str | int]] = [("limit", PAGE_OBJECTS), ("created[gte]", int(created_from.timestamp()))]
        if after is not None:
            query.append(("starting_after", after))
        return await self._exchange(
            connection, "GET", f"/v1/events?{urlencode(query)}", b"", None, _read_events, PAGE_BYTES_MAX
        )

    async def _ask(
        self, connection: Connection, method: str, path: str, body: bytes, key: str | None, *, makes: bool = False
    ) -> Answer:
        return await self._exchange(connection, method, path, body, key, _read_session, ANSWER_BYTES_MAX, makes=makes)

    async def _exchange(
        self,
        connection: Connection,
        method: str,
        path: str,
        body: bytes,
        key: str | None,
        read: Callable[[bytes], Done[Value] | Unknown],
        answer_bytes_max: int,
        *,
        makes: bool = False,
    ) -> Done[Value] | Refused | NotSent | Unknown:
        try:
            secret_key = await self._secrets.read(connection.secret_key_ref)
        except SecretMissing:
            return Refused(MISCONFIGURED, "The connection's secret key cannot be read.")
        headers = {
            "Authorization": f"Bearer {secret_key}",
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
            "Stripe-Version": STRIPE_VERSION,
            "User-Agent": "tallystick-merchant",
        }
        if key is not None:
            headers["Idempotency-Key"] = key
        url = connection.url.rstrip("/") + path
        request = HttpRequest(method, url, headers, body, TRY_DEADLINE_S, answer_bytes_max)
        return await self._repeat(request, read, makes)

    async def _repeat(
        self, request: HttpRequest, read: Callable[[bytes], Done[Value] | Unknown], makes: bool
    ) -> Done[Value] | Refused | NotSent | Unknown:
        """Send until there is a final answer or the tries are used up. One unknown outcome makes the whole call
        unknown; of a call that `makes` something, also when a later try of it is refused.
        """
        unknown: Unknown | None = None
        for number in range(1, TRIES_MAX + 1):
            answer = _read_answer(await self._http.send(request), read)
            if makes and unknown is not None and isinstance(answer, Refused) and answer.code != MISCONFIGURED:
                return unknown
            if isinstance(answer, Done | Refused):
                return answer
            if isinstance(answer, Unknown):
                unknown = answer
            if number < TRIES_MAX:
                pause_s = BACKOFF_S * 2 ** (number - 1)
                await self._clock.sleep(self._entropy.uniform(pause_s / 2, pause_s * 3 / 2))
        return unknown or answer


def _session_parameters(opening: Opening) -> Iterator[tuple[str, str]]:
    """The parameters of `POST /v1/checkout/sessions`, always the same and in the same order for the same opening."""
    currency = opening.currency
    yield "mode", "payment"
    yield "payment_method_types[0]", "card"
    yield "client_reference_id", opening.order_id
    yield "expires_at", str(int(opening.expires_at.timestamp()))
    for place in ("metadata", "payment_intent_data[metadata]"):
        yield f"{place}[order_id]", opening.order_id
        yield f"{place}[attempt]", str(opening.attempt)
    for index, item in enumerate(opening.items):
        place = f"line_items[{index}]"
        yield f"{place}[quantity]", str(item.quantity)
        yield f"{place}[price_data][currency]", currency.lower()
        yield f"{place}[price_data][unit_amount]", str(to_wire(item.amount_minor, currency))
        yield f"{place}[price_data][product_data][name]", item.name
    if opening.ui_mode == "hosted":
        yield "ui_mode", "hosted_page"
        yield "success_url", opening.return_to
        yield "cancel_url", opening.cancel_to
    else:
        yield "ui_mode", "embedded_page"
        yield "return_url", opening.return_to


def _refund_parameters(refunding: Refunding) -> Iterator[tuple[str, str]]:
    """The parameters of `POST /v1/refunds`; without an amount all that is left is given back."""
    if refunding.charge is not None:
        yield "charge", refunding.charge
    else:
        yield "payment_intent", refunding.intent
    if refunding.amount_minor is not None:
        yield "amount", str(to_wire(refunding.amount_minor, refunding.currency))
    yield "metadata[order_id]", refunding.order_id
    yield "metadata[attempt]", str(refunding.attempt)
    yield "metadata[reference]", refunding.reference


def _read_answer(
    exchange: Exchange, read: Callable[[bytes], Done[Value] | Unknown]
) -> Done[Value] | Refused | NotSent | Unknown:
    if not isinstance(exchange, Answered):
        return exchange
    if 200 <= exchange.status < 300:
        return read(exchange.body)
    if exchange.status == 429:
        return NotSent("throttled by the gateway")
    if exchange.status in _BUSY_STATUSES or exchange.status >= 500:
        return Unknown(f"the gateway answered {exchange.status}")
    if exchange.status in _MISCONFIGURED_STATUSES or exchange.status < 400:
        return Refused(MISCONFIGURED, f"The gateway answered {exchange.status}.", exchange.status)
    return _read_refusal(exchange)


def _read_session(body: bytes) -> Done[Told] | Unknown:
    try:
        session = decode_object(body)
        if session.object != "checkout.session":
            return Unknown("the answer is no checkout session")
        return Done(told_by_session(session))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Unknown("the answer cannot be read")
    except AmountRefused as refused:
        return Unknown(str(refused))


def _read_payment(body: bytes) -> Done[Payment] | Unknown:
    try:
        return Done(payment_of(decode_object(body)))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Unknown("the answer cannot be read")
    except AmountRefused as refused:
        return Unknown(str(refused))


def _read_refund(body: bytes) -> Done[Told] | Unknown:
    try:
        facts = told_by_refund(decode_object(body))
        return Done(Told(facts)) if facts else Unknown("the answer is no refund")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Unknown("the answer cannot be read")
    except AmountRefused as refused:
        return Unknown(str(refused))


def _read_page(body: bytes) -> Done[ObjectPage] | Unknown:
    try:
        return Done(decode_page(body))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Unknown("the answer cannot be read")


def _read_events(body: bytes) -> Done[EventPage] | Unknown:
    try:
        page = _decode_events(body)
        last = _decode_id(page.data[-1]).id if page.data else None
        return Done(EventPage(tuple(map(bytes, page.data)), last, page.has_more))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Unknown("the answer cannot be read")


def _read_refusal(exchange: Answered) -> Refused | Unknown:
    try:
        error = _decode_error(exchange.body).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Some box on the way said so, and not the gateway: what we asked may have been done all the same.
        return Unknown(f"an answer {exchange.status} that is not the gateway's")
    if error.type == "idempotency_error":
        return Unknown("the key was used with other parameters: what it did is not known")
    code = error.code or error.type or "refused"
    return Refused(code, error.message or f"The gateway answered {exchange.status}.", exchange.status)
