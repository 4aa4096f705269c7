"""The routes that only read: one object by its id, one page of a list."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from tallystick.gateway.stripe_wire import errors
from tallystick.gateway.stripe_wire.call import Call, Reply
from tallystick.gateway.stripe_wire.objects import Json
from tallystick.gateway.stripe_wire.parameters import Paging, Parameters, Retrieve
from tallystick.gateway.stripe_wire.reading import Key, Reading
from tallystick.gateway.stripe_wire.routing import Route
from tallystick.kernel.batching import Batcher
from tallystick.ports.database import Database, Statement


class Reads:
    """Makes routes that read. Concurrent retrieves of one kind share a statement."""

    def __init__(self, reading: Reading, database: Database) -> None:
        self.reading = reading
        self.database = database

    def one(self, path: str, kind: str, *, param: str = "id", noun: str = "") -> Route:
        """`GET path`, where `path` ends in `{id}`."""

        async def find(keys: Sequence[Key]) -> list[Json | None]:
            found = await self.reading.find(self.database, kind, keys)
            return [found.get(key) for key in keys]

        batcher: Batcher[Key, Json | None] = Batcher(find)

        async def run(call: Call, id: str, parameters: Parameters) -> Reply:
            shaped = await batcher.submit((call.caller.account_id, call.caller.livemode, id))
            if shaped is None:
                raise errors.no_such(noun or kind, id, param=param)
            if parameters.expand:
                shaped = dict(shaped)  # two callers of one batch may want different expansions
                await self.reading.expand(self.database, call.caller, [shaped], parameters.expand)
                await self.reading.name_people(self.database, call.caller, [shaped], parameters.expand)
            return Reply(200, msgspec.json.encode(shaped))

        return Route(method="GET", path=path, parameters=Retrieve, run=run, kind=kind, id_param=param, noun=noun)

    def page(
        self,
        path: str,
        kind: str,
        parameters: type[Paging],
        statements: tuple[Statement, Statement] | Callable[[Any], tuple[Statement, Statement]],
        filters: Callable[[Any], Sequence[Any]] = lambda _: (),
        filtered: Callable[[Call, Any], Awaitable[Sequence[Any]]] | None = None,
    ) -> Route:
        """`GET path` as a list. `filters` gives what follows the paging in the parameters of both statements, which may
        be chosen by what is asked for; `filtered` does where it must be looked up."""

        async def run(call: Call, _id: str, paging: Parameters) -> Reply:
            assert isinstance(paging, Paging)
            chosen = statements if isinstance(statements, tuple) else statements(paging)
            more = await filtered(call, paging) if filtered is not None else filters(paging)
            listing = await self.reading.page(self.database, call.caller, kind, paging, path, chosen, more)
            return Reply(200, msgspec.json.encode(listing))

        return Route(method="GET", path=path, parameters=parameters, run=run, kind=kind, listed=True)
