"""The installation itself: what the page on operating says makes one that takes payments. docs/operating.md."""

from typing import Any


async def test_what_the_pages_say_makes_an_installation_that_is_sound_and_takes_payments(
    installation: Any, shoppers: Any
) -> None:
    orders = [await shoppers.buy(f"first-{number}") for number in range(2)]
    await installation.paid_once_each(orders)
    await installation.doctor()
