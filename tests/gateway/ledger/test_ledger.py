"""The ledger: legs sum to zero, by assertion and by CHECK; a cause is posted once (RULES §10)."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.gateway.ledger.commands import TERMS_KNOWN_FOR, Books
from tallystick.gateway.ledger.postings import Cause, Entry, captured, charged, dispute_opened, dispute_won, voided
from tallystick.ports.database import ConstraintViolated, Database, Statement
from tallystick.ports.entropy import SystemEntropy

AT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
CAUSE = Cause("acct_a", False, "pi_1", "ch_1", "EUR")

BALANCES = Statement(
    "balances",
    """
    SELECT leg.account, sum(leg.amount)::bigint AS balance
      FROM ledger_transaction t, unnest(t.accounts, t.amounts) AS leg(account, amount)
     WHERE t.account_id = $1::text GROUP BY leg.account ORDER BY leg.account
    """,
)

INSERT_LEGS = Statement(
    "insert_legs",
    """
    INSERT INTO ledger_transaction (account_id, livemode, id, kind, reference, currency, accounts, amounts,
    effective_at, created_at) VALUES ('acct_a', false, 'ltx_1', 'charge', 'charge:ch_9', 'EUR', $1::text[],
    $2::bigint[], $3::timestamptz, $3::timestamptz)
    """,
)


async def balances(database: Database) -> dict[str, int]:
    return {row["account"]: row["balance"] for row in await database.rows(BALANCES, "acct_a")}


async def post_all(database: Database, *entries: Entry) -> None:
    async with database.transaction() as tx:
        await Books().post(tx, entries, at=AT, entropy=SystemEntropy())


@given(st.integers(1, 999_999_999_999))
def test_every_posting_sums_to_zero(amount: int) -> None:
    for entry in (charged(CAUSE, amount, AT), captured(CAUSE, "acr_1", amount, AT), voided(CAUSE, "acr_2", amount, AT)):
        assert sum(leg for _, leg in entry.legs) == 0
        assert {abs(leg) for _, leg in entry.legs} == {amount}


@pytest.mark.parametrize(
    "legs", [(), (("acquirer_receivable", 0),), (("acquirer_receivable", 5), ("merchant_pending", -4))]
)
def test_an_unbalanced_entry_cannot_be_made(legs: tuple[tuple[str, int], ...]) -> None:
    with pytest.raises(AssertionError):
        Entry(CAUSE, "charge", "charge:ch_1", legs, AT)


@pytest.mark.parametrize(
    ("accounts", "amounts"),
    [
        (["acquirer_receivable", "merchant_pending"], [5, -4]),
        (["acquirer_receivable"], [0]),
        (["acquirer_receivable", "merchant_pending"], [5]),
        (["acquirer_receivable", "petty_cash"], [5, -5]),
    ],
)
async def test_the_database_refuses_what_does_not_balance(
    gateway_database: Database, accounts: list[str], amounts: list[int]
) -> None:
    with pytest.raises(ConstraintViolated):
        await gateway_database.execute(INSERT_LEGS, accounts, amounts, AT)


async def test_what_is_charged_is_owed_to_the_merchant(gateway_database: Database) -> None:
    await post_all(gateway_database, charged(CAUSE, 2500, AT), captured(CAUSE, "acr_1", 300, AT))
    assert await balances(gateway_database) == {"acquirer_receivable": 2800, "merchant_pending": -2800}


async def test_a_void_brings_the_balances_back_to_zero(gateway_database: Database) -> None:
    await post_all(gateway_database, charged(CAUSE, 2500, AT))
    await post_all(gateway_database, voided(CAUSE, "acr_1", 2500, AT))
    assert await balances(gateway_database) == {"acquirer_receivable": 0, "merchant_pending": 0}


async def test_a_cause_is_posted_once(gateway_database: Database) -> None:
    await post_all(gateway_database, charged(CAUSE, 2500, AT))
    with pytest.raises(ConstraintViolated):
        await post_all(gateway_database, charged(CAUSE, 2500, AT))
    assert await balances(gateway_database) == {"acquirer_receivable": 2500, "merchant_pending": -2500}


async def test_a_first_day_that_was_rolled_back_begins_again(gateway_database: Database) -> None:
    """What only an open transaction has written, nobody relies on."""
    books = Books()

    async def break_off() -> None:
        async with gateway_database.transaction() as tx:
            await books.post(tx, [charged(CAUSE, 2500, AT)], at=AT, entropy=SystemEntropy())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await break_off()
    async with gateway_database.transaction() as tx:
        await books.post(tx, [charged(CAUSE, 2500, AT)], at=AT, entropy=SystemEntropy())
    begun = Statement("begun", "SELECT next_day FROM balance_account WHERE account_id = $1::text")
    [row] = await gateway_database.rows(begun, "acct_a")
    assert row["next_day"] == AT.date()


async def test_the_fee_of_a_dispute_that_is_won_in_the_same_commit_is_given_back(gateway_database: Database) -> None:
    """What the bank tells after a pause of ours may come all at once."""
    await post_all(gateway_database, charged(CAUSE, 1000, AT))
    await gateway_database.execute(Statement("contract", "UPDATE balance_account SET dispute_fee = 1500"))
    await post_all(
        gateway_database,
        dispute_opened(CAUSE, "dp_1", 1000, AT + TERMS_KNOWN_FOR),
        dispute_won(CAUSE, "dp_1", 1000, AT + TERMS_KNOWN_FOR),
    )
    found = await balances(gateway_database)
    assert found["fee_revenue"] == 0
    assert found["merchant_pending"] == -1000
