"""The commands of checkout sessions: those of the wire, and those behind the shopper's pages (DESIGN §4)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct, convert

from tallystick.gateway.acquirers.port import Acquirer, Authentication, AuthenticationState
from tallystick.gateway.acquirers.simulated import SimulatedAcquirer
from tallystick.gateway.card_testing.guard import CardTesting, Try
from tallystick.gateway.cards.pan import CardEntry, expired
from tallystick.gateway.cards.typed import TypedCards
from tallystick.gateway.checkout.opening import TTL_MIN_S, opened_session, session_key
from tallystick.gateway.checkout.parameters import CreateSession, ExpireSession
from tallystick.gateway.checkout.results import (
    Challenge,
    ChallengePage,
    Declined,
    NotOpen,
    Paid,
    PayResult,
    Processing,
    SavedCard,
    SessionPage,
    TooMany,
)
from tallystick.gateway.checkout.session import CheckoutSession
from tallystick.gateway.customers.known import KnownCustomers
from tallystick.gateway.payments import answering, inputs
from tallystick.gateway.payments.carrying import Carrying
from tallystick.gateway.payments.commands import answer_each
from tallystick.gateway.payments.payment import Payment, PaymentIntent, PaymentMethod
from tallystick.gateway.payments.records import Key
from tallystick.gateway.payments.work import Outcome, Work
from tallystick.gateway.stripe_wire import checkout_objects, errors
from tallystick.gateway.stripe_wire.call import Call, Reply
from tallystick.gateway.stripe_wire.objects import Json
from tallystick.kernel.batching import Batcher
from tallystick.kernel.columns import columns
from tallystick.kernel.identifiers import owned_id, owner_of
from tallystick.kernel.outcomes import Done
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Record, Statements
from tallystick.ports.entropy import Entropy

SQL = Statements.beside(__file__)

SAVED_SHOWN_MAX = 5  # the newest; a list to search in is no page to pay on

_INTENT_FIELDS = tuple(f for f in PaymentIntent.__struct_fields__ if f not in ("account_id", "livemode", "id"))


class Admitted(Struct, frozen=True):
    """A session that a shopper may pay, and the charge that will come of it."""

    page: SessionPage
    charge_id: str


class Checkout:
    """The commands of checkout sessions. `pages_url` is the gateway's own address."""

    def __init__(
        self,
        carrying: Carrying,
        acquirer: Acquirer,
        database: Database,
        clock: Clock,
        entropy: Entropy,
        *,
        pages_url: str,
        guard: CardTesting,
        ttl_min_s: int = TTL_MIN_S,
        typed: TypedCards,
    ) -> None:
        self._carrying = carrying
        self._acquirer = acquirer
        self._database = database
        self._clock = clock
        self._entropy = entropy
        self._pages_url = pages_url
        self._ttl_min_s = ttl_min_s
        self._guard = guard
        self._customers = KnownCustomers(database)
        self._typed = typed
        self._pages: Batcher[Key, SessionPage | None] = Batcher(self._find_pages)

    async def create(self, items: Sequence[tuple[Call, CreateSession]]) -> list[Reply | Exception]:
        """Open sessions, each with its payment intent in the same commit."""
        return await answer_each(self._create, items)

    async def expire(self, items: Sequence[tuple[Call, str, ExpireSession]]) -> list[Reply | Exception]:
        """Close open sessions; their intents are canceled in the same commit."""
        return await answer_each(self._expire, items)

    async def page(self, session_id: str) -> SessionPage | None:
        """What the page of a session shows; None where there is no such session."""
        owner = session_key(session_id)
        return await self._pages.submit((*owner, session_id)) if owner is not None else None

    async def pay(
        self, session_id: str, card: CardEntry, *, save: bool = False, address: str | None = None
    ) -> PayResult:
        """Pay with the card that the shopper at `address` typed, and save it where the shopper says so and is asked.
        Sent twice, it pays once: the second finds the first under way."""
        at = self._clock.now()
        found = await self._admitted(session_id, address, at)
        if not isinstance(found, Admitted):
            return found
        intent, charge_id = found.page.intent, found.charge_id
        save = (save and found.page.session.saves_card) or intent.setup_future_usage is not None
        method = await self._typed.method(card, intent, at, save=save)
        if not isinstance(method, PaymentMethod):
            return method
        wait_s = await self._guard.admit(Try(intent.account_id, intent.livemode, method.fingerprint))
        if wait_s:
            return TooMany(wait_s)
        work = Work(key=_key_of(intent), tell=lambda _: inputs.Confirm(charge_id=charge_id, method=method))
        return _pay_result(await self._carrying.carry(work, card))

    async def _admitted(self, session_id: str, address: str | None, at: datetime) -> Admitted | NotOpen | TooMany:
        """A session that may be paid by the shopper at `address` now; the try is counted."""
        found = await self.page(session_id)
        if found is None or (found.session.status == "open" and found.session.expires_at <= at):
            return NotOpen("expired")
        intent = found.intent
        if found.session.status != "open" or (intent.livemode and self._acquirer.simulated):
            return NotOpen(found.session.status)
        charge_id = owned_id("ch", intent.account_id, at, self._entropy)
        tried = Try(intent.account_id, intent.livemode, address=address, charge=charge_id)
        wait_s = await self._guard.admit(tried)
        return TooMany(wait_s) if wait_s else Admitted(found, charge_id)

    async def pay_saved(self, session_id: str, method_id: str, *, address: str | None = None) -> PayResult:
        """Pay with a card that the session's customer has saved. Its security code is not asked for: it was never kept,
        and a bank that wants more than the card asks for it by 3DS."""
        at = self._clock.now()
        found = await self._admitted(session_id, address, at)
        if not isinstance(found, Admitted):
            return found
        page, charge_id = found.page, found.charge_id
        intent = page.intent
        if not any(card.id == method_id for card in page.saved):
            return NotOpen(page.session.status)
        # The card counts with the same number typed, whoever saved it.
        tried = await self._guard.tried_by_call(intent.account_id, intent.livemode, method=method_id)
        wait_s = await self._guard.admit(tried) if tried is not None else 0
        if wait_s:
            return TooMany(wait_s)

        def confirm(payment: Payment) -> inputs.Confirm | None:
            method = payment.method(method_id)  # as it is now, under the payment's lock
            if method is None or method.attached_at is None or method.customer != payment.intent.customer:
                return None
            return inputs.Confirm(charge_id=charge_id, method=method)

        work = Work(key=_key_of(intent), tell=confirm, methods=(method_id,))
        return _pay_result(await self._carrying.carry(work))

    async def challenge(self, charge_id: str) -> ChallengePage | None:
        """What the simulated bank's page shows; None where no 3DS challenge of that charge was begun."""
        row = await self._challenge_row(charge_id)
        bank = self._simulated_bank
        if row is None or bank is None:
            return None
        (asked,) = await bank.authentication_results([_authentication(row)])
        if not isinstance(asked, Done):
            return None
        embedded = row["ui_mode"] == "embedded_page"
        page = "embed" if embedded else "pay"
        returned = f"{self._pages_url}/{page}/{row['session']}/authenticated" if row["session"] else row["return_url"]
        return ChallengePage(
            state=asked.value,
            merchant=row["merchant"],
            amount=row["amount"],
            currency=row["currency"],
            brand=row["brand"],
            last4=row["last4"],
            return_url=returned,
            embedded=embedded,
            origins=tuple(row["origins"]),
        )

    async def answer_challenge(self, charge_id: str, result: str) -> None:
        """The shopper's answer (`succeeded`, `failed`, `canceled`) at the simulated bank; the first one counts.

        The bank then tells the gateway to ask; what this call brings is not believed (RULES §3)."""
        row = await self._challenge_row(charge_id)
        bank = self._simulated_bank
        if row is None or bank is None:
            return
        await bank.answer_challenge(_authentication(row), convert(result, AuthenticationState))
        await self._carrying.conclude_challenge(
            (row["account_id"], row["livemode"], row["payment_intent"]), charge_id, _authentication(row)
        )

    async def finish_challenge(self, session_id: str) -> None:
        """The shopper's browser is back: ask the bank's server what came of it. Twice changes nothing (RULES §3)."""
        found = await self.page(session_id)
        if found is None or found.intent.status != "requires_action":
            return
        key = _key_of(found.intent)
        for row in await self._database.rows(SQL.challenge_of_intent, *key):
            await self._carrying.conclude_challenge(key, row["id"], _authentication(row))

    async def _create(self, call: Call, sent: CreateSession) -> Outcome:
        at = self._clock.now()
        if sent.customer is not None:
            await self._customers.check(call.caller, sent.customer)
        opens = opened_session(call.caller, sent, at, self._entropy, ttl_min_s=self._ttl_min_s)
        work = Work(
            key=_key_of(opens.intent),
            opens=opens,
            tell=lambda _: None,
            call=call,
            answer=self._session,
            expand=tuple(sent.expand),
        )
        return await self._carrying.once(work)

    async def _expire(self, call: Call, id: str, sent: ExpireSession) -> Outcome:
        caller = call.caller
        rows = await self._database.rows(SQL.intents_of_sessions, [caller.account_id], [caller.livemode], [id])
        if not rows:
            raise errors.no_such("checkout.session", id, param="session")
        work = Work(
            key=(caller.account_id, caller.livemode, rows[0]["payment_intent"]),
            tell=lambda _: inputs.ExpireSession(),
            call=call,
            answer=self._session,
            expand=tuple(sent.expand),
        )
        return await self._carrying.once(work)

    def _session(self, outcome: Outcome) -> Json | errors.WireError:
        if outcome.refusal is not None:
            return answering.refused(outcome.payment, outcome.refusal)
        assert outcome.payment.session is not None, "the session is loaded with its intent"
        return checkout_objects.checkout_session(outcome.payment.session, self._pages_url)

    @property
    def _simulated_bank(self) -> SimulatedAcquirer | None:
        return self._acquirer if isinstance(self._acquirer, SimulatedAcquirer) else None

    async def _challenge_row(self, charge_id: str) -> Record | None:
        """Simulated challenges exist in test mode only (DESIGN §5)."""
        owner = owner_of(charge_id, "acct")
        if owner is None:
            return None
        rows = await self._database.rows(SQL.challenge_page, owner, False, charge_id)
        return rows[0] if rows else None

    async def _find_pages(self, keys: Sequence[Key]) -> list[SessionPage | None]:
        rows = await self._database.rows(
            SQL.session_pages, [key[0] for key in keys], [key[1] for key in keys], [key[2] for key in keys]
        )
        owners = sorted({(row["account_id"], row["livemode"], row["customer"]) for row in rows if row["customer"]})
        saved: dict[Key, list[SavedCard]] = {owner: [] for owner in owners}
        for card in await self._database.rows(SQL.saved_cards, *columns(3, owners)) if owners else ():
            fields = {field: card[field] for field in SavedCard.__struct_fields__}
            saved[card["account_id"], card["livemode"], card["customer"]].append(SavedCard(**fields))
        found = {(row["account_id"], row["livemode"], row["id"]): self._page_of(row, saved) for row in rows}
        return [found.get(key) for key in keys]

    def _page_of(self, row: Record, saved: Mapping[Key, Sequence[SavedCard]]) -> SessionPage:
        session = CheckoutSession(**{field: row[field] for field in CheckoutSession.__struct_fields__})
        fields: dict[str, Any] = {field: row[f"i_{field}"] for field in _INTENT_FIELDS}
        owner = (session.account_id, session.livemode)
        intent = PaymentIntent(account_id=owner[0], livemode=owner[1], id=row["payment_intent"], **fields)
        cards = saved.get((*owner, session.customer), ()) if session.customer is not None else ()
        at = self._clock.now()
        return SessionPage(
            session,
            intent,
            row["merchant"],
            tuple(row["origins"]),
            saved=tuple(card for card in cards if not expired(card.exp_month, card.exp_year, at))[:SAVED_SHOWN_MAX],
            can_save=self._typed.can_save and session.customer is not None,
        )


def _pay_result(outcome: Outcome) -> PayResult:
    payment = outcome.payment
    match payment.intent.status:
        case "succeeded" | "requires_capture" if outcome.refusal is None:
            return Paid()
        case "processing":
            return Processing()
        case "requires_action":
            url = _challenge_url(payment)
            return Challenge(url) if url is not None else Processing()
    if payment.session is None or payment.session.status != "open":
        last = _last_error(payment) if outcome.refusal is None else None
        return last or NotOpen(payment.session.status if payment.session is not None else "expired")
    return _last_error(payment) or NotOpen(payment.session.status)


def _challenge_url(payment: Payment) -> str | None:
    if payment.intent.next_action is None:
        return None
    url: str = msgspec.json.decode(payment.intent.next_action)["redirect_to_url"]["url"]
    return url


def _last_error(payment: Payment) -> Declined | None:
    if payment.intent.last_payment_error is None:
        return None
    error = msgspec.json.decode(payment.intent.last_payment_error)
    return Declined(error.get("decline_code") or error["code"], error["message"])


def _authentication(row: Record) -> Authentication:
    return Authentication(row["account_id"], row["authentication"])


def _key_of(intent: PaymentIntent) -> Key:
    return intent.account_id, intent.livemode, intent.id
