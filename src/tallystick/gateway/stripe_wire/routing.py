"""The table of the wire's routes: method and path lead to a struct of parameters and to what carries the call out."""

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator

from msgspec import Struct

from tallystick.gateway.stripe_wire import errors
from tallystick.gateway.stripe_wire.call import Call, Reply
from tallystick.gateway.stripe_wire.parameters import Parameters

ID = "{id}"

_ID = re.compile(r"[0-9A-Za-z_]{1,255}", re.ASCII)

Run = Callable[[Call, str, Parameters], Awaitable[Reply]]


class Route(Struct, frozen=True, kw_only=True):
    """One call of the wire. `path` holds `{id}` at most once; `kind` is the object that it speaks of."""

    method: str
    path: str
    parameters: type[Parameters]
    run: Run
    kind: str
    listed: bool = False
    publishable: bool = False
    id_param: str = "id"
    noun: str = ""  # the kind as error messages write it, where Stripe writes it otherwise

    def check_id(self, id: str) -> None:
        """Raise what an impossible id is answered with: ids of ours are letters, digits and `_`."""
        if id and not _ID.fullmatch(id):
            raise errors.no_such(self.noun or self.kind, id, param=self.id_param)


class Routes:
    """Finds the route of a request."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes: dict[tuple[str, str], Route] = {}
        for route in routes:
            assert (route.method, route.path) not in self._routes, "a route stands in the table once"
            self._routes[route.method, route.path] = route

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes.values())

    def find(self, method: str, path: str) -> tuple[Route, str]:
        """The route and the id in the path (empty where it has none). Raises InvalidRequest (404)."""
        route = self._routes.get((method, path))
        if route is not None and ID not in path:
            return route, ""
        segments = path.split("/")
        for place in (len(segments) - 1, len(segments) - 2):
            if place < 3:
                continue
            id = segments[place]
            segments[place] = ID
            route = self._routes.get((method, "/".join(segments)))
            segments[place] = id
            if route is not None and id:
                return route, id
        raise errors.unrecognized_url(method, path)
