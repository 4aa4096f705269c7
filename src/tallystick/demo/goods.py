"""What the demo's shop sells. Pure. Prices in minor units of `CURRENCY`; each good's drawing is `goods/<slug>.svg`."""

from msgspec import Struct

from tallystick.kernel import money

CURRENCY = "EUR"
QUANTITY_MAX = 9  # of one good in one basket
LOCALE = "en_IE"


class Good(Struct, frozen=True):
    """A thing to buy."""

    slug: str
    name: str
    words: str
    price_minor: int


class Line(Struct, frozen=True):
    """So many of one good."""

    good: Good
    quantity: int

    @property
    def total_minor(self) -> int:
        return self.good.price_minor * self.quantity


GOODS = {
    good.slug: good
    for good in (
        Good("tally", "Hazel tally stick", "Split along the middle. One half for you, one for whoever owes you.", 2400),
        Good("ledger", "Exchequer ledger", "Linen bound, two hundred ruled pages, every one of them numbered.", 1850),
        Good("ink", "Iron gall ink", "Fifty millilitres that darken with time and cannot be unwritten.", 1290),
        Good("cloth", "Chequered cloth", "Woven wool for counting on, as the Exchequer did from 1110.", 6400),
        Good("knife", "Notching knife", "A short ash-handled blade: a palm's width of notch is a thousand.", 4600),
        Good("pebbles", "Counting pebbles", "A linen bag of forty river stones, white and slate.", 950),
    )
}


def read_basket(text: str) -> list[Line]:
    """The basket out of its cookie, `tally:2.ink:1`; what is no good of ours, or no sensible number, is left out."""
    lines = []
    for part in text.split("."):
        slug, _, number = part.partition(":")
        if slug in GOODS and number.isascii() and number.isdigit() and 1 <= int(number[:3]) <= QUANTITY_MAX:
            lines.append(Line(GOODS[slug], int(number[:3])))
    return list({line.good.slug: line for line in lines}.values())


def write_basket(lines: list[Line]) -> str:
    """The basket as its cookie."""
    return ".".join(f"{line.good.slug}:{line.quantity}" for line in lines)


def changed(lines: list[Line], slug: str, by: int) -> list[Line]:
    """The basket with `by` more (or fewer) of a good, within 0 and QUANTITY_MAX. An unknown good changes nothing."""
    if slug not in GOODS:
        return lines
    quantities = {line.good.slug: line.quantity for line in lines}
    quantities[slug] = max(0, min(QUANTITY_MAX, quantities.get(slug, 0) + by))
    return [Line(GOODS[key], quantity) for key, quantity in quantities.items() if quantity]


def total_minor(lines: list[Line]) -> int:
    """What the basket costs."""
    return sum(line.total_minor for line in lines)


def price(amount_minor: int) -> str:
    """An amount as the shop shows it."""
    return money.display(amount_minor, CURRENCY, money.exponent(CURRENCY), LOCALE)
