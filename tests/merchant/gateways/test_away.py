"""Connections that do not answer are left alone, for longer each time, and not for ever."""

from tallystick.merchant.gateways.away import FIRST_S, LONGEST_S, Away
from tallystick.merchant.gateways.port import Connection
from tallystick.ports.clock import SystemClock

ONE, OTHER = (Connection("mer_1", id, "stripe", "https://g", "env:K", "stripe", ("env:H",)) for id in ("a", "b"))


class Hand(SystemClock):
    """A clock that a test moves."""

    at_s = 1000.0

    def monotonic_s(self) -> float:
        return self.at_s


def test_the_pause_doubles_up_to_its_longest_and_ends_with_an_answer() -> None:
    clock = Hand()
    away = Away(clock)
    assert not away.is_away(ONE)
    for pause_s in (FIRST_S, 2 * FIRST_S, 4 * FIRST_S, 8 * FIRST_S, 16 * FIRST_S, LONGEST_S, LONGEST_S):
        away.did_not_answer(ONE)
        away.did_not_answer(ONE)  # a call that began beside it
        clock.at_s += pause_s - 0.1
        assert away.is_away(ONE)
        assert not away.is_away(OTHER)
        clock.at_s += 0.2
        assert not away.is_away(ONE)
    away.answered(ONE)
    away.did_not_answer(ONE)
    clock.at_s += FIRST_S
    assert not away.is_away(ONE)
