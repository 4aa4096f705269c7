"""Cases of the gateway: what a person must see or decide about a payment's money (RULES §1, §3)."""
