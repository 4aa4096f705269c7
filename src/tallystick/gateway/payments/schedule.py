"""When the acquirer is asked about an outcome that nobody knows. Pure. RULES §3, unknown outcomes."""

from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

AGES_S: Final = (10, 60, 300, 1_800, 7_200, 21_600, 86_400)
"""How old an unknown outcome is when it is asked about: 10 s, 1 m, 5 m, 30 m, 2 h, 6 h, 24 h; then daily."""
DAILY_S: Final = 86_400


class Look(Struct, frozen=True):
    """When an outcome is asked about again after this time, and since when a person should see it."""

    due_at: datetime
    case_at: datetime | None


def look(inquiries: int, at: datetime, lease_s: float) -> Look:
    """What is said when a claim is taken for the inquiry after `inquiries` others: never due before the lease ends."""
    wait_s = AGES_S[inquiries + 1] - AGES_S[inquiries] if inquiries + 1 < len(AGES_S) else DAILY_S
    case_at = at if inquiries >= len(AGES_S) else None
    return Look(at + timedelta(seconds=max(wait_s, lease_s)), case_at)


def age_s_min(inquiries: int) -> float:
    """How long an outcome has been unknown at least when it is asked about for the time after `inquiries` others.

    What was sent and never answered has been on its way for longer still."""
    days = max(inquiries - len(AGES_S) + 1, 0)
    return AGES_S[min(inquiries, len(AGES_S) - 1)] + days * DAILY_S
