"""When automatic actions stop: too many of them say that more is wrong than single payments. Pure. RULES §11."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

KIND_MAX: Final = 50  # of one code in a run
SHARE_MAX: Final = 0.01  # of a run's lines, all codes together
SHARE_FROM_LINES: Final = 1_000  # below it a share says nothing
ACTIONS_MAX: Final = 1_000  # in a run, whatever its size
AMOUNT_MAX_MINOR: Final = 100_000_000  # in a run, all together, in minor units of whatever currency


class Automatic(Struct, frozen=True):
    """How many automatic actions of one code are to be taken, and how much money they concern."""

    code: str
    found: int
    amount_minor: int


def why_stop(wanted: Sequence[Automatic], lines: int) -> str | None:
    """Why none of these actions is taken by itself; None where they may be."""
    found = sum(each.found for each in wanted)
    for each in wanted:
        if each.found > KIND_MAX:
            return f"breaker: {each.found} of {each.code}, more than {KIND_MAX}"
    if lines >= SHARE_FROM_LINES and found > lines * SHARE_MAX:
        return f"breaker: {found} of {lines} lines, more than {SHARE_MAX:.0%}"
    if found > ACTIONS_MAX:
        return f"cap: {found} actions, more than {ACTIONS_MAX}"
    amount_minor = sum(abs(each.amount_minor) for each in wanted)
    if amount_minor > AMOUNT_MAX_MINOR:
        return f"cap: {amount_minor} minor units, more than {AMOUNT_MAX_MINOR}"
    return None
