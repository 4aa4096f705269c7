"""What was committed to be sent is asked of the acquirer; its outcome becomes an answer that the machine understands.

Nothing here touches the database: the row that says what is under way was committed before, the answer is committed
after.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import TypeVar

from tallystick.gateway.acquirers import port
from tallystick.gateway.acquirers.port import CALL_DEADLINE_S, Acquirer
from tallystick.gateway.cards.pan import CardEntry, Pan, expired
from tallystick.gateway.payments import inputs
from tallystick.gateway.payments.payment import AcquirerRequest, Charge, Payment, PaymentMethod
from tallystick.gateway.vault.vault import Vault
from tallystick.kernel.identifiers import new_id
from tallystick.kernel.outcomes import Done, NotSent, Refused, Unknown
from tallystick.ports.clock import Clock
from tallystick.ports.database import DatabaseError
from tallystick.ports.entropy import Entropy
from tallystick.ports.key_encryption import KeyEncryptionError
from tallystick.ports.metrics import CHARGES

log = logging.getLogger(__name__)

VAULT_DEADLINE_S = 8.0  # to read a number and to have its key unwrapped; the charge's own deadline comes on top of it
_EXPIRED = "Your card has expired."
_NOT_KEPT = "This card is no longer on file. Please use another card."
CAPTURE_WINDOW = timedelta(days=7)  # what card schemes let an authorisation stand (RULES §3)

_OUTCOMES: Mapping[type, str] = {
    port.Approved: "approved",
    port.Declined: "declined",
    NotSent: "not_sent",
    Unknown: "unknown",
}

Request = TypeVar("Request")
Outcome = TypeVar("Outcome")


class Calling:
    """Asks the acquirer. `pages_url` is where the shopper's browser comes back to from a bank's 3DS page; out of the
    `vault` come numbers that are not typed now."""

    def __init__(
        self,
        acquirer: Acquirer,
        clock: Clock,
        entropy: Entropy,
        *,
        pages_url: str,
        vault: Vault | None = None,
    ) -> None:
        self.acquirer = acquirer
        self._clock = clock
        self._entropy = entropy
        self._pages_url = pages_url
        self._vault = vault

    async def ask(self, payment: Payment, send: Charge | AcquirerRequest, card: CardEntry | None) -> inputs.Answer:
        """What the acquirer says to what was committed. Ends in an answer whatever happens. `card`: as just typed."""
        if isinstance(send, AcquirerRequest):
            return await self._request(payment, send)
        if send.state == "authenticating":
            return await self._begin_challenge(payment, send)
        return await self._charge(payment, send, card)

    async def ask_challenge(self, charge_id: str, challenge: port.Authentication) -> inputs.Answer | None:
        """What came of a 3DS challenge, asked server to server; None while that is open or cannot be learnt."""
        outcome = await _one(self.acquirer.authentication_results, challenge)
        match outcome:
            case Done("succeeded"):
                return inputs.Authenticated(charge_id=charge_id)
            case Done("failed" | "canceled"):
                return inputs.NotAuthenticated(charge_id=charge_id)
            case _:
                return None

    async def inquire_charges(self, asked: Sequence[tuple[Charge, str]]) -> list[port.ChargeInquiry]:
        """What became of charges, each with the reference of its card. Nothing is done by asking."""
        requests = [charge_request(charge, card_reference) for charge, card_reference in asked]
        return await _all(self.acquirer.inquire_charges, requests)

    async def inquire_requests(self, asked: Sequence[port.MoneyRequest]) -> list[port.RequestInquiry]:
        """What became of captures, voids and refunds. Nothing is done by asking."""
        return await _all(self.acquirer.inquire_requests, asked)

    async def reverse(self, charge: Charge) -> bool:
        """Have the acquirer undo what may have been charged under this key, and close it; whether it confirms that."""
        outcome = await _one(self.acquirer.reverse, port.Reversal(charge.account_id, charge.acquirer_key))
        return isinstance(outcome, Done)

    async def repeat(self, request: AcquirerRequest, money: port.MoneyRequest) -> inputs.Answer:
        """A capture, void or refund once more, under the same key."""
        return self.answer_of_request(request, await self._send(money))

    def answer_of_charge(self, charge_id: str, outcome: port.ChargeOutcome) -> inputs.Answer:
        """What the payment is told of a charge's outcome."""
        match outcome:
            case port.Approved(reference, amount):
                now = self._clock.now()
                return inputs.Approved(
                    charge_id=charge_id,
                    reference=reference,
                    capture_before_at=now + CAPTURE_WINDOW,
                    request_id=new_id("acr", now, self._entropy),
                    amount=amount,
                )
            case port.Declined(code=declined, decline_code=decline_code, message=message):
                return inputs.Declined(charge_id=charge_id, code=declined, decline_code=decline_code, message=message)
            case NotSent():
                return inputs.ChargeNotSent(charge_id=charge_id)
            case Unknown():
                return inputs.OutcomeUnknown(charge_id=charge_id)

    def answer_of_request(self, request: AcquirerRequest, outcome: port.RequestOutcome) -> inputs.Answer:
        """What the payment is told of the outcome of a capture, void or refund."""
        match outcome:
            case Done(reference) if request.kind == "refund":
                refund_id = new_id("re", self._clock.now(), self._entropy)
                return inputs.Refunded(request_id=request.id, reference=reference, refund_id=refund_id)
            case Done(reference):
                return _DONE[request.kind](request_id=request.id, reference=reference)
            case Refused(code):
                follow_id = new_id("acr", self._clock.now(), self._entropy)
                return inputs.RequestRefused(request_id=request.id, refusal=code, follow_id=follow_id)
            case NotSent():
                return inputs.RequestNotSent(request_id=request.id)
            case Unknown():
                return inputs.RequestUnknown(request_id=request.id)

    def learnt_of_charge(self, charge_id: str, inquiry: port.ChargeInquiry) -> inputs.Answer | None:
        """What an inquiry settles; None where it settles nothing."""
        return self.answer_of_charge(charge_id, inquiry) if isinstance(inquiry, port.Approved | port.Declined) else None

    def learnt_of_request(self, request: AcquirerRequest, inquiry: port.RequestInquiry) -> inputs.Answer | None:
        """What an inquiry settles; None where it settles nothing."""
        return self.answer_of_request(request, inquiry) if isinstance(inquiry, Done | Refused) else None

    def refunded(self, notice: port.Notice) -> inputs.Refunded:
        """What the payment is told of a refund that was done although it was taken for failed."""
        refund_id = new_id("re", self._clock.now(), self._entropy)
        return inputs.Refunded(request_id=notice.key, reference=notice.reference, refund_id=refund_id)

    def returned(self, notice: port.Notice) -> inputs.RefundReturned:
        """What the payment is told of a refund that came back."""
        refund_id = new_id("re", self._clock.now(), self._entropy)
        return inputs.RefundReturned(
            request_id=notice.key, reason=notice.reason, reference=notice.reference, refund_id=refund_id
        )

    def disputed(self, charge_id: str, notice: port.Notice) -> inputs.DisputeOpened | inputs.DisputeEnded:
        """What the payment is told of a dispute."""
        if notice.kind != "disputed":
            return inputs.DisputeEnded(reference=notice.reference, won=notice.kind == "dispute_won")
        return inputs.DisputeOpened(
            charge_id=charge_id,
            dispute_id=new_id("dp", self._clock.now(), self._entropy),
            reference=notice.reference,
            reason=notice.reason or "general",
            amount=notice.amount,
        )

    async def contest(self, contests: Sequence[port.Contest]) -> list[port.RequestOutcome]:
        """Give the cardholders' banks evidence."""
        return await _all(self.acquirer.contest, contests)

    async def _charge(self, payment: Payment, charge: Charge, card: CardEntry | None) -> inputs.Answer:
        method = _method_of(payment, charge)
        number = card.number if card is not None else None
        if number is None and method.vault_token is not None:
            kept = await self._kept_number(charge, method, method.vault_token)
            if not isinstance(kept, Pan):
                return kept
            number = kept
        request = charge_request(charge, method.card_reference, card, number)
        outcome = await _one(self.acquirer.charge, request)
        CHARGES.labels(_OUTCOMES[type(outcome)]).inc()
        return self.answer_of_charge(charge.id, outcome)

    async def _kept_number(self, charge: Charge, method: PaymentMethod, token: str) -> Pan | inputs.Answer:
        """The number out of the vault. Where that does not open, nothing is sent; what was shredded is declined."""
        if self._vault is None:
            log.error("a card of the vault is to be charged, and there is no vault: set a key-encryption key")
            return inputs.ChargeNotSent(charge_id=charge.id)
        try:
            async with asyncio.timeout(VAULT_DEADLINE_S):
                number = await self._vault.open_one((charge.account_id, charge.livemode, token))
        except (KeyEncryptionError, DatabaseError, TimeoutError) as error:
            log.error("the vault does not open for charge %s: %s", charge.id, type(error).__name__)
            return inputs.ChargeNotSent(charge_id=charge.id)
        if number is not None:
            return number
        if expired(method.exp_month, method.exp_year, self._clock.now()):
            return inputs.Declined(
                charge_id=charge.id, code="expired_card", decline_code="expired_card", message=_EXPIRED
            )
        return inputs.Declined(
            charge_id=charge.id, code="card_declined", decline_code="invalid_account", message=_NOT_KEPT
        )

    async def _begin_challenge(self, payment: Payment, charge: Charge) -> inputs.Answer:
        request = port.AuthenticationRequest(
            account_id=charge.account_id,
            charge=charge.id,
            card_reference=_method_of(payment, charge).card_reference,
            amount=charge.amount,
            currency=charge.currency,
        )
        outcome = await _one(self.acquirer.begin_authentication, request)
        match outcome:
            case Done(challenge):
                return inputs.ChallengeBegun(
                    charge_id=charge.id,
                    reference=challenge.reference,
                    url=challenge.url,
                    return_url=self._return_url(payment),
                )
            case Refused():
                return inputs.NotAuthenticated(charge_id=charge.id)
            case _:
                # No money can move by a challenge, so one that may or may not exist is simply given up.
                return inputs.ChargeNotSent(charge_id=charge.id)

    async def _request(self, payment: Payment, request: AcquirerRequest) -> inputs.Answer:
        charge = payment.charge(request.charge)
        assert charge is not None, "a request's charge is loaded with it"
        money = money_request(
            request,
            charge_reference=charge.acquirer_reference,
            currency=charge.currency,
            card_reference=_method_of(payment, charge).card_reference,
        )
        return self.answer_of_request(request, await self._send(money))

    async def _send(self, money: port.MoneyRequest) -> port.RequestOutcome:
        match money:
            case port.CaptureRequest():
                return await _one(self.acquirer.capture, money)
            case port.VoidRequest():
                return await _one(self.acquirer.void, money)
            case port.RefundRequest():
                return await _one(self.acquirer.refund, money)

    def _return_url(self, payment: Payment) -> str | None:
        session = payment.session
        if session is None:
            return payment.intent.return_url
        page = "embed" if session.ui_mode == "embedded_page" else "pay"
        return f"{self._pages_url}/{page}/{session.id}/authenticated"


def charge_request(
    charge: Charge, card_reference: str, card: CardEntry | None = None, number: Pan | None = None
) -> port.ChargeRequest:
    """The charge as the acquirer is asked for it, or asked about it: then without a number."""
    authentication = charge.authentication
    return port.ChargeRequest(
        account_id=charge.account_id,
        key=charge.acquirer_key,
        card_reference=card_reference,
        code=card.code if card is not None else None,
        number=number,
        amount=charge.amount,
        currency=charge.currency,
        capture=charge.capture_method == "automatic",
        authentication=port.Authentication(charge.account_id, authentication) if authentication else None,
    )


def money_request(
    request: AcquirerRequest, *, charge_reference: str | None, currency: str, card_reference: str
) -> port.MoneyRequest:
    """The capture, void or refund as the acquirer is asked for it, or asked about it."""
    assert charge_reference is not None, "only what was approved is captured, voided or refunded"
    account_id, key, amount = request.account_id, request.id, request.amount
    match request.kind:
        case "capture":
            return port.CaptureRequest(
                account_id=account_id,
                key=key,
                charge_reference=charge_reference,
                amount=amount,
                currency=currency,
                final=request.final,
            )
        case "void":
            return port.VoidRequest(
                account_id=account_id, key=key, charge_reference=charge_reference, amount=amount, currency=currency
            )
        case "refund":
            return port.RefundRequest(
                account_id=account_id,
                key=key,
                charge_reference=charge_reference,
                card_reference=card_reference,
                amount=amount,
                currency=currency,
            )
    raise AssertionError(request.kind)


_DONE: Mapping[str, type[inputs.Captured | inputs.Voided]] = {"capture": inputs.Captured, "void": inputs.Voided}


def _method_of(payment: Payment, charge: Charge) -> PaymentMethod:
    method = payment.method(charge.payment_method)
    assert method is not None, "a charge's card is loaded with it"
    return method


async def _one(
    call: Callable[[Sequence[Request]], Awaitable[Sequence[Outcome]]], request: Request
) -> Outcome | Unknown:
    """One request, within the deadline."""
    (outcome,) = await _all(call, [request])
    return outcome


async def _all(
    call: Callable[[Sequence[Request]], Awaitable[Sequence[Outcome]]], requests: Sequence[Request]
) -> list[Outcome | Unknown]:
    """Requests that travel together, within the deadline by the loop's own clock (the simulation's is virtual)."""
    if not requests:
        return []
    try:
        async with asyncio.timeout(CALL_DEADLINE_S):
            outcomes = await call(requests)
    except TimeoutError:
        return [Unknown("deadline passed") for _ in requests]
    assert len(outcomes) == len(requests), "every request has an outcome"
    return list(outcomes)
