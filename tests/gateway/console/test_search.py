"""What is meant by what people say about a payment."""

import pytest

from tallystick.gateway.cards.brands import BRANDS
from tallystick.gateway.console.search import ByAmount, ByCard, ById, ByOrder, CardNumberTyped, Wanted, meant


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("pi_0Ab", ById("pi", "pi_0Ab")),
        ("cs_test_0Ab", ById("cs", "cs_test_0Ab")),
        ("12.50 EUR", ByAmount(1250, "EUR")),
        ("eur12,5", ByAmount(1250, "EUR")),
        ("5000 jpy", ByAmount(5000, "JPY")),
        ("1.234 KWD", ByAmount(1234, "KWD")),
        ("4242", ByCard("4242", BRANDS)),
        ("Visa 4242", ByCard("4242", ("visa",))),
        ("4242 amex", ByCard("4242", ("amex",))),
        ("visa ending in 4242", ByCard("4242", ("visa",))),
        ("**** 4242", ByCard("4242", BRANDS)),
        ("12.50", ByOrder("12.50")),
        ("12.50 XXX", ByOrder("12.50 XXX")),
        ("12.505 EUR", ByOrder("12.505 EUR")),
        ("basket-17", ByOrder("basket-17")),
        ("42425", ByOrder("42425")),
        ("shop 4242", ByOrder("shop 4242")),
        ("order-20261128-000123", ByOrder("order-20261128-000123")),
        ("1764000000000", ByOrder("1764000000000")),
    ],
)
def test_what_is_meant(words: str, wanted: Wanted) -> None:
    assert meant(words) == wanted


@pytest.mark.parametrize("words", ["4242424242424242", "card 5555 5555 5555 4444", "3782-822463-10005"])
def test_a_card_number_is_no_search(words: str) -> None:
    with pytest.raises(CardNumberTyped):
        meant(words)
