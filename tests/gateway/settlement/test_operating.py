"""Operators close days, see reports and correct them, by command and by HTTP; accounts are given fees and days."""

import json
import os
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from tallystick.cli.command import run

PATH = "/operator/v1/settlements"


def pay(gateway: Any, client: Any, amount: int) -> None:
    fields = {"amount": str(amount), "currency": "eur", "payment_method": "pm_card_visa", "confirm": "true"}
    assert client(gateway.url, gateway.test.secret_key).post("/v1/payment_intents", fields).status == 200


def move_back(gateway: Any, days: int) -> None:
    """As if all of it had been some days ago; the worker is told to wait, so that a person closes."""
    with psycopg.connect(gateway.dsn) as connection:
        connection.execute(
            "UPDATE ledger_transaction SET effective_at = effective_at - make_interval(days => %s)", (days,)
        )
        connection.execute("UPDATE balance_account SET next_day = next_day - %s, close_at = 'infinity'", (days,))


def test_days_are_closed_listed_and_corrected(gateway: Any, client: Any, command: Any) -> None:
    account = ("--account", gateway.account_id)
    command("gateway", "accounts", "fees", gateway.account_id, "eur", "--basis-points", "100", "--fixed", "5")
    command("gateway", "accounts", "days", gateway.account_id, "--payouts", "manual")
    command("gateway", "faults", "add", "settlement", "line_missing", "--calls", "1")
    for amount in (1000, 200):
        pay(gateway, client, amount)
    assert command("gateway", "settle") == {"settlements": []}, "today is not over"
    move_back(gateway, 1)
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    [closed] = command("gateway", "settle", "--date", yesterday, *account)["settlements"]
    assert (closed["date"], closed["lines"], closed["faults"], closed["sequence"]) == (yesterday, 1, 1, 1)
    [corrected] = command("gateway", "settle", "--correct", yesterday, *account)["settlements"]
    assert (corrected["revision"], corrected["lines"], corrected["faults"]) == (2, 2, 0)
    assert (corrected["gross"], corrected["fee"], corrected["closing"]) == (1200, 22, 1178)

    operator = client(gateway.url, os.environ["TALLYSTICK_GATEWAY_OPERATOR_KEY"])
    first = operator.get(f"{PATH}?account={gateway.account_id}&limit=1").json
    rest = operator.get(f"{PATH}?account={gateway.account_id}&cursor={first['next_cursor']}").json
    assert [row["revision"] for row in (*first["data"], *rest["data"])] == [2, 1]
    assert operator.get(f"{PATH}?account={gateway.account_id}&date=2020-01-01").json["data"] == []
    json_type = [("Content-Type", "application/json")]
    for path, wrong in ((PATH, {"date": "soon"}), (f"{PATH}/correct", {"date": yesterday}), (PATH, {"a": 1})):
        assert operator.send("POST", path, json.dumps(wrong).encode(), json_type).status == 422
    assert operator.get(PATH).status == 422
    assert client(gateway.url).get(PATH).status == 401


def test_a_correction_names_its_account(command: Any) -> None:
    assert run(["gateway", "settle", "--correct", "2026-11-27"]) != 0
