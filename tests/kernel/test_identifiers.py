"""Identifiers: prefixed, ordered by time, unguessable, owned where a bare URL must find its owner (DESIGN §2.6)."""

import re
from datetime import UTC, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from tallystick.kernel.identifiers import first_id, new_id, new_owner_id, new_secret, owned_id, owner_of
from tallystick.ports.entropy import SystemEntropy

ENTROPY = SystemEntropy()
START = datetime(2026, 11, 23, tzinfo=UTC)
instants = st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(instants, instants)
def test_the_order_of_the_text_is_the_order_of_time(earlier: datetime, later: datetime) -> None:
    if abs(later - earlier) < timedelta(milliseconds=2):
        return
    earlier, later = sorted((earlier, later))
    assert new_id("evt", earlier, ENTROPY) < new_id("evt", later, ENTROPY)


@given(instants, instants)
def test_a_bound_lies_between_what_was_made_earlier_and_later(earlier: datetime, later: datetime) -> None:
    owner = new_owner_id("acct", ENTROPY)
    earlier, later = sorted((earlier, later))
    if later - earlier < timedelta(milliseconds=2):
        later = earlier + timedelta(milliseconds=2)
    assert new_id("evt", earlier, ENTROPY) < first_id("evt", later) <= new_id("evt", later, ENTROPY)
    bound = first_id("cs_test", later, owner)
    assert owned_id("cs_test", owner, earlier, ENTROPY) < bound <= owned_id("cs_test", owner, later, ENTROPY)


def test_before_time_began_nothing_was_made() -> None:
    assert first_id("evt", datetime.min.replace(tzinfo=UTC)) < new_id("evt", START, ENTROPY)


def test_identifiers_do_not_repeat() -> None:
    assert len({new_id("pi", START, ENTROPY) for _ in range(10_000)}) == 10_000


def test_an_owned_identifier_names_its_owner() -> None:
    owner = new_owner_id("acct", ENTROPY)
    session = owned_id("cs_test", owner, START, ENTROPY)
    assert session.startswith("cs_test_")
    assert owner_of(session, "acct") == owner


@given(st.text(max_size=80))
@example("con_\x00_" + "0" * 41)
def test_a_hostile_identifier_has_no_owner_or_is_and_has_a_well_formed_one(text: str) -> None:
    """What has an owner is looked for in the database, which takes no NUL: strangers had it fail, and be told of."""
    owner = owner_of(text, "acct")
    assert owner is None or (re.fullmatch(r"acct_[0-9A-Za-z]{16}", owner) and re.fullmatch(r"[0-9A-Za-z_]+", text))


def test_a_secret_has_at_least_128_random_bits() -> None:
    secret = new_secret("sk_test", ENTROPY)
    assert 62 ** len(secret.removeprefix("sk_test_")) > 2**128
