"""Who customers are, put into answers after these were kept: what is kept for a replay holds no personal data that the
person's key does not seal (RULES §12).
"""

from collections.abc import Sequence

import msgspec

from tallystick.gateway.customers.customer import KIND
from tallystick.gateway.people.records import Gone, Records
from tallystick.gateway.stripe_wire import errors, expanding
from tallystick.gateway.stripe_wire.call import Caller, Reply
from tallystick.gateway.stripe_wire.reading import Reading
from tallystick.ports.database import Database

ERASED = "The answer that was given named a customer who has been deleted since, and is not kept any more."


class People:
    """Opens kept answers, and names the customers that a write was asked to expand."""

    def __init__(self, records: Records, reading: Reading, database: Database) -> None:
        self._records = records
        self._reading = reading
        self._database = database

    @property
    def fingerprint_keys(self) -> tuple[bytes, ...]:
        """What the fingerprints of calls are keyed with that tell who a customer is."""
        return self._records.index_keys

    async def replayed(self, caller: Caller, reply: Reply) -> Reply:
        """A kept answer as it was given. Raises InvalidRequest where the person is erased; KeysUnavailable."""
        try:
            body = await self._records.replayed(caller.account_id, reply.body, livemode=caller.livemode)
        except Gone:
            raise errors.InvalidRequest(ERASED, code="resource_missing", status=404) from None
        return Reply(reply.status, body)

    async def named(self, caller: Caller, reply: Reply, expand: Sequence[str]) -> Reply:
        """An answer with the customers that `expand` names, as they are now, in a replay too."""
        if reply.status != 200 or not expanding.may_name(expand, KIND):
            return reply
        shaped = msgspec.json.decode(reply.body)
        await self._reading.name_people(self._database, caller, [shaped], expand)
        return Reply(reply.status, msgspec.json.encode(shaped))
