"""How people are compared, and that nothing shows them by accident (RULES §12)."""

import pytest

from tallystick.kernel.people.access import Shown
from tallystick.kernel.people.person import (
    Address,
    Person,
    ends_with_a_line_break,
    lookups_of,
    normal_email,
    normal_phone,
    read_back,
)
from tallystick.merchant.checkout.request import Customer
from tallystick.merchant.customers.api import SearchCustomers, customer_view
from tallystick.ports.clock import SystemClock

KEY = b"a key of no value, for this test"
ADA = Person(
    email="Ada@Example.org",
    name="Ada Lovelace",
    phone="+44 20 7946 0000",
    address=Address(line1="12 St James's Square", city="London", country="GB"),
)


@pytest.mark.parametrize("written", ["ada@example.org", "Ada@Example.ORG", " ada@example.org ", "ａｄａ@example.org"])
def test_an_address_is_the_same_however_it_is_written(written: str) -> None:
    assert normal_email(written) == "ada@example.org"


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("+49 (30) 901820", "+4930901820"),
        ("0049-30-901820", "+4930901820"),
        ("+49 30/90 18 20", "+4930901820"),
        ("030 901820", "030901820"),
        ("３０９０１８２０", "30901820"),
    ],
)
def test_a_number_is_its_digits(written: str, normal: str) -> None:
    assert normal_phone(written) == normal


def test_the_same_person_is_the_same_and_another_is_not() -> None:
    ada = lookups_of(ADA, "mer_1", KEY)
    again = Person(email="ada@example.org", name="ada  lovelace", phone="0044 2079460000", address=ADA.address)
    assert lookups_of(again, "mer_1", KEY) == ada
    other_name = lookups_of(Person(email=ADA.email, name="Byron", phone=ADA.phone, address=ADA.address), "mer_1", KEY)
    assert (other_name.email, other_name.phone) == (ada.email, ada.phone), "found by the same"
    assert other_name.shopper != ada.shopper, "and not taken for the same"
    elsewhere = lookups_of(ADA, "mer_2", KEY)
    assert not {elsewhere.email, elsewhere.phone, elsewhere.shopper} & {ada.email, ada.phone, ada.shopper}
    assert lookups_of(ADA, "mer_1", KEY[::-1]).email != ada.email
    assert len({ada.email, ada.phone, ada.shopper}) == 3


def test_nobody_is_recognised_by_a_name_alone() -> None:
    unknown = lookups_of(Person(name="Ada Lovelace", address=ADA.address), "mer_1", KEY)
    assert (unknown.email, unknown.phone, unknown.shopper) == (None, None, None)


def test_no_repr_shows_a_person() -> None:
    shown = Shown("cus_1", SystemClock().now(), {"email": ADA.email, "address": ADA.address})
    for thing in (ADA, ADA.address, shown, customer_view(shown), Customer(email=ADA.email), SearchCustomers(ADA.email)):
        for text in (repr(thing), str(thing), f"{thing}"):
            assert not any(secret in text for secret in ("Ada", "example", "James", "7946")), text


def test_a_field_is_read_back_as_it_was() -> None:
    assert {field: read_back(field, text) for field, text in ADA.texts()} == {
        "email": ADA.email,
        "name": ADA.name,
        "phone": ADA.phone,
        "address": ADA.address,
    }


def test_a_line_break_at_the_end_is_found() -> None:
    assert ends_with_a_line_break(ADA) == []
    person = Person(name="Ada\n", address=Address(line1="1", city="London\n", country="GB"))
    assert ends_with_a_line_break(person) == ["name", "address.city"]
