"""What the lines of a payment mean beside what we know of it: the table of RULES §11. Pure.

All lines of one payment are netted, also those of earlier days, before anything is decided. Every line ends in exactly
one code; what does not fit is a `Finding`, with what is to be done about it:

    automatic   the payment is retrieved, and what the gateway answers is merged: never what a line says
    wait        the other half may still come, until a day
    case        a person decides
    noted       nothing is to be done

`statements.sql` does the same for what fits, set by set; a test holds the two against each other.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta

import msgspec

from tallystick.kernel.money import fee
from tallystick.merchant.orders.facts import Refund
from tallystick.merchant.orders.state import captured_of
from tallystick.merchant.reconciliation.findings import (
    CUT_OFF_S,
    FEE_TOLERANCE_MINOR,
    MISSING_DAYS,
    MONEY_ONLY,
    REFUND_MISSING_DAYS,
    RESOLUTIONS,
    Code,
    Day,
    Decided,
    Finding,
    Resolution,
    Settled,
    SoldOrder,
    business_days_after,
)
from tallystick.merchant.reconciliation.lines import Category, SettlementLine


def initial_code(line: SettlementLine) -> Code:
    """The code of a line that is looked at alone: of those that belong to a payment, what it is if everything fits."""
    if line.category in MONEY_ONLY:
        return MONEY_ONLY[line.category]
    return "matched" if line.payment is not None else "unexplained_line"


def decide(settled: Settled, order: SoldOrder | None, day: Day) -> Decided:
    """What the lines of a payment are, and what does not fit. Pure."""
    found = list(_findings(settled, order, day))
    if order is not None and order.foreign:
        found = [_by_a_person(each) for each in found]
    codes: dict[str, Code] = {line.line_id: initial_code(line) for line in settled.lines}
    for finding in found:
        for id in finding.lines:
            if codes[id] in ("matched", "unexplained_line"):
                codes[id] = finding.code
    for line in settled.lines:
        if codes[line.line_id] == "matched" and not day.begins_at <= line.created_at < day.ends_at:
            codes[line.line_id] = "cut_off"
            found.append(_of_line(line, "cut_off", order))
    return Decided(codes, tuple(found))


def is_early(settled: Settled, order: SoldOrder | None, day: Day) -> bool:
    """Whether a charge was told before its order counts as paid: the file of that later day must not tell of it again.
    Pure.
    """
    if order is None or not any(line.category == "charge" for line in settled.lines):
        return False
    return order.paid_at is None or order.paid_at >= day.ends_at


def _by_a_person(found: Finding) -> Finding:
    """Where there is no gateway to ask, nothing is done by itself."""
    return msgspec.structs.replace(found, resolution="case") if found.resolution == "automatic" else found


def unexplained(line: SettlementLine) -> Finding:
    """What is found of a line that belongs to no payment and that nobody can explain."""
    return _of_line(line, "unexplained_line", None)


def _findings(settled: Settled, order: SoldOrder | None, day: Day) -> Iterator[Finding]:
    if order is None:
        yield from _without_order(settled)
        return
    if any(line.currency != order.owed.currency for line in settled.lines):
        yield _finding("currency_differs", settled, order, settled.lines)
        return
    returned = _returned_at_once(settled)
    if returned:
        mine = [line for line in settled.lines if line.source in returned or line.charge in returned]
        if mine:
            yield _finding("captured_and_returned", settled, order, mine)
        settled = _without(settled, returned)
    charges = _of(settled, "charge")
    if charges:
        found = _charges(settled, order, charges)
        if found is not None:
            yield found
            if found.code != "amount_differs" and found.code != "settled_twice":
                return  # what else the lines say is merged with it, or was returned
        else:
            yield from _fees(settled, order, day)
    elif not settled.earlier and _expected(order, day):
        yield _missing(settled, order, day)
    yield from _refunds(settled, order)
    yield from _refunds_missing(settled, order, day)
    yield from _disputes(settled, order)
    for line in settled.lines:
        if line.category == "other":
            yield _of_line(line, "unexplained_line", order)


def _without_order(settled: Settled) -> Iterator[Finding]:
    if not settled.lines:
        return
    every = settled.lines + settled.earlier
    returned = _sum(every, "charge") > 0 and sum(line.gross_minor for line in every) == 0
    yield _finding("captured_and_returned" if returned else "unknown_payment", settled, None, settled.lines)


def _returned_at_once(settled: Settled) -> frozenset[str]:
    """Charges that the gateway gave back by itself: an approval that came too late is no refund of ours, and its
    return bears the charge's own name.
    """
    every = settled.lines + settled.earlier
    charges = {line.charge for line in every if line.category == "charge" and line.charge}
    named = {line.source for line in every if line.category == "refund" and line.source in charges}
    return frozenset(
        charge
        for charge in named
        if charge and not sum(line.gross_minor for line in every if charge in (line.source, line.charge))
    )


def _without(settled: Settled, charges: frozenset[str]) -> Settled:
    def rest(lines: Sequence[SettlementLine]) -> tuple[SettlementLine, ...]:
        return tuple(line for line in lines if line.source not in charges and line.charge not in charges)

    return Settled(settled.payment, rest(settled.lines), rest(settled.earlier))


# --- charges ---------------------------------------------------------------------------------------------------------


def _charges(settled: Settled, order: SoldOrder, charges: Sequence[SettlementLine]) -> Finding | None:
    """How what was captured there stands beside what we know."""
    every = settled.lines + settled.earlier
    captured = _sum(every, "charge")
    mine = [line for line in settled.lines if line.category == "charge"]
    known = captured_of(order.facts, order.owed.currency) if order.facts.state == "succeeded" else None
    if known == captured:
        return None
    if known is None:
        if sum(line.gross_minor for line in every) == 0:
            return _finding("captured_and_returned", settled, order, settled.lines)
        if captured != order.owed.amount_minor:
            return _finding(_twice(charges, order.owed.amount_minor) or "amount_differs", settled, order, mine)
        if order.state == "PAID":
            return _finding("captured_twice", settled, order, settled.lines)
        code: Code = "captured_but_pending" if order.state in ("PENDING", "FAILED") else "captured_but_closed"
        return _finding(code, settled, order, settled.lines)
    code = _twice(charges, known) or "amount_differs"
    details = {"captured_there": captured, "captured_here": known}
    return _finding(code, settled, order, mine, details=details)


def _twice(charges: Sequence[SettlementLine], expected_minor: int) -> Code | None:
    """Whether the surplus is the same money once more: one charge settled twice, or two charges."""
    whole = [line.charge or line.source for line in charges if line.gross_minor == expected_minor]
    if len(whole) < 2 or sum(line.gross_minor for line in charges) != len(whole) * expected_minor:
        return None
    return "settled_twice" if len(set(whole)) < len(whole) else "captured_twice"


def _fees(settled: Settled, order: SoldOrder, day: Day) -> Iterator[Finding]:
    contract = day.contracts.get(order.owed.currency)
    for line in settled.lines if contract else ():
        if line.category == "charge" and line.gross_minor > 0:
            assert contract is not None
            agreed = fee(line.gross_minor, contract.basis_points, contract.fixed_minor)
            differs = line.fee_minor - agreed
            if differs:
                yield Finding(
                    "fee_differs",
                    line.line_id,
                    "noted" if abs(differs) <= FEE_TOLERANCE_MINOR else "case",
                    settled.payment,
                    order.order_id,
                    order.attempt,
                    line.currency,
                    differs,
                    (line.line_id,),
                    details={"fee": line.fee_minor, "agreed": agreed},
                )


def _expected(order: SoldOrder, day: Day) -> bool:
    """Whether the day's file should have told of this payment."""
    if day.currencies is not None and order.owed.currency not in day.currencies:
        return False
    if order.state != "PAID" or order.attempt != order.keeper or order.paid_at is None:
        return False
    return day.begins_at <= order.paid_at < day.ends_at


def _missing(settled: Settled, order: SoldOrder, day: Day) -> Finding:
    assert order.paid_at is not None
    if order.paid_at >= day.ends_at - timedelta(seconds=CUT_OFF_S):
        until = day.date + timedelta(days=1)
        return _finding("cut_off", settled, order, (), resolution="wait", wait_until=until)
    until = business_days_after(day.date, MISSING_DAYS)
    return _finding("paid_but_missing", settled, order, (), wait_until=until)


# --- refunds and disputes --------------------------------------------------------------------------------------------


def _refunds(settled: Settled, order: SoldOrder) -> Iterator[Finding]:
    """Refunds of this run's lines, each with all of its lines."""
    if order.foreign and -_sum(settled.lines + settled.earlier, "refund") == _known_refunded(order):
        return
    every = _by_source(settled.lines + settled.earlier, "refund")
    for refund, lines in _by_source(settled.lines, "refund").items():
        known = order.facts.refunds.get(refund)
        if known is None:
            yield _finding("refund_unknown", settled, order, lines, subject=refund)
        elif -_sum(every[refund], "refund") != known.amount_minor:
            yield _finding("refund_amount_differs", settled, order, lines, subject=refund)
    for refund, lines in _by_source(settled.lines, "refund_failure").items():
        known = order.facts.refunds.get(refund)
        if known is None or known.status not in ("failed", "canceled"):
            yield _finding("refund_failure", settled, order, lines, subject=refund)


def _refunds_missing(settled: Settled, order: SoldOrder, day: Day) -> Iterator[Finding]:
    """Refunds that we know of and that no file has told, from the day on which we heard of them."""
    if day.currencies is not None and order.owed.currency not in day.currencies:
        return
    told = {line.source for line in settled.lines + settled.earlier if line.category in ("refund", "refund_failure")}
    for id, refund in sorted(order.facts.refunds.items()):
        seen_at = order.refunds_seen_at.get(id)
        if id not in told and _given_back(refund) and seen_at and day.begins_at <= seen_at < day.ends_at:
            yield Finding(
                "refund_missing",
                id,
                "wait",
                settled.payment,
                order.order_id,
                order.attempt,
                refund.currency,
                refund.amount_minor,
                wait_until=business_days_after(day.date, REFUND_MISSING_DAYS),
            )


def _known_refunded(order: SoldOrder) -> int:
    return sum(refund.amount_minor for refund in order.facts.refunds.values() if _given_back(refund))


def _given_back(refund: Refund) -> bool:
    return refund.status == "succeeded"


def _disputes(settled: Settled, order: SoldOrder) -> Iterator[Finding]:
    for dispute, lines in _by_source(settled.lines, "dispute").items():
        if dispute not in order.facts.disputes:
            yield _finding("dispute_unknown", settled, order, lines, subject=dispute)
    for dispute, lines in _by_source(settled.lines, "dispute_reversal").items():
        known = order.facts.disputes.get(dispute)
        if known is None or known.outcome != "won":
            yield _finding("dispute_reversal", settled, order, lines, subject=dispute)


# --- small things ----------------------------------------------------------------------------------------------------


def _of(settled: Settled, category: Category) -> list[SettlementLine]:
    """Lines of a category of all days, if there is one among this run's."""
    if not any(line.category == category for line in settled.lines):
        return []
    return [line for line in settled.lines + settled.earlier if line.category == category]


def _by_source(lines: Sequence[SettlementLine], category: Category) -> dict[str, list[SettlementLine]]:
    """The lines of a category by what moved their money; one that does not say it stands alone."""
    found: dict[str, list[SettlementLine]] = {}
    for line in lines:
        if line.category == category:
            found.setdefault(line.source or line.line_id, []).append(line)
    return dict(sorted(found.items()))


def _sum(lines: Sequence[SettlementLine], category: Category) -> int:
    return sum(line.gross_minor for line in lines if line.category == category)


def _of_line(line: SettlementLine, code: Code, order: SoldOrder | None) -> Finding:
    return Finding(
        code,
        line.line_id,
        RESOLUTIONS[code],
        line.payment,
        order.order_id if order else line.order_reference,
        order.attempt if order else None,
        line.currency,
        line.gross_minor,
        (line.line_id,),
    )


def _finding(
    code: Code,
    settled: Settled,
    order: SoldOrder | None,
    lines: Sequence[SettlementLine],
    *,
    subject: str | None = None,
    resolution: Resolution | None = None,
    wait_until: date | None = None,
    details: Mapping[str, object] | None = None,
) -> Finding:
    references = [line.order_reference for line in settled.lines if line.order_reference]
    return Finding(
        code,
        subject or settled.payment,
        resolution or RESOLUTIONS[code],
        settled.payment,
        order.order_id if order else (references[0] if references else None),
        order.attempt if order else None,
        lines[0].currency if lines else (order.owed.currency if order else None),
        sum(line.gross_minor for line in lines) if lines else (order.owed.amount_minor if order else None),
        tuple(line.line_id for line in lines),
        wait_until,
        details or {},
    )
