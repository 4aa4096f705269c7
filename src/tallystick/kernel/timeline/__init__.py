"""A payment's timeline in plain words: what happened, who said so, when, how long it took, what is next (RULES §13)."""
