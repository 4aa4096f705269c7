"""Operators see the gateway's cases and close them, by command and by HTTP."""

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import psycopg

Run = Callable[..., AbstractContextManager[Any]]

PATH = "/operator/v1/cases"


def test_by_command_and_by_api(gateway: Any, client: Any, command: Any) -> None:
    with psycopg.connect(gateway.dsn) as connection:
        for number in range(3):
            connection.execute(
                "INSERT INTO cases (account_id, livemode, id, kind, subject, payment_intent, charge, amount, currency, "
                "opened_at) VALUES (%s, false, %s, 'over_refunded', %s, 'pi_1', 'ch_1', 700, 'EUR', "
                "'2026-11-28T12:00:00Z')",
                (gateway.account_id, f"cas_{number}", f"re_{number}"),
            )
    listed = command("gateway", "cases", "list")["cases"]
    assert [row["id"] for row in listed] == ["cas_0", "cas_1", "cas_2"]
    assert "taken for failed" in listed[0]["words"]
    account = ("--account", gateway.account_id)
    command("gateway", "cases", "close", "cas_0", *account, "--note", "written off")
    assert [row["id"] for row in command("gateway", "cases", "list", *account)["cases"]] == ["cas_1", "cas_2"]
    [closed] = command("gateway", "cases", "list", "--closed")["cases"]
    assert (closed["id"], closed["note"], closed["operator"]) == ("cas_0", "written off", "Ada")

    operator = client(gateway.url, os.environ["TALLYSTICK_GATEWAY_OPERATOR_KEY"])
    first = operator.get(f"{PATH}?limit=2").json
    rest = operator.get(f"{PATH}?limit=2&cursor={first['next_cursor']}").json
    assert [row["id"] for row in (*first["data"], *rest["data"])] == ["cas_0", "cas_1", "cas_2"]
    assert rest["next_cursor"] is None
    json_type = [("Content-Type", "application/json")]
    for wrong, status in (
        ({"account": gateway.account_id, "note": "  "}, 422),
        ({"account": gateway.account_id}, 422),
        ({"account": "acct_else", "note": "x"}, 409),
    ):
        answered = operator.send("POST", f"{PATH}/cas_1/close", json.dumps(wrong).encode(), json_type)
        assert answered.status == status, wrong
    again = json.dumps({"account": gateway.account_id, "note": "x"}).encode()
    assert operator.send("POST", f"{PATH}/cas_0/close", again, json_type).status == 409
    assert client(gateway.url).get(PATH).status == 401
