"""What must always be true of the merchant's tables."""
