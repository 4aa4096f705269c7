"""Instants and lengths of time as people write them on a command line."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tallystick.cli.failures import CommandRefused

UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}

DAY: Final[Mapping[str, Any]] = {"formats": ["%Y-%m-%d"], "metavar": "YYYY-MM-DD"}
"""How an option takes a day: `typer.Option(…, **DAY)`."""

_LENGTH = re.compile(r"([0-9]{1,8})([smhd]?)", re.ASCII)


def length(text: str) -> timedelta:
    """What `90`, `90s`, `5m`, `1h` or `3d` mean. Raises CommandRefused."""
    match = _LENGTH.fullmatch(text.strip())
    if match is None:
        raise CommandRefused(f"{text!r} is no length of time: write 90s, 5m, 1h or 3d")
    return timedelta(seconds=int(match[1]) * UNITS_S[match[2]])


def instant(text: str | None) -> str | None:
    """An instant in ISO 8601 (UTC where it names no zone), or so long ago. Raises CommandRefused."""
    from tallystick.ports.clock import SystemClock

    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        try:
            at = SystemClock().now() - length(text)
        except (CommandRefused, OverflowError):
            raise CommandRefused(f"{text!r} is no time: write 2026-11-23T12:00:00Z, or 90s, 5m, 1h, 3d ago") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).isoformat()
