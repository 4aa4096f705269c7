"""Orders: what was learnt about them, what follows from it, and the one write path (RULES §4)."""
