"""The simulated acquirer: a bank that knows the test cards and nothing else (RULES §9). Serves test mode only.

Most cards are answered by the card alone, so the same key gets the same answer without any memory. 3DS challenges, and
requests whose answer depends on more than the card, stand in tables that play the bank's database
(`simulated_memory.py`). Where nothing is remembered of a request, an inquiry finds that it arrived.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from tallystick.gateway.acquirers.port import (
    AcceptedCard,
    Approved,
    Authentication,
    AuthenticationOutcome,
    AuthenticationRequest,
    AuthenticationState,
    CaptureRequest,
    CardRefused,
    Challenge,
    ChallengeOutcome,
    ChargeInquiry,
    ChargeOutcome,
    ChargeRequest,
    Contest,
    Declined,
    MoneyRequest,
    NotFound,
    Notice,
    RefundRequest,
    RequestInquiry,
    RequestOutcome,
    Reversal,
    VoidRequest,
)
from tallystick.gateway.acquirers.simulated_answers import (
    NO_SUCH_CARD,
    amount_approved,
    answer_of_card,
    card_behind,
    charge_operation,
    charge_outcome,
    key_of,
    reference_of,
    request_operation,
    verdict,
)
from tallystick.gateway.acquirers.simulated_cards import (
    BY_TOKEN,
    SimulatedCard,
    card_of_number,
)
from tallystick.gateway.acquirers.simulated_memory import (
    BankMemory,
    Key,
    charge_answer,
    request_answer,
)
from tallystick.gateway.cards.brands import code_digits
from tallystick.gateway.cards.pan import CardEntry, Pan, plausible_expiry
from tallystick.kernel.outcomes import Done, NotSent, Refused, Unknown
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, DatabaseError, Statements

SQL = Statements.beside(__file__)

DELAY_S = 0.05  # a bank takes longer; enough to see that the page waits
TIMEOUT_S = 2.0  # a bank that does not answer is given up earlier than a real one would be: developers wait for it
PROCESSING_S_MAX = 120.0  # what this bank declares; an inquiry comes at 5 min
TOKEN_EXP_MONTH = 12
TOKEN_YEARS_AHEAD = 4

_NOT_A_TEST_CARD = "This page is in test mode and takes test card numbers only, such as 4242 4242 4242 4242."
_EXPIRY = "Your card's expiration date is in the past, or too far in the future."
_CODE = "Your card's security code is incomplete."


class SimulatedAcquirer:
    """Stands for the bank. `pages_url` is where its 3DS page is served; `fingerprint_key` keys card fingerprints.

    `timeout_s` is how long it lets wait whom it does not answer. One that `remembers` everything knows which requests
    never reached it; it costs a commit for each.
    """

    simulated = True
    processing_s_max = PROCESSING_S_MAX

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        pages_url: str,
        fingerprint_key: bytes,
        delay_s: float = DELAY_S,
        timeout_s: float = TIMEOUT_S,
        remembers: bool = False,
        private_range: str = "",
    ) -> None:
        self._database = database
        self._memory = BankMemory(database)
        self._clock = clock
        self._pages_url = pages_url
        self._fingerprint_key = fingerprint_key
        self._delay_s = delay_s
        self._timeout_s = timeout_s
        self._remembers = remembers
        self._private_range = private_range

    async def accept(self, entries: Sequence[CardEntry], at: datetime) -> list[AcceptedCard | CardRefused]:
        return [self._accept(entry, at) for entry in entries]

    def accept_token(self, token: str, at: datetime) -> AcceptedCard | None:
        card = BY_TOKEN.get(token)
        return self._accepted(card, TOKEN_EXP_MONTH, at.year + TOKEN_YEARS_AHEAD) if card is not None else None

    async def charge(self, requests: Sequence[ChargeRequest]) -> list[ChargeOutcome]:
        await self._take_a_while()
        asked = [request.authentication for request in requests if request.authentication is not None]
        try:
            states = await self._states(asked) if asked else {}
        except DatabaseError as error:
            return [NotSent(type(error).__name__) for _ in requests]
        try:
            remembered = await self._charged(
                [(one, self._charge_answer(one, states)) for one in requests if self._has_memory(one)]
            )
        except DatabaseError as error:
            return [Unknown(type(error).__name__) for _ in requests]
        if any(isinstance(outcome, Unknown) for outcome in remembered.values()) and self._timeout_s > 0:
            await self._clock.sleep(self._timeout_s)
        return [remembered.get(key_of(request)) or self._charge_answer(request, states) for request in requests]

    async def capture(self, requests: Sequence[CaptureRequest]) -> list[RequestOutcome]:
        outcomes = await self._do(requests)
        captured = [(one.account_id, one.charge_reference) for one in requests]
        try:
            await self._memory.captured(captured, self._clock.now())
        except DatabaseError as error:
            return [Unknown(type(error).__name__) for _ in requests]
        return outcomes

    async def void(self, requests: Sequence[VoidRequest]) -> list[RequestOutcome]:
        return await self._do(requests)

    async def refund(self, requests: Sequence[RefundRequest]) -> list[RequestOutcome]:
        return await self._do(requests)

    async def inquire_charges(self, requests: Sequence[ChargeRequest]) -> list[ChargeInquiry]:
        asked = [request.authentication for request in requests if request.authentication is not None]
        try:
            known = await self._memory.known([key_of(request) for request in requests])
            states = await self._states(asked) if asked else {}
        except DatabaseError as error:
            return [NotSent(type(error).__name__) for _ in requests]
        at = self._clock.now()
        return [
            charge_answer(known[key_of(request)], at, amount_approved(request))
            if key_of(request) in known
            else NotFound()
            if self._has_memory(request)
            else answer_of_card(request, states)
            for request in requests
        ]

    async def inquire_requests(self, requests: Sequence[MoneyRequest]) -> list[RequestInquiry]:
        try:
            known = await self._memory.known([key_of(request) for request in requests])
        except DatabaseError as error:
            return [NotSent(type(error).__name__) for _ in requests]
        at = self._clock.now()
        return [
            request_answer(known[key_of(request)], at)
            if key_of(request) in known
            else NotFound()
            if self._has_memory(request)
            else Done(reference_of(request))
            for request in requests
        ]

    async def reverse(self, reversals: Sequence[Reversal]) -> list[RequestOutcome]:
        try:
            await self._memory.reverse(reversals, self._clock.now())
        except DatabaseError as error:
            return [Unknown(type(error).__name__) for _ in reversals]
        return [Done(f"simrev_{reversal.key}") for reversal in reversals]

    async def notices(self, at: datetime, items_max: int) -> list[Notice]:
        return await self._memory.notices(at, items_max)

    async def acknowledge(self, notices: Sequence[Notice], at: datetime) -> None:
        await self._memory.acknowledge(notices)

    async def lose(self, requests: Sequence[ChargeRequest | MoneyRequest]) -> None:
        """These never arrived: a fault on demand took them on their way. Raises DatabaseError."""
        await self._note(requests, lost=True)

    async def decline(self, requests: Sequence[ChargeRequest | MoneyRequest], no: Declined | Refused) -> None:
        """These arrived, and the answer is no, on demand. Raises DatabaseError."""
        said = no if isinstance(no, Declined) else Declined(no.code, no.code, no.message)
        await self._note(requests, declined=said)

    async def _note(self, requests: Sequence[ChargeRequest | MoneyRequest], **changes: Any) -> None:
        at = self._clock.now()
        operations = [
            charge_operation(request, Approved(""), at)
            if isinstance(request, ChargeRequest)
            else request_operation(request, at)
            for request in requests
        ]
        fate = {"known_at": at, "comes_late": False, "tells": None, "tells_at": None, **changes}
        await self._memory.take([replace(operation, **fate) for operation in operations], at)

    async def contest(self, contests: Sequence[Contest]) -> list[RequestOutcome]:
        decided = [(one, won) for one in contests if (won := verdict(one.evidence)) is not None]
        try:
            await self._memory.contest(decided, self._clock.now())
        except DatabaseError as error:
            return [Unknown(type(error).__name__) for _ in contests]
        return [Done(one.reference) for one in contests]

    async def begin_authentication(self, requests: Sequence[AuthenticationRequest]) -> list[ChallengeOutcome]:
        await self._take_a_while()
        references = [f"sim3ds_{request.charge}" for request in requests]
        try:
            await self._database.execute(
                SQL.begin_authentications,
                [request.account_id for request in requests],
                references,
                [request.charge for request in requests],
                self._clock.now(),
            )
        except DatabaseError as error:
            return [Unknown(type(error).__name__) for _ in requests]
        return [
            Done(Challenge(reference, f"{self._pages_url}/acs/{request.charge}"))
            for reference, request in zip(references, requests, strict=True)
        ]

    async def authentication_results(self, wanted: Sequence[Authentication]) -> list[AuthenticationOutcome]:
        try:
            states = await self._states(wanted)
        except DatabaseError as error:
            return [NotSent(type(error).__name__) for _ in wanted]
        return [
            Done(states[authentication]) if authentication in states else Unknown("no such challenge")
            for authentication in wanted
        ]

    async def answer_challenge(self, authentication: Authentication, result: AuthenticationState) -> bool:
        """What the shopper chose on the bank's page. The first answer counts; whether this was it."""
        assert result != "pending"
        touched = await self._database.execute(
            SQL.answer_authentication, authentication.account_id, authentication.reference, result
        )
        return touched == 1

    def _accept(self, entry: CardEntry, at: datetime) -> AcceptedCard | CardRefused:
        card = card_of_number(entry.number.reveal(), self._private_range)
        if card is None:
            return CardRefused("cc-number", _NOT_A_TEST_CARD)
        if not plausible_expiry(entry.exp_month, entry.exp_year, at):
            return CardRefused("cc-exp", _EXPIRY)
        if entry.code is not None and len(entry.code.reveal()) != code_digits(entry.number.brand):
            return CardRefused("cc-csc", _CODE)
        return self._accepted(card, entry.exp_month, entry.exp_year, entry.number)

    def _charge_answer(
        self, request: ChargeRequest, states: Mapping[Authentication, AuthenticationState]
    ) -> Approved | Declined:
        """What the card says, once the bank has seen that the number that it is shown is that card's."""
        card = card_behind(request.card_reference)
        if request.number is not None:
            fits = card is not None and card is card_of_number(request.number.reveal(), self._private_range)
        else:
            fits = card is not None and bool(card.number)  # of a private range it knows no number by itself
        return answer_of_card(request, states) if fits else NO_SUCH_CARD

    def _accepted(self, card: SimulatedCard, exp_month: int, exp_year: int, number: Pan | None = None) -> AcceptedCard:
        number = number or Pan(card.number)
        return AcceptedCard(
            card_reference=f"sim_{card.alias}",
            brand=number.brand,
            first6=number.first6,
            last4=number.last4,
            exp_month=exp_month,
            exp_year=exp_year,
            fingerprint=number.fingerprint(self._fingerprint_key),
            authentication_required=card.authentication,
        )

    def _has_memory(self, request: ChargeRequest | MoneyRequest) -> bool:
        """Whether the answer depends on more than the card."""
        if self._remembers:
            return True
        card = card_behind(request.card_reference) if isinstance(request, ChargeRequest | RefundRequest) else None
        bounces = isinstance(request, RefundRequest)
        return card is not None and card.script is not None and (card.script == "refund_bounces") == bounces

    async def _charged(self, asked: Sequence[tuple[ChargeRequest, Approved | Declined]]) -> dict[Key, ChargeOutcome]:
        """What the bank answers to charges that it remembers. Raises DatabaseError."""
        if not asked:
            return {}
        at = self._clock.now()
        new = await self._memory.take([charge_operation(request, answer, at) for request, answer in asked], at)
        known = await self._memory.known([key_of(request) for request, _ in asked])
        return {
            key: charge_outcome(request, known[key], key in new, at) for request, _ in asked if (key := key_of(request))
        }

    async def _do(self, requests: Sequence[MoneyRequest]) -> list[RequestOutcome]:
        """Captures, voids and refunds: the bank does them all."""
        await self._take_a_while()
        at = self._clock.now()
        remembered = [request for request in requests if self._has_memory(request)]
        if remembered:
            try:
                await self._memory.take([request_operation(request, at) for request in remembered], at)
            except DatabaseError as error:
                return [Unknown(type(error).__name__) for _ in requests]
        return [Done(reference_of(request)) for request in requests]

    async def _take_a_while(self) -> None:
        if self._delay_s > 0:
            await self._clock.sleep(self._delay_s)

    async def _states(self, wanted: Sequence[Authentication]) -> dict[Authentication, AuthenticationState]:
        rows = await self._database.rows(
            SQL.authentication_states, [one.account_id for one in wanted], [one.reference for one in wanted]
        )
        return {Authentication(row["account_id"], row["reference"]): row["state"] for row in rows}
