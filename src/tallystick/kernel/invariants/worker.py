"""Checks a service's own rules while it runs: what breaks one is logged as an error and counted, nothing is changed.

One owner after the other, one rule at a time, what the last days brought: a check is never in the way of the work. Any
number of processes may run it; each tells what it finds, and what the last round found stands in the database.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from tallystick.kernel import looking
from tallystick.kernel.invariants.rules import Rule, Violation
from tallystick.kernel.monitoring.counts import save_violations
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Statement
from tallystick.ports.metrics import INVARIANTS_VIOLATED

log = logging.getLogger(__name__)

LOOKED_BACK_S: Final = 3 * 24 * 3600  # what is older was checked on every one of its first days
OWNERS_MAX: Final = 100  # ids read at a time
OWNER_PAUSE_S: Final = 1.0  # between two owners: a check takes its time
TOLD_MAX: Final = 20  # log lines of one rule and owner; the count tells the rest


class Invariants:
    """Checks until it is cancelled."""

    def __init__(
        self, database: Database, clock: Clock, rules: Sequence[Rule], owners: Statement, *, every_s: float
    ) -> None:
        """`every_s` is the pause after the last owner, before the first one again."""
        self._every_s = every_s
        self._database = database
        self._clock = clock
        self._rules = rules
        self._owners = owners

    async def run(self) -> None:
        """Work for ever; a database that is away is waited for."""
        await looking.run(self.run_once, self._clock, log, "the check of invariants waits", pause_s=self._every_s)

    async def run_once(self) -> list[Violation]:
        """Check every owner; what was found. Raises DatabaseError."""
        violations: list[Violation] = []
        after = ""
        while rows := await self._database.rows(self._owners, after, OWNERS_MAX):
            for row in rows:
                violations += await self._check(row["owner_id"])
                await self._clock.sleep(OWNER_PAUSE_S)
            after = rows[-1]["owner_id"]
        broken = Counter(violation.rule for violation in violations)
        found = {rule.statement.name: broken[rule.statement.name] for rule in self._rules}
        for name, count in found.items():
            INVARIANTS_VIOLATED.labels(name).set(count)
        if violations:
            log.error("invariants are violated: %s", ", ".join(f"{name} {n}" for name, n in sorted(broken.items())))
        await save_violations(self._database, found, self._clock.now())
        return violations

    async def _check(self, owner: str) -> list[Violation]:
        at = self._clock.now()
        since = at - timedelta(seconds=LOOKED_BACK_S)
        violations: list[Violation] = []
        for rule in self._rules:
            rows = await self._database.rows(rule.statement, *rule.parameters(owner, since, at))
            broken = [rule.violation(row) for row in rows]
            for violation in broken[:TOLD_MAX]:
                log.error("invariant violated: %s", violation)
            violations += broken
        return violations
