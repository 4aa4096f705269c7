"""Refunds on the wire: parameters, commands, routes. What a refund does to a payment stands in `payments`."""
