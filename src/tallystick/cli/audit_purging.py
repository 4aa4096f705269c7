"""What `audit purge` does in a service's database, as the owner of its tables."""

import re
from datetime import datetime, timedelta

from msgspec import Struct

from tallystick.cli.failures import CommandRefused
from tallystick.cli.opening import opened
from tallystick.cli.postgres import DSN_VARIABLES, OWNER_DSN_VARIABLES, given_dsn, owner_dsn, settings_of
from tallystick.kernel.audit.purging.purge import purge
from tallystick.ports.clock import SystemClock
from tallystick.ports.postgres_roles import look_at, may_change_tables

_DAYS = re.compile(r"(?P<days>[1-9][0-9]{0,4})d", re.ASCII)


class Purged(Struct, frozen=True):
    """What was taken away: the acts before an instant."""

    before: datetime
    acts: int


async def purge_audit(service: str, older_than: str | None) -> Purged:
    """Take acts from a service's audit trail, and note that in it. Raises CommandRefused, SettingsRefused."""
    days = _days(older_than, settings_of(service).audit_retention_days)
    dsn = _owners(service)
    before = SystemClock().now() - timedelta(days=days)
    async with opened(dsn, "audit purge", f"before {before:%Y-%m-%dT%H:%M:%SZ}") as database:
        return Purged(before, await purge(database, before))


def _days(older_than: str | None, kept: int) -> int:
    if older_than is None:
        return kept
    match = _DAYS.fullmatch(older_than)
    if match is None:
        raise CommandRefused("--older-than takes days, such as 400d")
    if int(match["days"]) < kept:
        raise CommandRefused(f"the trail is kept for {kept} days (…_AUDIT_RETENTION_DAYS): name that many or more")
    return int(match["days"])


def _owners(service: str) -> str:
    """The DSN of whoever the tables belong to: its role alone may take from the trail."""
    dsn = owner_dsn(service) or given_dsn(service)
    if dsn is None:
        raise CommandRefused(f"set {OWNER_DSN_VARIABLES[service]}, the DSN of the role that owns the tables")
    if look_at(dsn) is not None and not may_change_tables(dsn):  # where nobody answers, opening it says so
        raise CommandRefused(
            "the audit trail only grows for this role: purge as the role that owns the tables, by "
            f"{OWNER_DSN_VARIABLES[service]} in place of {DSN_VARIABLES[service]}"
        )
    return dsn
