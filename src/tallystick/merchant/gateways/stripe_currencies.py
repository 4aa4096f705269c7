"""Amounts on Stripe's wire. Pure. RULES §2: a gateway's own deviations live in its adapter, as an explicit frozen
table.

A currency that is not in the table is refused, never defaulted to ISO 4217. Read by the adapter only.
"""

from types import MappingProxyType

from msgspec import Struct

from tallystick.merchant.gateways.port import AmountRefused


class WireCurrency(Struct, frozen=True):
    """How a currency travels: decimals by ISO 4217, decimals on the wire, and the step that wire amounts must be a
    multiple of.
    """

    iso_exponent: int
    wire_exponent: int
    step: int = 1

    @property
    def iso_scale(self) -> int:
        return int(10**self.iso_exponent)

    @property
    def wire_scale(self) -> int:
        return int(10**self.wire_exponent)


_TWO = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BWP BYN BZD CAD CDF CHF CNY "
    "COP CRC CVE CZK DKK DOP DZD EGP ETB EUR FJD FKP GBP GEL GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS "
    "INR JMD KES KGS KHR KYD KZT LAK LBP LKR LRD LSL MAD MDL MKD MMK MNT MOP MUR MVR MWK MXN MYR MZN "
    "NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SEK SGD SHP SLE SOS "
    "SRD STN SZL THB TJS TOP TRY TTD TWD TZS UAH USD UYU UZS WST XCD XCG YER ZAR ZMW"
)
_ZERO = "BIF CLP DJF GNF JPY KMF KRW PYG RWF VND VUV XAF XOF XPF"
_THREE = "BHD JOD KWD OMR TND"

STRIPE_CURRENCIES: MappingProxyType[str, WireCurrency] = MappingProxyType(
    {
        **{currency: WireCurrency(2, 2) for currency in _TWO.split()},
        **{currency: WireCurrency(0, 0) for currency in _ZERO.split()},
        # Three decimals, but the card networks behind the wire take two: the last digit is 0.
        **{currency: WireCurrency(3, 3, 10) for currency in _THREE.split()},
        # Without decimals since they lost them, but the wire kept two, which must be 00.
        "ISK": WireCurrency(0, 2, 100),
        "UGX": WireCurrency(0, 2, 100),
        # An ariary has five iraimbilanja; the wire takes whole ariary only. Sent unchanged it would charge 100 times
        # too much.
        "MGA": WireCurrency(2, 0),
    }
)


def to_wire(amount_minor: int, currency: str) -> int:
    """Our amount (minor units by ISO 4217) as the wire wants it. Raises AmountRefused; never rounds."""
    rule = _rule(currency)
    scaled, rest = divmod(amount_minor * rule.wire_scale, rule.iso_scale)
    if rest or scaled % rule.step:
        raise AmountRefused(
            "amount_not_chargeable", f"The gateway takes {currency} in steps of {_step_minor(rule)} minor units only."
        )
    return scaled


def from_wire(amount: int, currency: str) -> int:
    """The wire's amount in our minor units. Raises AmountRefused when it is no whole number of them; never rounds."""
    rule = _rule(currency)
    scaled, rest = divmod(amount * rule.iso_scale, rule.wire_scale)
    if rest:
        raise AmountRefused("amount_not_whole", f"An amount of {currency} is not a whole number of its minor units.")
    return scaled


def _rule(currency: str) -> WireCurrency:
    try:
        return STRIPE_CURRENCIES[currency]
    except KeyError:
        raise AmountRefused("currency_not_supported", f"The gateway does not take {currency}.") from None


def _step_minor(rule: WireCurrency) -> int:
    return max(1, rule.step * rule.iso_scale // rule.wire_scale)
