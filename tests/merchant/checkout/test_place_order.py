"""`POST /v1/orders` over real HTTP: an order PENDING before the gateway is called, one session whatever is repeated."""

from datetime import datetime
from typing import Any

import pytest

from tallystick.ports.database import Statement

Stage = Any


async def test_an_order_is_pending_and_leads_to_the_gateways_page(stage: Stage) -> None:
    """DESIGN §6: 201 with state, expires_at and redirect_url."""
    status, order = await stage.place(reference="basket-17", metadata={"a": "b"}, customer={"email": "a@b.example"})
    assert status == 201
    assert (order["state"], order["fulfilment"], order["amount"], order["currency"]) == ("PENDING", "none", 2500, "EUR")
    assert (order["reference"], order["metadata"], order["late"], order["attention"]) == (
        "basket-17",
        {"a": "b"},
        False,
        None,
    )
    assert order["redirect_url"] == stage.gateway.session["url"]
    assert order["client_secret"] is None
    assert order["attempts"] == [
        {
            "number": 1,
            "state": "open",
            "checkout_session": stage.gateway.session["id"],
            "payment_intent": None,
            "charges": [],
            "refunds": [],
            "disputes": [],
        }
    ]
    created, expires = (datetime.fromisoformat(order[name]) for name in ("created_at", "expires_at"))
    assert (expires - created).total_seconds() == 1800
    assert await stage.order(order["id"]) == order
    assert stage.gateway.keys == [f"order:{order['id']}:1"]


async def test_the_gateways_session_outlives_ours_and_never_too_short(stage: Stage) -> None:
    """RULES §8: expires_at sent is max(TTL, 30 min) + 5 min."""
    for ttl_s, sent_s in ((60, 35 * 60), (3600, 65 * 60), (86400, 86400 - 60)):
        _, order = await stage.place(expires_in_s=ttl_s)
        created = datetime.fromisoformat(order["created_at"]).timestamp()
        assert int(stage.gateway.calls[-1][2]["expires_at"]) == int(created + sent_s)


async def test_the_shopper_comes_back_to_us(stage: Stage) -> None:
    _, order = await stage.place()
    sent = stage.gateway.calls[0][2]
    assert sent["success_url"].endswith(f"/return/{order['id']}")
    assert sent["cancel_url"].endswith(f"/return/{order['id']}?from=cancel")


async def test_an_embedded_order_has_a_client_secret(stage: Stage) -> None:
    status, order = await stage.place(ui_mode="embedded")
    assert status == 201
    assert (order["redirect_url"], order["client_secret"]) == (None, stage.gateway.session["client_secret"])


async def test_line_items_sum_to_the_amount(stage: Stage) -> None:
    lines = [{"name": "Tea", "amount": 300, "quantity": 3}, {"name": "Cup", "amount": 1600}]
    status, order = await stage.place(amount=None, line_items=lines)
    assert (status, order["amount"]) == (201, 2500)
    assert order["line_items"] == [{**lines[0]}, {**lines[1], "quantity": 1}]
    assert stage.gateway.session["amount_total"] == 2500


async def test_personal_data_stand_in_their_own_table(stage: Stage) -> None:
    """RULES §12: apart from the order, from the first day on; the gateway is not told."""
    _, order = await stage.place(customer={"email": "ada@example.org", "name": "Ada"})
    row = (await stage.database.rows(Statement("x", "SELECT * FROM pii.customer")))[0]
    assert row["customer_id"] == order["customer"]
    kept = b" ".join(each if isinstance(each, bytes) else str(each).encode() for each in row.values()).lower()
    assert b"ada@example" not in kept, "sealed"
    _, shown = await stage.get(f"/v1/customers/{order['customer']}?purpose=support&fields=email,name")
    assert (shown["email"], shown["name"]) == ("ada@example.org", "Ada")
    orders = await stage.database.rows(Statement("x", "SELECT o::text AS row FROM orders o"))
    assert "ada@" not in orders[0]["row"].lower()
    assert not any("ada@" in value.lower() for value in stage.gateway.calls[0][2].values())


async def test_currencies_are_converted_for_the_wire_and_never_rounded(stage: Stage) -> None:
    """RULES §2: ISK travels with two decimals; an ariary that is not whole is refused before anything is stored."""
    _, order = await stage.place(amount=5, currency="isk")
    assert (order["amount"], order["currency"], stage.gateway.session["amount_total"]) == (5, "ISK", 500)
    status, problem = await stage.place(amount=1250, currency="MGA")
    assert (status, problem["code"]) == (422, "amount_not_chargeable")
    assert await stage.count("orders") == 1


async def test_the_timeline_begins_with_the_order(stage: Stage) -> None:
    """RULES §4: every change one row; the client secret, by which a session can be paid, is not in it."""
    _, order = await stage.place(ui_mode="embedded")
    rows = await stage.timeline(order["id"])
    assert [(row["number"], row["source"], row["fact"]["fact"]) for row in rows] == [
        (1, "merchant", "attempted"),
        (2, "api", "session_opened"),
    ]
    assert "secret" not in str(rows)


# --- when the gateway is in trouble ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trouble", ["lose", "cut", "hang", (500, "api_error"), (409, "lock_timeout"), (429, "rate_limit")]
)
async def test_trouble_that_passes_is_not_noticed(stage: Stage, trouble: str | tuple[int, str]) -> None:
    """The adapter repeats under one key: one session, whatever was lost."""
    stage.gateway.trouble = [trouble]
    status, order = await stage.place()
    assert status == 201
    assert order["attempts"][0]["checkout_session"] == stage.gateway.session["id"]
    assert len(stage.gateway.calls) == 2
    assert stage.gateway.calls[0] == stage.gateway.calls[1]


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        ("lose", "outcome_unknown"),
        ((503, "api_error"), "outcome_unknown"),
        ((429, "rate_limit"), "gateway_unreachable"),
    ],
)
async def test_trouble_that_stays_leaves_the_order_pending_and_a_retry_resumes(
    stage: Stage, trouble: str | tuple[int, str], code: str
) -> None:
    """RULES §5: 503, the order stays PENDING; the same key resumes and gets the same order and the one session."""
    stage.gateway.trouble = [trouble] * 3
    status, problem = await stage.place("k")
    assert (status, problem["code"]) == (503, code)
    assert (await stage.order(problem["order"]))["state"] == "PENDING"
    status, order = await stage.place("k")
    assert (status, order["id"]) == (201, problem["order"])
    assert len(stage.gateway.sessions) == 1
    assert await stage.count("orders") == 1
    assert stage.gateway.calls[0] == stage.gateway.calls[-1]


@pytest.mark.parametrize("first", [["lose"] * 3, ["lose"]])
async def test_a_refusal_after_a_try_that_may_have_worked_is_not_the_end(
    stage: Stage, first: list[str | tuple[int, str]]
) -> None:
    """RULES §8: the first try made a session, and what says no is a repetition, in the same call or in a later one: the
    order stays PENDING, and the same call again gets the session."""
    refusal = (400, "parameter_invalid_integer")
    stage.gateway.trouble = [*first] if len(first) == 3 else [*first, refusal]
    status, problem = await stage.place("k")
    assert (status, problem["code"]) == (503, "outcome_unknown")
    stage.gateway.trouble = [refusal]
    assert (await stage.place("k"))[1]["code"] == "outcome_unknown"
    assert (await stage.order(problem["order"]))["state"] == "PENDING"
    status, order = await stage.place("k")
    assert (status, order["id"], len(stage.gateway.sessions)) == (201, problem["order"], 1)


async def test_a_gateway_that_is_not_there_is_said_so(stage: Stage) -> None:
    await stage.database.execute(Statement("x", "UPDATE connection SET url = 'http://127.0.0.1:9'"))
    status, problem = await stage.place("k")
    assert (status, problem["code"]) == (503, "gateway_unreachable")


async def test_wrong_credentials_are_ours_to_mend_and_then_the_same_call_works(stage: Stage) -> None:
    stage.secrets.values["env:KEY"] = "sk_test_wrong"
    status, problem = await stage.place("k")
    assert (status, problem["code"]) == (502, "gateway_misconfigured")
    stage.secrets.values["env:KEY"] = "sk_test_of_no_value"
    status, order = await stage.place("k")
    assert (status, order["id"]) == (201, problem["order"])


async def test_a_refusal_ends_the_order_and_is_replayed(stage: Stage) -> None:
    """RULES §5: a refusal is final for its key; the order is FAILED and its timeline explains why."""
    stage.gateway.trouble = [(400, "amount_too_small")]
    status, problem = await stage.place("k")
    assert (status, problem["code"]) == (422, "gateway_refused")
    assert "amount_too_small" in problem["detail"]
    order = await stage.order(problem["order"])
    assert (order["state"], order["redirect_url"]) == ("FAILED", None)
    assert (await stage.timeline(order["id"]))[-1]["fact"] == {"fact": "session_refused", "code": "amount_too_small"}
    assert await stage.place("k") == (status, problem)
    assert len(stage.gateway.calls) == 1
