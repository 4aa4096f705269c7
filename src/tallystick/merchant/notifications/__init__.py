"""What the shop's own code is told of its orders, by the engine that delivers webhooks (RULES §4, §6)."""
