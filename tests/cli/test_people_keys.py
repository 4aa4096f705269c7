"""`customers rewrap` and `customers reindex` of both services, as they are run, on a real database; and the move to the
transit engine of a real Vault, whose key then opens alone. RULES §9, §12."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import typer
from msgspec import Struct
from typer.testing import CliRunner, Result

from tallystick.cli import gateway, merchant
from tallystick.gateway.people.wiring import open_people
from tallystick.kernel.logins.factors import Factors
from tallystick.kernel.people.opening import built_in
from tallystick.kernel.people.person import Person
from tallystick.merchant.customers.wiring import open_customers
from tallystick.ports.asyncpg_database import open_database
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Database
from tallystick.ports.entropy import SystemEntropy
from tallystick.ports.key_encryption import LocalKeyEncryption, add_key_version, make_key_file

PEOPLE = 3
KEY, NEWER = "an index key of no value, for tests", "another index key of no value, for tests"


class Place(Struct):
    """A service with people and one second factor, all under version 1 of a key file; and how to run its commands."""

    service: str
    dsn: str
    file: Path
    environment: dict[str, str]

    @property
    def prefix(self) -> str:
        return f"TALLYSTICK_{self.service.upper()}_"

    def run(self, command: str, *options: str, **settings: str) -> Result:
        app: typer.Typer = gateway.app if self.service == "gateway" else merchant.app
        environment = self.environment | {f"{self.prefix}{name.upper()}": value for name, value in settings.items()}
        return CliRunner().invoke(app, ["customers", command, *options], env=environment, catch_exceptions=False)

    def wrapped(self) -> set[str]:
        """By which keys, of which version, everything is wrapped: people's keys and the second factor."""
        statement = "SELECT wrapped_by FROM pii.subject_key UNION ALL SELECT wrapped FROM operator_second_factor"
        with psycopg.connect(self.dsn) as connection:
            texts = [row[0] for row in connection.execute(statement)]
        assert len(texts) == PEOPLE + 1
        return {":".join(text.split(":")[:2]) for text in texts}

    def found(self, *keys: str) -> int:
        """How many of the people are found by these index keys."""

        async def look(database: Database) -> int:
            access = self._access(database, [key.encode() for key in keys])
            return sum([await access(f"{number}@example.org") for number in range(PEOPLE)])

        known: int = asyncio.run(_over(self.dsn, look))
        return known

    def _access(self, database: Database, keys: list[bytes]) -> Callable[[str], Awaitable[bool]]:
        clock, entropy, held = SystemClock(), SystemEntropy(), LocalKeyEncryption(self.file)
        if self.service == "gateway":
            records = open_people(database, database, built_in(), held, keys, clock, entropy).records

            async def known(email: str) -> bool:
                return bool(await records.find("acct_1", email, livemode=False))

            return known
        people = open_customers(database, database, None, held, keys, clock, entropy).people

        async def comes_again(email: str) -> bool:
            return (await people.keep("mer_1", Person(email=email, name="Ada"))).known

        return comes_again


async def _over(dsn: str, work: Callable[[Database], Awaitable[Any]]) -> Any:
    database = await open_database(dsn, connections_max=2)
    try:
        return await work(database)
    finally:
        await database.close()


@pytest.fixture(params=["gateway", "merchant"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    service, file = request.param, tmp_path / "people.keys"
    dsn = request.getfixturevalue(f"{service}_dsn")
    clock, entropy = SystemClock(), SystemEntropy()
    make_key_file(file, entropy)
    held = LocalKeyEncryption(file)
    settings = {"DATABASE_DSN": dsn, "PII_KEY_FILE": str(file), "PII_INDEX_KEY": KEY}
    place = Place(service, dsn, file, {})
    place.environment = {f"{place.prefix}{name}": value for name, value in settings.items()}

    async def fill(database: Database) -> None:
        for number in range(PEOPLE):
            email = f"{number}@example.org"
            if service == "gateway":
                who = open_people(database, database, built_in(), held, [KEY.encode()], clock, entropy)
                await who.records.keep([(("acct_1", False, f"cus_{number}"), {"email": email, "name": "Ada"})])
            else:
                customers = open_customers(database, database, None, held, [KEY.encode()], clock, entropy)
                await customers.people.keep("mer_1", Person(email=email, name="Ada"))
        assert await Factors(database, held, entropy).propose("ada") is not None

    asyncio.run(_over(dsn, fill))
    return place


def test_rewrap_brings_people_and_second_factors_to_the_newest_version(place: Place) -> None:
    assert place.wrapped() == {"local:v1"}
    assert add_key_version(place.file, SystemEntropy()) == 2
    done = place.run("rewrap", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"people": PEOPLE, "second_factors": 1, "refused": 0})
    assert place.wrapped() == {"local:v2"}
    again = place.run("rewrap")
    assert again.exit_code == 0
    assert "0 people and 1 second factors are wrapped by the newest key." in again.stdout
    assert place.found(KEY) == PEOPLE


DAMAGED = "local:v1:" + "A" * 80


@pytest.mark.parametrize("damaged", [DAMAGED, "no wrapped key"])
def test_what_cannot_be_rewrapped_is_counted_and_the_rest_is_done(place: Place, damaged: str) -> None:
    add_key_version(place.file, SystemEntropy())
    with psycopg.connect(place.dsn) as connection:
        connection.execute("UPDATE operator_second_factor SET wrapped = %s", (DAMAGED,))
        first = "(SELECT min(customer_id) FROM pii.subject_key)"
        connection.execute(f"UPDATE pii.subject_key SET wrapped_by = %s WHERE customer_id = {first}", (damaged,))
    done = place.run("rewrap", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (1, {"people": PEOPLE - 1, "second_factors": 0, "refused": 2})
    told = place.run("rewrap")
    assert told.exit_code == 1
    assert "2 could not be: damaged, or wrapped by a key that is gone" in told.stdout
    assert place.wrapped() == {"local:v1", "local:v2", *({damaged} - {DAMAGED})}


def test_reindex_makes_the_key_before_superfluous(place: Place) -> None:
    assert place.found(KEY) == PEOPLE
    done = place.run("reindex", "--json", pii_index_key=NEWER, pii_index_key_before=KEY)
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"people": PEOPLE, "unreadable": 0})
    assert place.found(NEWER) == PEOPLE
    told = place.run("reindex", pii_index_key=NEWER)
    assert told.exit_code == 0
    assert f"{PEOPLE} people are found by the newest key." in told.stdout
    with psycopg.connect(place.dsn) as connection:
        [noted] = connection.execute("SELECT count(*) FROM pii.access WHERE purpose = 'reindex'").fetchall()
    assert noted == (2 * PEOPLE,), "it opened what is known of everybody, and that is noted"


def test_who_cannot_be_opened_keeps_the_hashes_of_before(place: Place) -> None:
    with psycopg.connect(place.dsn) as connection:
        first = "(SELECT min(customer_id) FROM pii.subject_key)"
        connection.execute(f"UPDATE pii.subject_key SET wrapped_by = 'local:v1:{'A' * 80}' WHERE customer_id = {first}")
    done = place.run("reindex", "--json", pii_index_key=NEWER, pii_index_key_before=KEY)
    assert (done.exit_code, json.loads(done.stdout)) == (1, {"people": PEOPLE - 1, "unreadable": 1})
    told = place.run("reindex", pii_index_key=NEWER, pii_index_key_before=KEY)
    assert "1 could not be opened. They are found by the key before as long as it is set." in told.stdout


def test_the_key_file_is_needed_no_more_after_the_move_to_vaults_transit(place: Place, openbao: Any) -> None:
    """A real server: while both are set both open, `rewrap` moves everybody, and then transit alone opens them."""
    key = f"people-of-{place.service}"
    openbao.ask("POST", f"transit/keys/{key}", {})
    may = (f"update transit/{act}/{key}" for act in ("encrypt", "decrypt", "rewrap"))
    openbao.policy(key, *may, f"read transit/keys/{key}")
    vault = {"vault_url": openbao.url, "vault_login": "token", "vault_token": openbao.token(key, ttl="1h")}
    vault["vault_transit_key"] = key
    moving = place.run("rewrap", "--json", wraps_with="vault", **vault)
    assert (moving.exit_code, json.loads(moving.stdout)) == (0, {"people": PEOPLE, "second_factors": 1, "refused": 0})
    assert place.wrapped() == {"vault:v1"}
    openbao.ask("POST", f"transit/keys/{key}/rotate")
    place.file.unlink()
    alone = place.run("rewrap", "--json", pii_key_file="", **vault)
    assert (alone.exit_code, json.loads(alone.stdout)) == (0, {"people": PEOPLE, "second_factors": 1, "refused": 0})
    assert place.wrapped() == {"vault:v2"}
    opened = place.run("reindex", "--json", pii_key_file="", pii_index_key=NEWER, pii_index_key_before=KEY, **vault)
    assert (opened.exit_code, json.loads(opened.stdout)) == (0, {"people": PEOPLE, "unreadable": 0})
