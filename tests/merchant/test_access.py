"""Every route of the merchant service: without a key, with the wrong role, with another merchant's id, it is refused
(RULES §12).

The routes are taken from the service itself, so a new one cannot be forgotten: one that is not public must refuse, and
what is public stands here with its reason.
"""

import re
from typing import Any

import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute

from tallystick.kernel.operators.keys import create_key
from tallystick.kernel.operators.roles import Role
from tallystick.kernel.service import Web, built_anew
from tallystick.merchant.access import CONSOLE, OPERATORS
from tallystick.merchant.accounts.commands import create_merchant
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Statement
from tallystick.ports.entropy import SystemEntropy

PUBLIC = {
    "GET /healthz": "says nothing but that the process lives",
    "GET /readyz": "says nothing but whether the database answers",
    "GET /console/login": "where one logs in",
    "POST /console/login": "where one logs in",
    "GET /console/{elsewhere}": "there is nothing there",
    "GET /openapi.json": "the description of the API",
    "GET /docs": "the description of the API",
    "GET /return/{order_id}": "where shoppers come back to; the id is unguessable, and it is no more than a look",
}
ASSET = re.compile(r"GET /console/assets/[a-z]+\.[0-9a-f]{16}\.[a-z]+")
UNKNOWN_ID = "x_0000000000000000"
NOUNS = {"orders", "customers", "cases", "reconciliations"}
"""What stands before an id in the API's routes."""


@pytest.fixture
def applications(monkeypatch: pytest.MonkeyPatch) -> list[Litestar]:
    """The framework's applications of the services that are built after this: ask for it before `stage`."""
    built: list[Litestar] = []
    make = Litestar.__init__

    def made(application: Litestar, *given: Any, **more: Any) -> None:
        make(application, *given, **more)
        built.append(application)

    monkeypatch.setattr(Litestar, "__init__", made)
    return built


@pytest.fixture
def web_when_called() -> Web:
    """Before anything is called."""
    return built_anew


@pytest.fixture
async def doors(applications: list[Litestar], stage: Any) -> Any:
    """A service with one merchant, whose API's routes are in `applications`."""
    return stage


def routes_of(applications: list[Litestar]) -> set[str]:
    routes = [route for application in applications for route in application.routes]
    assert all(isinstance(route, HTTPRoute) for route in routes), "only plain routes are known here"
    return {f"{method} {route.path_format}" for route in routes for method in route.methods - {"OPTIONS"}}


async def ask(stage: Any, route: str, key: str, id: str = UNKNOWN_ID) -> tuple[int, str]:
    """Status and code of the answer."""
    method, _, path = route.partition(" ")
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "k", "Content-Type": "application/json"}
    if not key:
        del headers["Authorization"]
    url = f"{stage.url}{re.sub(r'{[^}]+}', id, path)}{'?purpose=data_request' if '/customers/' in path else ''}"
    async with stage.client.request(method, url, headers=headers, data=b"{}", allow_redirects=False) as answer:
        body = await answer.json(content_type=None) if "json" in answer.headers.get("content-type", "") else {}
        return answer.status, body.get("code", "")


async def test_the_api_refuses_who_has_no_merchants_key(doors: Any, applications: list[Litestar]) -> None:
    routes = routes_of(applications)
    assert routes >= PUBLIC.keys(), "every reason is needed"
    assert len(routes) > 15
    made = await create_key(doors.database, "ada", role=Role.ADMIN, at=SystemClock().now(), entropy=SystemEntropy())
    assert {route for route in routes if "/console" in route} >= CONSOLE.keys()
    for route in sorted(routes - PUBLIC.keys()):
        if ASSET.fullmatch(route):
            continue
        if "/console" in route:
            assert await ask(doors, route, made.key) == (303, ""), f"{route}: led to the login"
            continue
        for key in ("", "tsk_0123456789abcdef01234567", made.key, doors.api_key + "x"):
            assert await ask(doors, route, key) == (401, "unauthenticated"), route


async def test_the_api_refuses_the_id_of_another_merchant(doors: Any, applications: list[Litestar]) -> None:
    """404, as if there were no such thing; its owner finds it."""
    entropy, clock = SystemEntropy(), SystemClock()
    other = await create_merchant(doors.database, clock, entropy, name="Other", return_origins=[])
    _, order = await doors.place()
    await doors.place(customer={"email": "ada@example.org"})
    customers = await doors.database.rows(Statement("c", "SELECT customer_id FROM pii.customer"))
    ids = {
        "orders": order["id"],
        "customers": customers[0]["customer_id"],
        "cases": await a_case(doors),
        "reconciliations": await a_run(doors),
    }
    nouns = set()
    for route in sorted(routes_of(applications)):
        if "{" not in route or route in PUBLIC or "/console" in route:
            continue
        noun = route.split("/{")[0].rpartition("/")[2]
        nouns.add(noun)
        assert await ask(doors, route, other.api_key, ids[noun]) == (404, "not_found"), route
        if route.startswith("GET ") and noun != "customers":
            assert (await ask(doors, route, doors.api_key, ids[noun]))[0] == 200, route
    assert nouns == NOUNS


async def a_case(stage: Any) -> str:
    insert = Statement(
        "a_case",
        "INSERT INTO cases (merchant_id, case_id, kind, subject, order_id, state, details, opened_at)"
        " VALUES ($1::text, 'cas_1', 'money_without_order', 'pi_1', NULL, 'open', '{}', '2026-01-01T00:00:00Z')",
    )
    await stage.database.execute(insert, stage.merchant_id)
    return "cas_1"


async def a_run(stage: Any) -> str:
    headers = stage.headers()
    url = f"{stage.url}/v1/reconciliations"
    async with stage.client.post(url, json={"date": "2026-11-01"}, headers=headers) as answer:
        made = await answer.json()
        id: str = made["id"]
        return id


async def test_the_other_lists_are_ones_own(doors: Any) -> None:
    """What names no id shows what is the caller's own."""
    other = await create_merchant(doors.database, SystemClock(), SystemEntropy(), name="Other", return_origins=[])
    await doors.place()
    await a_case(doors)
    await a_run(doors)
    for path in ("/v1/orders", "/v1/cases", "/v1/reconciliations", "/v1/mismatches"):
        status, page = await doors.get(path, Authorization=f"Bearer {other.api_key}")
        assert (status, page["data"]) == (200, [])


async def test_the_operator_api_refuses_who_has_no_operators_key(doors: Any) -> None:
    for route in OPERATORS:
        for key in ("", "opk_0123456789abcdef01234567", doors.api_key):
            assert await ask(doors, route, key) == (401, "unauthenticated"), route


async def test_the_operator_api_refuses_the_wrong_role(doors: Any) -> None:
    """And says so in the audit trail; the right role gets through to the handler."""
    last = Statement(
        "last_act",
        "SELECT operator, role, act, outcome, status FROM audit_entry e JOIN audit_outcome o ON o.entry = e.id"
        " ORDER BY e.id DESC LIMIT 1",
    )
    at, entropy = SystemClock().now(), SystemEntropy()
    keys = {role: (await create_key(doors.database, role, role=role, at=at, entropy=entropy)).key for role in Role}
    for route, allowed in OPERATORS.items():
        assert Role.ADMIN in allowed
        for role, key in keys.items():
            status, code = await ask(doors, route, key)
            if role in allowed:
                assert status != 401, route
                assert code != "not_allowed", route
                continue
            assert (status, code) == (403, "not_allowed"), route
            [row] = await doors.database.rows(last)
            assert dict(row) == {"operator": role, "role": role, "act": route, "outcome": "refused", "status": 403}


def test_an_auditor_changes_nothing() -> None:
    assert not any(Role.AUDITOR in who for route, who in OPERATORS.items() if not route.startswith("GET "))


@pytest.mark.parametrize(
    "headers",
    [{}, {"Stripe-Signature": "t=1,v1=00"}, {"Stripe-Signature": "t=1,v1=" + "0" * 64}, {"Authorization": "Bearer x"}],
)
async def test_a_webhook_without_a_good_signature_is_refused(doors: Any, headers: dict[str, str]) -> None:
    for connection, statuses in ((doors.connection_id, (400, 401)), (UNKNOWN_ID, (404,)), ("", (404,))):
        url = f"{doors.url}/webhooks/{connection}"
        async with doors.client.post(url, data=b"{}", headers=headers) as answer:
            assert answer.status in statuses
    assert await doors.count("inbox") == 0
