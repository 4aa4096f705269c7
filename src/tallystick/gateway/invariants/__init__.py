"""What must always be true of the gateway's tables."""
