"""What operators do about a payment, by API and by command, with who did it in the audit trail."""

import json
import os
from typing import Any

import psycopg
import pytest

PATH = "/operator/v1/payments"
JSON = ("Content-Type", "application/json")


def test_by_command(gateway: Any, client: Any, command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = client(gateway.url, gateway.test.secret_key)
    card = {"amount": "2500", "currency": "eur", "confirm": "true"}
    paid = shop.post("/v1/payment_intents", {**card, "payment_method": "pm_card_visa"}).json["id"]
    held = {**card, "payment_method": "pm_card_visa", "capture_method": "manual"}
    authorised = shop.post("/v1/payment_intents", held).json["id"]
    unknown = shop.post("/v1/payment_intents", {**card, "payment_method": "pm_card_timeoutApproved"}).json["id"]

    found = command("gateway", "payments", "show", paid)
    assert (found["status"], found["refundable"], found["account"]) == ("succeeded", 2500, gateway.account_id)
    made = command("gateway", "payments", "refund", paid, "--amount", "7.00", "--yes")
    assert (made["amount"], made["currency"]) == (700, "EUR")
    for _ in range(2):
        again = command("gateway", "payments", "refund", paid, "--amount", "1", "--yes", "--key", "mine")
    assert again["amount"] == 100
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    command("gateway", "payments", "refund", paid, code=2)
    command("gateway", "payments", "refund", paid, "--amount", "a lot", code=2)
    command("gateway", "payments", "refund", paid, "--amount", "99.00", "--yes", code=1)
    refunds = shop.get(f"/v1/refunds?payment_intent={paid}").json["data"]
    assert [each["amount"] for each in refunds] == [100, 700]

    assert command("gateway", "payments", "cancel", authorised, "--yes")["status"] == "canceled"
    command("gateway", "payments", "cancel", paid, "--yes", code=1)
    asked = command("gateway", "payments", "inquire", unknown)["asked"]
    assert [each["known"] for each in asked] == [True]
    assert shop.get(f"/v1/payment_intents/{unknown}").json["status"] == "succeeded"
    assert command("gateway", "payments", "inquire", paid)["asked"] == []

    with psycopg.connect(gateway.dsn) as connection:
        noted = connection.execute(
            "SELECT e.operator, e.subject, e.asked, o.outcome FROM audit_entry e JOIN audit_outcome o ON o.entry = e.id"
            " WHERE e.act = 'POST /operator/v1/payments/{payment_id}/refund' ORDER BY e.id"
        ).fetchall()
    assert noted[0] == ("Ada", paid, {"amount": 700, "refundable": 2500}, "done")
    assert noted[-1][3] == "refused"


def test_by_api(gateway: Any, client: Any, command: Any) -> None:
    shop = client(gateway.url, gateway.test.secret_key)
    card = {"amount": "2500", "currency": "eur", "confirm": "true", "payment_method": "pm_card_visa"}
    paid = shop.post("/v1/payment_intents", card).json["id"]
    operator = client(gateway.url, os.environ["TALLYSTICK_GATEWAY_OPERATOR_KEY"])

    def send(path: str, sent: Any, *keys: str) -> Any:
        headers = [JSON, *(("Idempotency-Key", key) for key in keys)]
        return operator.send("POST", f"{PATH}/{path}", json.dumps(sent).encode(), headers)

    whole = {"refundable": 2500}
    for keys in ((), ("a", "b"), ("",)):
        assert send(f"{paid}/refund", whole, *keys).status == 422
        assert send(f"{paid}/cancel", {}, *keys).status == 422
    wrongs: list[Any] = [{}, {"refundable": "all"}, {**whole, "amount": 0}, {**whole, "charge": "ch_1"}, []]
    for wrong in wrongs:
        assert send(f"{paid}/refund", wrong, "k").status == 422, wrong
    for id in ("pi_nothing", "x%00y", "ch_1", shop.get(f"/v1/payment_intents/{paid}").json["latest_charge"]):
        assert send(f"{id}/refund", whole, "k").status == 404
        assert operator.get(f"{PATH}/{id}").status == 404
    assert shop.get("/v1/refunds").json["data"] == []

    first, second = send(f"{paid}/refund", whole, "k"), send(f"{paid}/refund", whole, "k")
    assert (first.status, first.json) == (200, second.json)
    assert (send(f"{paid}/refund", whole, "k2").status, send(f"{paid}/cancel", {}, "k3").status) == (409, 409)
    assert len(shop.get("/v1/refunds").json["data"]) == 1
    [event] = shop.get("/v1/events?type=refund.created").json["data"]
    assert event["request"]["idempotency_key"] is None
