"""Faults on demand: what users have the sandbox do wrong, to see how their integration takes it. Test mode only."""
