"""The outside world, production side: clock, randomness, database, HTTP out, secrets (DESIGN §2.4).

Nothing outside this package reads the clock, makes randomness or opens a socket; `tests/test_house.py` enforces it.
"""
