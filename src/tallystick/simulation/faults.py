"""What can go wrong in the simulated world, how often, and how often it did (RULES §14).

A seed draws its own weather: some kinds of faults never come, others often. What was made is counted by kind; the table
of a run is the sum over its seeds.
"""

import random
from collections import Counter
from collections.abc import Sequence
from typing import Final

from tallystick.gateway.faults.faults import KINDS

NETWORK: Final = (
    "connection_refused",
    "request_lost",
    "answer_lost",
    "duplicate",
    "reorder",
    "delay_past_timeout",
    "slow_drip",
    "status_3xx",
    "status_4xx",
    "status_5xx",
    "status_410",
    "status_429",
)
STATEMENT: Final = ("crash_before_statement", "crash_after_statement", "serialization_failure", "connection_lost")
COMMIT: Final = ("crash_before_commit", "crash_after_commit", "commit_unknown_done", "commit_unknown_undone")
WEATHER: Final = ("partition", "stalled_process", "killed_process", "clock_skew", "database_restart", "secret_rotation")
ACQUIRER: Final = (
    "acquirer_timeout_approved",
    "acquirer_timeout_declined",
    "acquirer_late_approval",
    "acquirer_approval_after_cancel",
)

ALL: Final = (*NETWORK, *STATEMENT, *COMMIT, *WEATHER, *ACQUIRER)

# What only some scenarios make (simulation/scenario). They are no part of the dice: the seeds of the others stay.
SHOP: Final = ("shop_3xx", "shop_4xx", "shop_5xx", "shop_410", "shop_429", "shop_slow_drip")
STOCK: Final = ("stock_hook_fails", "stock_hook_hangs", "stock_hook_talks_nonsense")
GATEWAY: Final = ("closed_yet_paid", "acquirer_wrong_amount")
OPERATORS: Final = (
    "endpoint_disabled",
    "notifications_disabled",
    "secret_rotated_at_once",
    "notification_secret_rotation",
    "redrive_of_webhooks",
    "redrive_of_notifications",
)
CARD_VAULT: Final = ("card_vault_away", "card_vault_key_away")
ON_DEMAND: Final = tuple(f"on_demand_{place}_{kind}" for place, kinds in sorted(KINDS.items()) for kind in kinds)
MORE: Final = (
    "database_failover",
    "vault_sealed",
    "expiry_as_it_is_paid",
    *SHOP,
    *STOCK,
    *GATEWAY,
    *OPERATORS,
    *CARD_VAULT,
    *ON_DEMAND,
)

NETWORK_SHARE: Final = (0.0, 0.05, 0.1, 0.25)
STATEMENT_SHARE: Final = (0.0, 0.003, 0.008, 0.02)
COMMIT_SHARE: Final = (0.0, 0.01, 0.02, 0.05)
QUIET_KIND_SHARE: Final = 0.35
"""How many kinds a seed leaves out: a fault that always comes with all others hides what it does alone."""


class Faults:
    """The dice of one seed. Nothing is made before `begin` and after `end`."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.counts: Counter[str] = Counter()
        self.active = False
        self.kinds = {kind for kind in ALL if chance.random() >= QUIET_KIND_SHARE}
        self._network = self._among(NETWORK)
        self._statement = self._among(STATEMENT)
        self._commit = self._among(COMMIT)
        self.network_share = chance.choice(NETWORK_SHARE)
        self.statement_share = chance.choice(STATEMENT_SHARE)
        self.commit_share = chance.choice(COMMIT_SHARE)
        self.weather_every_s = chance.choice((0.0, 30.0, 120.0, 400.0))
        self.weather = self._among(WEATHER)
        self.in_doubt = False  # the database's primary is dying: of no commit it is known whether it was done

    def _among(self, kinds: Sequence[str]) -> tuple[str, ...]:
        return tuple(kind for kind in kinds if kind in self.kinds)

    def network(self) -> str | None:
        """The fault of one exchange, or None."""
        return self._draw(self.network_share, self._network)

    def statement(self) -> str | None:
        """The fault of one statement, or None."""
        return self._draw(self.statement_share, self._statement)

    def commit(self) -> str | None:
        """The fault of one commit, or None."""
        if self.in_doubt:
            return self._chance.choice(("commit_unknown_done", "commit_unknown_undone"))
        return self._draw(self.commit_share, self._commit)

    def made(self, kind: str) -> None:
        """Count a fault that was really made."""
        self.counts[kind] += 1

    def _draw(self, share: float, kinds: Sequence[str]) -> str | None:
        if not self.active or not kinds or self._chance.random() >= share:
            return None
        return self._chance.choice(kinds)
