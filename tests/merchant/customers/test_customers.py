"""Customers over real HTTP: stored sealed, read for a purpose, found by e-mail and phone, erased; all of it logged."""

import asyncio
import logging
from typing import Any

import pytest

from tallystick.kernel.idempotency import fingerprint, fingerprints
from tallystick.kernel.operators.keys import create_key
from tallystick.kernel.operators.roles import Role
from tallystick.kernel.people import operating as people_operating
from tallystick.merchant.customers import operating
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Statement
from tallystick.ports.entropy import SystemEntropy

ADA = {
    "email": "ada@example.org",
    "name": "Ada Lovelace",
    "phone": "+44 20 7946 0000",
    "address": {"line1": "12 St James's Square", "city": "London", "country": "GB", "postal_code": "SW1Y 4JH"},
}
SECRETS = ("ada@", "lovelace", "7946", "79460000", "james", "london", "sw1y")
EVERYTHING = "email,name,phone,address"


@pytest.fixture
def database(stage: Any) -> Any:
    return stage.database


async def keep(stage: Any, **fields: Any) -> str:
    status, kept = await stage.post("/v1/customers", fields or ADA)
    assert status == 201, kept
    return str(kept["id"])


async def delete(stage: Any, path: str) -> int:
    async with stage.client.delete(f"{stage.url}{path}", headers=stage.headers()) as answer:
        return int(answer.status)


async def log_of(database: Any) -> list[dict[str, Any]]:
    """The access log, the oldest first."""
    return [dict(row) for row in await database.rows(Statement("x", "SELECT * FROM pii.access ORDER BY at, access_id"))]


async def dump(database: Any) -> str:
    """Every row of every table of ours, as text; bytes as hex and as what they would spell."""
    tables = await database.rows(
        Statement(
            "x",
            "SELECT oid::regclass::text AS name FROM pg_class WHERE relkind = 'r' AND relnamespace NOT IN"
            " ('pg_catalog'::regnamespace, 'information_schema'::regnamespace, 'pg_toast'::regnamespace) ORDER BY 1",
        )
    )
    rows: list[str] = []
    for table in tables:
        found = await database.rows(Statement("x", f"SELECT t::text AS row FROM {table['name']} t"))
        rows += [row["row"] for row in found]
    return "\n".join(rows)


def hits(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text.lower() or secret.encode().hex() in text.lower()]


async def test_what_is_stored_is_read_for_a_purpose_and_nothing_else_is_told(stage: Any) -> None:
    customer = await keep(stage)
    status, shown = await stage.get(f"/v1/customers/{customer}?purpose=data_request&fields={EVERYTHING}")
    assert (status, {name: shown[name] for name in ADA}) == (200, ADA)
    status, shown = await stage.get(f"/v1/customers/{customer}?purpose=support&fields=name")
    assert (status, set(shown), shown["name"]) == (200, {"id", "created_at", "name"}, "Ada Lovelace")


async def test_without_fields_each_that_is_granted_is_told(stage: Any) -> None:
    customer = await keep(stage)
    status, shown = await stage.get(f"/v1/customers/{customer}?purpose=delivery")
    assert (status, set(shown)) == (200, {"id", "created_at", "name", "phone", "address"})
    [entry] = [entry for entry in await log_of(stage.database) if entry["action"] == "read"]
    assert entry["granted"] == '["name", "phone", "address"]'


@pytest.mark.parametrize(
    "asked",
    [
        "",
        "?fields=name",
        "?purpose=&fields=name",
        "?purpose=curiosity&fields=name",
        "?purpose=support&fields=name,address",
        f"?purpose=delivery&fields={EVERYTHING}",
        "?purpose=audit",
        "?purpose=checkout&fields=email",
    ],
)
async def test_what_is_not_granted_is_denied_and_logged(stage: Any, asked: str) -> None:
    """No purpose, a purpose that there is not, too many fields, another service's purpose."""
    customer = await keep(stage)
    before = len(await log_of(stage.database))
    status, problem = await stage.get(f"/v1/customers/{customer}{asked}")
    assert (status, problem["code"]) == (403, "access_denied")
    assert hits(str(problem)) == []
    [entry] = (await log_of(stage.database))[before:]
    assert (entry["subject_kind"], entry["subject_name"], entry["subject_role"]) == (
        "service",
        stage.merchant_id,
        "shop",
    )
    assert (entry["action"], entry["customer_id"], entry["granted"], entry["reason"]) == (
        "read",
        customer,
        "[]",
        "policy",
    )


async def test_a_service_that_has_no_business_with_it_is_denied_and_logged(stage: Any) -> None:
    """By the one function, as whoever writes the next service would call it."""
    from tallystick.kernel.people.access import AccessDenied, Asker
    from tallystick.merchant.customers.tables import of_merchant
    from tallystick.merchant.customers.wiring import open_customers

    customer = await keep(stage)
    customers = open_customers(
        stage.database,
        stage.database,
        None,
        stage.key_encryption,
        [b"an index key of no value, for tests alone"],
        SystemClock(),
        SystemEntropy(),
    )
    for role in ("reconciliation", "notifications", "checkout", ""):
        with pytest.raises(AccessDenied):
            await customers.access.read(
                Asker("service", "worker", role), "support", of_merchant(stage.merchant_id), customer, ["name"]
            )
        entry = (await log_of(stage.database))[-1]
        assert (entry["subject_role"], entry["purpose"], entry["fields"], entry["granted"]) == (
            role,
            "support",
            '["name"]',
            "[]",
        )


async def test_customers_are_found_by_e_mail_and_phone_however_written(stage: Any) -> None:
    customer = await keep(stage)
    await keep(stage, email="grace@example.org")
    for known_by in ({"email": " ADA@example.ORG ".strip()}, {"phone": "0044 (20) 79460000"}):
        status, page = await stage.post("/v1/customers/search", {**known_by, "purpose": "support"})
        assert (status, [one["id"] for one in page["data"]]) == (200, [customer])
        entry = (await log_of(stage.database))[-1]
        assert (entry["action"], entry["customer_id"], entry["reason"]) == ("search", customer, "")
    status, page = await stage.post("/v1/customers/search", {"email": "nobody@example.org", "purpose": "support"})
    assert (status, page["data"]) == (200, [])
    entry = (await log_of(stage.database))[-1]
    assert (entry["action"], entry["customer_id"], entry["fields"]) == ("search", None, '["email"]')


async def test_a_search_without_a_purpose_is_denied_and_logged(stage: Any) -> None:
    await keep(stage)
    status, problem = await stage.post("/v1/customers/search", {"email": ADA["email"]})
    assert (status, problem["code"]) == (403, "access_denied")
    entry = (await log_of(stage.database))[-1]
    assert (entry["action"], entry["granted"], entry["reason"]) == ("search", "[]", "policy")


async def test_who_says_the_same_again_is_the_same_customer(stage: Any) -> None:
    customer = await keep(stage)
    again = {**ADA, "email": "ADA@EXAMPLE.ORG", "phone": "0044-20-79460000"}
    assert await stage.post("/v1/customers", again) == (200, {"id": customer})
    other = await keep(stage, **{**ADA, "name": "Byron"})
    assert other != customer
    _, page = await stage.post("/v1/customers/search", {"email": ADA["email"], "purpose": "support"})
    assert [one["id"] for one in page["data"]] == [other, customer]


async def test_orders_of_one_shopper_have_one_customer(stage: Any) -> None:
    who = {"email": "ada@example.org", "name": "Ada"}
    placed = await asyncio.gather(*(stage.place(customer=who) for _ in range(20)))
    assert {status for status, _ in placed} == {201}
    [customer] = {order["customer"] for _, order in placed}
    _, other = await stage.place(customer={**who, "name": "Byron"})
    assert other["customer"] != customer
    _, by_name = await stage.place(customer={"name": "Ada"})
    _, by_name_again = await stage.place(customer={"name": "Ada"})
    assert len({by_name["customer"], by_name_again["customer"], customer}) == 3, "a name is nobody's alone"
    searches = [entry for entry in await log_of(stage.database) if entry["subject_role"] == "checkout"]
    assert len(searches) == 21
    assert {entry["purpose"] for entry in searches} == {"checkout"}


async def test_of_two_processes_that_store_a_shopper_at_once_one_does(stage: Any, merchant_dsn: str) -> None:
    """Each with pools and batches of its own."""
    from tallystick.kernel.people.person import Person
    from tallystick.merchant.customers.wiring import open_customers
    from tallystick.ports.asyncpg_database import open_database

    databases = [await open_database(merchant_dsn) for _ in range(4)]
    index_key = [b"an index key of no value, for tests alone"]
    several = [
        open_customers(one, one, None, stage.key_encryption, index_key, SystemClock(), SystemEntropy())
        for one in databases
    ]
    for number in range(10):
        person = Person(email=f"shopper{number}@example.org")
        others = Person(email=f"other{number}@example.org")
        kept = await asyncio.gather(
            *(
                one.people.keep(stage.merchant_id, each)
                for one in several
                for each in ((person, others), (others, person))[several.index(one) % 2]
            )
        )
        assert len({one.customer_id for one in kept}) == 2
        assert sum(not one.known for one in kept) == 2
    for database in databases:
        await database.close()


async def test_erasure_shreds_the_key_and_leaves_what_was_paid(stage: Any) -> None:
    _, order = await stage.place(customer={"email": "ada@example.org", "name": "Ada"})
    customer = order["customer"]
    await stage.pay(order)
    assert await delete(stage, f"/v1/customers/{customer}") == 403
    assert await delete(stage, f"/v1/customers/{customer}?purpose=support") == 403
    assert (await stage.get(f"/v1/customers/{customer}?purpose=support"))[0] == 200
    assert await delete(stage, f"/v1/customers/{customer}?purpose=data_request") == 200
    assert await delete(stage, f"/v1/customers/{customer}?purpose=data_request") == 404
    assert (await stage.get(f"/v1/customers/{customer}?purpose=support"))[0] == 404
    _, page = await stage.post("/v1/customers/search", {"email": "ada@example.org", "purpose": "support"})
    assert page["data"] == []
    for table in ("pii.subject_key", "pii.lookup", "pii.customer"):
        [left] = await stage.database.rows(Statement("x", f"SELECT count(*) AS rows FROM {table}"))
        assert left["rows"] == 0, table
    order = await stage.order(order["id"])
    assert (order["state"], order["amount"], order["customer"]) == ("PAID", 2500, customer)
    assert [entry["reason"] for entry in await log_of(stage.database) if entry["action"] == "erase"] == [
        "policy",
        "policy",
        "",
        "",
    ]
    _, again = await stage.place(customer={"email": "ada@example.org", "name": "Ada"})
    assert again["customer"] != customer, "who comes back is new"


async def test_sealed_fields_without_their_key_are_lost(stage: Any) -> None:
    """What a backup of the sealed fields is worth once the key is shredded."""
    customer = await keep(stage)
    await stage.database.execute(Statement("x", "DELETE FROM pii.subject_key WHERE customer_id = $1::text"), customer)
    status, problem = await stage.get(f"/v1/customers/{customer}?purpose=support")
    assert (status, problem["code"]) == (500, "personal_data_unreadable")
    assert hits(str(problem)) == []


async def test_another_merchants_customers_are_not_there(stage: Any) -> None:
    from tallystick.merchant.accounts.commands import create_merchant

    customer = await keep(stage)
    mine, other = (
        stage.api_key,
        await create_merchant(stage.database, SystemClock(), SystemEntropy(), name="Others", return_origins=[]),
    )
    stage.api_key = other.api_key
    assert (await stage.get(f"/v1/customers/{customer}?purpose=support"))[0] == 404
    assert await delete(stage, f"/v1/customers/{customer}?purpose=data_request") == 404
    _, page = await stage.post("/v1/customers/search", {"email": ADA["email"], "purpose": "support"})
    assert page["data"] == []
    assert (await stage.get("/v1/customers"))[1]["data"] == []
    stage.api_key = mine
    assert (await stage.get(f"/v1/customers/{customer}?purpose=support"))[0] == 200


async def test_customers_are_listed_by_id_alone(stage: Any) -> None:
    ids = [await keep(stage, email=f"a{number}@example.org") for number in range(3)]
    _, first = await stage.get("/v1/customers?limit=2")
    _, second = await stage.get(f"/v1/customers?limit=2&cursor={first['next_cursor']}")
    assert [one["id"] for one in first["data"] + second["data"]] == sorted(ids, reverse=True)
    assert all(set(one) == {"id", "created_at"} for one in first["data"])


@pytest.mark.parametrize(
    ("path", "fields", "where"),
    [
        ("/v1/customers", {"name": "Ada"}, "email"),
        ("/v1/customers", {"email": "nobody"}, "email"),
        ("/v1/customers", {"email": "a@b.example\n"}, "email"),
        ("/v1/customers", {"phone": "call me"}, "phone"),
        ("/v1/customers", {"email": "a@b.example", "address": {"line1": "1"}}, "address"),
        ("/v1/customers", {"email": "a@b.example", "nickname": "A"}, "body"),
        ("/v1/customers/search", {}, "email"),
        ("/v1/customers/search", {"email": "a@b.example", "phone": "+44 1234"}, "email"),
        ("/v1/customers/search", {"email": "a@b.example", "purpose": "Ada said so"}, "purpose"),
    ],
)
async def test_what_cannot_be_is_refused_without_repeating_it(
    stage: Any, path: str, fields: dict[str, Any], where: str
) -> None:
    status, problem = await stage.post(path, fields)
    assert (status, problem["errors"][0]["field"]) == (422, where)
    assert "nobody" not in str(problem)
    assert "call me" not in str(problem)


async def test_what_cannot_be_a_customers_id_is_not_even_logged(stage: Any) -> None:
    before = len(await log_of(stage.database))
    for path in ("ada@example.org", "cus_1", "cus_" + "0" * 24 + "%0A"):
        assert (await stage.get(f"/v1/customers/{path}?purpose=support"))[0] == 404
    assert len(await log_of(stage.database)) == before


async def test_without_a_key_orders_with_a_customer_wait_and_the_others_go_on(stage: Any) -> None:
    """RULES §14, Vault sealed: fails closed, and the same call succeeds once it is there."""
    stage.key_encryption.away = True
    status, problem = await stage.place(key="one", customer={"email": "ada@example.org"})
    assert (status, problem["code"]) == (503, "personal_data_unavailable")
    assert (await stage.place())[0] == 201
    stage.key_encryption.away = False
    assert (await stage.place(key="one", customer={"email": "ada@example.org"}))[0] == 201
    stage.key_encryption.away = True
    assert (await stage.place(customer={"email": "grace@example.org"}))[0] == 201, "sealed while payments flow"


async def test_no_personal_datum_is_in_a_row_a_log_or_an_answer(stage: Any, caplog: pytest.LogCaptureFixture) -> None:
    """In the clear and as hex, over all tables of the merchant's database."""
    caplog.set_level(logging.DEBUG)
    customer = await keep(stage)
    _, order = await stage.place(customer={"email": ADA["email"], "name": ADA["name"]})
    await stage.pay(order)
    told = [
        str(await stage.get(path)) for path in ("/v1/orders", "/v1/customers", f"/v1/orders/{order['id']}/timeline")
    ]
    await stage.get(f"/v1/customers/{customer}?purpose=data_request&fields={EVERYTHING}")
    await stage.post("/v1/customers/search", {"email": ADA["email"], "purpose": "support"})
    stage.key_encryption.away = True
    told.append(str(await stage.get(f"/v1/customers/{customer}?purpose=nothing")))
    await stage.database.execute(Statement("x", "ALTER TABLE pii.lookup RENAME TO lookups"))
    told.append(str(await stage.place(customer={"email": ADA["email"], "name": ADA["name"]})))
    told.append(str(await stage.post("/v1/customers/search", {"email": ADA["email"], "purpose": "support"})))
    assert "500" in told[-1], "something broke in the middle of it"
    await stage.database.execute(Statement("x", "ALTER TABLE pii.lookups RENAME TO lookup"))
    assert hits(await dump(stage.database)) == []
    assert hits("\n".join(told)) == []
    assert hits(caplog.text) == []


# --- operators ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def operator_key(stage: Any) -> str:
    made = await create_key(stage.database, "ann", role=Role.ADMIN, at=SystemClock().now(), entropy=SystemEntropy())
    return made.key


async def as_operator(stage: Any, key: str, method: str, path: str, **more: Any) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {key}"}
    url = f"{stage.url}/operator/v1/merchants/{stage.merchant_id}{path}"
    async with stage.client.request(method, url, headers=headers, **more) as answer:
        return answer.status, await answer.json(content_type=None)


def in_the_role(monkeypatch: pytest.MonkeyPatch, role: str) -> None:
    from tallystick.kernel.people.access import Asker

    for room in (operating, people_operating):
        monkeypatch.setattr(room, "asker_of", lambda request: Asker("operator", request.auth.name, role))


@pytest.mark.parametrize(
    ("role", "asked", "status"),
    [
        ("support", "purpose=support&fields=name,email", 200),
        ("support", "purpose=support&fields=address", 403),
        ("support", "purpose=delivery&fields=name", 403),
        ("support", "fields=name", 403),
        ("finance", "purpose=invoice&fields=name,address", 200),
        ("fulfilment", "purpose=delivery&fields=name,address,phone", 200),
        ("fulfilment", "purpose=delivery&fields=email", 403),
        ("auditor", "purpose=audit&fields=name", 403),
        ("admin", f"purpose=data_request&fields={EVERYTHING}", 200),
        ("", "purpose=support&fields=name", 403),
    ],
)
async def test_an_operators_role_decides(
    stage: Any, operator_key: str, monkeypatch: pytest.MonkeyPatch, role: str, asked: str, status: int
) -> None:
    customer = await keep(stage)
    in_the_role(monkeypatch, role)
    answered, told = await as_operator(stage, operator_key, "GET", f"/customers/{customer}?{asked}")
    assert answered == status, told
    entry = (await log_of(stage.database))[-1]
    assert (entry["subject_kind"], entry["subject_name"], entry["subject_role"]) == ("operator", "ann", role)
    assert (entry["reason"] == "") == (status == 200)


async def test_operators_search_erase_and_see_who_looked(
    stage: Any, operator_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = await keep(stage)
    in_the_role(monkeypatch, "admin")
    status, page = await as_operator(
        stage, operator_key, "POST", "/customers/search", json={"email": ADA["email"], "purpose": "data_request"}
    )
    assert (status, [one["id"] for one in page["data"]]) == (200, [customer])
    status, _ = await as_operator(stage, operator_key, "DELETE", f"/customers/{customer}?purpose=data_request")
    assert status == 200
    status, _ = await as_operator(stage, operator_key, "DELETE", f"/customers/{customer}?purpose=data_request")
    assert status == 404
    in_the_role(monkeypatch, "auditor")
    status, log = await as_operator(stage, operator_key, "GET", f"/accesses?purpose=audit&customer={customer}")
    assert status == 200
    assert [(line["action"], line["decision"], line["subject"]["name"]) for line in log["data"]] == [
        ("erase", "granted", "ann"),
        ("erase", "granted", "ann"),
        ("search", "granted", "ann"),
        ("search", "granted", "checkout"),
    ]
    in_the_role(monkeypatch, "support")
    assert (await as_operator(stage, operator_key, "GET", "/accesses?purpose=audit"))[0] == 403
    in_the_role(monkeypatch, "auditor")
    _, log = await as_operator(stage, operator_key, "GET", "/accesses?purpose=audit&limit=2")
    assert [(line["action"], line["decision"]) for line in log["data"]] == [("audit", "denied"), ("audit", "granted")]
    assert log["next_cursor"]
    assert hits(await dump(stage.database)) == [], "nor does the audit trail say who was searched for"


async def test_an_operators_role_is_what_the_policy_goes_by(stage: Any) -> None:
    customer = await keep(stage)
    answers = {}
    for role in Role:
        made = await create_key(stage.database, role, role=role, at=SystemClock().now(), entropy=SystemEntropy())
        status, _ = await as_operator(stage, made.key, "GET", f"/customers/{customer}?purpose=delivery&fields=phone")
        answers[role] = status
    granted = {Role.FULFILMENT, Role.ADMIN}
    assert answers == {role: 200 if role in granted else 403 for role in Role}


# What is kept of a call that names somebody


async def test_a_calls_fingerprint_does_not_let_its_customer_be_guessed(stage: Any) -> None:
    """Whoever reads the table and knows the rest of an order could try addresses until the hash fits."""
    person = {"email": "grace@example.org", "name": "Grace Hopper"}
    status, first = await stage.place("of grace", customer=person)
    assert status == 201
    fields = {"amount": 2500, "currency": "EUR", "customer": person}
    stored = Statement("x", "SELECT fingerprint FROM idempotency_key WHERE key = 'of grace'")
    [row] = await stage.database.rows(stored)
    assert bytes(row["fingerprint"]) != fingerprint("POST", "/v1/orders", fields)
    assert (await stage.place("of grace", customer=person))[1]["id"] == first["id"]
    assert (await stage.place("of grace", customer={**person, "name": "Another"}))[0] == 422


async def test_a_call_is_the_same_under_another_key_and_as_the_version_before_kept_it(stage: Any) -> None:
    person = {"email": "grace@example.org"}
    fields = {"amount": 2500, "currency": "EUR", "customer": person}
    _, first = await stage.place("k", customer=person)
    as_before = Statement("x", "UPDATE idempotency_key SET fingerprint = $1::bytea WHERE key = 'k'")
    await stage.database.execute(as_before, fingerprint("POST", "/v1/orders", fields))
    assert (await stage.place("k", customer=person))[1]["id"] == first["id"]
    newest, *others = fingerprints("POST", "/v1/orders", fields, [b"new", b"old"])
    assert fingerprint("POST", "/v1/orders", fields, b"old") in others
    assert newest not in others
