"""The simulated acquirer: a bank that knows the test cards and nothing else (RULES §9). Serves test mode only.

It answers by the card alone, so the same key gets the same answer without any memory; only 3DS challenges have a state,
which stands in a table that plays the bank's database. Its faults, time-outs and late approvals come with the sandbox's
faults on demand; whoever calls it is ready for them already, since every outcome of the port is handled.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

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
    ChargeOutcome,
    ChargeRequest,
    Declined,
    RequestOutcome,
    VoidRequest,
)
from tallystick.gateway.acquirers.simulated_cards import BY_ALIAS, BY_NUMBER, BY_TOKEN, NOT_AUTHENTICATED, SimulatedCard
from tallystick.gateway.cards.brands import code_digits
from tallystick.gateway.cards.pan import CardEntry, Pan, plausible_expiry
from tallystick.kernel.outcomes import Done, NotSent, Unknown
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, DatabaseError, Statements

SQL = Statements.beside(__file__)

DELAY_S = 0.05  # a bank takes longer; enough to see that the page waits
TOKEN_EXP_MONTH = 12
TOKEN_YEARS_AHEAD = 4

_NOT_A_TEST_CARD = "This page is in test mode and takes test card numbers only, such as 4242 4242 4242 4242."
_EXPIRY = "Your card's expiration date is in the past, or too far in the future."
_CODE = "Your card's security code is incomplete."


class SimulatedAcquirer:
    """Stands for the bank. `pages_url` is where its 3DS page is served; `fingerprint_key` keys card fingerprints."""

    simulated = True

    def __init__(
        self, database: Database, clock: Clock, *, pages_url: str, fingerprint_key: bytes, delay_s: float = DELAY_S
    ) -> None:
        self._database = database
        self._clock = clock
        self._pages_url = pages_url
        self._fingerprint_key = fingerprint_key
        self._delay_s = delay_s

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
        return [_answer(request, states) for request in requests]

    async def capture(self, requests: Sequence[CaptureRequest]) -> list[RequestOutcome]:
        await self._take_a_while()
        return [Done(f"simcap_{request.key}") for request in requests]

    async def void(self, requests: Sequence[VoidRequest]) -> list[RequestOutcome]:
        await self._take_a_while()
        return [Done(f"simvoid_{request.key}") for request in requests]

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
        card = BY_NUMBER.get(entry.number.reveal())
        if card is None:
            return CardRefused("cc-number", _NOT_A_TEST_CARD)
        if not plausible_expiry(entry.exp_month, entry.exp_year, at):
            return CardRefused("cc-exp", _EXPIRY)
        if entry.code is not None and len(entry.code.reveal()) != code_digits(entry.number.brand):
            return CardRefused("cc-csc", _CODE)
        return self._accepted(card, entry.exp_month, entry.exp_year)

    def _accepted(self, card: SimulatedCard, exp_month: int, exp_year: int) -> AcceptedCard:
        number = Pan(card.number)
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

    async def _take_a_while(self) -> None:
        if self._delay_s > 0:
            await self._clock.sleep(self._delay_s)

    async def _states(self, wanted: Sequence[Authentication]) -> dict[Authentication, AuthenticationState]:
        rows = await self._database.rows(
            SQL.authentication_states, [one.account_id for one in wanted], [one.reference for one in wanted]
        )
        return {Authentication(row["account_id"], row["reference"]): row["state"] for row in rows}


def _answer(request: ChargeRequest, states: Mapping[Authentication, AuthenticationState]) -> ChargeOutcome:
    card = BY_ALIAS.get(request.card_reference.removeprefix("sim_"))
    if card is None:
        return Declined("card_declined", "invalid_account", "Your card was declined.")
    met = request.authentication is not None and states.get(request.authentication) == "succeeded"
    if card.authentication and not met:
        return NOT_AUTHENTICATED
    return card.decline or Approved(f"simch_{request.key}")
