"""`tallystick … customers rewrap` and `reindex`: what wraps people's keys, and what keys their search hashes."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import typer
from msgspec import Struct

from tallystick.cli.failures import CommandRefused
from tallystick.cli.showing import AsJson, show

if TYPE_CHECKING:
    from tallystick.kernel.people.tables import Reindexed, Rewrapped, Tables
    from tallystick.ports.database import Database
    from tallystick.ports.key_encryption import KeyEncryption


Result = TypeVar("Result")


def add_to(commands: typer.Typer, service: str) -> None:
    """Add both commands to those of a service's customers."""

    @commands.command("rewrap")
    def rewrap(as_json: AsJson = False) -> None:
        """Wrap people's keys, and second factors, by the newest version of the key-encryption key.

        Everything goes on meanwhile. Broken off, it is run again. Then older versions, or the key that the service
        moves away from, are needed by backups alone."""
        people, factors, refused = asyncio.run(_in(service, _rewrap))
        told = {"people": people, "second_factors": factors, "refused": refused}
        words = [f"{people} people and {factors} second factors are wrapped by the newest key."]
        if refused:
            words.append(f"{refused} could not be: damaged, or wrapped by a key that is gone. They stay as they are.")
        show(as_json, told, *words)
        if refused:
            raise typer.Exit(1)

    @commands.command("reindex")
    def reindex(as_json: AsJson = False) -> None:
        """Make everybody's search hashes anew with PII_INDEX_KEY; then PII_INDEX_KEY_BEFORE is not needed any more."""
        people, unreadable = asyncio.run(_in(service, _reindex))
        told = {"people": people, "unreadable": unreadable}
        words = [f"{people} people are found by the newest key."]
        if unreadable:
            words.append(f"{unreadable} could not be opened. They are found by the key before as long as it is set.")
        show(as_json, told, *words)
        if unreadable:
            raise typer.Exit(1)


class Place(Struct, frozen=True):
    """A service's people: where they stand, and with which keys. `own` is the service's database."""

    own: "Database"
    personal: "Database"
    tables: "Tables"
    rewrapped: "Rewrapped"
    reindexed: "Reindexed"
    encryption: "KeyEncryption"
    settings: Any


async def _rewrap(place: Place) -> tuple[int, int, int]:
    from tallystick.kernel.logins.rewrapping import rewrap_factors
    from tallystick.kernel.people.rewrapping import Rewrapping

    rewrapping = Rewrapping(place.personal, place.tables, place.rewrapped, place.encryption)
    after: tuple[Any, ...] | None = rewrapping.beginning
    people = refused = 0
    while after is not None:
        step = await rewrapping.step(after)
        after, people, refused = step.after, people + step.rewrapped, refused + step.refused
    factors, lost = await rewrap_factors(place.own, place.encryption)
    return people, factors, refused + lost


async def _reindex(place: Place) -> tuple[int, int]:
    from tallystick.kernel.people.access import Access, AccessDenied
    from tallystick.kernel.people.keys import Keys, KeysUnavailable
    from tallystick.kernel.people.opening import who_decides
    from tallystick.kernel.people.reindexing import Reindexing
    from tallystick.ports.clock import SystemClock
    from tallystick.ports.entropy import SystemEntropy

    clock, entropy, hashing = SystemClock(), SystemEntropy(), place.settings.index_keys
    if not hashing:
        raise CommandRefused("there is no PII_INDEX_KEY to make hashes with")
    decides = who_decides(place.settings)
    keys = Keys(place.encryption, clock, entropy)
    access = Access(place.personal, place.tables, decides.policy, keys, hashing, clock, entropy)
    reindexing = Reindexing(place.personal, place.tables, place.reindexed, access, hashing[0])
    after: tuple[Any, ...] | None = reindexing.beginning
    people = unreadable = 0
    try:
        while after is not None:
            step = await reindexing.step(after)
            after, people, unreadable = step.after, people + step.reindexed, unreadable + step.unreadable
    except AccessDenied:
        raise CommandRefused("the policy does not let the subject `reindexer` read for `reindex`") from None
    except KeysUnavailable as error:
        raise CommandRefused(f"people's keys cannot be opened: {error}") from None
    finally:
        if decides.http is not None:
            await decides.http.close()
    return people, unreadable


async def _in(service: str, work: Callable[[Place], Awaitable[Result]]) -> Result:
    from tallystick.ports.key_encryption import KeyEncryptionError

    async with _place(service) as place:
        try:
            return await work(place)
        except KeyEncryptionError as error:
            raise CommandRefused(f"the key-encryption key: {error}") from None


@asynccontextmanager
async def _place(service: str) -> AsyncIterator[Place]:
    from tallystick.gateway import settings as gateway
    from tallystick.gateway.people.tables import REINDEXED as accounts_hashes
    from tallystick.gateway.people.tables import REWRAPPED as accounts_keys
    from tallystick.gateway.people.tables import TABLES as accounts
    from tallystick.kernel.people.opening import people_encryption
    from tallystick.kernel.vault import opened_secrets
    from tallystick.merchant import settings as merchant
    from tallystick.merchant.customers.tables import REINDEXED as merchants_hashes
    from tallystick.merchant.customers.tables import REWRAPPED as merchants_keys
    from tallystick.merchant.customers.tables import TABLES as merchants
    from tallystick.ports.asyncpg_database import open_database

    configuration: Any = gateway if service == "gateway" else merchant
    of_accounts, of_merchants = (
        (accounts, accounts_keys, accounts_hashes),
        (merchants, merchants_keys, merchants_hashes),
    )
    people = of_accounts if service == "gateway" else of_merchants
    async with opened_secrets(configuration.PREFIX, os.environ) as secrets:
        settings = configuration.read(os.environ, await secrets.of_settings(configuration.Settings))
        encryption = people_encryption(settings, secrets)
        if encryption is None:
            raise CommandRefused(f"nothing of people is kept: {configuration.PREFIX}PII_KEY_FILE is not set")
        own = await open_database(settings.database_dsn, connections_max=2)
        personal = await open_database(settings.pii_dsn, connections_max=2) if settings.pii_dsn else own
        try:
            yield Place(own, personal, *people, encryption, settings)
        finally:
            await personal.close()
            await own.close()
