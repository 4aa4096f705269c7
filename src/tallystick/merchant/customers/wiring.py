"""What stands behind everything about customers, wired together: keys, policy, access log, who carries over and who
tidies up.
"""

import logging
from collections.abc import Sequence

from msgspec import Struct

from tallystick.kernel.people.access import Access
from tallystick.kernel.people.carrying import CarryingOver
from tallystick.kernel.people.keys import Keys
from tallystick.kernel.people.opening import built_in
from tallystick.kernel.people.sweeping import Sweeping
from tallystick.kernel.service import Worker
from tallystick.merchant.customers.people import People
from tallystick.merchant.customers.tables import IN_THE_CLEAR, TABLES, UNFINISHED
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database
from tallystick.ports.entropy import Entropy
from tallystick.ports.key_encryption import KeyEncryption
from tallystick.ports.policy import Policy

log = logging.getLogger(__name__)


class Customers(Struct, frozen=True):
    """Everything about customers. `database` is where personal data stand."""

    access: Access
    people: People
    database: Database
    workers: tuple[Worker, ...]


def open_customers(
    personal: Database,
    database: Database,
    policy: Policy | None,
    encryption: KeyEncryption | None,
    index_keys: Sequence[bytes],
    clock: Clock,
    entropy: Entropy,
) -> Customers:
    """All of it over these ports; `personal` is where personal data stand, `database` where orders do. Without keys
    nothing is stored, and what is stored cannot be read."""
    keys = Keys(encryption, clock, entropy)
    access = Access(personal, TABLES, policy or built_in(), keys, index_keys, clock, entropy)
    people = People(personal, access, keys, index_keys, clock, entropy)
    sweeping = Sweeping(personal, TABLES, UNFINISHED, access, database, clock)
    if encryption is None or not index_keys:
        log.warning("there is no key for personal data: orders that name a customer are refused")
        return Customers(access, people, personal, (sweeping,))
    carrying = CarryingOver(personal, TABLES, IN_THE_CLEAR, keys, index_keys[0], clock, entropy)
    return Customers(access, people, personal, (carrying, sweeping))
