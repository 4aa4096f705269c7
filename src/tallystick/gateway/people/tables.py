"""The tables in which the gateway keeps people, each an account's in one of its modes."""

from typing import Final

from tallystick.gateway.customers.known import SQL as KNOWN
from tallystick.kernel.people.person import Field
from tallystick.kernel.people.tables import InTheClear, Owner, Reindexed, Rewrapped, Tables, Unfinished
from tallystick.ports.database import Statements

SQL = Statements.beside(__file__)

FIELDS: Final[tuple[Field, ...]] = ("email", "name", "phone")
TABLES: Final = Tables(
    owner=("account_id", "livemode"),
    fields=FIELDS,
    fields_before=FIELDS,
    note_access=SQL.note_access,
    list_accesses=SQL.list_accesses,
    load_people=SQL.load_people,
    search_people=SQL.search_people,
    erase=(SQL.erase_details, SQL.erase_people, SQL.shred_keys, SQL.forget_lookups),
)
IN_THE_CLEAR: Final = InTheClear(
    look=SQL.look_in_the_clear, lock=SQL.lock_in_the_clear, seal=SQL.seal_people, kinds=("email", "phone")
)
UNFINISHED: Final = Unfinished(
    look=SQL.unsettled_people, settle=SQL.settle_people, claim=SQL.lock_unsettled, known=KNOWN.known_customers
)
REWRAPPED: Final = Rewrapped(beginning=("", False, ""), look=SQL.keys_to_rewrap, save=SQL.rewrap_keys)
REINDEXED: Final = Reindexed(
    beginning=("", False, ""),
    look=SQL.people_to_reindex,
    lock=SQL.lock_people,
    kinds=SQL.kinds_of_lookups,
    forget=SQL.forget_lookups,
    insert=SQL.insert_lookups,
)


def of_account(account_id: str, *, livemode: bool) -> Owner:
    """Whose an account's people are."""
    return Owner((account_id, livemode))
