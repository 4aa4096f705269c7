"""The whole installation in one process under virtual time, with the world's faults: DESIGN §8, RULES §14."""
