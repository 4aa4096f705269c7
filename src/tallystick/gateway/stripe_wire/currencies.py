"""Currencies as Stripe's wire writes them: the gateway takes, keeps and shows amounts by this table (RULES §2). Pure.

It differs from ISO 4217 where Stripe does, and it is complete: a currency that is not in it is refused, never
defaulted to ISO. The merchant's adapter has a table of its own, as it would for any gateway; a contract test
compares the two.
"""

from types import MappingProxyType

from msgspec import Struct

from tallystick.gateway.stripe_wire import errors


class WireCurrency(Struct, frozen=True):
    """Decimals of an amount on the wire, and the step that amounts must be a multiple of."""

    exponent: int
    step: int = 1


_TWO = WireCurrency(2)
_ZERO = WireCurrency(0)
_THREE_ENDING_IN_0 = WireCurrency(3, step=10)  # the card networks take two decimals
_TWO_ENDING_IN_00 = WireCurrency(2, step=100)  # lost their decimals, but the wire kept them

_TWO_DECIMALS = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BWP BYN BZD CAD CDF CHF CNY COP "
    "CRC CVE CZK DKK DOP DZD EGP ETB EUR FJD FKP GBP GEL GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR JMD "
    "KES KGS KHR KYD KZT LAK LBP LKR LRD LSL MAD MDL MKD MMK MNT MOP MUR MVR MWK MXN MYR MZN NAD NGN NIO "
    "NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SEK SGD SHP SLE SOS SRD STN SZL THB "
    "TJS TOP TRY TTD TWD TZS UAH USD UYU UZS WST XCD XCG YER ZAR ZMW"
)
_ZERO_DECIMALS = "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF"  # MGA: ISO 4217 says 2
_THREE_DECIMALS = "BHD JOD KWD OMR TND"

CURRENCIES: MappingProxyType[str, WireCurrency] = MappingProxyType(
    {
        **dict.fromkeys(_TWO_DECIMALS.split(), _TWO),
        **dict.fromkeys(_ZERO_DECIMALS.split(), _ZERO),
        **dict.fromkeys(_THREE_DECIMALS.split(), _THREE_ENDING_IN_0),
        "ISK": _TWO_ENDING_IN_00,
        "UGX": _TWO_ENDING_IN_00,
    }
)


def checked(amount: int, currency: str, *, param: str = "amount") -> str:
    """The currency in upper case, if the wire knows it and the amount can travel in it. Raises InvalidRequest."""
    upper = currency.upper()
    rule = CURRENCIES.get(upper)
    if rule is None:
        raise errors.invalid("currency", f"Invalid currency: {errors.shown(currency.lower())}. It is not supported.")
    if amount % rule.step:
        raise errors.invalid(
            param,
            f"Invalid amount: amounts in {upper.lower()} must be divisible by {rule.step}.",
            "parameter_invalid_integer",
        )
    return upper


def exponent(currency: str) -> int:
    """Decimals of an amount on the wire, of a currency in upper case that a stored row names."""
    return CURRENCIES[currency].exponent
