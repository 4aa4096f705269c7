"""What stands behind everything about who customers are: keys, policy, access log, and who tidies up."""

import logging
from collections.abc import Sequence

from msgspec import Struct

from tallystick.gateway.people.records import Records
from tallystick.gateway.people.tables import TABLES, UNFINISHED
from tallystick.kernel.people.opening import built_in
from tallystick.kernel.people.sweeping import Sweeping
from tallystick.kernel.service import Worker
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database
from tallystick.ports.entropy import Entropy
from tallystick.ports.key_encryption import KeyEncryption
from tallystick.ports.policy import Policy

log = logging.getLogger(__name__)


class People(Struct, frozen=True):
    """Who customers are, and what runs by itself for it."""

    records: Records
    workers: tuple[Worker, ...]


def open_people(
    personal: Database,
    database: Database,
    policy: Policy | None,
    encryption: KeyEncryption | None,
    index_keys: Sequence[bytes],
    clock: Clock,
    entropy: Entropy,
) -> People:
    """All of it over these ports; `personal` is where personal data stand, `database` where customers do."""
    records = Records(personal, policy or built_in(), encryption, index_keys, clock, entropy)
    sweeping = Sweeping(personal, TABLES, UNFINISHED, records.access, database, clock)
    if encryption is None or not index_keys:
        log.warning("there is no key for personal data: customers with a name, an e-mail or a number are refused")
        return People(records, (sweeping,))
    return People(records, (records.carrying, sweeping))
