"""The merchant's half of a payment's timeline: what its tables know of an order, for operators (RULES §13)."""
