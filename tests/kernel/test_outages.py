"""What fails again and again is told when it begins, each minute, and when it is over; nothing that differs is lost."""

import logging

import pytest

from tallystick.kernel.outages import Outage
from tallystick.ports.database import DatabaseUnavailable, StatementRefused

AWAY = DatabaseUnavailable("ConnectionRefusedError")


def said(caplog: pytest.LogCaptureFixture, *tries: tuple[float, Exception | None]) -> list[str]:
    """The lines of tries, each at its second: failed by an error, or not."""
    outage = Outage(logging.getLogger("tallystick.test"), "work waits")
    for at_s, error in tries:
        if error is None:
            outage.worked()
        else:
            outage.failed(error, at_s)
    assert {record.levelname for record in caplog.records} <= {"WARNING"}
    return [record.getMessage().removeprefix("work waits: ") for record in caplog.records]


def test_what_works_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert said(caplog, (0, None), (1, None)) == []


def test_the_beginning_every_minute_and_the_end_are_told(caplog: pytest.LogCaptureFixture) -> None:
    away: list[tuple[float, Exception | None]] = [(1000.0 + second, AWAY) for second in range(150)]
    assert said(caplog, *away, (1150, None), (1151, None)) == [
        "DatabaseUnavailable: ConnectionRefusedError",
        "DatabaseUnavailable: ConnectionRefusedError (60 tries failed since the last line)",
        "DatabaseUnavailable: ConnectionRefusedError (60 tries failed since the last line)",
        "it works again (29 tries failed since the last line)",
    ]


def test_another_error_is_told_at_once_and_once(caplog: pytest.LogCaptureFixture) -> None:
    other, third = StatementRefused("42P01"), TimeoutError()
    assert said(caplog, (0, AWAY), (1, other), (2, AWAY), (3, other), (4, third), (5, None)) == [
        "DatabaseUnavailable: ConnectionRefusedError",
        "StatementRefused: SQLSTATE 42P01",
        "TimeoutError (3 tries failed since the last line)",
        "it works again",
    ]


def test_what_fails_every_other_time_is_told_twice_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    tries = [(float(second), None if second % 2 else AWAY) for second in range(64)]
    assert said(caplog, *tries) == [
        "DatabaseUnavailable: ConnectionRefusedError",
        "it works again",
        "DatabaseUnavailable: ConnectionRefusedError (30 tries failed since the last line)",
        "it works again",
    ]


def test_what_begins_anew_later_is_told_anew(caplog: pytest.LogCaptureFixture) -> None:
    begun = [(0.0, AWAY), (1.0, StatementRefused("53100")), (2.0, None)]
    again = [(at_s + 300, error) for at_s, error in begun]
    lines = said(caplog, *begun, *again)
    assert lines[:3] == lines[3:]
