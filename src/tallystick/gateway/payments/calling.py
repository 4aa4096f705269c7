"""What was committed to be sent is asked of the acquirer; its outcome becomes an answer that the machine understands.

Nothing here touches the database: the row that says what is under way was committed before, the answer is committed
after.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from tallystick.gateway.acquirers import port
from tallystick.gateway.acquirers.port import CALL_DEADLINE_S, Acquirer
from tallystick.gateway.cards.pan import Cvc
from tallystick.gateway.payments import inputs
from tallystick.gateway.payments.payment import AcquirerRequest, Charge, Payment
from tallystick.kernel.identifiers import new_id
from tallystick.kernel.outcomes import Done, NotSent, Refused, Unknown
from tallystick.ports.clock import Clock
from tallystick.ports.entropy import Entropy

CAPTURE_WINDOW = timedelta(days=7)  # what card schemes let an authorisation stand (RULES §3)

Request = TypeVar("Request")
Outcome = TypeVar("Outcome")


class Calling:
    """Asks the acquirer. `pages_url` is where the shopper's browser comes back to from a bank's 3DS page."""

    def __init__(
        self,
        acquirer: Acquirer,
        clock: Clock,
        entropy: Entropy,
        *,
        pages_url: str,
        capture_window: timedelta = CAPTURE_WINDOW,
    ) -> None:
        self.acquirer = acquirer
        self._clock = clock
        self._entropy = entropy
        self._pages_url = pages_url
        self._capture_window = capture_window

    async def ask(self, payment: Payment, send: Charge | AcquirerRequest, code: Cvc | None) -> inputs.Answer:
        """What the acquirer says to what was committed. Ends in an answer whatever happens."""
        if isinstance(send, AcquirerRequest):
            return await self._request(payment, send)
        if send.state == "authenticating":
            return await self._begin_challenge(payment, send)
        return await self._charge(payment, send, code)

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

    async def _charge(self, payment: Payment, charge: Charge, code: Cvc | None) -> inputs.Answer:
        method = payment.method(charge.payment_method)
        assert method is not None, "a charge's card is loaded with it"
        authentication = charge.authentication
        request = port.ChargeRequest(
            account_id=charge.account_id,
            key=charge.acquirer_key,
            card_reference=method.card_reference,
            code=code,
            amount=charge.amount,
            currency=charge.currency,
            capture=charge.capture_method == "automatic",
            authentication=port.Authentication(charge.account_id, authentication) if authentication else None,
        )
        outcome = await _one(self.acquirer.charge, request)
        match outcome:
            case port.Approved(reference):
                now = self._clock.now()
                return inputs.Approved(
                    charge_id=charge.id,
                    reference=reference,
                    capture_before_at=self._capture_before(now),
                    request_id=new_id("acr", now, self._entropy),
                )
            case port.Declined(code=declined, decline_code=decline_code, message=message):
                return inputs.Declined(charge_id=charge.id, code=declined, decline_code=decline_code, message=message)
            case NotSent():
                return inputs.ChargeNotSent(charge_id=charge.id)
            case Unknown():
                return inputs.OutcomeUnknown(charge_id=charge.id)

    async def _begin_challenge(self, payment: Payment, charge: Charge) -> inputs.Answer:
        method = payment.method(charge.payment_method)
        assert method is not None, "a charge's card is loaded with it"
        request = port.AuthenticationRequest(
            account_id=charge.account_id,
            charge=charge.id,
            card_reference=method.card_reference,
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
        assert charge.acquirer_reference is not None, "only what was approved is captured or voided"
        if request.kind == "capture":
            capture = port.CaptureRequest(
                account_id=request.account_id,
                key=request.id,
                charge_reference=charge.acquirer_reference,
                amount=request.amount,
                currency=charge.currency,
                final=request.final,
            )
            outcome = await _one(self.acquirer.capture, capture)
        else:
            void = port.VoidRequest(
                account_id=request.account_id,
                key=request.id,
                charge_reference=charge.acquirer_reference,
                amount=request.amount,
                currency=charge.currency,
            )
            outcome = await _one(self.acquirer.void, void)
        match outcome:
            case Done(reference):
                done = inputs.Captured if request.kind == "capture" else inputs.Voided
                return done(request_id=request.id, reference=reference)
            case Refused(code):
                return inputs.RequestRefused(request_id=request.id, refusal=code)
            case NotSent():
                return inputs.RequestNotSent(request_id=request.id)
            case Unknown():
                return inputs.RequestUnknown(request_id=request.id)

    def _capture_before(self, at: datetime) -> datetime:
        return at + self._capture_window

    def _return_url(self, payment: Payment) -> str | None:
        session = payment.session
        if session is None:
            return payment.intent.return_url
        page = "embed" if session.ui_mode == "embedded_page" else "pay"
        return f"{self._pages_url}/{page}/{session.id}/authenticated"


async def _one(
    call: Callable[[Sequence[Request]], Awaitable[Sequence[Outcome]]], request: Request
) -> Outcome | Unknown:
    """One request, within the deadline."""
    try:
        async with asyncio.timeout(CALL_DEADLINE_S):
            (outcome,) = await call([request])
    except TimeoutError:
        return Unknown("deadline passed")
    return outcome
