"""What is due: attempts looked at, closed at the gateway and expired; orders that nobody tried to pay (RULES §8)."""
