"""Settlement on Stripe's wire: reports as they are asked for, waited for and downloaded, and payments with everything
that ever moved their money.

The manifest beside the file is a member of our own gateway; Stripe has none, and then only what can be checked is.
"""

import hashlib
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import IO, Final, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec
from msgspec import Struct

from tallystick.kernel.money import AmountRefused as NotExact
from tallystick.kernel.money import parse_decimal
from tallystick.kernel.outcomes import Done, NotSent, Refused, Unknown
from tallystick.merchant.gateways.port import AmountRefused, Connection
from tallystick.merchant.gateways.stripe import (
    ANSWER_BYTES_MAX,
    MISCONFIGURED,
    PAGE_BYTES_MAX,
    PAGE_OBJECTS,
    STRIPE_VERSION,
    StripeGateway,
)
from tallystick.merchant.gateways.stripe_currencies import STRIPE_CURRENCIES
from tallystick.merchant.gateways.stripe_objects import as_paid, decode_object, decode_page, read_object
from tallystick.merchant.orders.facts import AnyFact
from tallystick.merchant.reconciliation.lines import FileDamaged, Manifest
from tallystick.ports.clock import Clock
from tallystick.ports.entropy import Entropy
from tallystick.ports.http import Answered, Downloads, HttpRequest
from tallystick.ports.secrets import SecretMissing, Secrets

REPORT_TYPE: Final = "balance_change_from_activity.itemized.3"
COLUMNS: Final = (
    "balance_transaction_id",
    "created_utc",
    "available_on_utc",
    "currency",
    "gross",
    "fee",
    "net",
    "reporting_category",
    "source_id",
    "payment_intent_id",
    "charge_id",
    "payment_metadata[order_id]",
    "automatic_payout_id",
)
POLL_S: Final = 2.0
POLLS_MAX: Final = 30  # a minute; then it is looked at again when the run is due again
DOWNLOAD_DEADLINE_S: Final = 600.0
FILE_BYTES_MAX: Final = 4 * 1024**3  # ten million lines and more
NOT_READY: Final = "report_not_ready"

Value = TypeVar("Value")
Answer = Done[Value] | Refused | NotSent | Unknown


class _Told(Struct, frozen=True):
    """The manifest as our gateway writes it: decimal strings in major units."""

    account: str | None = None
    currency: str | None = None
    date: str | None = None
    sequence: int | None = None
    revision: int | None = None
    lines: int | None = None
    gross: str | None = None
    fee: str | None = None
    net: str | None = None
    opening: str | None = None
    closing: str | None = None
    sha256: str | None = None


class _File(Struct, frozen=True):
    id: str
    manifest: _Told | None = None


class _Run(Struct, frozen=True):
    id: str
    status: str = ""
    result: _File | None = None


class _Money(Struct, frozen=True):
    currency: str


class _Balance(Struct, frozen=True):
    available: list[_Money] = []
    pending: list[_Money] = []


class Report(Struct, frozen=True):
    """A report that can be downloaded, and what the gateway says of it."""

    file: str
    manifest: Manifest | None


class PaymentFound(Struct, frozen=True):
    """A payment as retrieved: whose it is by our own reference, how it stands (Stripe's word), and facts."""

    order_id: str | None
    attempt: int | None
    status: str
    facts: tuple[AnyFact, ...]


class StripeReports(StripeGateway):
    """What reconciliation asks of Stripe's wire."""

    def __init__(self, http: Downloads, secrets: Secrets, clock: Clock, entropy: Entropy) -> None:
        super().__init__(http, secrets, clock, entropy)
        self._downloads = http

    async def currencies(self, connection: Connection) -> Answer[tuple[str, ...]]:
        """The currencies in which the account has, or had, money."""
        answer = await self._exchange(connection, "GET", "/v1/balance", b"", None, _reader(_Balance), ANSWER_BYTES_MAX)
        if not isinstance(answer, Done):
            return answer
        found = {money.currency.upper() for money in (*answer.value.available, *answer.value.pending)}
        return Done(tuple(sorted(found & STRIPE_CURRENCIES.keys())))

    async def report(self, connection: Connection, day: date, currency: str, key: str) -> Answer[Report]:
        """Ask for the report of a day, and wait for it. The same key asks for the same report."""
        begins = datetime.fromisoformat(f"{day.isoformat()}T00:00:00+00:00")
        fields = [
            ("report_type", REPORT_TYPE),
            ("parameters[interval_start]", str(int(begins.timestamp()))),
            ("parameters[interval_end]", str(int((begins + timedelta(days=1)).timestamp()))),
            ("parameters[currency]", currency.lower()),
            *((f"parameters[columns][{place}]", column) for place, column in enumerate(COLUMNS)),
        ]
        body = urlencode(fields).encode()
        answer = await self._exchange(
            connection, "POST", "/v1/reporting/report_runs", body, key, _reader(_Run), ANSWER_BYTES_MAX
        )
        for _ in range(POLLS_MAX):
            if not isinstance(answer, Done) or answer.value.status != "pending":
                break
            await self._clock.sleep(POLL_S)
            path = f"/v1/reporting/report_runs/{quote(answer.value.id, safe='')}"
            answer = await self._exchange(connection, "GET", path, b"", None, _reader(_Run), ANSWER_BYTES_MAX)
        if not isinstance(answer, Done):
            return answer
        if answer.value.status != "succeeded" or answer.value.result is None:
            return Refused(NOT_READY, f"The report is {answer.value.status or 'not there'}.")
        result = answer.value.result
        return Done(Report(result.id, _manifest(result.manifest) if result.manifest else None))

    async def download(self, connection: Connection, file_id: str, into: IO[bytes]) -> Answer[str]:
        """Write a report's file `into`; the SHA-256 of its bytes."""
        try:
            secret_key = await self._secrets.read(connection.secret_key_ref)
        except SecretMissing:
            return Refused(MISCONFIGURED, "The connection's secret key cannot be read.")
        digest = hashlib.sha256()

        def take(piece: bytes) -> None:
            digest.update(piece)
            into.write(piece)

        headers = {"Authorization": f"Bearer {secret_key}", "Stripe-Version": STRIPE_VERSION}
        url = f"{_files_at(connection.url)}/v1/files/{quote(file_id, safe='')}/contents"
        request = HttpRequest("GET", url, headers, b"", DOWNLOAD_DEADLINE_S, FILE_BYTES_MAX)
        answer = await self._downloads.receive(request, take)
        if not isinstance(answer, Answered):
            return answer
        if answer.status != 200 or answer.cut:
            return Unknown(f"the file was answered {answer.status}{', too long' if answer.cut else ''}")
        return Done(digest.hexdigest())

    async def payment(self, connection: Connection, intent: str) -> Answer[PaymentFound]:
        """A payment with its charge, its refunds and its disputes."""
        path = f"/v1/payment_intents/{quote(intent, safe='')}?expand[]=latest_charge"
        found = await self._exchange(connection, "GET", path, b"", None, _read_paid, ANSWER_BYTES_MAX)
        if not isinstance(found, Done):
            return found
        more: list[AnyFact] = []
        for noun in ("refunds", "disputes"):
            query = urlencode([("payment_intent", intent), ("limit", PAGE_OBJECTS)])
            page = await self._exchange(
                connection, "GET", f"/v1/{noun}?{query}", b"", None, _read_objects, PAGE_BYTES_MAX
            )
            if not isinstance(page, Done):
                return page
            more += page.value
        return Done(msgspec.structs.replace(found.value, facts=(*found.value.facts, *more)))


def _files_at(url: str) -> str:
    """Where files are: at Stripe on a host of their own."""
    return "https://files.stripe.com" if urlsplit(url).hostname == "api.stripe.com" else url.rstrip("/")


def _manifest(told: _Told) -> Manifest:
    """The manifest in minor units. Raises FileDamaged."""
    currency = (told.currency or "").upper()
    if currency not in STRIPE_CURRENCIES:
        raise FileDamaged("currency")
    exponent = STRIPE_CURRENCIES[currency].iso_exponent

    def minor(text: str | None) -> int | None:
        try:
            return None if text is None else parse_decimal(text, exponent)
        except NotExact:
            raise FileDamaged("amount") from None

    try:
        day = date.fromisoformat(told.date) if told.date else None
    except ValueError:
        raise FileDamaged("date") from None
    return Manifest(
        currency,
        told.account,
        day,
        told.sequence,
        told.revision,
        told.lines,
        minor(told.gross),
        minor(told.fee),
        minor(told.net),
        minor(told.opening),
        minor(told.closing),
        told.sha256,
    )


def _reader(shape: type[Value]) -> Callable[[bytes], Done[Value] | Unknown]:
    decode = msgspec.json.Decoder(shape).decode

    def read(body: bytes) -> Done[Value] | Unknown:
        try:
            return Done(decode(body))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Unknown("the answer cannot be read")

    return read


def _read_paid(body: bytes) -> Done[PaymentFound] | Unknown:
    try:
        intent = decode_object(body)
        order_id, attempt, facts = as_paid(intent)
        return Done(PaymentFound(order_id, attempt, intent.status or "", facts))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Unknown("the answer cannot be read")
    except AmountRefused as refused:
        return Unknown(str(refused))


def _read_objects(body: bytes) -> Done[tuple[AnyFact, ...]] | Unknown:
    try:
        page = decode_page(body)
        if page.has_more:
            return Unknown("there are more refunds or disputes than are read")
        return Done(tuple(fact for each in page.data for fact in read_object(each)))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Unknown("the answer cannot be read")
    except AmountRefused as refused:
        return Unknown(str(refused))
