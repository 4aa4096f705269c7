"""A person's key opens that person's fields in their places, and nothing else; a Vault that is away stops no order."""

from typing import Any

import pytest

from tallystick.kernel.people.keys import RENEWED_AFTER_S, KeyRefused, Keys, KeysUnavailable
from tallystick.kernel.people.person import FIELDS, Field
from tallystick.kernel.people.sealing import Damaged, Seal
from tallystick.ports.clock import SystemClock
from tallystick.ports.entropy import SystemEntropy

KEY = bytes(range(32))


class MovableClock(SystemClock):
    """Goes on when the test says so."""

    def __init__(self) -> None:
        self.at_s = 0.0

    def monotonic_s(self) -> float:
        return self.at_s


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def keys(key_encryption: Any, clock: MovableClock) -> Keys:
    return Keys(key_encryption, clock, SystemEntropy())


def test_a_field_opens_in_its_own_place_only() -> None:
    sealed = Seal(KEY, "mer_1", "cus_1").seal("email", "ada@example.org", SystemEntropy())
    assert b"ada" not in sealed
    assert Seal(KEY, "mer_1", "cus_1").open("email", sealed) == "ada@example.org"
    for merchant, customer, key in (("mer_2", "cus_1", KEY), ("mer_1", "cus_2", KEY), ("mer_1", "cus_1", KEY[::-1])):
        with pytest.raises(Damaged):
            Seal(key, merchant, customer).open("email", sealed)
    for field in FIELDS[1:]:
        with pytest.raises(Damaged):
            Seal(KEY, "mer_1", "cus_1").open(field, sealed)


@pytest.mark.parametrize("field", FIELDS)
def test_what_was_changed_does_not_open(field: Field) -> None:
    seal = Seal(KEY, "mer_1", "cus_1")
    sealed = seal.seal(field, "ada@example.org", SystemEntropy())
    for place in range(len(sealed)):
        changed = bytes([*sealed[:place], sealed[place] ^ 1, *sealed[place + 1 :]])
        with pytest.raises(Damaged):
            seal.open(field, changed)
    for short in (b"", sealed[:5], sealed[:20], sealed[:-1]):
        with pytest.raises(Damaged):
            seal.open(field, short)


def test_the_same_text_is_sealed_differently_each_time() -> None:
    seal = Seal(KEY, "mer_1", "cus_1")
    assert seal.seal("name", "Ada", SystemEntropy()) != seal.seal("name", "Ada", SystemEntropy())


async def test_people_are_stored_without_a_call_for_each(keys: Keys, key_encryption: Any) -> None:
    wrapped = [(await keys.current()).wrap(keys.new_key()) for _ in range(100)]
    assert key_encryption.calls == 1
    assert len(set(wrapped)) == 100


async def test_what_a_process_wrapped_another_opens(keys: Keys, key_encryption: Any) -> None:
    here, key = await keys.current(), keys.new_key()
    stored = here.wrap(key)
    elsewhere = Keys(key_encryption, SystemClock(), SystemEntropy())
    assert (await elsewhere.opening(here.wrapped)).unwrap(stored) == key
    with pytest.raises(KeyRefused):
        (await elsewhere.current()).unwrap(stored)
    with pytest.raises(KeyRefused):
        (await elsewhere.opening(here.wrapped)).unwrap(bytes(40))


async def test_while_the_vault_is_away_people_are_still_stored(
    keys: Keys, key_encryption: Any, clock: MovableClock
) -> None:
    """RULES §14, Vault sealed: also past the hour after which the key would be a new one; and what this process wrapped
    it still reads."""
    first = await keys.current()
    key_encryption.away = True
    clock.at_s = RENEWED_AFTER_S + 1
    assert await keys.current() is first
    calls = key_encryption.calls
    assert await keys.current() is first
    assert key_encryption.calls == calls, "not asked for every person"
    assert await keys.opening(first.wrapped) is first
    key_encryption.away = False
    clock.at_s += 60
    assert await keys.current() is not first


async def test_without_a_key_nothing_is_stored_or_read(key_encryption: Any) -> None:
    for none in (Keys(None, SystemClock(), SystemEntropy()), Keys(key_encryption, SystemClock(), SystemEntropy())):
        key_encryption.away = True
        with pytest.raises(KeysUnavailable):
            await none.current()
        with pytest.raises(KeysUnavailable):
            await none.opening("test:v1:00")


async def test_a_damaged_key_is_told_from_one_that_is_away(keys: Keys) -> None:
    with pytest.raises(KeyRefused):
        await keys.opening("test:v1:0000")
