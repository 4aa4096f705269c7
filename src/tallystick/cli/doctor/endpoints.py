"""Where webhooks, notifications and stock hooks go: may each address be called, and does its name mean a public one.

Whoever sends asks the same before each call; here a person learns it before the deliveries die. No address is repeated:
its path or query may be somebody's secret.
"""

import asyncio
from typing import Final

from msgspec import Struct

from tallystick.cli.doctor.findings import Notes
from tallystick.gateway.webhooks.listeners import SQL as WEBHOOKS
from tallystick.kernel.addresses import Target, UrlRefused, address_allowed, check_url
from tallystick.merchant.notifications.listeners import SQL as NOTIFICATIONS
from tallystick.ports.aiohttp_http import SystemNames
from tallystick.ports.asyncpg_database import open_database
from tallystick.ports.database import Database, DatabaseError, Record

LOOKED_AT_MAX: Final = 2000  # of all owners; looking up more names than that is a burden to the name server
PAGE_ROWS: Final = 500
MOVE: Final = "Give it a public address by https on port 443 or 8443, or disable it: nothing is sent there."
NAME: Final = "Have its owner look at the name; until it means public addresses alone, nothing is sent there."


class Called(Struct, frozen=True):
    """Something that strangers named and that is called: its id for people, and its address."""

    subject: str
    url: str

    def __repr__(self) -> str:
        return f"Called({self.subject!r})"


async def check_endpoints(notes: Notes, dsn: str, *, loopback: bool) -> None:
    """The enabled endpoints of a service's accounts or merchants. `loopback` is its development setting."""
    try:
        database = await open_database(dsn, connections_max=1)
    except DatabaseError:
        return  # it is noted
    try:
        called = await _called(notes.service, database)
    except DatabaseError as error:
        do = "Run `tallystick database migrate`, and look at the role."
        notes.bad("database", "endpoints", f"they cannot be read: {type(error).__name__}", do)
        return
    finally:
        await database.close()
    await check_called(notes, called, loopback=loopback)
    if len(called) >= LOOKED_AT_MAX:
        notes.skipped("endpoint", "endpoints", f"there may be more than the {len(called)} that were looked at")


async def check_called(notes: Notes, called: list[Called], *, loopback: bool) -> None:
    """What is written, and what names mean now."""
    allowed: list[tuple[Called, Target]] = []
    for each in called:
        try:
            allowed.append((each, check_url(each.url, loopback=loopback)))
        except UrlRefused as refused:
            notes.bad("endpoint", each.subject, f"its address may not be called: {refused}", MOVE)
    meant = await _meanings({target.host for _, target in allowed if not target.literal})
    for each, target in allowed:
        addresses = [target.host] if target.literal else meant[target.host]
        if not addresses:
            notes.warning("endpoint", each.subject, "its host name has no address", NAME)
        elif not all(address_allowed(address, loopback=loopback) for address in addresses):
            notes.bad("endpoint", each.subject, "its host name means an address that is not public", NAME)
        else:
            notes.good("endpoint", each.subject, "its address may be called")


async def _called(service: str, database: Database) -> list[Called]:
    found: list[Called] = []
    page, behind = PAGE_ROWS, _behind(service, None)
    while page == PAGE_ROWS and len(found) < LOOKED_AT_MAX:
        statement = WEBHOOKS.enabled_endpoints if service == "gateway" else NOTIFICATIONS.called_of_shops
        rows = await database.rows(statement, *behind, PAGE_ROWS)
        found += [Called(f"{row.get('kind', 'webhook endpoint')} {row['id']}", row["url"]) for row in rows]
        page, behind = len(rows), _behind(service, rows[-1] if rows else None)
    return found


def _behind(service: str, row: Record | None) -> tuple[object, ...]:
    """Where the next page begins: after this row, or with the first."""
    if service == "gateway":
        return (row["account_id"], row["livemode"], row["id"]) if row is not None else ("", False, "")
    return (row["merchant_id"], row["kind"], row["id"]) if row is not None else ("", "", "")


async def _meanings(hosts: set[str]) -> dict[str, list[str]]:
    """The addresses that each name has now, none where it has none. A few are looked up at once: the port's threads."""
    names, found = SystemNames(), {}

    async def look_up(host: str) -> None:
        try:
            found[host] = list(await names.addresses_of(host))
        except OSError:
            found[host] = []

    try:
        for batch in _batches(sorted(hosts)):
            await asyncio.gather(*(look_up(host) for host in batch))
    finally:
        names.close()
    return found


def _batches(hosts: list[str], size: int = 8) -> list[list[str]]:
    return [hosts[start : start + size] for start in range(0, len(hosts), size)]
