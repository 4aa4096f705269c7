"""Connections whose gateway does not answer are left alone for a while, so that one does not hold up all others.

Only a courtesy, kept in memory: what is due stays a row with a due time, and is asked about again when it is due again.
"""

from typing import Final

from tallystick.merchant.gateways.port import Connection
from tallystick.ports.clock import Clock

FIRST_S: Final = 15.0  # about as long as one call takes that comes to nothing
LONGEST_S: Final = 300.0
REMEMBERED_MAX: Final = 10_000  # connections; then all are forgotten

Key = tuple[str, str]


class Away:
    """Which connections do not answer at the moment."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until_s: dict[Key, tuple[float, float]] = {}

    def is_away(self, connection: Connection) -> bool:
        """Whether the connection's gateway is not to be called now."""
        known = self._until_s.get(_key(connection))
        return known is not None and self._clock.monotonic_s() < known[0]

    def answered(self, connection: Connection) -> None:
        """The gateway answered, whatever it said."""
        self._until_s.pop(_key(connection), None)

    def did_not_answer(self, connection: Connection) -> None:
        """A call with all its tries came to nothing; calls that began beside it do not count again."""
        if self.is_away(connection):
            return
        if len(self._until_s) >= REMEMBERED_MAX:
            self._until_s.clear()
        pause_s = min(self._until_s.get(_key(connection), (0.0, FIRST_S / 2))[1] * 2, LONGEST_S)
        self._until_s[_key(connection)] = (self._clock.monotonic_s() + pause_s, pause_s)


def _key(connection: Connection) -> Key:
    return connection.merchant_id, connection.connection_id
