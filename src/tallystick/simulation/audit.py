"""Both halves under all rules, once the faults have stopped: for the simulation, and for tests on real processes."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from tallystick.gateway.invariants import rules as gateway_rules
from tallystick.kernel.invariants.rules import Rule, Violation, compare
from tallystick.merchant.invariants import rules as merchant_rules
from tallystick.ports.database import Statement
from tallystick.ports.synchronous import SynchronousConnection

BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
OWNERS_MAX: Final = 10_000


def audit(gateway: SynchronousConnection, merchant: SynchronousConnection, at: datetime) -> list[Violation]:
    """Every violation in the two databases as they stand at `at`. Reads only."""
    accounts = _owners(gateway, gateway_rules.OWNERS)
    merchants = _owners(merchant, merchant_rules.OWNERS)
    violations = _broken(gateway, gateway_rules.RULES, accounts, at)
    violations += _broken(merchant, merchant_rules.RULES, merchants, at)
    paid = gateway_rules.paid(_rows(gateway, gateway_rules.PAYMENTS, accounts, at))
    owed = merchant_rules.owed(_rows(merchant, merchant_rules.ORDERS, merchants, at))
    return [*violations, *compare(paid, owed)]


def _owners(connection: SynchronousConnection, statement: Statement) -> list[str]:
    return [row["owner_id"] for row in connection.run(statement, ("", OWNERS_MAX))[0]]


def _broken(
    connection: SynchronousConnection, rules: Iterable[Rule], owners: Iterable[str], at: datetime
) -> list[Violation]:
    return [rule.violation(row) for rule in rules for row in _rows(connection, rule, owners, at)]


def _rows(
    connection: SynchronousConnection, rule: Rule, owners: Iterable[str], at: datetime
) -> Iterable[Mapping[str, Any]]:
    for owner in owners:
        yield from connection.run(rule.statement, rule.parameters(owner, BEGINNING, at))[0]
