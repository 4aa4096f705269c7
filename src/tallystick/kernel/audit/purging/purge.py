"""Takes old acts from the audit trail, in commits of bounded size."""

from datetime import datetime
from typing import Final

from tallystick.kernel.audit.trail import PREFIX
from tallystick.kernel.identifiers import first_id
from tallystick.ports.database import Database, Statements

SQL = Statements.beside(__file__)

ACTS_MAX: Final = 1000  # of one commit: nobody who is noting an act waits long


async def purge(database: Database, before: datetime) -> int:
    """Take away the acts before an instant; how many they were. Broken off, it goes on where it is called again."""
    gone, took = 0, ACTS_MAX
    while took == ACTS_MAX:
        took = len(await database.rows(SQL.purge_audit_entries, first_id(PREFIX, before), ACTS_MAX))
        gone += took
    return gone
