"""Codes that change every 30 seconds: RFC 6238's own examples, and what is taken (RULES §12)."""

from datetime import UTC, datetime

import pytest

from tallystick.kernel.logins.totp import STEP_S, address, code_at, shown, step_of

SECRET = b"12345678901234567890"  # of RFC 6238, appendix B


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "94287082"),
        (1111111109, "07081804"),
        (1111111111, "14050471"),
        (1234567890, "89005924"),
        (2000000000, "69279037"),
        (20000000000, "65353130"),
    ],
)
def test_codes_are_those_of_the_rfc(seconds: int, code: str) -> None:
    """The RFC shows eight digits; the last six of them are ours."""
    assert code_at(SECRET, seconds // STEP_S) == code[-6:]


@pytest.mark.parametrize(("apart", "taken"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_code_is_taken_a_step_early_or_late(apart: int, taken: bool) -> None:
    at = datetime(2026, 11, 28, 12, tzinfo=UTC)
    step = int(at.timestamp()) // STEP_S + apart
    assert step_of(SECRET, code_at(SECRET, step), at, after=0) == (step if taken else None)


def test_a_code_is_taken_once() -> None:
    at = datetime(2026, 11, 28, 12, tzinfo=UTC)
    step = int(at.timestamp()) // STEP_S
    assert step_of(SECRET, code_at(SECRET, step), at, after=step) is None
    assert step_of(SECRET, code_at(SECRET, step - 1), at, after=step) is None
    assert step_of(SECRET, code_at(SECRET, step + 1), at, after=step) == step + 1


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "\u0661\u0662\u0663\u0664\u0665\u0666", "\x00"])
def test_what_is_no_code_is_wrong(code: str) -> None:
    assert step_of(SECRET, code, datetime(2026, 11, 28, 12, tzinfo=UTC), after=0) is None


def test_the_secret_is_told_as_authenticator_apps_read_it() -> None:
    assert shown(SECRET) == "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ"
    assert address(SECRET, "ada lovelace", "Tallystick gateway") == (
        "otpauth://totp/Tallystick%20gateway:ada%20lovelace?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
        "&issuer=Tallystick%20gateway&digits=6&period=30"
    )
