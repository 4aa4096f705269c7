"""What shoppers see: the hosted page, the embedded page, and the simulated bank's 3DS page (RULES §9)."""
