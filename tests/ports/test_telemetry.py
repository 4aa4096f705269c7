"""Logs are structured, and no card number or secret leaves through them, by whatever road (RULES §12)."""

import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from tallystick.ports.metrics import REGISTRY
from tallystick.ports.telemetry import MASKED, REMOVED, Scrubber, configure_logging, passes_luhn

PAN = "4242424242424242"


class FixedClock:
    def now(self) -> datetime:
        return datetime(2027, 1, 2, tzinfo=UTC)

    def monotonic_s(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level, of_structlog = root.handlers[:], root.level, structlog.get_config()
    stream = io.StringIO()
    configure_logging("gateway", FixedClock(), stream=stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)
    structlog.configure(**of_structlog)  # not its defaults: these write to stdout, which other tests read


def test_a_line_is_json_with_time_and_service(lines: io.StringIO) -> None:
    structlog.get_logger("a").info("started", port=80)
    line = json.loads(lines.getvalue())
    assert (line["event"], line["port"], line["service"]) == ("started", 80, "gateway")
    assert line["at"] == "2027-01-02T00:00:00+00:00"


@pytest.mark.parametrize(
    "text",
    [
        PAN,
        "4242 4242 4242 4242",
        "4242-4242-4242-4242",
        f"card={PAN}&x=1",
        f"{PAN} 5",
        f"5 {PAN}",
        f"12 {PAN} 34",
        "3782 822463 10005",
        "4000000000000002, 5555555555554444",
        f"a{PAN}b",
        "4222222222222",
    ],
)
def test_a_card_number_is_removed(text: str) -> None:
    scrubbed = Scrubber().scrub(text)
    assert REMOVED in scrubbed
    assert "4242" not in scrubbed
    assert "0005" not in scrubbed
    assert "5555" not in scrubbed


@pytest.mark.parametrize(
    "text", ["4242424242424241", "1767312000000", "order 17 of 2027-01-02", "pi_0000000004242AbC", "5" * 40]
)
def test_other_numbers_stay(text: str) -> None:
    assert Scrubber().scrub(text) == text


@given(st.integers(0, 10**14 - 1), st.text(max_size=5), st.sampled_from(["", " ", "-"]))
def test_any_card_number_anywhere_is_removed(middle: int, around: str, separator: str) -> None:
    body = f"4{middle:014d}"
    digits = next(body + check for check in "0123456789" if passes_luhn(body + check))
    grouped = separator.join(digits[place : place + 4] for place in range(0, 16, 4))
    around = "".join(character for character in around if not character.isdigit() and character not in " -")
    before = REGISTRY.get_sample_value("tallystick_scrubber_hits_total") or 0
    assert grouped not in Scrubber().scrub(f"{around}{grouped}{around}")
    assert REGISTRY.get_sample_value("tallystick_scrubber_hits_total") == before + 1


def test_every_road_is_scrubbed(lines: io.StringIO) -> None:
    """Events, values, nested values, keys, tracebacks, and the lines of libraries."""
    log = structlog.get_logger("a")
    log.info(f"paid with {PAN}")
    log.info("paid", card=PAN, nested={"list": [PAN, {"deep": int(PAN)}]}, other=("x", PAN))
    log.info("paid", **{PAN: 1})
    log.info("key", authorization="Bearer abc", detail="sk_test_0123456789abcdef and whsec_MfKQ9r8GKYqrTw")
    logging.getLogger("some.library").warning("body was %s", PAN)
    try:
        raise ValueError(f"bad card {PAN}")
    except ValueError:
        log.exception("broke")
        logging.getLogger("some.library").exception("broke")
    written = lines.getvalue()
    assert len(written.splitlines()) == 7
    assert written.count("ValueError") >= 2
    assert PAN not in written
    assert "0123456789abcdef" not in written
    assert "Bearer abc" not in written
    assert MASKED in written
