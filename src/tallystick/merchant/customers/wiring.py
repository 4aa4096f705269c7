"""What stands behind everything about customers, wired together: keys, policy, access log, and who carries over."""

import logging
from pathlib import Path
from typing import Final

from msgspec import Struct

from tallystick.kernel.service import Worker
from tallystick.merchant.customers.access import Access
from tallystick.merchant.customers.carrying import CarryingOver
from tallystick.merchant.customers.keys import Keys
from tallystick.merchant.customers.people import People
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database
from tallystick.ports.entropy import Entropy
from tallystick.ports.key_encryption import KeyEncryption
from tallystick.ports.policy import Policy, RegoPolicy

log = logging.getLogger(__name__)

POLICIES: Final = Path(__file__).parent / "policies"  # the folder policies/ of the repository
DECISION: Final = "pii/access"


class Customers(Struct, frozen=True):
    """Everything about customers. `database` is where personal data stand."""

    access: Access
    people: People
    database: Database
    workers: tuple[Worker, ...]


def open_customers(
    database: Database,
    policy: Policy | None,
    encryption: KeyEncryption | None,
    index_key: str,
    clock: Clock,
    entropy: Entropy,
) -> Customers:
    """All of it over these ports. Without keys nothing is stored, and what is stored cannot be read."""
    keys, hashing = Keys(encryption, clock, entropy), index_key.encode()
    access = Access(database, policy or RegoPolicy.of_folder(POLICIES, DECISION), keys, hashing, clock, entropy)
    people = People(database, access, keys, hashing, clock, entropy)
    if encryption is None or not index_key:
        log.warning("there is no key for personal data: orders that name a customer are refused")
        return Customers(access, people, database, ())
    return Customers(access, people, database, (CarryingOver(database, keys, hashing, clock, entropy),))
