"""Refunds that the shop asks for (RULES §4)."""
