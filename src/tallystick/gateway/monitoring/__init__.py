"""What an operator can see of the gateway (RULES §13)."""
