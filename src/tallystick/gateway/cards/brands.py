"""Card brands by the longest matching prefix. Pure. RULES §9. The names are Stripe's, as they stand on the wire."""

UNKNOWN = "unknown"

_RANGES: tuple[tuple[str, str, str], ...] = (
    ("visa", "4", "4"),
    ("mastercard", "51", "55"),
    ("mastercard", "2221", "2720"),
    ("amex", "34", "34"),
    ("amex", "37", "37"),
    ("discover", "6011", "6011"),
    ("discover", "644", "649"),
    ("discover", "65", "65"),
    ("discover", "622126", "622925"),  # also UnionPay's; Discover's network in most of the world
    ("diners", "300", "305"),
    ("diners", "3095", "3095"),
    ("diners", "36", "36"),
    ("diners", "38", "39"),
    ("jcb", "3528", "3589"),
    ("unionpay", "62", "62"),
    ("unionpay", "81", "81"),
)
"""Brand, first and last prefix of a range, both of one length."""

BRANDS: tuple[str, ...] = (*dict.fromkeys(brand for brand, _, _ in _RANGES), UNKNOWN)
"""Every brand that a card here may have."""

_LENGTHS = tuple(sorted({len(first) for _, first, _ in _RANGES}, reverse=True))
_BY_LENGTH = {length: [r for r in _RANGES if len(r[1]) == length] for length in _LENGTHS}

CODE_DIGITS = {"amex": 4}  # printed digits of the security code; three on every other brand
_CODE_DIGITS_USUAL = 3


def brand_of(digits: str) -> str:
    """The brand of a number, or of the beginning of one: the longest prefix that matches decides."""
    for length in _LENGTHS:
        prefix = digits[:length]
        if len(prefix) < length:
            continue
        for brand, first, last in _BY_LENGTH[length]:
            if first <= prefix <= last:
                return brand
    return UNKNOWN


def code_digits(brand: str) -> int:
    """How many digits the security code of a brand has."""
    return CODE_DIGITS.get(brand, _CODE_DIGITS_USUAL)
