"""Asking the gateway how a payment stands, for whatever reason, and merging what it says (RULES §4, §7)."""
