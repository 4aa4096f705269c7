"""What an operator can see of the merchant service (RULES §13)."""
