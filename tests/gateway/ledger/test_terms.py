"""RULES §2, §10: fees by contract, business days, and when money is available."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.gateway.ledger import postings
from tallystick.gateway.ledger.postings import Cause
from tallystick.gateway.ledger.terms import Terms, charged, gross_of
from tallystick.kernel.money import fee

AT = datetime(2026, 11, 27, 23, 30, tzinfo=UTC)
CAUSE = Cause("acct_a", False, "pi_1", "ch_1", "EUR")


@given(amount=st.integers(1, 999_999_999_999), bps=st.integers(0, 10_000), fixed=st.integers(0, 999_999_999))
def test_a_charge_costs_its_fee_and_sums_to_zero(amount: int, bps: int, fixed: int) -> None:
    terms = Terms(fee_basis_points=bps, fee_fixed=fixed)
    for entry in (postings.charged(CAUSE, amount, AT), postings.captured(CAUSE, "acr_1", amount, AT)):
        legs = dict(charged(entry, terms).legs)
        assert sum(legs.values()) == 0
        assert -legs.get("fee_revenue", 0) == fee(amount, bps, fixed)
        assert -legs.get("merchant_pending", 0) == amount - fee(amount, bps, fixed)
        assert legs["acquirer_receivable"] == amount
        assert all(legs.values()), "no leg is empty"


def test_what_is_not_earned_costs_nothing() -> None:
    terms = Terms(fee_basis_points=140, fee_fixed=25, dispute_fee=1500)
    for entry in (
        postings.charged(CAUSE, 1000, AT, kept=False),
        postings.voided(CAUSE, "acr_1", 1000, AT),
        postings.refund_asked(CAUSE, "re_1", 1000, AT),
        postings.refund_failed(CAUSE, "re_1", 1000, AT, paid=True),
    ):
        assert charged(entry, terms) == entry
    assert gross_of(postings.refund_asked(CAUSE, "re_1", 1000, AT)) == -1000


@pytest.mark.parametrize(
    ("offset", "day", "begins"),
    [
        (0, date(2026, 11, 27), datetime(2026, 11, 27, tzinfo=UTC)),
        (-60, date(2026, 11, 28), datetime(2026, 11, 27, 23, tzinfo=UTC)),
        (60, date(2026, 11, 27), datetime(2026, 11, 27, 1, tzinfo=UTC)),
    ],
)
def test_a_business_day_is_moved_by_the_accounts_offset(offset: int, day: date, begins: datetime) -> None:
    terms = Terms(day_offset_minutes=offset)
    assert terms.day_of(AT) == day
    assert terms.begin_of(day) == begins
    assert terms.end_of(day) == begins + timedelta(days=1)


@given(
    seconds=st.integers(0, 20 * 366 * 86_400),
    offset=st.integers(-720, 840),
    days=st.integers(0, 30),
)
def test_money_is_available_some_days_after_its_own_and_never_before_it_came(
    seconds: int, offset: int, days: int
) -> None:
    at = AT + timedelta(seconds=seconds)
    terms = Terms(day_offset_minutes=offset, available_days=days)
    day = terms.day_of(at)
    assert terms.begin_of(day) <= at < terms.end_of(day)
    available_at = terms.available_at(at)
    assert available_at >= at
    assert terms.day_of(available_at) == day + timedelta(days=days)
