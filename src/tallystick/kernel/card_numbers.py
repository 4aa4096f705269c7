"""What could be a card number is not repeated to whoever sent it. Pure.

Coarser than the scrubber of logs (`ports/telemetry.py`), which has to leave times and ids alone: here any run of 13
digits goes, because nothing is lost when a message leaves out what its reader has just typed.
"""

import re

REMOVED = "…"

_RUN = re.compile(r"[0-9](?:[^0-9A-Za-z]?[0-9]){12,}")


def without_card_numbers(text: str) -> str:
    """The text, with whatever could be a card number, also one in groups, left out."""
    return _RUN.sub(REMOVED, text)


def could_hold_one(text: str) -> bool:
    """Whether there is something in the text that could be a card number."""
    return _RUN.search(text) is not None
