"""Reconciliation: what the gateway settled against what was sold, both ways, every day (RULES §11)."""
