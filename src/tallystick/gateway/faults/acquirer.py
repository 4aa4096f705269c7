"""The simulated bank behind a bad line: calls that move money are struck on their way, inquiries are not."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from tallystick.gateway.acquirers.port import (
    AcceptedCard,
    Authentication,
    AuthenticationOutcome,
    AuthenticationRequest,
    CaptureRequest,
    CardRefused,
    ChallengeOutcome,
    ChargeInquiry,
    ChargeOutcome,
    ChargeRequest,
    Contest,
    Declined,
    MoneyRequest,
    Notice,
    RefundRequest,
    RequestInquiry,
    RequestOutcome,
    Reversal,
    VoidRequest,
)
from tallystick.gateway.acquirers.simulated import SimulatedAcquirer
from tallystick.gateway.cards.pan import CardEntry
from tallystick.gateway.faults.faults import ACQUIRER, Fault, Faults
from tallystick.kernel.outcomes import NotSent, Refused, Unknown
from tallystick.ports.clock import Clock
from tallystick.ports.database import DatabaseError

Request = TypeVar("Request", bound=ChargeRequest | CaptureRequest | VoidRequest | RefundRequest)

DECLINED = Declined("card_declined", "generic_decline", "Your card was declined.")
REFUSED = Refused("declined", "The bank declined.")


class FaultyAcquirer:
    """The simulated acquirer as its callers reach it."""

    def __init__(self, bank: SimulatedAcquirer, faults: Faults, clock: Clock) -> None:
        self._bank = bank
        self._faults = faults
        self._clock = clock

    @property
    def simulated(self) -> bool:
        return self._bank.simulated

    @property
    def processing_s_max(self) -> float:
        return self._bank.processing_s_max

    async def charge(self, requests: Sequence[ChargeRequest]) -> list[ChargeOutcome]:
        return await self._carry(requests, self._bank.charge, DECLINED)

    async def capture(self, requests: Sequence[CaptureRequest]) -> list[RequestOutcome]:
        return await self._carry(requests, self._bank.capture, REFUSED)

    async def void(self, requests: Sequence[VoidRequest]) -> list[RequestOutcome]:
        return await self._carry(requests, self._bank.void, REFUSED)

    async def refund(self, requests: Sequence[RefundRequest]) -> list[RequestOutcome]:
        return await self._carry(requests, self._bank.refund, REFUSED)

    async def _carry(
        self, requests: Sequence[Request], call: Callable[[Sequence[Request]], Awaitable[Any]], no: Declined | Refused
    ) -> list[Any]:
        """Requests that no fault strikes go together; the others each have their own fate."""
        struck = [await self._faults.strike(ACQUIRER, request.account_id) for request in requests]
        well = [request for request, fault in zip(requests, struck, strict=True) if fault is None]
        outcomes = iter(await call(well) if well else [])
        return [
            next(outcomes) if fault is None else await self._strike(fault, request, call, no)
            for request, fault in zip(requests, struck, strict=True)
        ]

    async def _strike(
        self,
        fault: Fault,
        request: Request,
        call: Callable[[Sequence[Request]], Awaitable[Any]],
        no: Declined | Refused,
    ) -> Any:
        try:
            match fault.kind:
                case "refuse_connection":
                    return NotSent("a fault on demand: connection refused")
                case "timeout":
                    await self._bank.lose([request])
                    return Unknown("a fault on demand: the request was lost")
                case "decline":
                    await self._bank.decline([request], no)
                    return no
        except DatabaseError as error:
            return Unknown(type(error).__name__)
        (outcome,) = await call([request])
        if fault.kind == "slow":
            await self._clock.sleep(fault.wait_s)
            return outcome
        return Unknown("a fault on demand: the answer was dropped")

    async def accept(self, entries: Sequence[CardEntry], at: datetime) -> list[AcceptedCard | CardRefused]:
        return await self._bank.accept(entries, at)

    def accept_token(self, token: str, at: datetime) -> AcceptedCard | None:
        return self._bank.accept_token(token, at)

    async def inquire_charges(self, requests: Sequence[ChargeRequest]) -> list[ChargeInquiry]:
        return await self._bank.inquire_charges(requests)

    async def inquire_requests(self, requests: Sequence[MoneyRequest]) -> list[RequestInquiry]:
        return await self._bank.inquire_requests(requests)

    async def reverse(self, reversals: Sequence[Reversal]) -> list[RequestOutcome]:
        return await self._bank.reverse(reversals)

    async def notices(self, at: datetime, items_max: int) -> list[Notice]:
        return await self._bank.notices(at, items_max)

    async def acknowledge(self, notices: Sequence[Notice], at: datetime) -> None:
        await self._bank.acknowledge(notices, at)

    async def contest(self, contests: Sequence[Contest]) -> list[RequestOutcome]:
        return await self._bank.contest(contests)

    async def begin_authentication(self, requests: Sequence[AuthenticationRequest]) -> list[ChallengeOutcome]:
        return await self._bank.begin_authentication(requests)

    async def authentication_results(self, wanted: Sequence[Authentication]) -> list[AuthenticationOutcome]:
        return await self._bank.authentication_results(wanted)
