"""Card testing: who tries stolen numbers on a payment page is slowed down, and honest shoppers are not (RULES §12)."""
