"""The card vault: numbers that must be used once more, each under a key of its own."""
