"""The DSNs of other roles, and the keys of personal data: does each role get in and have what it needs, does what is
stored open, and does anything still lie in the clear.
"""

import asyncio
from typing import Any, Final

from msgspec import Struct

from tallystick.cli.doctor.databases import ROLES_PAGE, check_password
from tallystick.cli.doctor.findings import Notes
from tallystick.kernel.people.opening import people_encryption
from tallystick.kernel.people.tables import InTheClear, Rewrapped
from tallystick.kernel.service_secrets import ServiceSecrets
from tallystick.kernel.settings import SettingsRefused
from tallystick.ports.asyncpg_database import open_database
from tallystick.ports.database import Database, DatabaseError
from tallystick.ports.key_encryption import KeyEncryption, KeyEncryptionError
from tallystick.ports.postgres_roles import look_at, may_change_tables, unreadable

LOOKED_AT: Final = 100  # people whose keys are tried
SCHEMAS: Final = {"pii_dsn": "pii", "vault_dsn": "vault"}
MIGRATE: Final = "Run `tallystick database migrate` as the owner: it gives the roles what they need."


class Stored(Struct, frozen=True):
    """Where a service keeps people: who lies in the clear, and what people's keys are wrapped by."""

    in_the_clear: InTheClear
    keys: Rewrapped


def check_roles(notes: Notes, prefix: str, settings: Any) -> None:
    """The DSNs of the roles beside the service's own."""
    for name in ("owner_dsn", *SCHEMAS):
        dsn, variable = getattr(settings, name, ""), f"{prefix}{name.upper()}"
        if not dsn:
            continue
        check_password(notes, variable, dsn)
        seen = look_at(dsn)
        if seen is None:
            notes.bad("role", variable, "nobody is let in by this DSN", "Look at role, password and database.")
        elif name == "owner_dsn" and not may_change_tables(dsn):
            notes.bad("role", variable, f"{seen.role} does not own the tables", ROLES_PAGE)
        elif name != "owner_dsn" and may_change_tables(dsn):
            notes.warning("role", variable, f"{seen.role} may change and drop the tables", ROLES_PAGE)
        elif missing := unreadable(dsn, SCHEMAS.get(name, "")):
            notes.bad("role", variable, f"{seen.role} cannot read {', '.join(missing)}", MIGRATE)
        else:
            notes.good("role", variable, f"{seen.role} gets in and has what it needs")


async def check_people(notes: Notes, prefix: str, settings: Any, secrets: ServiceSecrets, people: Stored) -> None:
    """The keys of personal data."""
    variable = f"{prefix}PII_KEY_FILE"
    try:
        encryption = people_encryption(settings, secrets)
    except SettingsRefused as refused:
        notes.bad("personal data", variable, str(refused), "See docs/personal-data.md.")
        return
    if encryption is None or not settings.pii_index_key:
        says = "there is no key for personal data"
        do = f"Make them: `tallystick {notes.service} customers keys`. Until then customers are refused."
        notes.warning("personal data", variable, says, do)
    if settings.pii_index_key_before:
        do = f"Run `tallystick {notes.service} customers reindex`, wait three days, and take it away."
        notes.warning("personal data", f"{prefix}PII_INDEX_KEY_BEFORE", "customers are found by two keys", do)
    try:
        database = await open_database(settings.pii_dsn or settings.database_dsn, connections_max=2)
    except DatabaseError:
        return  # it is noted
    try:
        await _check_stored(notes, variable, database, encryption, people)
    except DatabaseError as error:
        notes.bad("database", f"{prefix}PII_DSN", f"people cannot be read: {type(error).__name__}", MIGRATE)
    finally:
        await database.close()


async def _check_stored(
    notes: Notes, variable: str, database: Database, encryption: KeyEncryption | None, people: Stored
) -> None:
    clear = await database.rows(people.in_the_clear.look, LOOKED_AT)
    if clear:
        many = f"{len(clear)}{' or more' if len(clear) == LOOKED_AT else ''}"
        do = "The running service seals them once it has its keys; then VACUUM FULL (docs/personal-data.md)."
        notes.warning("personal data", variable, f"{many} people still lie in the clear", do)
    rows = await database.rows(people.keys.look, *people.keys.beginning, LOOKED_AT)
    texts = sorted({row["wrapped_by"] for row in rows})
    if not texts:
        return
    do = "Give the service the key file, or the transit key, that wrapped them; without it those people are lost."
    if encryption is None:
        notes.bad("personal data", variable, "people are stored, and no key opens them", do)
        return
    try:
        await encryption.unwrap(texts)
    except KeyEncryptionError as error:
        notes.bad("personal data", variable, f"what is stored does not open: {error}", do)
        return
    notes.good("personal data", variable, "what is stored opens")


async def in_a_thread(notes: Notes, prefix: str, settings: Any) -> None:
    """`check_roles` beside the loop: it connects without it."""
    await asyncio.to_thread(check_roles, notes, prefix, settings)
