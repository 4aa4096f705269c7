"""Disputes on the wire: parameters, commands, routes, and the evidence's way to the bank. What a dispute does to a
payment stands in `payments`."""
