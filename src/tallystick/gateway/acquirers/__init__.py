"""The acquirer port, and the simulated acquirer behind it."""
