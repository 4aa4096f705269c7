"""When automatic actions stop (RULES §11)."""

import pytest

from tallystick.merchant.reconciliation.limits import Automatic, why_stop


@pytest.mark.parametrize(
    ("wanted", "lines", "why"),
    [
        ([], 1_000_000, None),
        ([Automatic("refund_unknown", 50, 1)], 100_000, None),
        ([Automatic("refund_unknown", 51, 1)], 100_000, "breaker"),
        ([Automatic("refund_unknown", 10, 1)], 1_000, None),
        ([Automatic("refund_unknown", 6, 1), Automatic("captured_but_pending", 5, 1)], 1_000, "breaker"),
        ([Automatic("refund_unknown", 6, 1), Automatic("captured_but_pending", 5, 1)], 999, None),
        ([Automatic(f"code {n}", 50, 1) for n in range(21)], 1_000_000, "cap"),
        ([Automatic("refund_unknown", 1, -100_000_001)], 100_000, "cap"),
    ],
)
def test_too_many_or_too_much(wanted: list[Automatic], lines: int, why: str | None) -> None:
    stopped = why_stop(wanted, lines)
    assert (stopped.split(":")[0] if stopped else None) == why
