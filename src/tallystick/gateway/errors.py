"""The errors of the gateway. Callers of the API read those of `stripe_wire/errors.py`; these are for operators.

GatewayError          what was asked for cannot be done; the text says why and shows nothing secret
  AccountRefused      a name that is none, an unknown account or key, live keys with the simulated acquirer
  OriginInvalid       not an origin such as https://shop.example
"""


class GatewayError(ValueError):
    """Root of what an operator is told."""


class AccountRefused(GatewayError):
    """What was asked of an account cannot be done."""


class OriginInvalid(GatewayError):
    """The text is not an origin such as https://shop.example or http://127.0.0.1:8000."""
