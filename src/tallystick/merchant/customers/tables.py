"""The tables in which the merchant service keeps people, each a merchant's."""

from typing import Final

from tallystick.kernel.people.person import FIELDS
from tallystick.kernel.people.tables import InTheClear, Owner, Reindexed, Rewrapped, Tables, Unfinished
from tallystick.merchant.orders.apply import SQL as ORDERS
from tallystick.ports.database import Statements

SQL = Statements.beside(__file__)

TABLES: Final = Tables(
    owner=("merchant_id",),
    fields=FIELDS,
    fields_before=("email", "name"),
    note_access=SQL.note_access,
    list_accesses=SQL.list_accesses,
    load_people=SQL.load_people,
    search_people=SQL.search_people,
    erase=(SQL.forget_newcomers, SQL.erase_people, SQL.shred_keys, SQL.forget_lookups),
)
IN_THE_CLEAR: Final = InTheClear(
    look=SQL.look_in_the_clear, lock=SQL.lock_in_the_clear, seal=SQL.seal_people, kinds=("email", "shopper")
)
UNFINISHED: Final = Unfinished(
    look=SQL.due_newcomers, settle=SQL.end_newcomers, claim=SQL.end_newcomers, known=ORDERS.customers_with_orders
)
REWRAPPED: Final = Rewrapped(beginning=("", ""), look=SQL.keys_to_rewrap, save=SQL.rewrap_keys)
REINDEXED: Final = Reindexed(
    beginning=("", ""),
    look=SQL.people_to_reindex,
    lock=SQL.lock_people,
    kinds=SQL.kinds_of_lookups,
    forget=SQL.forget_lookups,
    insert=SQL.insert_lookups,
)


def of_merchant(merchant_id: str) -> Owner:
    """Whose a merchant's people are."""
    return Owner((merchant_id,))
