"""The network of the simulated world: requests are in-process ASGI calls that may be lost, late, doubled or cut.

Client and server each have a life of their own: an answer that nobody waits for any more is made all the same, a client
whose server dies sees its connection lost, and a server whose client has gone never learns of it.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from tallystick.kernel.service import Asgi
from tallystick.ports.http import Answered, Exchange, HttpRequest, NotSent, Unknown
from tallystick.simulation.nodes import Node

if TYPE_CHECKING:
    from tallystick.simulation.world import World

LATENCY_S: Final = (0.001, 0.05)
REORDER_S: Final = (0.5, 30.0)
DUPLICATE_AFTER_S: Final = (0.0, 90.0)
LATE_S: Final = (1.0, 120.0)
CONNECT_TIMEOUT_S: Final = 5.0
DRIP_PIECES: Final = 4
CLOSE: Final = "/expire"
DRIP_EVERY_S: Final = (0.5, 8.0)

_STATUSES: Final[Mapping[str, tuple[int, ...]]] = {
    "status_3xx": (301, 302, 307),
    "status_4xx": (400, 403, 404, 408, 413),
    "status_5xx": (500, 502, 503, 504),
    "status_410": (410,),
    "status_429": (429,),
}

Site = Callable[[HttpRequest], Exchange]


class Network:
    """Who can be reached by which host, and what happens on the way."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._services: dict[str, list[Node]] = {}
        self._sites: dict[str, Site] = {}
        self.cut: dict[tuple[str, str], float] = {}  # between which services there is no way, and until when
        self.yet_paid_share = 0.0  # of sessions that the gateway says are closed, and lets be paid all the same
        self.yet_paid: set[str] = set()  # their orders

    def serve(self, host: str, nodes: list[Node]) -> None:
        """Requests to `host` go to one of these nodes."""
        self._services[host] = nodes

    def site(self, host: str, answer: Site) -> None:
        """A host of the world that is no node: it answers at once."""
        self._sites[host] = answer

    async def exchange(self, client: Node, request: HttpRequest) -> Exchange:
        """One request from `client` and what it sees of the answer."""
        await client.awake()
        world = self._world
        host = urlsplit(request.url).hostname or ""
        site = self._sites.get(host)
        answer: asyncio.Future[Exchange] = world.loop.create_future()
        if site is not None:
            self._later(self._latency(), answer, site(request))
        else:
            self._begin(client, host, request, answer)
        self._later(request.deadline_s, answer, Unknown("answer_timeout"))
        result = await answer
        await client.awake()
        told = str(result.status) if isinstance(result, Answered) else result.reason
        world.trace("http", client.name, request.method, request.url, told)
        if world.recording:
            world.tell(client.name, f"{request.method} {_short(request.url)} → {told}")
        return result

    def _begin(self, client: Node, host: str, request: HttpRequest, answer: "asyncio.Future[Exchange]") -> None:
        """Send it on its way, with at most one fault."""
        world, faults = self._world, self._world.faults
        nodes = self._services.get(host, [])
        living = [node for node in nodes if node.alive]
        if not nodes:
            self._later(0.01, answer, NotSent("dns"))
            return
        if self.cut.get((client.service, nodes[0].service), 0.0) > world.loop.now_s:
            self._later(CONNECT_TIMEOUT_S, answer, NotSent("connect_timeout"))
            return
        fault = faults.network()
        if not living or fault == "connection_refused":
            if fault == "connection_refused":
                self._made(fault, client, request)
            self._later(0.001, answer, NotSent("connection_refused"))
            return
        node = world.chance.choice(living)
        there_s, back_s = self._latency(), self._latency()
        closes = self.yet_paid_share and client.service == "merchant" and request.url.endswith(CLOSE)
        if closes and faults.active and world.chance.random() < self.yet_paid_share:
            self._only_say_closed(node, request, there_s, back_s, answer)
            return
        if fault is None:
            self._deliver(node, request, there_s, self._answering(answer, back_s))
            return
        self._made(fault, client, request)
        if fault in _STATUSES:
            status = world.chance.choice(_STATUSES[fault])
            headers = {"retry-after": str(world.chance.randrange(1, 90))} if status in (429, 503) else {}
            if fault.startswith("status_3"):
                headers["location"] = request.url
            if fault == "status_5xx" and world.chance.random() < 0.5:  # some box on the way gave up, it was done
                self._deliver(node, request, there_s, lambda _: None)
            self._later(there_s + back_s, answer, Answered(status, headers, b"the network says no"))
        elif fault == "request_lost":
            pass
        elif fault == "answer_lost":
            lost = Unknown("connection_lost")
            reset = world.chance.random() < 0.5
            self._deliver(node, request, there_s, lambda _: self._later(back_s, answer, lost) if reset else None)
        elif fault == "duplicate":
            first = self._answering(answer, back_s)
            self._deliver(node, request, there_s, first)
            again = world.chance.choice([each for each in nodes if each.alive])
            self._deliver(again, request, there_s + self._between(DUPLICATE_AFTER_S), lambda _: None)
        elif fault == "reorder":
            self._deliver(node, request, self._between(REORDER_S), self._answering(answer, back_s))
        elif fault == "delay_past_timeout":
            self._deliver(node, request, request.deadline_s + self._between(LATE_S), lambda _: None)
        else:
            assert fault == "slow_drip"
            self._drip(node, request, there_s, answer)

    def _only_say_closed(
        self, node: Node, request: HttpRequest, there_s: float, back_s: float, answer: "asyncio.Future[Exchange]"
    ) -> None:
        """The gateway says that the session is closed, and it is not: money may come late (RULES §4)."""
        look = HttpRequest("GET", request.url.removesuffix(CLOSE), request.headers, b"", request.deadline_s)

        def answered(exchange: Exchange) -> None:
            if isinstance(exchange, Answered) and exchange.status == 200:
                session = json.loads(exchange.body)
                if session["status"] == "open":
                    self.yet_paid.add(session["client_reference_id"])
                    self._made("closed_yet_paid", node, request)
                    exchange = Answered(200, exchange.headers, json.dumps(session | {"status": "expired"}).encode())
            self._later(back_s, answer, exchange)

        self._deliver(node, look, there_s, answered)

    def _drip(self, node: Node, request: HttpRequest, there_s: float, answer: "asyncio.Future[Exchange]") -> None:
        """Either side speaks very slowly: the request's body comes in pieces, or the answer's never ends in time."""
        every_s = self._between(DRIP_EVERY_S)
        if request.body and self._world.chance.random() < 0.5:
            self._deliver(node, request, there_s, self._answering(answer, 0.01), drip_s=every_s)
            return
        whole_s = every_s * DRIP_PIECES

        def answered(exchange: Exchange) -> None:
            self._later(whole_s, answer, exchange)

        self._deliver(node, request, there_s, answered)

    def _deliver(
        self,
        node: Node,
        request: HttpRequest,
        after_s: float,
        answered: Callable[[Exchange], None],
        *,
        drip_s: float = 0.0,
    ) -> None:
        """Let `node` serve the request after a while; `answered` is told how that ended."""

        def arrive() -> None:
            if not node.alive or node.asgi is None:
                answered(Unknown("connection_lost"))
                return
            task = node.begin(_served(node, node.asgi, request, drip_s))
            task.add_done_callback(lambda done: answered(_ended(done)))

        self._world.loop.call_later(after_s, arrive)

    def _answering(self, answer: "asyncio.Future[Exchange]", back_s: float) -> Callable[[Exchange], None]:
        return lambda exchange: self._later(back_s, answer, exchange)

    def _later(self, after_s: float, answer: "asyncio.Future[Exchange]", exchange: Exchange) -> None:
        self._world.loop.call_later(after_s, _settle, answer, exchange)

    def _latency(self) -> float:
        return self._between(LATENCY_S)

    def _between(self, bounds_s: tuple[float, float]) -> float:
        low, high = bounds_s
        return low + (high - low) * self._world.chance.random()

    def _made(self, fault: str, client: Node, request: HttpRequest) -> None:
        self._world.faults.made(fault)
        if self._world.recording:
            self._world.tell(client.name, f"{fault.replace('_', ' ')}: {request.method} {_short(request.url)}")


class VirtualHttp:
    """The HTTP port of one process."""

    def __init__(self, network: Network, node: Node) -> None:
        self._network = network
        self._node = node

    async def send(self, request: HttpRequest) -> Exchange:
        return await self._network.exchange(self._node, request)

    async def receive(self, request: HttpRequest, into: Callable[[bytes], object]) -> Exchange:
        answer = await self.send(request)
        if isinstance(answer, Answered) and 200 <= answer.status < 300:
            into(answer.body)
            return Answered(answer.status, answer.headers, b"", answer.cut)
        return answer


async def _served(node: Node, asgi: Asgi, request: HttpRequest, drip_s: float) -> Answered:
    """Call the application as a server would, and put its answer together."""
    await node.awake()
    parts = urlsplit(request.url)
    pieces = _pieces(request.body, drip_s)
    parked: asyncio.Future[Any] = node.world.loop.create_future()
    start: dict[str, Any] = {}
    body = bytearray()

    async def receive() -> dict[str, Any]:
        if not pieces:
            await parked  # the client stays on the line
        if drip_s:
            await asyncio.sleep(drip_s)
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def send(message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        else:
            body.extend(message.get("body", b""))

    await asgi(_scope(request, parts.path, parts.query, parts.netloc), receive, send)
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in start["headers"]}
    whole = bytes(body)
    cut = len(whole) > request.answer_bytes_max
    return Answered(start["status"], headers, whole[: request.answer_bytes_max], cut)


def _scope(request: HttpRequest, path: str, query: str, host: str) -> dict[str, Any]:
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in request.headers.items()]
    headers += [(b"host", host.encode()), (b"content-length", str(len(request.body)).encode())]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": (host, 443),
        "client": ("198.51.100.7", 40000),
        "scheme": "https",
        "method": request.method,
        "root_path": "",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": headers,
        "state": {},
    }


def _pieces(body: bytes, drip_s: float) -> list[bytes]:
    if not drip_s:
        return [body]
    size = max(1, -(-len(body) // DRIP_PIECES))
    return [body[start : start + size] for start in range(0, len(body), size)] or [b""]


def _ended(task: "asyncio.Task[Answered]") -> Exchange:
    if task.cancelled():
        return Unknown("connection_lost")
    if task.exception() is not None:
        return Answered(500, {}, b"Internal Server Error")  # as a server answers for an application that broke
    return task.result()


def _settle(answer: "asyncio.Future[Exchange]", exchange: Exchange) -> None:
    if not answer.done():
        answer.set_result(exchange)


def _short(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}{parts.path}"
