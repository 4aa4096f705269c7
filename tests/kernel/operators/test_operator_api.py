"""The operator API: who may call it, and that whatever is wrong is told as a problem (DESIGN §5, RULES §12)."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tallystick.cli.command import run
from tallystick.kernel.operators.keys import OperatorRefused, create_key, operator_of
from tallystick.kernel.operators.roles import Role
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Database
from tallystick.ports.entropy import SystemEntropy

PATH = "/operator/v1"


@pytest.fixture
def gateway(run_gateway: Any) -> Iterator[Any]:
    with run_gateway() as running:
        yield running


@pytest.fixture
def command(gateway: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command line as somebody who runs this gateway would."""
    monkeypatch.setenv("TALLYSTICK_GATEWAY_DATABASE_DSN", gateway.dsn)
    monkeypatch.setenv("TALLYSTICK_GATEWAY_URL", gateway.url)

    def carry_out(line: str) -> Any:
        assert run([*line.split(), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return carry_out


@pytest.fixture
def key(command: Any) -> str:
    made: str = command("gateway operators create --name ada --role admin")["operator_key"]
    return made


def test_a_key_is_shown_once_and_stored_as_a_hash(gateway: Any, key: str) -> None:
    """RULES §12: shown once, stored as SHA-256."""
    assert key.startswith("opk_")
    with psycopg.connect(gateway.dsn) as connection:
        (row,) = connection.execute("SELECT key_hash, name, role, hint FROM operator_key").fetchall()
    assert row == (hashlib.sha256(key.encode()).digest(), "ada", "admin", f"{key[:8]}…{key[-4:]}")


def test_the_holder_of_a_key_is_known_by_name(gateway: Any, client: Any, key: str) -> None:
    answer = client(gateway.url, key).get(PATH)
    assert (answer.status, answer.json) == (200, {"service": "gateway", "operator": "ada", "role": "admin"})
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "Bearer opk_0123456789abcdef01234567")],
        [("Authorization", "Bearer {secret_key}")],
        [("Authorization", "Basic {key}")],
        [("Authorization", "{key}")],
        [("Authorization", "Bearer {key}"), ("Authorization", "Bearer {key}")],
        [("Authorization", "Bearer {key}x")],
        [("Authorization", "Bearer ")],
        [("Authorization", "Bearer \u00e9")],
    ],
)
def test_nobody_else_gets_in(gateway: Any, client: Any, key: str, headers: list[tuple[str, str]]) -> None:
    sent = [(name, value.format(key=key, secret_key=gateway.test.secret_key)) for name, value in headers]
    answer = client(gateway.url).get(PATH, sent)
    assert (answer.status, answer.json["code"]) == (401, "unauthenticated")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_revoked_key_opens_nothing_from_the_next_call_on(gateway: Any, client: Any, command: Any, key: str) -> None:
    (listed,) = command("gateway operators list")["operator_keys"]
    assert client(gateway.url, key).get(PATH).status == 200
    command(f"gateway operators revoke {listed['id']}")
    assert client(gateway.url, key).get(PATH).status == 401
    (listed,) = command("gateway operators list")["operator_keys"]
    assert listed["revoked_at"] is not None
    assert key not in json.dumps(listed)
    assert run(["gateway", "operators", "revoke", listed["id"]]) == 2


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", f"{PATH}/nothing", 404, "not_found"),
        ("GET", f"{PATH}/", 200, None),
        ("DELETE", PATH, 405, "method_not_allowed"),
        ("GET", f"{PATH}?x=1", 422, "fields_refused"),
    ],
)
def test_what_is_wrong_is_told_as_a_problem(
    gateway: Any, client: Any, key: str, method: str, path: str, status: int, code: str | None
) -> None:
    """RFC 9457."""
    answer = client(gateway.url, key).send(method, path, None)
    assert (answer.status, answer.json.get("code")) == (status, code)
    if code is not None:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json["type"] == f"urn:tallystick:problem:{code}"
        assert answer.json["status"] == status


def test_a_command_calls_the_running_installation(command: Any, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """DESIGN §6: TALLYSTICK_GATEWAY_URL and TALLYSTICK_GATEWAY_OPERATOR_KEY."""
    monkeypatch.setenv("TALLYSTICK_GATEWAY_OPERATOR_KEY", key)
    assert command("gateway operators whoami") == {"service": "gateway", "operator": "ada", "role": "admin"}
    monkeypatch.setenv("TALLYSTICK_GATEWAY_OPERATOR_KEY", f"{key}x")
    assert run(["gateway", "operators", "whoami"]) == 1


@pytest.mark.parametrize("name", ["", "  ", "x" * 201, "a\nb"])
async def test_a_name_that_is_none_is_refused(gateway_database: Database, name: str) -> None:
    with pytest.raises(OperatorRefused):
        await create_key(gateway_database, name, role=Role.ADMIN, at=SystemClock().now(), entropy=SystemEntropy())


def test_who_could_do_everything_before_there_were_roles_still_can(gateway: Any, client: Any) -> None:
    """Rows of before, and of processes of the version before, say nothing of a role: they are administrators."""
    key = "opk_0123456789abcdef01234567"
    with psycopg.connect(gateway.dsn) as connection:
        connection.execute(
            "INSERT INTO operator_key (key_hash, name, hint, created_at) VALUES (%s, 'ada', '', '2026-01-01Z')",
            (hashlib.sha256(key.encode()).digest(),),
        )
    assert client(gateway.url, key).get(PATH).json["role"] == "admin"


async def test_several_keys_live_at_once(gateway_database: Database) -> None:
    """So that one can be replaced without a gap."""
    made = [
        await create_key(gateway_database, name, role=Role.ADMIN, at=SystemClock().now(), entropy=SystemEntropy())
        for name in ("ada", "ada", "bob")
    ]
    found = [await operator_of(gateway_database, each.key) for each in made]
    assert [operator.name for operator in found if operator] == ["ada", "ada", "bob"]
    assert all(each.key not in repr(each) for each in made)
