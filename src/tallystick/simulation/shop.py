"""The shops' own servers: they hear notifications, answer for their stock, and have bad days.

What they have written down survives them: whatever was answered 200 was written first, as a careful shop would. It is
held against the merchant service's tables in the end: nothing counts as delivered that nobody heard, nothing was told
that is not so.
"""

import asyncio
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from tallystick.kernel.invariants.rules import Violation
from tallystick.kernel.service import Service
from tallystick.kernel.signatures import SignatureRefused, verify_standard, verify_stripe
from tallystick.ports.database import Statements
from tallystick.simulation.ports import EPOCH

if TYPE_CHECKING:
    from tallystick.simulation.nodes import Node
    from tallystick.simulation.server import VirtualServer
    from tallystick.simulation.world import World

SQL = Statements.beside(__file__)

HOOKS_URL: Final = "https://hooks.tallystick.example"
HOOKS_HOST: Final = HOOKS_URL.removeprefix("https://")

BAD_SHARE: Final = 0.85  # of what comes on a bad day; the rest gets through, so that order and number vary
STOCK_SHARE: Final = 0.6  # of the stock's questions that are not answered, while there are faults
AVAILABLE_SHARE: Final = 0.6
DRIP_S: Final = 6.0
DRIPS: Final = 4  # together longer than any deadline for an answer
HANGS_S: Final = 30.0

_STATUSES: Final[Mapping[str, tuple[int, ...]]] = {
    "shop_3xx": (301, 302, 308),
    "shop_4xx": (400, 401, 404, 422),
    "shop_5xx": (500, 502, 503, 504),
    "shop_410": (410,),
    "shop_429": (429,),
}


class Day(Struct):
    """A bad day: what goes wrong, and until when (virtual seconds)."""

    kind: str
    until_s: float


class Heard(Struct, frozen=True):
    """A notification that a shop has written down."""

    body: bytes
    type: str
    order: str


class _Told(Struct, frozen=True):
    id: str
    type: str
    data: dict[str, Any]


class _Asked(Struct, frozen=True):
    type: str
    order: dict[str, Any]
    attempt: int


class ShopServer:
    """The servers of all shops, each under a number of its own."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.secrets: dict[str, tuple[str, ...]] = {}  # by path: those that the shop takes
        self.days: dict[str, Day] = {}  # by path
        self.heard: dict[str, Heard] = {}  # by webhook-id
        self.reserved: dict[str, bool] = {}  # by order: what stock said when it was asked
        self.released: set[tuple[str, int]] = set()
        self._differing: list[Violation] = []

    def build(self, _node: "Node") -> Service:
        """What the servers' process runs."""
        return Service(self._serve, ())

    def bad_day(self, path: str, kind: str, seconds: float) -> None:
        """From now on something goes wrong with most of what comes to `path`. A bad day that lasts longer goes on: cut
        short by the next one, hardly a notification would live to be a dead letter."""
        until_s = self._world.loop.now_s + seconds
        if path not in self.days or self.days[path].until_s < until_s:
            self.days[path] = Day(kind, until_s)

    @property
    def well_at_s(self) -> float:
        """When the last bad day is over."""
        return max((day.until_s for day in self.days.values()), default=0.0)

    async def _serve(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        body = bytearray()
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        path: str = scope["path"]
        answer = self._stock if path.startswith("/stock/") else self._notification
        status, headers, said = await answer(path, scope["headers"], bytes(body))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": said})

    async def _notification(self, path: str, headers: Any, body: bytes) -> tuple[int, list[Any], bytes]:
        struck = await self._struck(path)
        if struck is not None:
            return struck
        try:
            id = verify_standard(self.secrets[path], headers, body, self._now())
            verify_stripe(self.secrets[path], headers, body, self._now())
        except SignatureRefused:
            return 400, [], b"the signature is none of ours"
        told = msgspec.json.decode(body, type=_Told)
        known = self.heard.setdefault(id, Heard(body, told.type, _order(told)))
        if known.body != body or told.id != id:
            self._differing.append(Violation("one_id_one_notification", id, "came with another body"))
        return 200, [], b""

    async def _struck(self, path: str) -> tuple[int, list[Any], bytes] | None:
        """What a bad day makes of a notification, or None."""
        world, day = self._world, self.days.get(path)
        if day is None or day.until_s <= world.loop.now_s or world.chance.random() >= BAD_SHARE:
            return None
        world.faults.made(day.kind)
        if day.kind == "shop_slow_drip":
            for _ in range(DRIPS):
                await asyncio.sleep(DRIP_S)
            return 200, [], b"too late for whoever waited"
        status = world.chance.choice(_STATUSES[day.kind])
        headers = [(b"location", b"https://elsewhere.example/")] if day.kind == "shop_3xx" else []
        if status in (429, 503) and world.chance.random() < 0.5:
            headers = [(b"retry-after", str(world.chance.randrange(1, 120)).encode())]
        return status, headers, b"not today"

    async def _stock(self, path: str, headers: Any, body: bytes) -> tuple[int, list[Any], bytes]:
        world = self._world
        try:
            verify_standard(self.secrets[path], headers, body, self._now())
        except SignatureRefused:
            return 400, [], b"the signature is none of ours"
        asked = msgspec.json.decode(body, type=_Asked)
        order = asked.order["id"]
        if asked.type == "stock.release":
            self._check_released(order, asked.attempt)
            self.released.add((order, asked.attempt))
        elif order not in self.reserved:
            self.reserved[order] = world.chance.random() < AVAILABLE_SHARE
        if world.faults.active and world.chance.random() < STOCK_SHARE:
            kind = world.chance.choice(("stock_hook_fails", "stock_hook_hangs", "stock_hook_talks_nonsense"))
            world.faults.made(kind)
            if kind == "stock_hook_fails":
                return world.chance.choice((302, 404, 500, 503)), [], b""
            if kind == "stock_hook_talks_nonsense" and asked.type == "stock.reserve":
                return 200, [], world.chance.choice((b"", b"yes", b'{"available": "true"}', b"\xff\xfe", b"[]"))
            await asyncio.sleep(HANGS_S)
        return 200, [], msgspec.json.encode({"available": self.reserved.get(order, True)})

    def _check_released(self, order: str, attempt: int) -> None:
        """Goods are let go after the order's end is stored, never before (RULES §8)."""
        [row] = self._world.servers["merchant"].control.run(SQL.order_released, (order,))[0]
        if row["released"] < attempt:
            self._differing.append(Violation("released_after_its_end", order, f"attempt {attempt} was let go before"))

    def _now(self) -> datetime:
        return EPOCH + timedelta(seconds=self._world.loop.now_s)

    def compare(self, merchant: "VirtualServer") -> Iterator[Violation]:
        """What the shops have written down, against what the merchant service says."""
        yield from self._differing
        told = {row["id"]: row for row in merchant.control.run(SQL.notifications_told, ())[0]}
        for id, heard in self.heard.items():
            if id not in told:
                yield Violation("told_is_kept", id, f"{heard.type} was heard, and is not there")
        for id, row in told.items():
            if row["delivered"] and id not in self.heard:
                yield Violation("delivered_is_heard", id, f"{row['type']} of {row['order_id']} was heard by nobody")
        types: dict[str, list[str]] = {}
        for row in told.values():
            types.setdefault(row["order_id"], []).append(row["type"])
        for row in merchant.control.run(SQL.orders_to_tell, ())[0]:
            yield from _told_of(row, types.get(row["order_id"], []) if row["listened"] else None)
            yield from self._stock_of(row)

    def _stock_of(self, row: Mapping[str, Any]) -> Iterator[Violation]:
        order, how = row["order_id"], row["fulfilment"]
        asked = self.reserved.get(order)
        if row["hook"] and row["released"] and (order, row["released"]) not in self.released:
            yield Violation("stock_is_told", order, f"nobody told that attempt {row['released']} was let go")
        if not (row["late"] and row["hook"] and row["late_policy"] == "accept_if_available"):
            return
        if how == "allowed" and asked is not True:
            yield Violation("stock_decides", order, f"is allowed, stock said {asked}")
        if how == "refused" and asked is not False:
            yield Violation("stock_decides", order, f"is refused, stock said {asked}")


def _order(told: _Told) -> str:
    order: str = told.data["order"]["id"]
    return order


def _told_of(row: Mapping[str, Any], told: list[str] | None) -> Iterator[Violation]:
    """What an order's shop must have been told. RULES §4: `order.paid` on the change to allowed, and only then."""
    if told is None:
        return
    order, state, allowed = row["order_id"], row["state"], row["fulfilment"] == "allowed"
    if told.count("order.paid") != allowed:
        yield Violation(
            "shipped_once", order, f"is {state} and {row['fulfilment']}, told {' '.join(told) or 'nothing'}"
        )
    ended = {"EXPIRED": "order.expired", "FAILED": "order.failed", "CANCELED": "order.canceled"}.get(state)
    if ended is not None and ended not in told:
        yield Violation("every_end_is_told", order, f"is {state}, told {' '.join(told) or 'nothing'}")
    if row["amount_refunded"] and "order.refunded" not in told:
        yield Violation("every_refund_is_told", order, f"{row['amount_refunded']} went back, told {' '.join(told)}")
