"""Every route of the gateway: without login, with the wrong role, with another account's id, it is refused (RULES §12).

The routes are taken from the running gateway itself, so a new one cannot be forgotten: one that is not public must
refuse, and what is public stands here with its reason.
"""

import asyncio
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute
from msgspec import Struct

from tallystick.gateway import app
from tallystick.gateway.access import OPERATORS, SANDBOX
from tallystick.gateway.stripe_wire.routing import Route, Routes
from tallystick.kernel.operators.keys import create_key
from tallystick.kernel.operators.roles import Role
from tallystick.kernel.service import built_anew
from tallystick.ports.asyncpg_database import open_database
from tallystick.ports.clock import SystemClock
from tallystick.ports.entropy import SystemEntropy

PUBLIC = {
    "GET /healthz": "says nothing but that the process lives",
    "GET /readyz": "says nothing but whether the database answers",
    "GET /pay/{session_id}": "whoever knows the session's id is its shopper",
    "POST /pay/{session_id}": "whoever knows the session's id is its shopper",
    "GET /pay/{session_id}/challenge": "whoever knows the session's id is its shopper",
    "GET /pay/{session_id}/authenticated": "whoever knows the session's id is its shopper",
    "GET /embed/{session_id}": "whoever knows the session's id is its shopper",
    "POST /embed/{session_id}": "whoever knows the session's id is its shopper",
    "GET /embed/{session_id}/challenge": "whoever knows the session's id is its shopper",
    "GET /embed/{session_id}/authenticated": "whoever knows the session's id is its shopper",
    "GET /embed/{session_id}/return": "whoever knows the session's id is its shopper",
    "GET /acs/{charge_id}": "the simulated bank, of test mode only",
    "POST /acs/{charge_id}": "the simulated bank, of test mode only",
    "GET /js/v1": "the embed script",
    "GET /console/login": "where one logs in",
    "POST /console/login": "where one logs in",
    "GET /console/{elsewhere}": "there is nothing there",
}
ASSET = re.compile(r"GET (?:/console)?/assets/[a-z]+\.[0-9a-f]{16}\.[a-z]+")

NOUNS = set(
    "payment_intents sessions charges refunds payment_methods events webhook_endpoints disputes balance_transactions "
    "customers payouts report_runs files".split()
)
"""What stands before an id in the wire's routes."""
GROWN = {  # what takes a day, or a bank, to come about: written as it then stands
    "disputes": "INSERT INTO dispute (account_id, livemode, id, version, payment_intent, charge, reference, status,"
    " amount, currency, reason, brand, created_at, evidence_due_at) VALUES (%(account)s, false, 'dp_1', 0, %(intent)s,"
    " %(charge)s, 'r_1', 'lost', 500, 'EUR', 'fraudulent', 'visa', %(at)s, %(at)s) RETURNING id",
    "payouts": "INSERT INTO payout (account_id, livemode, id, currency, day, amount, status, arrival_at, created_at)"
    " VALUES (%(account)s, false, 'po_1', 'EUR', %(day)s, 500, 'paid', %(at)s, %(at)s) RETURNING id",
    "report_runs": "INSERT INTO report_run (account_id, livemode, id, report_type, parameters, currency, columns,"
    " reports, last_day, status, file, size_bytes, manifest, created_at, succeeded_at) VALUES (%(account)s, false,"
    " 'frr_1', 'payout_reconciliation.itemized.5', '{}', 'EUR', '{currency}', '{}', %(day)s, 'succeeded', 'file_1', 8,"
    " '{}', %(at)s, %(at)s) RETURNING id",
    "files": "SELECT file FROM report_run",
}
AT = datetime(2026, 11, 2, tzinfo=UTC)
UNKNOWN_ID = "x_0000000000000000"


class Doors(Struct, frozen=True):
    """A running gateway, its routes, and a key for every role."""

    gateway: Any
    wire: list[Route]
    pages: set[str]
    keys: dict[Role, str]


@pytest.fixture(scope="module")
def doors(gateway_supply: Any, run_gateway_on: Any) -> Iterator[Doors]:
    with gateway_supply.database() as dsn, pytest.MonkeyPatch.context() as patched:
        wire: list[Routes] = []
        applications: list[Litestar] = []

        def noted(routes: list[Route]) -> Routes:
            wire.append(Routes(routes))
            return wire[0]

        def made(application: Litestar, *given: Any, **more: Any) -> None:
            make(application, *given, **more)
            applications.append(application)

        make = Litestar.__init__
        patched.setattr(app, "Routes", noted)
        patched.setattr(Litestar, "__init__", made)
        with run_gateway_on(dsn, sandbox_clock=True, web=built_anew) as gateway:
            pages = {route for application in applications for route in routes_of(application)}
            yield Doors(gateway, list(wire[0]), pages, {role: _key(dsn, role) for role in Role})


def _key(dsn: str, role: Role) -> str:
    async def make() -> str:
        database = await open_database(dsn, connections_max=2)
        try:
            made = await create_key(database, role, role=role, at=SystemClock().now(), entropy=SystemEntropy())
            return made.key
        finally:
            await database.close()

    return asyncio.run(make())


def routes_of(application: Litestar) -> Iterator[str]:
    for route in application.routes:
        assert isinstance(route, HTTPRoute), "only plain routes are known here"
        for method in route.methods - {"OPTIONS"}:
            yield f"{method} {route.path_format}"


def at(route: str, id: str = UNKNOWN_ID) -> tuple[str, str]:
    """Method and path of a route, with an id in place of its parameters."""
    method, _, path = route.partition(" ")
    return method, re.sub(r"\{[^}]+\}", id, path)


JSON = [("Content-Type", "application/json")]
FORM = [("Content-Type", "application/x-www-form-urlencoded")]


def test_there_is_something_to_check(doors: Doors) -> None:
    assert len(doors.wire) > 40
    assert len(doors.pages) > 20
    assert len(OPERATORS) > 15


# The wire


def test_the_wire_refuses_who_has_no_key(doors: Doors, client: Any) -> None:
    for headers in ([], [("Authorization", "Bearer sk_test_0123456789abcdef01234567")], [("Authorization", "Bearer ")]):
        for route in doors.wire:
            answer = client(doors.gateway.url).send(*at(f"{route.method} {route.path}"), b"", [*headers, *FORM])
            assert answer.status == 401, f"{route.method} {route.path}"
            assert answer.error["type"] == "invalid_request_error"


def test_the_wire_refuses_operators_and_publishable_keys(doors: Doors, client: Any) -> None:
    for route in doors.wire:
        sent = *at(f"{route.method} {route.path}"), b"", FORM
        assert client(doors.gateway.url, doors.keys[Role.ADMIN]).send(*sent).status == 401
        if not route.publishable:
            answer = client(doors.gateway.url, doors.gateway.test.publishable_key).send(*sent)
            assert (answer.status, answer.error["code"]) == (403, "secret_key_required")


def test_the_wire_refuses_the_id_of_another_account(doors: Doors, client: Any) -> None:
    """404, as if there were no such object; its owner finds it by the same call."""
    ids = _objects(doors.gateway, client)
    mine = client(doors.gateway.url, doors.gateway.test.secret_key)
    others = client(doors.gateway.url, doors.gateway.other.secret_key)
    calls = []
    for route in doors.wire:
        if "{id}" in route.path:
            id = ids[route.path.split("/{id}")[0].rpartition("/")[2]]
            calls.append(at(f"{route.method} {route.path}", id))
    assert len(calls) > 20
    customers = {who: who.post("/v1/customers", {"description": "Ada"}).json["id"] for who in (mine, others)}

    def status(who: Any, method: str, path: str) -> int:
        body = f"customer={customers[who]}" if path.endswith("/attach") else ""
        told: int = who.send(method, path, body.encode(), FORM).status
        return told

    for call in calls:
        assert status(others, *call) == 404, call
    for call in sorted(calls, key=lambda call: ("GET", "POST", "DELETE").index(call[0])):
        assert status(mine, *call) in ((200,) if call[0] == "GET" else (200, 400)), call


def _objects(gateway: Any, client: Any) -> dict[str, str]:
    """An object of the first account for every noun of the wire, where it can be made at once."""
    mine = client(gateway.url, gateway.test.secret_key)
    paid = {"amount": "500", "currency": "eur", "payment_method": "pm_card_visa", "confirm": "true"}
    intent = mine.post("/v1/payment_intents", paid).json
    assert mine.post("/v1/refunds", {"payment_intent": intent["id"], "amount": "100"}).status == 200
    session = {"mode": "payment", "amount_total": "500", "currency": "eur", "success_url": "https://shop.example/"}
    mine.post("/v1/checkout/sessions", session)
    mine.post("/v1/customers", {"description": "Ada"})
    mine.post("/v1/webhook_endpoints", {"url": "http://127.0.0.1:1/", "enabled_events[]": "*"})
    mine.post("/v1/payment_methods", {"type": "card", "card[token]": "tok_visa"})
    ids = {}
    listed = {"sessions": "/v1/checkout/sessions", "report_runs": "/v1/reporting/report_runs"}
    about = {"account": gateway.account_id, "intent": intent["id"], "charge": intent["latest_charge"]}
    with psycopg.connect(gateway.dsn) as connection:
        for noun, statement in GROWN.items():
            row = connection.execute(statement, {**about, "at": AT, "day": AT.date()}).fetchone()
            assert row is not None
            ids[noun] = row[0]
    for noun in NOUNS - GROWN.keys():
        if noun == "payment_methods":
            ids[noun] = intent["payment_method"]
            continue
        page = mine.get(listed.get(noun, f"/v1/{noun}")).json
        ids[noun] = page["data"][0]["id"]
    return ids


def test_every_noun_of_the_wire_is_known_here(doors: Doors) -> None:
    nouns = {route.path.split("/{id}")[0].rpartition("/")[2] for route in doors.wire if "{id}" in route.path}
    assert nouns == NOUNS


# The operator API


@pytest.mark.parametrize("route", [*OPERATORS, *SANDBOX])
def test_the_operator_api_refuses_who_has_no_operators_key(doors: Doors, client: Any, route: str) -> None:
    for key in ("", "opk_0123456789abcdef01234567", doors.gateway.test.secret_key):
        answer = client(doors.gateway.url, key).send(*at(route), b"{}", JSON)
        assert (answer.status, answer.json["code"]) == (401, "unauthenticated")


@pytest.mark.parametrize("route", [*OPERATORS, *SANDBOX])
def test_the_operator_api_refuses_the_wrong_role(doors: Doors, client: Any, route: str) -> None:
    """And says so in the audit trail; the right role gets through to the handler."""
    allowed = {**OPERATORS, **SANDBOX}[route]
    assert Role.ADMIN in allowed
    for role in Role:
        answer = client(doors.gateway.url, doors.keys[role]).send(*at(route), b"{}", JSON)
        if role in allowed:
            assert answer.status not in (401, 403), f"{role}: {answer.body!r}"
            continue
        assert (answer.status, answer.json["code"]) == (403, "not_allowed")
        with psycopg.connect(doors.gateway.dsn) as connection:
            row = connection.execute(
                "SELECT operator, role, act, via, outcome, status FROM audit_entry e JOIN audit_outcome o"
                " ON o.entry = e.id ORDER BY e.id DESC LIMIT 1"
            ).fetchone()
        assert row == (role, role, route, "api", "refused", 403)


def test_an_id_that_none_can_be_is_not_found(doors: Doors, client: Any) -> None:
    """PostgreSQL takes no text with a NUL in it; an operator's slip is no error of ours."""
    routes = [route for route in [*OPERATORS, *SANDBOX] if "{" in route]
    assert len(routes) > 10
    for route in routes:
        answer = client(doors.gateway.url, doors.keys[Role.ADMIN]).send(*at(route, "x%00y"), b"{}", JSON)
        assert (answer.status, answer.json["code"]) == (404, "not_found"), route


def test_an_auditor_changes_nothing() -> None:
    """And of what changes something, support, finance and fulfilment may each do a part only."""
    changing = {route: who for route, who in {**OPERATORS, **SANDBOX}.items() if not route.startswith("GET ")}
    assert not any(Role.AUDITOR in who for who in changing.values())
    for role in (Role.SUPPORT, Role.FINANCE, Role.FULFILMENT):
        assert not all(role in who for who in changing.values())


# Pages and console


def test_every_page_is_public_with_a_reason_or_asks_for_a_login(doors: Doors, client: Any) -> None:
    """Without a session a console's page leads to the login, and a form does nothing."""
    for route in sorted(doors.pages - PUBLIC.keys()):
        if ASSET.fullmatch(route):
            continue
        assert route.split(" ")[1].startswith("/console"), f"{route}: public without a reason?"
        for cookie in ("", "tallystick_operator=" + "0" * 64):
            answer = client(doors.gateway.url).send(*at(route), b"confirmed=yes", [*FORM, ("Cookie", cookie)])
            assert (answer.status, answer.headers["location"]) == (303, "/console/login"), route


def test_every_reason_is_needed(doors: Doors) -> None:
    assert doors.pages >= PUBLIC.keys()


def test_a_session_that_is_not_there_says_nothing(doors: Doors, client: Any) -> None:
    for route in PUBLIC:
        if "{session_id}" in route or "{charge_id}" in route:
            assert client(doors.gateway.url).send(*at(route), b"", FORM).status in (400, 404), route
