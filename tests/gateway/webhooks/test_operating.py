"""Dead letters and redrives by the operator API and by the command (RULES §6, DESIGN §5, §6)."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tallystick.cli.command import run

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
LETTERS, REDRIVES = "/operator/v1/dead-letters", "/operator/v1/redrives"


@pytest.fixture
def operator(gateway: Any, client: Any, command: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    import os

    return client(gateway.url, os.environ["TALLYSTICK_GATEWAY_OPERATOR_KEY"])


@pytest.fixture
def dead(gateway: Any, operator: Any) -> list[str]:
    """The ids of three dead letters, the last to die first; their endpoint is disabled, so that they stay held."""
    account = gateway.account_id
    with psycopg.connect(gateway.dsn) as connection:
        connection.execute(
            "INSERT INTO webhook_endpoint (account_id, livemode, id, url, status, enabled_events, secrets, created_at)"
            " VALUES (%s, false, 'we_1', 'http://127.0.0.1:1/hook?token=t', 'disabled', '{*}', '{whsec_eA==}', %s)",
            (account, AT),
        )
        for n in range(3):
            connection.execute(
                "INSERT INTO event (account_id, livemode, id, type, object_id, object, created_at)"
                " VALUES (%s, false, %s, 'charge.updated', 'ch_1', '{}', %s)",
                (account, f"evt_{n}", AT),
            )
            connection.execute(
                "INSERT INTO delivery (owner_id, id, livemode, message, api_version, endpoint, state, tries, due_at,"
                " reason, created_at, finished_at)"
                " VALUES (%s, %s, false, %s, 'v', 'we_1', 'dead', 1, %s, 'http_500', %s, %s)",
                (account, f"dlv_{n}", f"evt_{n}", AT, AT, AT + timedelta(seconds=n)),
            )
            connection.execute(
                "INSERT INTO delivery_attempt"
                " (owner_id, delivery, number, started_at, duration_ms, status, reason, answer)"
                " VALUES (%s, %s, 1, %s, 12, 500, 'http_500', %s)",
                (account, f"dlv_{n}", AT, b"<b>\xff"),
            )
    return ["dlv_2", "dlv_1", "dlv_0"]


def post(operator: Any, path: str, body: Any) -> Any:
    return operator.send("POST", path, json.dumps(body).encode(), [("Content-Type", "application/json")])


def test_the_list_is_paged_and_filtered(operator: Any, dead: list[str], gateway: Any) -> None:
    first = operator.get(f"{LETTERS}?limit=2").json
    second = operator.get(f"{LETTERS}?limit=2&cursor={first['next_cursor'].replace('+', '%2B')}").json
    assert [each["id"] for each in first["data"] + second["data"]] == dead
    assert second["next_cursor"] is None
    letter = first["data"][0]
    assert (letter["account"], letter["type"], letter["reason"], letter["fault"]) == (
        gateway.account_id,
        "charge.updated",
        "http_500",
        "endpoint",
    )
    assert operator.get(f"{LETTERS}?endpoint=we_2").json["data"] == []
    assert len(operator.get(f"{LETTERS}?since=2026-11-20T12:00:01Z&type=charge.*").json["data"]) == 2


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "cursor=x", "since=yesterday", "since=2026-11-20T12:00:00", "x=1", "endpoint=%00"]
)
def test_what_cannot_be_asked_is_refused(operator: Any, query: str) -> None:
    answer = operator.get(f"{LETTERS}?{query}")
    assert (answer.status, answer.json["code"]) == (422, "fields_refused")


def test_one_is_shown_with_every_try(operator: Any, dead: list[str]) -> None:
    shown = operator.get(f"{LETTERS}/dlv_1").json
    assert shown["dead_letter"]["id"] == "dlv_1"
    assert shown["dead_letter"]["url"] == "http://127.0.0.1:1/hook?…", "what is behind it may open the receiver's door"
    assert shown["attempts"][0]["answer"] == "<b>\ufffd"
    assert operator.get(f"{LETTERS}/dlv_9").status == 404


def test_a_redrive_by_the_api(operator: Any, dead: list[str]) -> None:
    assert post(operator, REDRIVES, {}).status == 422
    assert post(operator, REDRIVES, {"all": True, "rate_max": 0}).status == 422
    assert post(operator, REDRIVES, {"endpoint": "we_1", "dry_run": True}).json == {"matched": 3, "dry_run": True}
    made = post(operator, REDRIVES, {"delivery": "dlv_0"})
    assert (made.status, made.json["matched"], made.json["created_by"]) == (201, 1, "Ada")
    assert operator.get(f"{REDRIVES}/{made.json['id']}").json["id"] == made.json["id"]
    assert [each["id"] for each in operator.get(REDRIVES).json["data"]] == [made.json["id"]]
    assert post(operator, f"{REDRIVES}/{made.json['id']}/cancel", {}).json["state"] in ("canceled", "done")
    assert operator.get(f"{REDRIVES}/rdr_none").status == 404
    assert post(operator, f"{REDRIVES}/rdr_none/cancel", {}).status == 404


def test_by_the_command(command: Any, dead: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    listed = command("gateway", "dead-letters", "list", "--endpoint", "we_1", "--theirs")
    assert [each["id"] for each in listed["dead_letters"]] == dead
    assert command("gateway", "dead-letters", "list", "--since", "1m")["dead_letters"] == []
    assert len(command("gateway", "dead-letters", "show", "dlv_0")["attempts"]) == 1
    assert command("gateway", "dead-letters", "redrive", "--type", "charge.*", "--dry-run")["matched"] == 3
    done = command("gateway", "dead-letters", "redrive", "--endpoint", "we_1")
    assert (done["state"], done["matched"], done["redriven"]) == ("done", 3, 3)
    command("gateway", "dead-letters", "redrive", code=2)
    command("gateway", "dead-letters", "list", "--since", "soon", code=2)
    assert run(["gateway", "dead-letters", "list"]) == 0
    assert "No dead letters." in capsys.readouterr().out


def test_the_command_speaks_to_people(command: Any, dead: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["gateway", "dead-letters", "list"]) == 0
    assert run(["gateway", "dead-letters", "show", "dlv_0"]) == 0
    assert run(["gateway", "dead-letters", "redrive", "dlv_0"]) == 0
    out = capsys.readouterr().out
    assert out.count("http_500") == 4
    assert "1 of 1 dead letters" in out


def test_a_secret_is_rolled_by_the_command(command: Any, dead: list[str], gateway: Any) -> None:
    rolled = command("gateway", "endpoints", "roll-secret", "we_1", "--account", gateway.account_id, "--overlap", "2h")
    with psycopg.connect(gateway.dsn) as connection:
        row = connection.execute("SELECT secrets FROM webhook_endpoint").fetchone()
    assert row == ([rolled["secret"], "whsec_eA=="],)
    command("gateway", "endpoints", "roll-secret", "we_9", "--account", gateway.account_id, code=1)


def test_how_endpoints_stand(gateway: Any, operator: Any, command: Any) -> None:
    """What is well is not listed; a breaker, a slow-down and a ramp are, with what waits behind them (RULES §6)."""
    at = datetime.now(UTC)
    health = [
        ("we_broken", 1, 12, "http_500", None, at + timedelta(hours=1)),
        ("we_held", None, 0, None, None, None),
        ("we_ramp", 7, 0, None, None, at - timedelta(hours=1)),
        ("we_slow", 32, 0, None, at + timedelta(hours=1), None),
        ("we_well", None, 0, None, at - timedelta(hours=1), at - timedelta(hours=1)),
    ]
    with psycopg.connect(gateway.dsn) as connection:
        for row in health:
            connection.execute(
                "INSERT INTO endpoint_health"
                " (owner_id, livemode, endpoint, width, failures, reason, slowed_until, broken_until)"
                " VALUES (%s, false, %s, %s, %s, %s, %s, %s)",
                (gateway.account_id, *row),
            )
        for n in range(3):
            connection.execute(
                "INSERT INTO delivery"
                " (owner_id, id, livemode, message, api_version, endpoint, state, due_at, created_at)"
                " VALUES (%s, %s, false, %s, 'v', 'we_held', 'held', %s, %s)",
                (gateway.account_id, f"dlv_h{n}", f"evt_h{n}", at, at),
            )
    found = operator.get("/operator/v1/endpoints").json["data"]
    told = [(each["endpoint"], each["standing"], each["at_once"], each["due"], each["held"]) for each in found]
    assert told == [
        ("we_broken", "broken", 1, 0, 0),
        ("we_held", "well", None, 0, 3),
        ("we_ramp", "recovering", 7, 0, 0),
        ("we_slow", "slowed", 32, 0, 0),
    ]
    assert (found[0]["failures"], found[0]["reason"], found[0]["owner"]) == (12, "http_500", gateway.account_id)
    assert found[0]["until"] is not None
    assert command("gateway", "endpoints", "health", "--endpoint", "we_slow")["endpoints"] == [found[3]]
    assert operator.get("/operator/v1/endpoints?limit=0").status == 422
