"""Databases: do they answer, are they new enough, do they have our schema, and may the role no more than it needs."""

from datetime import datetime, timedelta
from typing import Final
from urllib.parse import parse_qs, urlsplit

from tallystick.cli.doctor.findings import Notes
from tallystick.cli.postgres import SCHEMAS
from tallystick.kernel.migrations import current_version, differing_privileges, missing_roles, newest_version
from tallystick.kernel.privileges import Differences
from tallystick.ports.database import DatabaseError
from tallystick.ports.postgres import SERVER_VERSION_MIN
from tallystick.ports.postgres_roles import Seen, look_at, may_change_tables

PASSWORD_CHARACTERS_MIN: Final = 12
SKEW_MAX: Final = timedelta(seconds=30)  # signatures are taken for five minutes; leases last for seconds
SKEW_GOOD: Final = timedelta(seconds=2)
LOCAL_HOSTS: Final = ("", "localhost", "127.0.0.1", "::1")
TOLD_MAX: Final = 5  # privileges of one role; where there are more, one sentence mends them all
GRANT: Final = "Run `tallystick database migrate` as the owner: it gives the roles what they need and takes the rest."
TAKE: Final = (
    "Run `tallystick database migrate` as the owner, which takes back what was granted by hand; what stays comes "
    "by another role or by an administrator's rights: take those from it (docs/database-roles.md)."
)
ROLES_PAGE: Final = "Make roles as docs/database-roles.md describes it, and let the service connect as its own."


def check_database(notes: Notes, service: str, variable: str, dsn: str, at: datetime) -> bool:
    """The database of a service. Whether it answers."""
    check_password(notes, variable, dsn)
    seen = look_at(dsn)
    if seen is None:
        do = "Is the server running, does the database exist, and are user and password right?"
        notes.bad("database", variable, "no database answers at this DSN", do)
        return False
    if seen.version < SERVER_VERSION_MIN:
        notes.bad("database", variable, f"it is PostgreSQL {seen.version // 10000}", "Upgrade it to 15 or newer.")
    else:
        notes.good("database", variable, f"PostgreSQL {seen.version // 10000} answers")
    _check_encrypted(notes, variable, dsn, seen)
    _check_schema(notes, service, variable, dsn)
    _check_role(notes, service, variable, dsn, seen)
    check_clock(notes, "the database's clock", seen.at - at)
    return True


def check_password(notes: Notes, variable: str, dsn: str) -> None:
    """Whether a password in a DSN is long enough to withstand guessing."""
    password = urlsplit(dsn).password
    if password is not None and len(password) < PASSWORD_CHARACTERS_MIN:
        do = f"Take a random one of {PASSWORD_CHARACTERS_MIN} characters or more (docs/secrets.md rotates it)."
        notes.warning("secret", variable, "its password is short", do)


def check_clock(notes: Notes, subject: str, skew: timedelta) -> None:
    """How far another clock is from this machine's."""
    away = abs(skew)
    says = f"{away.total_seconds():.1f} s from this machine's"
    if away > SKEW_MAX:
        notes.bad("clock", subject, says, "Let both machines take their time from NTP.")
    elif away > SKEW_GOOD:
        notes.warning("clock", subject, says, "Let both machines take their time from NTP.")
    else:
        notes.good("clock", subject, says)


def _check_encrypted(notes: Notes, variable: str, dsn: str, seen: Seen) -> None:
    parts = urlsplit(dsn)
    host = parts.hostname or parse_qs(parts.query).get("host", [""])[0]
    if seen.encrypted or host in LOCAL_HOSTS or host.startswith("/"):
        return
    do = "Add sslmode=verify-full (and sslrootcert=… for an authority of your own) to the DSN."
    notes.bad("database", variable, "the connection leaves this machine and is not encrypted", do)


def _check_schema(notes: Notes, service: str, variable: str, dsn: str) -> None:
    newest = newest_version(SCHEMAS[service])
    try:
        version = current_version(dsn)
    except DatabaseError as error:
        do = "Run `tallystick database migrate` as the owner: it gives the roles what they need."
        notes.bad("database", variable, f"its schema's version cannot be read: {type(error).__name__}", do)
        return
    if version < newest:
        do = "Run `tallystick database migrate`."
        notes.bad("database", variable, f"its schema is at {version}, this program needs {newest}", do)
    elif version > newest:
        do = "Run the newer program, which migrated it."
        notes.bad("database", variable, f"its schema is at {version}, newer than this program's {newest}", do)
    else:
        notes.good("database", variable, f"its schema is at {version}, the newest")


def _check_role(notes: Notes, service: str, variable: str, dsn: str, seen: Seen) -> None:
    if seen.superuser:
        notes.warning("role", variable, f"{seen.role} is the server's administrator", ROLES_PAGE)
    elif may_change_tables(dsn):
        notes.warning("role", variable, f"{seen.role} may change and drop the tables", ROLES_PAGE)
    else:
        notes.good("role", variable, f"{seen.role} may do no more than its statements")
    try:
        missing = missing_roles(dsn, SCHEMAS[service])
        differing = differing_privileges(dsn, SCHEMAS[service])
    except DatabaseError:
        return
    if missing:
        do = "Make them as docs/database-roles.md describes it, then run `tallystick database migrate`."
        notes.warning("role", variable, f"roles are missing: {', '.join(missing)}", do)
    for each in differing or ():
        check_privileges(notes, each)


def check_privileges(notes: Notes, role: Differences) -> None:
    """What a role may do, read and write, beside what the service's grants say."""
    if role.missing:
        notes.bad("grant", role.role, f"it lacks {_several(role.missing)}", GRANT)
    if role.too_much:
        notes.bad("grant", role.role, f"it should not have {_several(role.too_much)}", TAKE)
    if not role.missing and not role.too_much:
        notes.good("grant", role.role, "it may do what the grants say, and no more")


def _several(privileges: tuple[str, ...]) -> str:
    """The first few, and how many more there are."""
    told = privileges[:TOLD_MAX]
    more = len(privileges) - len(told)
    return ", ".join(told) + (f" and {more} more" if more else "")
