"""RULES §4: facts merge, state follows. The table of the rules as examples, and the algebra as properties."""

import itertools

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.merchant.orders.consequences import Errand, consequences_of, errands_of
from tallystick.merchant.orders.facts import (
    NO_FACTS,
    AnyFact,
    Attempted,
    Authorised,
    ChargeReturned,
    ChargeSeen,
    Closed,
    CloseRequested,
    DisputeSeen,
    Facts,
    FulfilmentDecided,
    Held,
    HoldLifted,
    Kept,
    RefundSeen,
    Released,
    Returned,
    SessionOpened,
    SessionRefused,
    Succeeded,
    SurplusSeen,
    decode_facts,
    encode,
)
from tallystick.merchant.orders.learning import Learnt as Told
from tallystick.merchant.orders.learning import LoadedOrder, OrderKey, decide
from tallystick.merchant.orders.merge import merge, merge_all
from tallystick.merchant.orders.state import Owed, conclude, standing, state_of

OWED = Owed(2500, "EUR")
PAYS = Succeeded(2500, 2500, "EUR", intent="pi_1", charge="ch_1")

NEVER = 99  # declines that are never reached: whether we ask to close depends on when we look, by intent

Learnt = list[tuple[int, AnyFact]]


def order_with(*learnt: tuple[int, AnyFact]) -> Facts:
    return merge_all(NO_FACTS, list(learnt))


def failed_charges(count: int, attempt: int = 1) -> Learnt:
    return [(attempt, ChargeSeen(f"ch_{n}", "failed", "generic_decline")) for n in range(count)]


# --- state follows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("learnt", "state"),
    [
        ([], "PENDING"),
        ([(0, Closed("expired"))], "EXPIRED"),
        ([(1, Attempted())], "PENDING"),
        ([(1, SessionOpened("cs_1"))], "PENDING"),
        ([(1, SessionRefused("amount_too_small"))], "FAILED"),
        ([(1, ChargeSeen("ch_1", "pending"))], "PENDING"),
        ([(1, ChargeSeen("ch_1", "failed"))], "PENDING"),
        ([(1, Authorised(2500, "EUR"))], "PENDING"),
        ([(1, PAYS)], "PAID"),
        ([(1, Closed("expired"))], "EXPIRED"),
        ([(1, Closed("declined_out"))], "FAILED"),
        ([(1, Closed("canceled"))], "CANCELED"),
        ([(1, CloseRequested("canceled"))], "PENDING"),
        ([(1, Closed("expired")), (1, PAYS)], "PAID"),
        ([(1, Closed("expired")), (2, Attempted())], "PENDING"),
        ([(1, Closed("canceled")), (2, Closed("expired"))], "EXPIRED"),
        ([(1, PAYS), (2, Closed("expired"))], "PAID"),
        ([(1, Succeeded(2400, 2400, "EUR"))], "PENDING"),
        ([(1, Succeeded(2500, 2500, "USD"))], "PENDING"),
        ([(1, Succeeded(2500, 2000, "EUR"))], "PAID"),
    ],
)
def test_state_follows_from_the_facts(learnt: Learnt, state: str) -> None:
    """RULES §4: PAID if any attempt succeeded for what is owed, otherwise the newest attempt decides."""
    assert state_of(order_with(*learnt), OWED) == state


@pytest.mark.parametrize(
    ("asked", "told", "state"),
    [
        ("declined_out", "expired", "FAILED"),
        ("canceled", "expired", "CANCELED"),
        ("expired", "canceled", "EXPIRED"),
        (None, "canceled", "CANCELED"),
    ],
)
def test_our_own_close_request_names_the_reason(asked: str | None, told: str, state: str) -> None:
    """RULES §4: a gateway may report a cancelled checkout as expired; our stored close request knows better."""
    learnt: Learnt = [(1, Closed(told))]  # type: ignore[arg-type]
    if asked:
        learnt.append((1, CloseRequested(asked)))  # type: ignore[arg-type]
    assert state_of(order_with(*learnt), OWED) == state


def test_close_reason_is_the_maximum() -> None:
    """RULES §4: expired < declined_out < canceled."""
    for reasons in itertools.permutations(["expired", "declined_out", "canceled"]):
        assert state_of(order_with(*[(1, Closed(reason)) for reason in reasons]), OWED) == "CANCELED"  # type: ignore[arg-type]


def test_another_amount_never_pays_and_asks_for_attention() -> None:
    """RULES §4: amount or currency differs from the order → never PAID by it, attention."""
    for fact in (Succeeded(2400, 2400, "EUR"), Succeeded(2500, 2500, "USD"), Authorised(1, "EUR")):
        how = standing(order_with((1, fact)), OWED)
        assert (how.state, how.attention) == ("PENDING", "amount_mismatch")
    how = standing(order_with((1, PAYS)), OWED)
    assert how.attention is None


def test_paid_stays_paid_when_another_amount_is_reported() -> None:
    """RULES §4: PAID never goes back; what differs is shown."""
    how = standing(order_with((1, PAYS), (1, Succeeded(9900, 9900, "EUR"))), OWED)
    assert (how.state, how.attention) == ("PAID", "amount_mismatch")


def test_money_is_maximum_of_captures_and_sum_of_refunds() -> None:
    """RULES §4: captured = max per attempt; refunds per id, those failed or canceled do not count."""
    how = standing(
        order_with(
            (1, Succeeded(2500, 1000, "EUR")),
            (1, Succeeded(2500, 2500, "EUR")),
            (1, RefundSeen("re_1", "pending", 300, "EUR")),
            (1, RefundSeen("re_2", "succeeded", 500, "EUR")),
            (1, RefundSeen("re_3", "failed", 700, "EUR")),
            (1, RefundSeen("re_3", "succeeded", 700, "EUR")),
            (1, RefundSeen("re_4", "canceled", 900, "EUR")),
        ),
        OWED,
    )
    assert (how.amount_captured_minor, how.amount_refunded_minor) == (2500, 800)


# --- what we do about it ---------------------------------------------------------------------------------------------


def concluded(facts: Facts, declines_max: int = 3) -> Facts:
    return merge_all(facts, conclude(facts, OWED, declines_max))


def test_third_decline_asks_to_close_and_only_once() -> None:
    """RULES §4: FAILED works with every gateway: after declines_max failed charges the close request is stored."""
    assert conclude(order_with(*failed_charges(2)), OWED, 3) == []
    facts = order_with(*failed_charges(3))
    assert conclude(facts, OWED, 3) == [(1, CloseRequested("declined_out"))]
    facts = concluded(facts)
    assert (conclude(facts, OWED, 3), state_of(facts, OWED)) == ([], "PENDING")
    assert state_of(merge(facts, 1, Closed("expired")), OWED) == "FAILED"


def test_a_failed_charge_told_twice_counts_once() -> None:
    """RULES §4: charges are joined by id."""
    assert conclude(order_with(*failed_charges(2), *failed_charges(2)), OWED, 3) == []


def test_declines_of_an_older_attempt_do_not_close_the_newest() -> None:
    assert (
        conclude(order_with(*failed_charges(3), (1, Closed("expired")), (2, Attempted()), (1, Released())), OWED, 3)
        == []
    )


def test_paid_in_time_is_allowed_at_once() -> None:
    """RULES §4: fulfilment is its own field, allowed where nothing speaks against it."""
    facts = concluded(order_with((1, Attempted()), (1, PAYS)))
    how = standing(facts, OWED)
    assert (how.fulfilment, how.keeper, how.late, how.overpaid) == ("allowed", 1, False, False)
    assert conclude(facts, OWED, 3) == []


def test_money_after_the_end_is_late_and_held() -> None:
    """RULES §4: late ⇔ keeper ≤ the largest released n; late PAID starts held."""
    facts = concluded(order_with((1, Closed("expired"))))
    assert facts.released == 1
    how = standing(concluded(merge(facts, 1, PAYS)), OWED)
    assert (how.state, how.late, how.fulfilment) == ("PAID", True, "held")


def test_payment_of_a_newer_attempt_is_not_late() -> None:
    facts = concluded(order_with((1, Closed("expired"))))
    facts = concluded(merge_all(facts, [(2, Attempted()), (2, PAYS)]))
    assert (standing(facts, OWED).late, standing(facts, OWED).fulfilment) == (False, "allowed")


def test_two_candidates_at_once_keep_the_lower_and_are_held() -> None:
    """RULES §4: keeper = the lower number; two succeeded → overpaid → held."""
    how = standing(concluded(order_with((2, PAYS), (1, PAYS))), OWED)
    assert (how.keeper, how.overpaid, how.fulfilment) == (1, True, "held")


def test_a_second_payment_later_is_overpaid_and_changes_neither_keeper_nor_decision() -> None:
    facts = concluded(order_with((2, PAYS)))
    how = standing(concluded(merge(facts, 1, PAYS)), OWED)
    assert (how.keeper, how.overpaid, how.fulfilment) == (2, True, "allowed")


HELD = Held("paid_but_missing", "pi_1")
DISPUTED = DisputeSeen("dp_1", "needs_response", "EUR")
WON, LOST = DisputeSeen("dp_1", "closed", "EUR", outcome="won"), DisputeSeen("dp_1", "closed", "EUR", outcome="lost")


@pytest.mark.parametrize(
    ("learnt", "fulfilment", "attention"),
    [
        ([HELD], "held", "paid_but_missing"),
        ([HELD, HoldLifted("paid_but_missing", "pi_1")], "allowed", None),
        ([HELD, HoldLifted("disputed", "dp_1")], "held", "paid_but_missing"),
        ([HELD, Held("authorised_there", "pi_1")], "held", "authorised_there"),
        ([DISPUTED], "held", "disputed"),
        ([DISPUTED, WON], "allowed", None),
        ([DISPUTED, LOST], "held", "disputed"),
        ([LOST, HoldLifted("disputed", "dp_1")], "allowed", None),
        ([DisputeSeen("dp_1", "closed", "EUR")], "allowed", None),
        ([HELD, FulfilmentDecided("refused")], "refused", "paid_but_missing"),
    ],
)
def test_goods_are_held_while_something_speaks_against_them(
    learnt: list[AnyFact], fulfilment: str, attention: str | None
) -> None:
    """RULES §11, hold: the order stays PAID, and the shop may ship only on `allowed`. RULES §4: the result does not
    depend on who told of a dispute, nor when."""
    paid = concluded(order_with((1, Attempted()), (1, PAYS)))
    how = standing(concluded(merge_all(paid, [(1, fact) for fact in learnt])), OWED)
    assert (how.state, how.fulfilment, how.attention) == ("PAID", fulfilment, attention)
    first = concluded(order_with(*[(1, fact) for fact in learnt], (1, PAYS)))
    assert standing(concluded(first), OWED).fulfilment == fulfilment


def test_a_decision_that_comes_while_the_goods_are_held_is_none() -> None:
    """RULES §4: policy decides once. What came up meanwhile is settled first, then it is decided."""
    late = concluded(merge_all(concluded(order_with((1, Closed("expired")))), [(1, PAYS), (1, HELD)]))
    order = LoadedOrder(OrderKey("mer_1", "ord_1"), "con_1", OWED, 3, late, 1)
    decided = Told("mer_1", "ord_1", 1, FulfilmentDecided("allowed"), "merchant")
    assert decide(order, [decided]) is None
    assert [each for each in errands_of(late, OWED) if each.kind == "decide"] == []
    lifted = merge(late, 1, HoldLifted("paid_but_missing", "pi_1"))
    assert Errand("decide", 1) in errands_of(lifted, OWED)


def test_a_second_charge_of_one_payment_is_money_that_goes_back() -> None:
    """RULES §4, §11: the order stays PAID and what was decided stays; it is overpaid, the charge is returned, not the
    payment's own, and a further one is returned too."""
    paid = concluded(order_with((1, Attempted()), (1, PAYS)))
    twice = merge(paid, 1, SurplusSeen("ch_2", 2500, "EUR"))
    how = standing(twice, OWED)
    assert (how.state, how.overpaid, how.fulfilment, how.amount_captured_minor) == ("PAID", True, "allowed", 5000)
    assert set(errands_of(twice, OWED)) - set(errands_of(paid, OWED)) == {Errand("return_charges", 1, "ch_2")}
    thrice = merge(twice, 1, SurplusSeen("ch_3", 2500, "EUR"))
    assert set(errands_of(thrice, OWED)) - set(errands_of(twice, OWED)) == {Errand("return_charges", 1, "ch_3")}
    back = order_with((1, RefundSeen("re_1", "succeeded", 2500, "EUR")), (1, ChargeReturned("ch_2", "re_1")))
    assert back.attempts[1].charges_returned == {"ch_2": "re_1"}
    by_itself = merge(twice, 1, ChargeReturned("ch_2", ""))
    assert standing(by_itself, OWED).amount_refunded_minor == 2500, "the gateway gave it back, by no refund of ours"


# --- the algebra -----------------------------------------------------------------------------------------------------

numbers = st.integers(1, 3)
amounts = st.sampled_from([2400, 2500, 9900])
currencies = st.sampled_from(["EUR", "USD"])
intents = st.sampled_from([None, "pi_1", "pi_2"])
charges = st.sampled_from([None, "ch_1", "ch_2"])
reasons = st.sampled_from(["expired", "declined_out", "canceled"])
some_facts: st.SearchStrategy[AnyFact] = st.one_of(
    st.builds(Attempted),
    st.builds(SessionOpened, session=st.sampled_from(["cs_1", "cs_2"]), intent=intents),
    st.builds(
        ChargeSeen,
        charge=st.sampled_from(["ch_1", "ch_2", "ch_3"]),
        status=st.sampled_from(["pending", "failed", "succeeded"]),
        code=st.sampled_from([None, "generic_decline", "lost_card"]),
        intent=intents,
    ),
    st.builds(Authorised, authorised_minor=amounts, currency=currencies, intent=intents, charge=charges),
    st.builds(
        Succeeded,
        authorised_minor=amounts,
        captured_minor=st.none() | amounts,
        currency=currencies,
        intent=intents,
        charge=charges,
    ),
    st.builds(SurplusSeen, charge=st.sampled_from(["ch_2", "ch_3"]), captured_minor=amounts, currency=currencies),
    st.builds(ChargeReturned, charge=st.sampled_from(["ch_2", "ch_3"]), refund=st.sampled_from(["", "re_1", "re_2"])),
    st.builds(Closed, reason=reasons, intent=intents),
    st.builds(CloseRequested, reason=reasons),
    st.builds(
        RefundSeen,
        refund=st.sampled_from(["re_1", "re_2"]),
        status=st.sampled_from(["pending", "requires_action", "succeeded", "failed", "canceled"]),
        amount_minor=amounts,
        currency=currencies,
    ),
    st.builds(
        DisputeSeen,
        dispute=st.sampled_from(["dp_1", "dp_2"]),
        status=st.sampled_from(["needs_response", "under_review", "closed"]),
        currency=currencies,
        transactions=st.dictionaries(st.sampled_from(["txn_1", "txn_2"]), st.sampled_from([-2500, 2500]), max_size=2),
        outcome=st.sampled_from([None, "won", "lost"]),
    ),
    st.builds(SessionRefused, code=st.just("amount_too_small")),
    st.builds(Released),
    st.builds(Returned, refund=st.sampled_from(["re_1", "re_2"])),
    st.builds(Kept),
    st.builds(FulfilmentDecided, decision=st.sampled_from(["allowed", "refused"])),
    st.builds(
        Held, reason=st.sampled_from(["paid_but_missing", "disputed"]), subject=st.sampled_from(["pi_1", "dp_1"])
    ),
    st.builds(
        HoldLifted, reason=st.sampled_from(["paid_but_missing", "disputed"]), subject=st.sampled_from(["pi_1", "dp_1"])
    ),
)
some_learnt = st.lists(st.tuples(numbers, some_facts), max_size=12)


@settings(max_examples=500)
@given(some_learnt, st.data())
def test_any_order_loss_and_repetition_give_the_same_facts_state_and_money(learnt: Learnt, data: st.DataObject) -> None:
    """RULES §4: for any multiset of facts, every order and duplication gives the same state and the same money."""
    shuffled = data.draw(st.permutations(learnt))
    some = data.draw(st.lists(st.sampled_from(learnt), max_size=6)) if learnt else []
    once = merge_all(NO_FACTS, learnt)
    again = merge_all(merge_all(NO_FACTS, some), shuffled + some)
    assert again == once
    if once.attempts:
        assert standing(again, OWED) == standing(once, OWED)


def test_a_second_charge_that_is_told_in_two_currencies_loses_neither() -> None:
    """No gateway should; but whatever is told, what was captured never shrinks, in whichever order it comes."""
    told: Learnt = [(1, SurplusSeen("ch_3", 2500, "EUR")), (1, SurplusSeen("ch_3", 2500, "USD"))]
    assert [standing(merge_all(NO_FACTS, some), OWED).amount_captured_minor for some in (told, told[::-1])] == [
        2500
    ] * 2


@settings(max_examples=300)
@given(some_learnt, some_learnt)
def test_paid_never_goes_back(before: Learnt, after: Learnt) -> None:
    """RULES §4: PAID never goes back, whatever is learnt afterwards; and what was captured never shrinks."""
    facts = merge_all(NO_FACTS, before)
    more = merge_all(facts, after)
    if state_of(facts, OWED) == "PAID":
        assert state_of(more, OWED) == "PAID"
    assert standing(more, OWED).amount_captured_minor >= standing(facts, OWED).amount_captured_minor


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(numbers, some_facts.filter(lambda fact: not isinstance(fact, Released | Kept | FulfilmentDecided))),
        max_size=12,
    ),
    st.data(),
)
def test_however_facts_are_cut_into_commits_state_and_money_are_the_same(learnt: Learnt, data: st.DataObject) -> None:
    """RULES §4: what we conclude in between depends on the batches, the state and the money do not."""
    together = concluded(merge_all(NO_FACTS, learnt), declines_max=NEVER)
    apart = NO_FACTS
    for one in data.draw(st.permutations(learnt)):
        apart = concluded(merge_all(apart, [one]), declines_max=NEVER)
    left, right = standing(together, OWED), standing(apart, OWED)
    assert (left.state, left.amount_captured_minor, left.amount_refunded_minor, left.overpaid, left.attention) == (
        right.state,
        right.amount_captured_minor,
        right.amount_refunded_minor,
        right.overpaid,
        right.attention,
    )


@settings(max_examples=300)
@given(some_learnt)
def test_merging_what_is_known_returns_the_same_object(learnt: Learnt) -> None:
    """A fact that says nothing new is recognised at once, so that it writes nothing."""
    facts = merge_all(NO_FACTS, learnt)
    for attempt, fact in learnt:
        assert merge(facts, attempt, fact) is facts


@settings(max_examples=200)
@given(some_learnt)
def test_facts_survive_being_stored(learnt: Learnt) -> None:
    facts = merge_all(NO_FACTS, learnt)
    assert decode_facts(encode(facts)) == facts
    for _, fact in learnt:
        assert msgspec.json.decode(encode(fact), type=AnyFact) == fact


@settings(max_examples=200)
@given(some_learnt)
def test_concluding_comes_to_rest(learnt: Learnt) -> None:
    """What we do follows in one step, never in a loop."""
    facts = merge_all(NO_FACTS, learnt)
    done = concluded(concluded(facts))
    assert conclude(done, OWED, 3) == []


# What only we ourselves conclude, nobody tells: which payment is the order's, and that the goods were let go.
told_facts = some_facts.filter(lambda fact: not isinstance(fact, Kept | Released))


@given(st.lists(st.tuples(numbers, told_facts), max_size=14))
@settings(max_examples=300)
def test_whatever_must_be_done_outside_was_written_when_it_became_due(learnt: Learnt) -> None:
    """RULES §4: every errand that the facts ask for in the end followed from one of the changes, whatever their order;
    and no money that is the order's is given back unless policy refused it."""
    order = LoadedOrder(OrderKey("mer_1", "ord_1"), "con_1", OWED, NEVER, order_with((1, Attempted())), 1)
    written: set[Errand] = set()
    for number, (attempt, fact) in enumerate(learnt):
        change = decide(order, [about(attempt, fact)])
        if change is None:
            continue
        written |= set(consequences_of(change).errands)
        order = msgspec.structs.replace(order, facts=change.facts, version=number + 2)
    asked = set(errands_of(order.facts, OWED))
    assert asked <= written
    if order.facts.decision != "refused":
        assert Errand("return", order.facts.keeper) not in asked


def about(attempt: int, fact: AnyFact) -> Told:
    """A fact as somebody tells it."""
    return Told("mer_1", "ord_1", attempt, fact, "merchant")
