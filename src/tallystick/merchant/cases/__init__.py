"""Cases: what a person must see or decide (RULES §1, §11)."""
