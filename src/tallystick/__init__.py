"""Tallystick: a merchant service and a payment gateway that each keep their half of the tally."""

__version__ = "0.1.0"
