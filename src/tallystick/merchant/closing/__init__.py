"""Closing attempts at the gateway, for whatever reason we decided to (RULES §4, §8)."""
