"""The gateway's half of a payment's timeline: everything that its tables know of it, for operators (RULES §13)."""
