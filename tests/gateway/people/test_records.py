"""Who an account's customers are: sealed for each, read through the policy, noted, and forgotten. RULES §12."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from tallystick.gateway.customers.commands import Customers
from tallystick.gateway.customers.parameters import CreateCustomer, UpdateCustomer
from tallystick.gateway.people.records import Gone, Records
from tallystick.gateway.people.tables import REINDEXED, REWRAPPED, TABLES, UNFINISHED, of_account
from tallystick.gateway.stripe_wire.call import Caller, Reply
from tallystick.gateway.stripe_wire.errors import InvalidRequest
from tallystick.gateway.stripe_wire.parameters import Parameters
from tallystick.gateway.stripe_wire.people import People
from tallystick.kernel.people.access import AccessDenied, Asker
from tallystick.kernel.people.keys import KeysUnavailable
from tallystick.kernel.people.opening import built_in
from tallystick.kernel.people.reindexing import Reindexing
from tallystick.kernel.people.rewrapping import Rewrapping
from tallystick.kernel.people.sweeping import Sweeping
from tallystick.ports.key_encryption import HeldKeyEncryption
from tallystick.ports.policy import Ruling

WHO = {"email": "Ada.Lovelace@shop.example", "name": "Ada Lovelace", "phone": "+44 20 7946 0000"}
KEYS = {1: bytes(32)}


class Desk:
    """An account that keeps customers."""

    def __init__(self, core: Any) -> None:
        self.core = core
        self.records: Records = core.records
        self.customers = Customers(core.database, core.idempotency, core.records, None, core.clock, core.entropy)

    async def create(self, claim: Any = None, **sent: Any) -> dict[str, Any]:
        [answer] = await self.customers.create([(self.core.call(claim), CreateCustomer(**sent))])
        return shown(answer)

    async def update(self, id: str, claim: Any = None, **sent: Any) -> dict[str, Any]:
        [answer] = await self.customers.update([(self.core.call(claim), id, UpdateCustomer(**sent))])
        return shown(answer)

    async def delete(self, id: str) -> dict[str, Any]:
        [answer] = await self.customers.delete([(self.core.call(), id, Parameters())])
        return shown(answer)

    async def read(self, id: str) -> dict[str, Any]:
        key = (self.core.account_id, False, id)
        found: dict[str, Any] = (await self.core.reading.find(self.core.database, "customer", [key]))[key]
        return found

    async def find(self, email: str) -> list[str]:
        return await self.records.find(self.core.account_id, email, livemode=False)

    async def log(self) -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = await self.core.rows("SELECT * FROM pii.access ORDER BY at, access_id")
        return lines

    async def dump(self) -> str:
        """All that the database holds of anybody, as text."""
        tables = ("pii.customer", "pii.customer_detail", "pii.subject_key", "pii.lookup", "pii.access", "customer")
        rows = [await self.core.rows(f"SELECT t::text AS line FROM {table} t") for table in tables]
        kept = "SELECT encode(body, 'escape') AS line FROM idempotency_key WHERE body IS NOT NULL"
        rows.append(await self.core.rows(kept))
        return "\n".join(row["line"] for each in rows for row in each)


def shown(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, Reply):
        raise answer
    decoded: dict[str, Any] = msgspec.json.decode(answer.body)
    return decoded


@pytest.fixture
def desk(core: Any) -> Desk:
    return Desk(core)


async def test_what_is_stored_of_a_person_opens_with_their_key_alone(desk: Desk) -> None:
    made = await desk.create(await desk.core.claim("k"), **WHO, description="of the first shop")
    assert {field: made[field] for field in WHO} == WHO
    assert {field: (await desk.read(made["id"]))[field] for field in WHO} == WHO
    dump = await desk.dump()
    for word in ("Lovelace", "lovelace", "7946", "shop.example"):
        assert word not in dump
    assert "of the first shop" in dump


async def test_an_account_reads_for_its_records_and_the_log_says_so(desk: Desk) -> None:
    made = await desk.create(**WHO)
    assert await desk.log() == [], "who stores has looked at nobody"
    await desk.read(made["id"])
    [line] = await desk.log()
    assert (line["subject_kind"], line["subject_name"], line["subject_role"]) == (
        "service",
        desk.core.account_id,
        "account",
    )
    assert (line["action"], line["purpose"], line["customer_id"], line["reason"]) == (
        "read",
        "customer_record",
        made["id"],
        "",
    )
    assert msgspec.json.decode(line["granted"]) == ["email", "name", "phone"]


class Stricter:
    """A policy that grants names alone."""

    async def rule(self, question: Any) -> Ruling:
        return Ruling(True) if tuple(question["fields"]) == ("name",) else Ruling(False, "policy")


async def test_what_the_policy_does_not_grant_is_null_and_noted(desk: Desk) -> None:
    made = await desk.create(**WHO)
    core, held = desk.core, HeldKeyEncryption(lambda: KEYS)
    records = Records(core.database, Stricter(), held, [b"i" * 32], core.clock, core.entropy)
    key = (core.account_id, False, made["id"])
    assert await records.read([key]) == {key: {"email": None, "name": WHO["name"], "phone": None}}
    with pytest.raises(AccessDenied):
        await records.find(core.account_id, WHO["email"], livemode=False)
    with pytest.raises(AccessDenied):
        await records.forget([key])
    assert [(line["action"], line["granted"], line["reason"]) for line in await desk.log()] == [
        ("read", '["name"]', ""),
        ("search", "[]", "policy"),
        ("erase", "[]", "policy"),
    ]
    assert {field: (await desk.read(made["id"]))[field] for field in WHO} == WHO, "nothing was erased"


async def test_customers_are_found_by_an_email_however_it_is_written_and_by_no_other(desk: Desk) -> None:
    one = await desk.create(**WHO)
    other = await desk.create(email="ada.lovelace@shop.example ")
    await desk.create(email="someone@shop.example")
    assert await desk.find("ADA.lovelace@shop.example") == [other["id"], one["id"]]
    await desk.update(one["id"], email="new@shop.example")
    assert await desk.find(WHO["email"]) == [other["id"]]
    assert await desk.find("new@shop.example") == [one["id"]]
    await desk.update(one["id"], email="")
    assert await desk.find("new@shop.example") == []


async def test_an_update_changes_what_it_names_and_shows_the_whole(desk: Desk) -> None:
    made = await desk.create(**WHO)
    changed = await desk.update(made["id"], phone="", description="regular")
    assert (changed["email"], changed["name"], changed["phone"]) == (WHO["email"], WHO["name"], None)
    assert (await desk.read(made["id"]))["phone"] is None
    nobody = await desk.create(description="nobody yet")
    assert (await desk.update(nobody["id"], name="Grace Hopper"))["name"] == "Grace Hopper"
    assert (await desk.read(nobody["id"]))["name"] == "Grace Hopper"


async def test_whoever_is_deleted_leaves_no_key_no_hash_and_no_replay(desk: Desk) -> None:
    made = await desk.create(await desk.core.claim("k"), **WHO)
    [kept] = await desk.core.rows("SELECT body FROM idempotency_key WHERE key = 'k'")
    caller = Caller(desk.core.account_id, False)
    people = People(desk.records, desk.core.reading, desk.core.database)
    assert msgspec.json.decode((await people.replayed(caller, Reply(200, kept["body"]))).body) == made
    await desk.delete(made["id"])
    for table in ("pii.customer", "pii.subject_key", "pii.lookup"):
        assert await desk.core.rows(f"SELECT 1 FROM {table}") == []
    with pytest.raises(Gone):
        await desk.records.replayed(desk.core.account_id, kept["body"], livemode=False)
    with pytest.raises(InvalidRequest):
        await people.replayed(caller, Reply(200, kept["body"]))
    assert [line["action"] for line in await desk.log()] == ["erase"]
    with pytest.raises(InvalidRequest):
        await desk.update(made["id"], name="once more")
    assert await desk.core.rows("SELECT 1 FROM pii.customer") == []


async def test_without_keys_a_customer_is_stored_who_has_no_name_and_no_other(desk: Desk) -> None:
    core = desk.core
    core.records = Records(core.database, built_in(), None, [], core.clock, core.entropy)
    keyless = Desk(core)
    assert (await keyless.create(description="nobody"))["name"] is None
    with pytest.raises(KeysUnavailable):
        await keyless.create(**WHO)


async def test_what_another_account_or_mode_has_does_not_open(desk: Desk) -> None:
    made = await desk.create(**WHO)
    for column, value in (("livemode", "true"), ("account_id", "'acct_other'")):
        await desk.core.rows(
            f"WITH c AS (UPDATE pii.customer SET {column} = {value} RETURNING 1), "
            f"k AS (UPDATE pii.subject_key SET {column} = {value} RETURNING 1) SELECT * FROM c, k"
        )
    key = ("acct_other", True, made["id"])
    assert set((await desk.records.read([key]))[key].values()) == {None}


# What the version before left


async def in_the_clear(desk: Desk, id: str) -> None:
    values = f"'{desk.core.account_id}', false, '{id}', '{WHO['email']}', '{WHO['name']}'"
    await desk.core.rows(
        "WITH d AS (INSERT INTO pii.customer_detail (account_id, livemode, customer, email, name) "
        f"VALUES ({values}) RETURNING 1) SELECT * FROM d"
    )


async def test_what_the_version_before_wrote_is_read_sealed_and_found(desk: Desk) -> None:
    id = (await desk.create())["id"]
    await in_the_clear(desk, id)
    assert (await desk.read(id))["name"] == WHO["name"]
    assert await desk.records.carrying.run_once() == 1
    assert await desk.records.carrying.run_once() == 0
    assert await desk.core.rows("SELECT 1 FROM pii.customer_detail") == []
    assert (await desk.read(id))["name"] == WHO["name"]
    assert await desk.find(WHO["email"]) == [id]
    assert "Lovelace" not in await desk.dump()


async def test_who_is_still_in_the_clear_is_changed_and_deleted_as_others_are(desk: Desk) -> None:
    changed, deleted = (await desk.create())["id"], (await desk.create())["id"]
    await in_the_clear(desk, changed)
    await in_the_clear(desk, deleted)
    after = await desk.update(changed, name="Ada King")
    assert (after["email"], after["name"]) == (WHO["email"], "Ada King")
    await desk.delete(deleted)
    assert await desk.core.rows("SELECT 1 FROM pii.customer_detail") == []
    assert (await desk.read(changed))["email"] == WHO["email"]


# A crash between the two commits


@pytest.fixture
def sweeping(desk: Desk) -> Sweeping:
    database = desk.core.database
    return Sweeping(database, TABLES, UNFINISHED, desk.records.access, database, desk.core.clock)


async def test_a_person_whose_customer_did_not_come_to_be_is_erased_and_others_stay(
    desk: Desk, sweeping: Sweeping
) -> None:
    there = (await desk.create(**WHO))["id"]
    await desk.records.keep([((desk.core.account_id, False, "cus_lost"), WHO)])
    assert await sweeping.sweep() == 0, "not before its call can have ended"
    desk.core.clock.ahead += timedelta(hours=2)
    assert await sweeping.sweep() == 2
    assert await sweeping.sweep() == 0
    assert [row["customer_id"] for row in await desk.core.rows("SELECT customer_id FROM pii.customer")] == [there]
    assert [row["customer_id"] for row in await desk.core.rows("SELECT customer_id FROM pii.subject_key")] == [there]
    [line] = await desk.log()
    assert (line["subject_role"], line["action"], line["customer_id"]) == ("sweeper", "erase", "cus_lost")


async def test_the_access_log_is_read_by_an_auditor(desk: Desk) -> None:
    made = await desk.create(**WHO)
    await desk.read(made["id"])
    owner = of_account(desk.core.account_id, livemode=False)
    lines = await desk.records.access.log(Asker("operator", "aud", "auditor"), "audit", owner, made["id"], limit=10)
    assert [(line.action, line.decision) for line in lines] == [("read", "granted")]


# Other keys


async def test_peoples_keys_are_rewrapped_and_open_without_the_old_version(desk: Desk) -> None:
    core = desk.core
    ids = [(await desk.create(**WHO))["id"] for _ in range(3)]
    core.keys[2] = bytes([2] * 32)
    held = HeldKeyEncryption(lambda: core.keys)
    rewrapping = Rewrapping(core.database, TABLES, REWRAPPED, held)
    step = await rewrapping.step(rewrapping.beginning, 2)
    assert (step.rewrapped, step.refused) == (2, 0)
    assert step.after is not None
    step = await rewrapping.step(step.after, 2)
    assert (step.rewrapped, step.refused) == (1, 0)
    assert (await rewrapping.step(rewrapping.beginning, 9)).rewrapped == 0, "nothing is done twice"
    del core.keys[1]
    fresh = Records(core.database, built_in(), held, [b"i" * 32], core.clock, core.entropy)
    found = await fresh.read([(core.account_id, False, id) for id in ids])
    assert {details["name"] for details in found.values()} == {WHO["name"]}


async def test_two_search_keys_find_and_reindexed_the_newer_one_does_alone(desk: Desk) -> None:
    core, held = desk.core, HeldKeyEncryption(lambda: desk.core.keys)
    one, two = (await desk.create(**WHO))["id"], (await desk.create(email="someone@shop.example"))["id"]
    newer = b"j" * 32

    def with_keys(*keys: bytes) -> Records:
        return Records(core.database, built_in(), held, keys, core.clock, core.entropy)

    async def finds(records: Records, email: str) -> list[str]:
        return await records.find(core.account_id, email, livemode=False)

    assert await finds(with_keys(newer), WHO["email"]) == []
    both = with_keys(newer, b"i" * 32)
    assert await finds(both, WHO["email"]) == [one]
    reindexing = Reindexing(core.database, TABLES, REINDEXED, both.access, newer)
    step = await reindexing.step(reindexing.beginning)
    assert (step.reindexed, step.unreadable) == (2, 0)
    assert await finds(with_keys(newer), WHO["email"]) == [one]
    assert await finds(with_keys(newer), "someone@shop.example") == [two]
    assert await finds(with_keys(b"i" * 32), WHO["email"]) == [], "nothing is left of the key before"
    assert [line["subject_role"] for line in await desk.log() if line["action"] == "read"] == ["reindexer"] * 2
