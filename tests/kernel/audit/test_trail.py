"""The audit trail: who did what, on what, when, from where, and how it ended (RULES §12)."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tallystick.cli.command import run
from tallystick.kernel.audit.trail import Act, Trail, Wanted
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Database
from tallystick.ports.entropy import SystemEntropy

JSON = [("Content-Type", "application/json")]


@pytest.fixture
def gateway(run_gateway: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with run_gateway(trusted_proxies="127.0.0.1") as running:
        monkeypatch.setenv("TALLYSTICK_GATEWAY_DATABASE_DSN", running.dsn)
        monkeypatch.setenv("TALLYSTICK_GATEWAY_URL", running.url)
        yield running


@pytest.fixture
def command(gateway: Any, capsys: pytest.CaptureFixture[str]) -> Any:
    def carry_out(line: str, code: int = 0) -> Any:
        assert run([*line.split(), "--json"]) == code
        out = capsys.readouterr().out
        return json.loads(out) if out else None

    return carry_out


@pytest.fixture
def key(command: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    made: str = command("gateway operators create --name ada --role admin")["operator_key"]
    monkeypatch.setenv("TALLYSTICK_GATEWAY_OPERATOR_KEY", made)
    return made


def test_an_act_is_kept_with_who_what_where_and_how_it_ended(gateway: Any, client: Any, command: Any, key: str) -> None:
    body = json.dumps({"account": gateway.account_id, "note": "4242424242424242", "livemode": False}).encode()
    headers = [*JSON, ("X-Forwarded-For", "203.0.113.9")]
    answer = client(gateway.url, key).send("POST", "/operator/v1/cases/cas_1/close", body, headers)
    assert answer.status == 409
    [act] = command("gateway audit list --act cases")["acts"]
    del act["id"], act["at"], act["ended_at"]
    assert act == {
        "operator": "ada",
        "role": "admin",
        "via": "api",
        "act": "POST /operator/v1/cases/{case_id}/close",
        "subject": "cas_1",
        "asked": {"account": gateway.account_id, "livemode": False},
        "address": "203.0.113.9",
        "outcome": "refused",
        "status": 409,
    }


def test_what_was_done_is_told_done_only_when_it_is(gateway: Any, client: Any, command: Any, key: str) -> None:
    fault = {"place": "acquirer", "kind": "drop_answer", "calls": 1}
    answer = client(gateway.url, key).send("POST", "/operator/v1/faults", json.dumps(fault).encode(), JSON)
    assert answer.status == 201
    [act] = command("gateway audit list --operator ada --act faults")["acts"]
    assert (act["outcome"], act["status"], act["asked"]) == ("done", 201, fault)


def test_commands_that_work_in_the_database_are_kept(command: Any, key: str) -> None:
    command("gateway operators revoke key_0", 2)
    acts = command("gateway audit list --act operators")["acts"]
    assert [(act["via"], act["act"], act["subject"], act["outcome"]) for act in acts[1:]] == [
        ("command", "operators create", "ada, admin", "done")
    ]
    assert (acts[0]["act"], acts[0]["outcome"]) == ("operators revoke", "refused")
    assert acts[0]["operator"]


def test_looking_is_not_kept_but_looking_at_the_trail_is(gateway: Any, client: Any, command: Any, key: str) -> None:
    client(gateway.url, key).get("/operator/v1/cases")
    command("gateway audit list")
    acts = command("gateway audit list --operator ada")["acts"]
    assert {act["act"] for act in acts} == {"GET /operator/v1/audit"}


def test_what_cannot_be_noted_is_not_done(gateway: Any, client: Any, key: str) -> None:
    with psycopg.connect(gateway.dsn, autocommit=True) as connection:
        connection.execute("ALTER TABLE audit_entry RENAME TO audit_entry_away")
        try:
            fault = b'{"place": "acquirer", "kind": "drop_answer", "calls": 1}'
            answer = client(gateway.url, key).send("POST", "/operator/v1/faults", fault, JSON)
            assert answer.status == 500
            assert connection.execute("SELECT count(*) FROM fault").fetchall() == [(0,)]
        finally:
            connection.execute("ALTER TABLE audit_entry_away RENAME TO audit_entry")


def test_the_trail_is_read_page_by_page(gateway: Any, client: Any, command: Any, key: str) -> None:
    caller = client(gateway.url, key)
    for n in range(5):
        caller.send("POST", f"/operator/v1/cases/cas_{n}/close", b"{}", JSON)
    first = caller.get("/operator/v1/audit?act=cases&limit=3").json
    assert [act["subject"] for act in first["data"]] == ["cas_4", "cas_3", "cas_2"]
    second = caller.get(f"/operator/v1/audit?act=cases&limit=3&cursor={first['next_cursor']}").json
    assert ([act["subject"] for act in second["data"]], second["next_cursor"]) == (["cas_1", "cas_0"], None)
    for query in ("limit=0", "cursor=x", "since=x", "operator=%00", "x=1"):
        assert caller.get(f"/operator/v1/audit?{query}").status == 422


async def test_acts_are_found_by_time_and_what_never_ended_has_no_outcome(gateway_database: Database) -> None:
    clock = SystemClock()
    trail = Trail(gateway_database, clock, SystemEntropy())
    before = clock.now()
    await trail.begin(Act(operator="ada", role="support", via="console", act="a", subject="x\x00y"))
    after = clock.now() + timedelta(seconds=1)
    [entry] = await trail.page(Wanted(since=before, until=after), rows_max=10)
    assert (entry.operator, entry.outcome, entry.subject) == ("ada", None, "xy")
    assert await trail.page(Wanted(since=after), rows_max=10) == []
    assert await trail.page(Wanted(until=before - timedelta(seconds=1)), rows_max=10) == []


async def test_nothing_that_people_write_and_no_card_number_is_kept(gateway_database: Database) -> None:
    trail = Trail(gateway_database, SystemClock(), SystemEntropy())
    asked: dict[str, object] = {
        "password": "correct horse",
        "email": "ada@example.com",
        "text": "two words",
        "n": 4242424242424242,
        "card": "4242424242424242",
        "list": ["evt_1"],
        "id": "cas_1",
        "at": "2026-11-23T12:00:00Z",
    }
    await trail.begin(Act(operator="ada", role=None, via="api", act="a", asked=asked))
    [entry] = await trail.page(Wanted(), rows_max=1)
    assert entry.asked is not None
    assert "password" not in entry.asked
    assert "4242424242424242" not in json.dumps(entry.asked)
    assert ("email" in entry.asked, entry.asked["text"], entry.asked["id"]) == (False, "…", "cas_1")
    assert entry.asked["at"] == "2026-11-23T12:00:00Z"


def test_an_entry_is_one_line_and_commands_no_terminal(gateway: Any, client: Any, command: Any, key: str) -> None:
    """Who may do little could else write lines into the trail that never were, or take others off the screen."""
    path = "/operator/v1/endpoints/we_%1b%5b2J%0d%0a2026-01-01%e2%80%aegone%c2%9b2J/roll-secret"
    assert client(gateway.url, key).send("POST", path, b"{}", JSON).status == 422
    [act] = command("gateway audit list --act roll-secret")["acts"]
    assert act["subject"] == "we_\ufffd[2J\ufffd\ufffd2026-01-01\ufffdgone\ufffd2J"
