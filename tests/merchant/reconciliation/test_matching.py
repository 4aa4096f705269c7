"""The table of codes (RULES §11), rule by rule: one payment's lines beside what we know of it."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from tallystick.merchant.orders.facts import AttemptFacts, Dispute, Refund
from tallystick.merchant.orders.state import Owed
from tallystick.merchant.reconciliation.findings import Contract, Day, Settled, SoldOrder, business_days_after
from tallystick.merchant.reconciliation.lines import SettlementLine
from tallystick.merchant.reconciliation.matching import decide, initial_code

DAY = Day(date(2026, 11, 26))  # a Thursday
NOON = DAY.begins_at + timedelta(hours=12)


def line(id: str, category: Any = "charge", gross: int = 2500, **more: Any) -> SettlementLine:
    fields: dict[str, Any] = {"source": "ch_1", "charge": "ch_1", "payment": "pi_1"} | more
    fee = fields.pop("fee", 0)
    at, currency = fields.pop("at", NOON), fields.pop("currency", "EUR")
    return SettlementLine(id, at, currency, gross, fee, gross - fee, category, **fields)


def refund(id: str, gross: int = -700, source: str = "re_1", **more: Any) -> SettlementLine:
    return line(id, "refund", gross, source=source, charge="ch_1", **more)


def paid(**more: Any) -> AttemptFacts:
    return AttemptFacts(**{"state": "succeeded", "captured": {"EUR": 2500}, "authorised": (("EUR", 2500),)} | more)


def sold(facts: AttemptFacts | None = None, **more: Any) -> SoldOrder:
    fields: dict[str, Any] = {"state": "PAID", "attempt": 1, "keeper": 1, "paid_at": NOON} | more
    return SoldOrder("ord_1", owed=Owed(2500, "EUR"), facts=facts if facts is not None else paid(), **fields)


def outcome(settled: Settled, order: SoldOrder | None, day: Day = DAY) -> tuple[set[str], dict[str, str]]:
    """Codes of what was found, and of the lines."""
    decided = decide(settled, order, day)
    assert decided.codes.keys() == {each.line_id for each in settled.lines}, "every line ends in exactly one code"
    return {f"{each.code}:{each.resolution}" for each in decided.findings}, dict(decided.codes)


def test_what_fits_is_matched() -> None:
    lines = (line("1"), refund("2"))
    order = sold(paid(refunds={"re_1": Refund("succeeded", 700, "EUR")}))
    assert outcome(Settled("pi_1", lines), order) == (set(), {"1": "matched", "2": "matched"})


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("PENDING", "captured_but_pending"),
        ("FAILED", "captured_but_pending"),
        ("EXPIRED", "captured_but_closed"),
        ("CANCELED", "captured_but_closed"),
        ("PAID", "captured_twice"),
    ],
)
def test_captured_there_and_not_here(state: str, code: str) -> None:
    order = sold(AttemptFacts(), state=state, keeper=1 if state == "PAID" else None, attempt=2)
    found, codes = outcome(Settled("pi_1", (line("1"),)), order)
    assert (found, codes) == ({f"{code}:automatic"}, {"1": code})


def test_captured_and_nobody_here_knows_the_order() -> None:
    assert outcome(Settled("pi_1", (line("1"),)), None) == ({"unknown_payment:case"}, {"1": "unknown_payment"})
    found, codes = outcome(Settled("pi_1", (line("1"), refund("2", -2500))), None)
    assert (found, set(codes.values())) == ({"captured_and_returned:noted"}, {"captured_and_returned"})


def test_all_lines_of_a_payment_are_netted_also_those_of_earlier_days() -> None:
    order = sold(AttemptFacts(), state="EXPIRED", keeper=None)
    both = Settled("pi_1", (line("1"), refund("2", -2500)))
    assert outcome(both, order)[0] == {"captured_and_returned:noted"}
    later = Settled("pi_1", (refund("2", -2500),), (line("1"),))
    assert outcome(later, sold(paid(refunds={"re_1": Refund("succeeded", 2500, "EUR")})))[0] == set()


def test_an_approval_that_the_gateway_gave_back_is_netted_away_from_the_payment() -> None:
    late = (
        line("2", source="ch_2", charge="ch_2"),
        line("3", "refund", -2500, source="ch_2", charge="ch_2"),
    )
    found, codes = outcome(Settled("pi_1", (line("1"), *late)), sold())
    assert found == {"captured_and_returned:noted"}
    assert codes == {"1": "matched", "2": "captured_and_returned", "3": "captured_and_returned"}


def test_paid_here_and_no_line_there_waits_two_business_days() -> None:
    decided = decide(Settled("pi_1"), sold(), DAY)
    [found] = decided.findings
    assert (found.code, found.resolution, found.wait_until) == ("paid_but_missing", "wait", date(2026, 11, 30))


def test_paid_shortly_before_the_days_end_is_carried_over() -> None:
    [found] = decide(Settled("pi_1"), sold(paid_at=DAY.ends_at - timedelta(minutes=5)), DAY).findings
    assert (found.code, found.resolution, found.wait_until) == ("cut_off", "wait", date(2026, 11, 27))


def test_orders_of_a_currency_whose_file_was_not_taken_are_not_missed() -> None:
    refused = Day(DAY.date, currencies=frozenset({"USD"}))
    assert decide(Settled("pi_1"), sold(), refused).findings == ()


def test_an_order_that_was_paid_on_another_day_is_not_missed() -> None:
    assert decide(Settled("pi_1"), sold(paid_at=DAY.ends_at), DAY).findings == ()
    assert decide(Settled("pi_1"), sold(paid_at=None), DAY).findings == ()


def test_another_amount_is_never_adjusted() -> None:
    assert outcome(Settled("pi_1", (line("1", gross=2499),)), sold()) == (
        {"amount_differs:case"},
        {"1": "amount_differs"},
    )
    pending = sold(AttemptFacts(), state="PENDING", keeper=None)
    assert outcome(Settled("pi_1", (line("1", gross=2499),)), pending)[0] == {"amount_differs:case"}


def test_another_currency_is_a_persons_decision() -> None:
    found, codes = outcome(Settled("pi_1", (line("1", currency="USD"),)), sold())
    assert (found, codes) == ({"currency_differs:case"}, {"1": "currency_differs"})


def test_partial_captures_are_summed() -> None:
    lines = (line("1", gross=1000), line("2", gross=1500))
    assert outcome(Settled("pi_1", lines), sold())[0] == set()
    assert outcome(Settled("pi_1", (line("2", gross=1500),), (line("1", gross=1000),)), sold())[0] == set()


def test_one_charge_settled_twice_and_two_charges() -> None:
    assert outcome(Settled("pi_1", (line("1"), line("2"))), sold())[0] == {"settled_twice:case"}
    assert outcome(Settled("pi_1", (line("2"),), (line("1"),)), sold())[0] == {"settled_twice:case"}
    other = line("2", source="ch_2", charge="ch_2")
    assert outcome(Settled("pi_1", (line("1"), other)), sold())[0] == {"captured_twice:automatic"}


def test_refunds_there_and_not_here_and_of_another_amount() -> None:
    assert outcome(Settled("pi_1", (line("1"), refund("2"))), sold()) == (
        {"refund_unknown:automatic"},
        {"1": "matched", "2": "refund_unknown"},
    )
    known = sold(paid(refunds={"re_1": Refund("succeeded", 800, "EUR")}))
    assert outcome(Settled("pi_1", (line("1"), refund("2"))), known)[0] == {"refund_amount_differs:case"}
    parts = (line("1"), refund("2", -300), refund("3", -500))
    assert outcome(Settled("pi_1", parts), known)[0] == set()


@pytest.mark.parametrize("category", ["refund", "refund_failure", "dispute", "dispute_reversal"])
def test_what_the_file_does_not_name_is_not_matched(category: str) -> None:
    """A layout may leave out what moved the money: the line itself is then what a finding is about."""
    found, codes = outcome(Settled("pi_1", (line("1"), line("2", category, -700, source=None))), sold())
    [code] = [each.partition(":")[0] for each in found]
    assert codes == {"1": "matched", "2": code}


def test_refunds_here_and_not_there_wait_five_business_days() -> None:
    order = sold(paid(refunds={"re_1": Refund("succeeded", 700, "EUR")}), refunds_seen_at={"re_1": NOON})
    decided = decide(Settled("pi_1", (line("1"),)), order, DAY)
    [found] = decided.findings
    assert (found.code, found.subject, found.wait_until) == ("refund_missing", "re_1", date(2026, 12, 3))
    assert decided.codes == {"1": "matched"}
    later = sold(paid(refunds={"re_1": Refund("succeeded", 700, "EUR")}), refunds_seen_at={"re_1": DAY.ends_at})
    assert decide(Settled("pi_1", (line("1"),)), later, DAY).findings == ()


def test_a_refund_that_bounced() -> None:
    lines = (line("1"), refund("2"), line("3", "refund_failure", 700, source="re_1"))
    known = sold(paid(refunds={"re_1": Refund("failed", 700, "EUR")}))
    assert outcome(Settled("pi_1", lines), known)[0] == set()
    not_yet = sold(paid(refunds={"re_1": Refund("succeeded", 700, "EUR")}))
    assert outcome(Settled("pi_1", lines), not_yet)[0] == {"refund_failure:automatic"}


def test_disputes() -> None:
    lost = line("2", "dispute", -2500, source="dp_1", charge=None)
    won = line("3", "dispute_reversal", 2500, source="dp_1", charge=None)
    assert outcome(Settled("pi_1", (line("1"), lost)), sold())[0] == {"dispute_unknown:automatic"}
    known = sold(paid(disputes={"dp_1": Dispute("needs_response", "EUR")}))
    assert outcome(Settled("pi_1", (line("1"), lost)), known)[0] == set()
    assert outcome(Settled("pi_1", (won,), (line("1"), lost)), known)[0] == {"dispute_reversal:automatic"}
    told = sold(paid(disputes={"dp_1": Dispute("closed", "EUR", outcome="won")}))
    assert outcome(Settled("pi_1", (won,), (line("1"), lost)), told)[0] == set()


@pytest.mark.parametrize(("fee", "found"), [(60, set()), (61, {"fee_differs:noted"}), (62, {"fee_differs:case"})])
def test_fees_by_contract(fee: int, found: set[str]) -> None:
    day = Day(DAY.date, {"EUR": Contract(140, 25)})
    codes = {"1": "fee_differs" if found else "matched"}
    assert outcome(Settled("pi_1", (line("1", fee=fee),)), sold(), day) == (found, codes)


def test_a_line_of_the_neighbouring_day() -> None:
    found, codes = outcome(Settled("pi_1", (line("1", at=DAY.begins_at - timedelta(seconds=1)),)), sold())
    assert (found, codes) == ({"cut_off:noted"}, {"1": "cut_off"})


def test_lines_without_a_payment() -> None:
    for category, code in (
        ("payout", "payout"),
        ("fee", "fee"),
        ("adjustment", "adjustment"),
        ("other", "unexplained_line"),
    ):
        assert initial_code(line("1", category, payment=None, charge=None)) == code
    assert initial_code(line("1", payment=None)) == "unexplained_line"


def test_business_days_leave_weekends_out() -> None:
    assert business_days_after(date(2026, 11, 27), 1) == date(2026, 11, 30)
    assert business_days_after(date(2026, 11, 28), 1) == date(2026, 11, 30)
    assert business_days_after(date(2026, 11, 23), 5) == date(2026, 11, 30)
    assert datetime(2026, 11, 28, tzinfo=UTC).weekday() == 5


def test_another_gateways_lines_are_matched_by_reference_and_amount_and_nothing_is_done_by_itself() -> None:
    known = paid(refunds={"re_1": Refund("succeeded", 700, "EUR")})
    order = sold(known, foreign=True)
    lines = (line("1", source="8816", charge="8816"), refund("2", source="8817"))
    assert outcome(Settled("8816", lines), order)[0] == set()
    more = (line("1", source="8816", charge="8816"), refund("2", -800, source="8817"))
    assert outcome(Settled("8816", more), order)[0] == {"refund_unknown:case"}
    pending = sold(AttemptFacts(), state="PENDING", keeper=None, foreign=True)
    assert outcome(Settled("8816", lines[:1]), pending)[0] == {"captured_but_pending:case"}
