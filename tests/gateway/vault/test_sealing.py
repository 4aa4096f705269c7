"""A number under its own key opens in its own row and nowhere else. RULES §9."""

from hypothesis import given
from hypothesis import strategies as st

from tallystick.gateway.cards.pan import PAN_DIGITS_MAX, PAN_DIGITS_MIN, Pan
from tallystick.gateway.vault.sealing import NONCE_BYTES, seal, unseal

NUMBER = Pan("4242424242424242")
PLACE = ("acct_a", False, "vt_1")
KEY, NONCE = bytes(range(32)), bytes(NONCE_BYTES)


def test_a_sealed_number_opens_with_its_key_in_its_place() -> None:
    sealed = seal(NUMBER, PLACE, KEY, NONCE)
    assert unseal(sealed, PLACE, KEY) == NUMBER
    assert NUMBER.reveal().encode() not in sealed
    assert len(sealed) == NONCE_BYTES + 16 + 16


@given(st.integers(0, 43), st.integers(1, 255))
def test_whatever_is_changed_of_it_it_does_not_open(place: int, change: int) -> None:
    sealed = bytearray(seal(NUMBER, PLACE, KEY, NONCE))
    sealed[place] ^= change
    assert unseal(bytes(sealed), PLACE, KEY) is None


def test_it_opens_in_no_other_row_mode_or_account_and_with_no_other_key() -> None:
    sealed = seal(NUMBER, PLACE, KEY, NONCE)
    for other in (("acct_b", False, "vt_1"), ("acct_a", True, "vt_1"), ("acct_a", False, "vt_2")):
        assert unseal(sealed, other, KEY) is None
    assert unseal(sealed, PLACE, KEY[::-1]) is None
    assert unseal(b"", PLACE, KEY) is None


@given(st.integers(PAN_DIGITS_MIN, PAN_DIGITS_MAX), st.integers(0))
def test_numbers_of_every_length_come_back(length: int, seed: int) -> None:
    number = Pan(str(seed)[-length:].rjust(length, "7"))
    assert unseal(seal(number, PLACE, KEY, NONCE), PLACE, KEY) == number
