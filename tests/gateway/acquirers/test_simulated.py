"""RULES §9: the simulated acquirer takes the test cards and nothing else."""

from datetime import UTC, datetime

import pytest

from tallystick.gateway.acquirers.port import (
    AcceptedCard,
    Approved,
    Authentication,
    AuthenticationRequest,
    CaptureRequest,
    CardRefused,
    ChargeRequest,
    Declined,
    VoidRequest,
)
from tallystick.gateway.acquirers.simulated import SimulatedAcquirer
from tallystick.gateway.acquirers.simulated_cards import BY_ALIAS, BY_TOKEN, SIMULATED_CARDS
from tallystick.gateway.cards.pan import CardEntry, Cvc, Pan, luhn
from tallystick.kernel.outcomes import Done, Unknown
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Database

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
KEY = bytes(32)
ACCOUNT = "acct_0000000000000001"


@pytest.fixture
async def acquirer(gateway_database: Database) -> SimulatedAcquirer:
    return SimulatedAcquirer(
        gateway_database, SystemClock(), pages_url="http://127.0.0.1:1", fingerprint_key=KEY, delay_s=0
    )


def an_entry(number: str = "4242424242424242", month: int = 12, year: int = 2030, code: str = "123") -> CardEntry:
    return CardEntry(number=Pan(number), exp_month=month, exp_year=year, code=Cvc(code))


def a_charge(alias: str, authentication: Authentication | None = None) -> ChargeRequest:
    return ChargeRequest(
        account_id=ACCOUNT,
        key=f"key_{alias}",
        card_reference=f"sim_{alias}",
        code=None,
        amount=1000,
        currency="EUR",
        capture=True,
        authentication=authentication,
    )


def test_the_numbers_are_those_of_the_rules() -> None:
    assert {card.number for card in SIMULATED_CARDS} == {
        "4242424242424242",
        "5555555555554444",
        "378282246310005",
        "6011111111111117",
        "3566002020360505",
        "4000000000000002",
        "4000000000009995",
        "4000000000009987",
        "4000000000009979",
        "4000000000000069",
        "4000000000000127",
        "4000000000000119",
        "4000002500003155",
        "4000002760003184",
        "4000008400001629",
        "4000000000000259",
        "4000000000005126",
        "4000000000007007",
        "4000000000007015",
        "4000000000007023",
        "4000000000007031",
        "4000000000007049",
        "4000000000007056",
        "4000000000007064",
        "4000000000007072",
    }
    assert all(luhn(card.number) for card in SIMULATED_CARDS)
    assert len(BY_TOKEN) == sum(len(card.tokens) for card in SIMULATED_CARDS), "no token means two cards"


@pytest.mark.parametrize(
    ("token", "alias"),
    [
        ("pm_card_visa", "visa"),
        ("tok_visa", "visa"),
        ("pm_card_chargeDeclined", "chargeDeclined"),
        ("pm_card_visa_chargeDeclined", "chargeDeclined"),
        ("tok_chargeDeclined", "chargeDeclined"),
        ("pm_card_chargeDeclinedInsufficientFunds", "chargeDeclinedInsufficientFunds"),
        ("tok_visa_chargeDeclinedLostCard", "chargeDeclinedLostCard"),
        ("pm_card_authenticationRequired", "authenticationRequired"),
        ("pm_card_threeDSecureRequiredChargeDeclined", "threeDSecureRequiredChargeDeclined"),
    ],
)
async def test_tokens_that_sdk_users_expect(acquirer: SimulatedAcquirer, token: str, alias: str) -> None:
    accepted = acquirer.accept_token(token, AT)
    assert accepted is not None
    assert accepted.card_reference == f"sim_{alias}"
    assert accepted.last4 == BY_ALIAS[alias].number[-4:]
    assert acquirer.accept_token(f"{token}x", AT) is None


async def test_an_accepted_card_is_known_by_an_alias(acquirer: SimulatedAcquirer) -> None:
    (accepted,) = await acquirer.accept([an_entry()], AT)
    assert isinstance(accepted, AcceptedCard)
    assert accepted == AcceptedCard(
        card_reference="sim_visa",
        brand="visa",
        first6="424242",
        last4="4242",
        exp_month=12,
        exp_year=2030,
        fingerprint=Pan("4242424242424242").fingerprint(KEY),
        authentication_required=False,
    )


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        (an_entry("4111111111111111"), "cc-number"),
        (an_entry("4000000000000010"), "cc-number"),
        (an_entry(month=10, year=2026), "cc-exp"),
        (an_entry(month=13), "cc-exp"),
        (an_entry(year=2099), "cc-exp"),
        (an_entry(code="12"), "cc-csc"),
        (an_entry("378282246310005", code="123"), "cc-csc"),
    ],
)
async def test_every_other_card_is_refused(acquirer: SimulatedAcquirer, entry: CardEntry, field: str) -> None:
    (refused,) = await acquirer.accept([entry], AT)
    assert isinstance(refused, CardRefused)
    assert refused.field == field
    assert entry.number.reveal() not in refused.message


async def test_each_card_of_a_batch_is_judged_alone(acquirer: SimulatedAcquirer) -> None:
    outcomes = await acquirer.accept([an_entry(), an_entry("4111111111111111"), an_entry(month=11, year=2026)], AT)
    assert [type(outcome) for outcome in outcomes] == [AcceptedCard, CardRefused, AcceptedCard]


@pytest.mark.parametrize(
    ("alias", "code", "decline_code"),
    [
        ("chargeDeclined", "card_declined", "generic_decline"),
        ("chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("chargeDeclinedLostCard", "card_declined", "lost_card"),
        ("chargeDeclinedStolenCard", "card_declined", "stolen_card"),
        ("chargeDeclinedExpiredCard", "expired_card", "expired_card"),
        ("chargeDeclinedIncorrectCvc", "incorrect_cvc", "incorrect_cvc"),
        ("chargeDeclinedProcessingError", "processing_error", "processing_error"),
        ("unheard_of", "card_declined", "invalid_account"),
        ("authenticationRequired", "card_declined", "authentication_required"),
    ],
)
async def test_declines(acquirer: SimulatedAcquirer, alias: str, code: str, decline_code: str) -> None:
    declined, approved = await acquirer.charge([a_charge(alias), a_charge("visa")])
    assert isinstance(declined, Declined)
    assert (declined.code, declined.decline_code) == (code, decline_code)
    assert approved == Approved("simch_key_visa")


@pytest.mark.parametrize("alias", ["visa", "mastercard", "amex", "discover", "jcb", "createDispute", "refundFail"])
async def test_approvals_are_the_same_under_the_same_key(acquirer: SimulatedAcquirer, alias: str) -> None:
    assert await acquirer.charge([a_charge(alias)]) == await acquirer.charge([a_charge(alias)])


async def test_captures_and_voids(acquirer: SimulatedAcquirer) -> None:
    capture = CaptureRequest(
        account_id=ACCOUNT, key="req_1", charge_reference="c", amount=5, currency="EUR", final=True
    )
    void = VoidRequest(account_id=ACCOUNT, key="req_2", charge_reference="c", amount=5, currency="EUR")
    assert await acquirer.capture([capture]) == [Done("simcap_req_1")]
    assert await acquirer.void([void]) == [Done("simvoid_req_2")]


async def test_3ds_is_asked_server_to_server_and_the_first_answer_counts(acquirer: SimulatedAcquirer) -> None:
    request = AuthenticationRequest(
        account_id=ACCOUNT, charge="ch_1", card_reference="sim_authenticationRequired", amount=5, currency="EUR"
    )
    (begun,) = await acquirer.begin_authentication([request])
    assert isinstance(begun, Done)
    assert begun.value.url == "http://127.0.0.1:1/acs/ch_1"
    authentication = Authentication(ACCOUNT, begun.value.reference)

    assert await acquirer.authentication_results([authentication]) == [Done("pending")]
    (declined,) = await acquirer.charge([a_charge("authenticationRequired", authentication)])
    assert isinstance(declined, Declined), "a challenge that was not met is worth nothing"

    assert await acquirer.answer_challenge(authentication, "succeeded")
    assert not await acquirer.answer_challenge(authentication, "failed")
    assert await acquirer.begin_authentication([request]) == [begun], "begun twice: the same challenge"
    assert await acquirer.authentication_results([authentication]) == [Done("succeeded")]
    (approved,) = await acquirer.charge([a_charge("authenticationRequired", authentication)])
    assert isinstance(approved, Approved)
    (declined,) = await acquirer.charge([a_charge("threeDSecureRequiredChargeDeclined", authentication)])
    assert isinstance(declined, Declined)


async def test_a_challenge_that_nobody_began_is_unknown(acquirer: SimulatedAcquirer) -> None:
    (outcome,) = await acquirer.authentication_results([Authentication(ACCOUNT, "sim3ds_ch_2")])
    assert isinstance(outcome, Unknown)
