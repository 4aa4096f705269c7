"""Currencies that Adyen counts in other decimals than ISO 4217. Pure. RULES §2: an explicit frozen table.

A currency that is not in it is refused, never defaulted to ISO 4217.
"""

from types import MappingProxyType

from tallystick.merchant.gateways.stripe_currencies import WireCurrency

_TWO = (
    "AED ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BWP BYN BZD CAD CHF CNY COP CRC CZK DKK DOP DZD "
    "EGP ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF ILS INR JMD KES KGS KHR KYD KZT LAK LBP LKR MAD "
    "MDL MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB "
    "SAR SBD SCR SEK SGD SHP SOS SRD STN SZL THB TOP TRY TTD TWD TZS UAH USD UYU UZS WST XCD YER ZAR ZMW"
)
_ZERO = "DJF GNF JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
_THREE = "BHD JOD KWD OMR TND"

ADYEN_CURRENCIES: MappingProxyType[str, WireCurrency] = MappingProxyType(
    {
        **{currency: WireCurrency(2, 2) for currency in _TWO.split()},
        **{currency: WireCurrency(0, 0) for currency in _ZERO.split()},
        **{currency: WireCurrency(3, 3) for currency in _THREE.split()},
        "CLP": WireCurrency(0, 2),
        "CVE": WireCurrency(2, 0),
        "IDR": WireCurrency(2, 0),
        "ISK": WireCurrency(0, 2),
    }
)
