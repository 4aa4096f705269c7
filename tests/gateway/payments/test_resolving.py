"""RULES §3: an outcome that nobody can learn is resolved by an operator, with evidence."""

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tallystick.gateway.payments.resolving import NotUnknown, Resolution
from tallystick.gateway.stripe_wire import errors
from tallystick.kernel.outcomes import Unknown

Core = Any
Run = Callable[..., AbstractContextManager[Any]]

PATH = "/operator/v1/unknown-outcomes"


def found(core: Core, id: str, **fields: Any) -> Resolution:
    return Resolution(
        **{
            "account": core.account_id,
            "livemode": False,
            "id": id,
            "outcome": "done",
            "reference": "bank_17",
            "evidence": "the bank's letter of Monday",
            "operator": "Ada",
            **fields,
        }
    )


async def unknown(core: Core, **options: Any) -> list[Any]:
    listed: list[Any] = await core.resolving.unknown(("", ""), 100, **options)
    return listed


async def test_a_charge_that_was_made(core: Core) -> None:
    intent = await core.create(confirm=True, payment_method="pm_card_approvedAfterCancel")
    [listed] = await unknown(core)
    assert (listed.kind, listed.payment_intent, listed.amount) == ("charge", intent["id"], 1000)
    assert await unknown(core, cases=True) == []
    assert await unknown(core, account="acct_else") == []
    await core.resolving.resolve(found(core, listed.id))
    assert (await core.intent(intent["id"]))["status"] == "succeeded"
    [kept] = await core.rows("SELECT * FROM outcome_resolution")
    assert (kept["object"], kept["outcome"], kept["reference"]) == (listed.id, "done", "bank_17")
    assert (kept["evidence"], kept["operator"]) == ("the bank's letter of Monday", "Ada")
    assert await unknown(core) == []
    with pytest.raises(NotUnknown):
        await core.resolving.resolve(found(core, listed.id))


async def test_a_charge_that_was_not_made(core: Core) -> None:
    intent = await core.create(confirm=True, payment_method="pm_card_approvedAfterCancel")
    [listed] = await unknown(core)
    await core.resolving.resolve(found(core, listed.id, outcome="refused", reference=None))
    assert (await core.intent(intent["id"]))["status"] == "requires_payment_method"
    assert (await core.confirm(intent["id"], payment_method="pm_card_visa"))["status"] == "succeeded"


@pytest.mark.parametrize("outcome", ["done", "refused"])
async def test_a_refund(core: Core, outcome: str) -> None:
    intent = await core.create(confirm=True, payment_method="pm_card_visa")
    core.bank.answers = [Unknown("cut")]
    refund = await core.refund(payment_intent=intent["id"])
    core.bank.pending = True
    for seconds in (11, 61, 241, 1501, 5401, 14_401, 64_801, 86_401):
        core.clock.ahead += timedelta(seconds=seconds)
        await core.inquirer.look()
    [listed] = await unknown(core, cases=True)
    assert (listed.kind, listed.inquiries) == ("refund", 8)
    [case] = await core.rows("SELECT * FROM cases")
    assert (case["kind"], case["subject"], case["charge"]) == ("outcome_unknown", listed.id, listed.charge)
    assert (case["state"], case["amount"], case["tell_at"] is not None) == ("open", 1000, True)
    core.clock.ahead += timedelta(seconds=86_401)
    await core.inquirer.look()
    await core.resolving.resolve(found(core, listed.id, outcome=outcome))
    [row] = await core.rows("SELECT * FROM refund")
    assert (row["id"], row["status"]) == (refund["id"], "succeeded" if outcome == "done" else "failed")
    [case] = await core.rows("SELECT * FROM cases")  # the next day's look found the same one
    assert (case["state"], case["note"], case["operator"]) == ("closed", "the bank's letter of Monday", "Ada")


async def test_a_charge_that_nobody_knows_for_a_day_is_a_case(core: Core) -> None:
    """RULES §3: daily with a case."""
    core.bank.pending = True
    intent = await core.create(confirm=True, payment_method="pm_card_timeoutApproved")
    for seconds in (11, 61, 241, 1501, 5401, 14_401, 64_801, 86_401):
        assert await core.rows("SELECT 1 FROM cases") == []
        core.clock.ahead += timedelta(seconds=seconds)
        await core.inquirer.look()
    [case] = await core.rows("SELECT * FROM cases")
    assert (case["kind"], case["subject"], case["payment_intent"]) == (
        "outcome_unknown",
        intent["latest_charge"],
        intent["id"],
    )


async def test_a_capture(core: Core) -> None:
    intent = await core.create(confirm=True, payment_method="pm_card_visa", capture_method="manual")
    core.bank.answers = [Unknown("cut")]
    with pytest.raises(errors.Unavailable):
        await core.capture(intent["id"])
    [listed] = await unknown(core)
    await core.resolving.resolve(found(core, listed.id))
    assert (await core.intent(intent["id"]))["status"] == "succeeded"


def test_an_account_may_be_let_capture_in_parts(gateway: Any, client: Any, command: Any) -> None:
    """RULES §3: `final_capture=false` where the account allows several captures."""
    api = client(gateway.url, gateway.test.secret_key)
    sent = {"amount": "500", "currency": "eur", "payment_method": "pm_card_visa", "confirm": "true"}
    held = api.post("/v1/payment_intents", {**sent, "capture_method": "manual"}).json["id"]
    part = {"amount_to_capture": "200", "final_capture": "false"}
    assert api.post(f"/v1/payment_intents/{held}/capture", part).status == 400
    command("gateway", "accounts", "captures", gateway.account_id, "--several")
    assert api.post(f"/v1/payment_intents/{held}/capture", part).json["status"] == "requires_capture"
    command("gateway", "accounts", "captures", gateway.account_id, "--single")
    assert api.post(f"/v1/payment_intents/{held}/capture", part).status == 400
    assert api.post(f"/v1/payment_intents/{held}/capture").json["amount_received"] == 500


def test_by_command_and_by_api(gateway: Any, client: Any, command: Any) -> None:
    api = client(gateway.url, gateway.test.secret_key)
    sent = {"amount": "500", "currency": "eur", "payment_method": "pm_card_approvedAfterCancel", "confirm": "true"}
    ids = sorted(api.post("/v1/payment_intents", sent).json["latest_charge"] for _ in range(3))
    listed = command("gateway", "unknown-outcomes", "list")["unknown_outcomes"]
    assert [row["id"] for row in listed] == ids
    words = ("--account", gateway.account_id, "--outcome", "refused", "--evidence", "a call")
    command("gateway", "unknown-outcomes", "resolve", ids[0], *words)
    with psycopg.connect(gateway.dsn) as connection:
        assert connection.execute("SELECT operator, evidence FROM outcome_resolution").fetchall() == [("Ada", "a call")]

    operator = client(gateway.url, os.environ["TALLYSTICK_GATEWAY_OPERATOR_KEY"])
    first = operator.get(f"{PATH}?limit=1").json
    assert [row["id"] for row in first["data"]] == [ids[1]]
    rest = operator.get(f"{PATH}?cursor={first['next_cursor']}").json
    assert ([row["id"] for row in rest["data"]], rest["next_cursor"]) == ([ids[2]], None)
    json_type = [("Content-Type", "application/json")]
    for wrong, status in (
        ({"account": gateway.account_id, "outcome": "done", "evidence": "no reference"}, 422),
        ({"account": gateway.account_id, "outcome": "refused", "evidence": "  "}, 422),
        ({"account": gateway.account_id, "outcome": "perhaps", "evidence": "x"}, 422),
        ({"account": "acct_else", "outcome": "refused", "evidence": "x"}, 409),
    ):
        answered = operator.send("POST", f"{PATH}/{ids[1]}/resolve", json.dumps(wrong).encode(), json_type)
        assert answered.status == status, wrong
    assert client(gateway.url).get(PATH).status == 401
