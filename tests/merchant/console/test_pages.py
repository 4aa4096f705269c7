"""The merchant's pages for operators: who sees and does what, how orders are found, what is done once (RULES §12)."""

import asyncio
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest

from tallystick.kernel.operators.roles import Role
from tallystick.merchant.access import CONSOLE
from tallystick.merchant.accounts.commands import create_merchant
from tallystick.merchant.console import orders as order_list
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Statement
from tallystick.ports.entropy import SystemEntropy

PERSON = {"email": "ann@shop.example", "name": "Ann Example", "phone": "+49 170 1234567"}
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


async def test_every_page_is_for_its_roles_and_for_nobody_else(stage: Any, log_in: Any) -> None:
    """And what a role may not do is not offered either; without a form's token nothing is done."""
    _, order = await stage.place()
    for role in Role:
        operator = await log_in(role)
        for asked, allowed in CONSOLE.items():
            method, _, path = asked.partition(" ")
            if "/console/account" in path or path == "/console/logout":
                continue
            path = path.replace("{order}", order["id"]).replace("{merchant}", stage.merchant_id)
            path = re.sub(r"{\w+}", "x_1", path)
            answer = await (operator.get(path) if method == "GET" else operator.post(path))
            assert (answer.status == 403) == (role not in allowed), (role, asked, answer.status)
            assert answer.status < 500, (asked, answer.text)
            if method == "POST":
                assert (await operator.post(path, csrf="0" * 64)).status == 403, asked


async def test_an_auditor_and_fulfilment_move_no_money() -> None:
    for asked, allowed in CONSOLE.items():
        if asked.startswith("POST /console/orders"):
            assert not allowed & {Role.AUDITOR, Role.FULFILMENT}, asked


@pytest.mark.parametrize(
    ("sought", "leads_to"),
    [
        ("{id}", "/console/orders/{id}"),
        ("{intent}", "/console/orders/{id}"),
        ("basket-17", "/console/orders?reference=basket-17"),
        ("basket_17", "/console/orders?reference=basket_17"),
        ("25.00 EUR", "/console/orders?amount=25.00&currency=EUR"),
        ("eur 25", "/console/orders?amount=25&currency=EUR"),
        ("", "/console/orders"),
    ],
)
async def test_whatever_a_customer_might_say_leads_there(stage: Any, log_in: Any, sought: str, leads_to: str) -> None:
    _, order = await stage.place(reference=sought if sought.startswith("basket") else "other")
    intent = (await stage.pay(order))["id"]
    support = await log_in("support")
    found = await support.post("/console/search", sought=sought.format(id=order["id"], intent=intent))
    assert (found.status, found.location) == (303, leads_to.format(id=order["id"]))
    assert order["id"] in (await support.get(found.location)).text


async def test_a_search_for_a_merchant_that_there_cannot_be_finds_nothing(log_in: Any) -> None:
    support = await log_in("support")
    for merchant in ("mer_\x00", "' OR ''='"):
        found = await support.post("/console/search", sought="pi_1", merchant=merchant)
        assert (found.status, found.location) == (303, "/console/orders?reference=pi_1")


@pytest.mark.parametrize("typed", ["4242424242424242", "4242 4242 4242 4242", "card 5555-5555-5555-4444"])
async def test_a_card_number_is_neither_looked_for_nor_put_into_an_address(log_in: Any, typed: str) -> None:
    """RULES §9: whoever reads it out to the shop has it in no address, and so in no log of a proxy and no history."""
    support = await log_in("support")
    answer = await support.post("/console/search", sought=typed)
    assert (answer.status, answer.location) == (422, "")
    assert "That could be a whole card number." in answer.text
    assert typed not in answer.text
    number_of_a_shop = await support.post("/console/search", sought="2026112900001")
    assert (number_of_a_shop.status, number_of_a_shop.location) == (303, "/console/orders?reference=2026112900001")


async def test_filters_find_what_fits_and_nothing_else(stage: Any, log_in: Any) -> None:
    _, paid = await stage.place(reference="one")
    await stage.pay(paid)
    _, pending = await stage.place(amount=999, reference="two")
    support = await log_in("support")
    for query, found, other in (
        ("state=PAID", paid, pending),
        ("state=PENDING", pending, paid),
        ("fulfilment=allowed", paid, pending),
        ("reference=two", pending, paid),
        ("amount=9.99&currency=eur", pending, paid),
        ("amount=9,99&currency=EUR&state=PENDING", pending, paid),
    ):
        page = await support.get(f"/console/orders?{query}")
        assert page.status == 200
        assert f"/console/orders/{found['id']}" in page.text, query
        assert f"/console/orders/{other['id']}" not in page.text, query
    for query in ("reference=two&amount=25&currency=EUR", "amount=25&currency=EUR&attention=yes", "since=9999-12-31"):
        assert "There are none" in (await support.get(f"/console/orders?{query}")).text, query
    assert paid["id"] in (await support.get("/console/orders?since=0001-01-01&until=9999-12-31")).text
    today = SystemClock().now().date()
    assert paid["id"] in (await support.get(f"/console/orders?since={today}&until={today}")).text
    assert paid["id"] not in (await support.get("/console/orders?until=2020-01-01")).text
    assert "There are none" in (await support.get("/console/orders?attention=yes")).text
    for bad in (
        "state=paid",
        "amount=1",
        "amount=x&currency=EUR",
        "amount=1&currency=XXX",
        "amount=99999999999999999999&currency=EUR",
        "currency=EUR",
        "since=x",
        "cursor=x",
        "x=1",
    ):
        assert (await support.get(f"/console/orders?{bad}")).status == 422, bad


async def test_pages_of_a_list_follow_each_other(stage: Any, log_in: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By keyset; and a list that looked through enough goes on from there, whether it found something or not."""
    ids = [(await stage.place())[1]["id"] for _ in range(5)]
    monkeypatch.setattr(order_list, "PAGE_ROWS", 2)
    support, address, seen = await log_in("support"), "/console/orders", []
    while address:
        page = await support.get(address)
        seen.append(re.findall(r'href="/console/orders/(ord_\w+)"', page.text))
        following = re.search(r'rel="next" href="([^"]+)"', page.text)
        address = f"/console/orders{following[1].replace('&amp;', '&')}" if following else ""
    assert [id for page in seen for id in page] == ids[::-1]
    assert [len(page) for page in seen] == [2, 2, 1]
    monkeypatch.setattr(order_list, "LOOKED_THROUGH_MAX", 3)
    page = await support.get("/console/orders?state=PAID")
    assert "among the 3 orders looked through" in page.text
    assert f"cursor={ids[2]}" in page.text
    page = await support.get("/console/orders?state=PAID&amount=25&currency=EUR")
    assert "among the 3 orders looked through" in page.text, "also of those over an amount"
    assert 'rel="next"' not in (await support.get(f"/console/orders?state=PAID&cursor={ids[1]}")).text


async def test_an_order_is_shown_with_what_may_be_done(stage: Any, log_in: Any) -> None:
    _, order = await stage.place(reference="basket-17")
    page = await (await log_in("support")).get(f"/console/orders/{order['id']}")
    assert "basket-17" in page.text
    assert "€25.00" in page.text
    assert f'action="/console/orders/{order["id"]}/cancel"' in page.text
    assert "/refund" not in page.text
    await stage.pay(order)
    path = f'action="/console/orders/{order["id"]}/refund"'
    assert path in (await (await log_in("finance")).get(f"/console/orders/{order['id']}")).text
    for role in ("support", "auditor", "fulfilment"):
        assert path not in (await (await log_in(role)).get(f"/console/orders/{order['id']}")).text
    for unknown in ("ord_x", "x", f"ord_{'0' * 41}"):
        assert (await (await log_in("support")).get(f"/console/orders/{unknown}")).status == 404


async def test_money_goes_back_once_however_often_the_form_is_sent(stage: Any, log_in: Any) -> None:
    _, order = await stage.place()
    await stage.pay(order)
    finance, path = await log_in("finance"), f"/console/orders/{order['id']}/refund"
    asked = await finance.post(path, amount="10.00")
    assert "€10.00 go back" in asked.text
    assert stage.gateway.refunds == [], "nothing before it was confirmed"
    sent = asked.fields(path)
    answers = await asyncio.gather(*(finance.post(path, **sent) for _ in range(5)))
    assert {answer.status for answer in answers} <= {303, 409}, [answer.text for answer in answers]
    assert 303 in {answer.status for answer in answers}
    [refund] = stage.gateway.refunds
    assert refund["amount"] == 1000
    assert (await stage.order(order["id"]))["amount_refunded"] == 1000
    assert (await finance.confirm(path, amount="99.00")).status == 409, "more than is left: the command says no"
    assert (await finance.post(path, amount="1.001")).status == 422
    assert (await finance.confirm(path)).status == 303
    assert (await stage.order(order["id"]))["amount_refunded"] == 2500


async def test_an_order_is_cancelled_and_paid_again(stage: Any, log_in: Any) -> None:
    _, order = await stage.place()
    support, path = await log_in("support"), f"/console/orders/{order['id']}"
    assert (await support.confirm(f"{path}/cancel")).status == 303
    [wish] = [line for line in await stage.timeline(order["id"]) if line["fact"]["fact"] == "close_requested"]
    assert wish["reference"].startswith("console:")
    await stage.close(order)
    assert (await stage.order(order["id"]))["state"] == "CANCELED"
    assert (await support.confirm(f"{path}/pay-again")).status == 303
    again = await stage.order(order["id"])
    assert (again["state"], len(again["attempts"])) == ("PENDING", 2)
    assert (await support.confirm(f"{path}/pay-again")).status == 409


async def test_no_page_shows_personal_data_without_the_policy(stage: Any, log_in: Any) -> None:
    """Found by what they are called: by ids; read: what the purpose grants; and each of it is in the access log."""
    _, order = await stage.place(customer={name: PERSON[name] for name in ("email", "name")})
    _, kept = await stage.post("/v1/customers", {"phone": PERSON["phone"]})
    support, customer = await log_in("support"), order["customer"]
    found = await support.post("/console/search", sought=PERSON["email"])
    assert found.status == 200
    assert customer in found.text
    by_phone = await support.post("/console/customers/search", sought="+491701234567", merchant=stage.merchant_id)
    assert kept["id"] in by_phone.text
    page = f"/console/merchants/{stage.merchant_id}/customers/{customer}"
    before = await support.get(page)
    granted = await support.get(f"{page}?purpose=support")
    assert PERSON["name"] in granted.text
    assert PERSON["email"] in granted.text
    denied = await support.get(f"{page}?purpose=data_request")
    fulfilment = await (await log_in("fulfilment")).post("/console/search", sought=PERSON["email"])
    assert (denied.status, fulfilment.status) == (403, 403)
    others = [
        await support.get(path) for path in ("/console/orders", f"/console/orders/{order['id']}", "/console/overview")
    ]
    others += [await support.get(f"/console/orders?{urlencode({'customer': customer})}")]
    assert order["id"] in others[-1].text
    for answer in (found, by_phone, before, denied, fulfilment, *others):
        for datum in PERSON.values():
            assert datum not in answer.text
            assert datum not in answer.location
    log = await (await log_in("auditor")).get(f"/console/merchants/{stage.merchant_id}/accesses")
    assert log.text.count("denied") >= 1
    assert customer in log.text
    trail = Statement("trail", "SELECT coalesce(string_agg(asked::text, ' '), '') AS told FROM audit_entry")
    [row] = await stage.database.rows(trail)
    assert "170" not in row["told"]
    assert "ann@" not in row["told"]


async def test_who_may_erases_a_person_for_ever(stage: Any, log_in: Any) -> None:
    _, order = await stage.place(customer={"email": PERSON["email"]})
    admin, page = await log_in("admin"), f"/console/merchants/{stage.merchant_id}/customers/{order['customer']}"
    assert "erase" not in (await (await log_in("support")).get(page)).text
    assert (await admin.confirm(f"{page}/erase")).status == 303
    assert (await admin.get(f"{page}?purpose=data_request")).status == 404
    assert (await stage.order(order["id"]))["state"] == "PENDING"


async def test_webhooks_that_came_to_nothing_are_tried_again_in_bulk(stage: Any, log_in: Any) -> None:
    """Filters, dry run, and then the inbox's own worker does it."""
    for n in range(3):
        await stage.database.execute(
            Statement(
                "parked",
                "INSERT INTO inbox (merchant_id, connection_id, event_id, type, state, tries, received_at, raw)"
                " VALUES ($1::text, $2::text, $3::text, 'charge.refunded', 'parked', 6, $4::timestamptz, $5::bytea)",
            ),
            stage.merchant_id,
            stage.connection_id,
            f"evt_{n}",
            AT,
            b'{"id": "evt", "type": "charge.refunded", "data": {"object": {}}}',
        )
    support = await log_in("support")
    page = await support.get("/console/inbox?state=parked&type=charge.refunded")
    assert page.text.count("<code>evt_") == 3
    assert "<code>evt_" not in (await support.get("/console/inbox?state=failed")).text
    asked = await support.post("/console/inbox/run", merchant=stage.merchant_id, state="parked")
    assert "Try 3 webhooks again?" in asked.text
    due = Statement("due", "SELECT count(*)::int AS n FROM inbox WHERE due_at IS NOT NULL")
    assert (await stage.database.rows(due))[0]["n"] == 0, "it was a dry run"
    done = await support.post("/console/inbox/run", **asked.fields("/console/inbox/run"))
    assert (done.status, "tried=3" in done.location) == (303, True)
    assert (await stage.database.rows(due))[0]["n"] == 3
    assert "3 webhooks are tried again" in (await support.get(done.location)).text
    for bad in ("since=x", "state=x", "x=1"):
        assert (await support.get(f"/console/inbox?{bad}")).status == 422
    assert (await support.post("/console/inbox/run", state="parked")).status == 400


async def test_notifications_that_died_are_redriven(stage: Any, log_in: Any) -> None:
    for n in range(3):
        await stage.database.execute(
            Statement(
                "dead",
                "INSERT INTO delivery (owner_id, id, livemode, message, api_version, endpoint, state, tries, due_at,"
                " reason, created_at, finished_at) VALUES ($1::text, $2::text, true, $2::text, 'v', 'we_1', 'dead', 1,"
                " $3::timestamptz, $4::text, $3::timestamptz, $3::timestamptz)",
            ),
            stage.merchant_id,
            f"dlv_{n}",
            AT,
            f"http_50{n % 2}",
        )
    support = await log_in("support")
    assert (await support.get("/console/dead-letters")).text.count('class="small">dlv_') == 3
    assert (await support.get("/console/dead-letters?reason=http_500")).text.count('class="small">dlv_') == 2
    asked = await support.post("/console/redrives", merchant=stage.merchant_id, reason="http_500")
    assert "Redrive 2 dead letters?" in asked.text
    begun = await support.post("/console/redrives", **asked.fields("/console/redrives"))
    page = await support.get(begun.location)
    assert "0 of 2 dead letters, running" in page.text
    assert '<noscript><meta http-equiv="refresh"' in page.text
    assert (await support.post(f"{begun.location}/cancel")).status == 303
    assert "canceled" in (await support.get(begun.location)).text
    assert (await support.post("/console/redrives", reason="http_500")).status == 400, "of whose?"


async def test_a_case_is_proposed_by_one_and_approved_by_another(stage: Any, log_in: Any) -> None:
    insert = Statement(
        "a_case",
        "INSERT INTO cases (merchant_id, case_id, kind, subject, state, details, opened_at) VALUES ($1::text,"
        " 'cas_1', 'webhook_unmatched', 'con_1:pi_1', 'open', '{\"event\": \"evt_1\"}', '2026-01-01T00:00:00Z')",
    )
    await stage.database.execute(insert, stage.merchant_id)
    ann, bob = await log_in("finance", "ann"), await log_in("finance", "bob")
    page = f"/console/merchants/{stage.merchant_id}/cases/cas_1"
    assert "webhook unmatched" in (await ann.get("/console/cases")).text
    assert (await ann.post(f"{page}/proposals", action="close", note="")).status == 422
    assert (await ann.post(f"{page}/proposals", action="close", note="It was another shop's.")).status == 303
    waiting = await ann.get(page)
    assert "Another person must approve it" in waiting.text
    assert f'action="{page}/approve"' not in waiting.text
    refused = await ann.post(f"{page}/approve", confirmed="yes")
    assert (refused.status, "another person must" in refused.text) == (409, True)
    before = (await bob.post(f"{page}/approve")).fields(f"{page}/approve")
    await (await log_in("finance", "cid")).post(f"{page}/reject")
    await ann.post(f"{page}/proposals", action="close", note="It was another shop's.")
    late = await bob.post(f"{page}/approve", **before)
    assert (late.status, "look at it first" in late.text) == (409, True), "what he saw is not what is proposed by now"
    asked = await bob.post(f"{page}/approve")
    assert "ann proposed it: It was another shop&#39;s." in asked.text
    assert (await bob.post(f"{page}/approve", **asked.fields(f"{page}/approve"))).status == 303
    assert "closed" in (await ann.get(page)).text
    assert "There are none" in (await ann.get("/console/cases")).text
    assert "cas_1" in (await ann.get("/console/cases?state=any")).text
    assert (await ann.get("/console/cases?state=x")).status == 400


async def test_days_and_their_mismatches_are_shown(stage: Any, log_in: Any) -> None:
    status, run = await stage.post("/v1/reconciliations", {"date": "2026-11-01", "dry_run": True})
    assert status == 202
    mismatch = Statement(
        "a_mismatch",
        "INSERT INTO mismatch (merchant_id, reconciliation_id, code, subject, connection_id, currency, amount_minor,"
        " resolution, state, found_at) VALUES ($1::text, $2::text, 'unknown_payment', 'pi_1', 'con_1', 'EUR', 1234,"
        " 'case', 'case', $3::timestamptz)",
    )
    await stage.database.execute(mismatch, stage.merchant_id, run["id"], AT)
    finance = await log_in("finance")
    assert "2026-11-01" in (await finance.get("/console/reconciliations")).text
    page = await finance.get(f"/console/merchants/{stage.merchant_id}/reconciliations/{run['id']}")
    assert "unknown payment" in page.text
    assert "€12.34" in page.text


async def test_a_day_that_was_refused_does_not_fit(stage: Any, log_in: Any) -> None:
    """It said 'Everything fits.', since nothing had been compared."""
    _, run = await stage.post("/v1/reconciliations", {"date": "2026-11-02", "dry_run": True})
    refuse = Statement(
        "refuse",
        "UPDATE reconciliation SET state = 'refused', finished_at = $3::timestamptz, due_at = NULL"
        " WHERE merchant_id = $1::text AND reconciliation_id = $2::text",
    )
    await stage.database.execute(refuse, stage.merchant_id, run["id"], AT)
    page = await (await log_in("finance")).get(f"/console/merchants/{stage.merchant_id}/reconciliations/{run['id']}")
    assert ("Nothing was compared" in page.text, "Everything fits" in page.text) == (True, False)


async def test_the_overview_says_what_the_metrics_say(stage: Any, log_in: Any) -> None:
    _, order = await stage.place()
    await stage.pay(order)
    await stage.place()
    page = await (await log_in("auditor")).get("/console/overview")
    assert "1 of 2 attempted, 1h" in page.text
    assert "50 %" in page.text
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    await stage.service.watched.metrics({"type": "http", "path": "/metrics", "method": "GET"}, None, send)
    metrics = said[1]["body"].decode()
    for state in ("PAID", "PENDING"):
        assert f'tallystick_orders_created{{attempted="yes",state="{state}",window="1h"}} 1.0' in metrics
    assert "<svg" in page.text
    assert page.text.count("as a table</summary>") == 6


async def test_pages_about_one_merchant_show_nothing_of_another(stage: Any, log_in: Any) -> None:
    await stage.place(reference="of tea")
    other = await create_merchant(stage.database, SystemClock(), SystemEntropy(), name="Other", return_origins=[])
    support = await log_in("support")
    for path in (
        "/console/orders",
        "/console/inbox",
        "/console/dead-letters",
        "/console/cases",
        "/console/reconciliations",
    ):
        page = await support.get(f"{path}?merchant={other.merchant_id}")
        assert page.status == 200
        assert "of tea" not in page.text
        assert f'<option value="{other.merchant_id}" selected>Other' in page.text, "one chooses"
        assert f"/console/orders?merchant={other.merchant_id}" in page.text, "and stays there"
    assert "of tea" in (await support.get(f"/console/orders?merchant={stage.merchant_id}")).text
    assert (await support.get("/console/orders?merchant=x")).status == 200


async def test_pages_are_small_and_have_nothing_inline(stage: Any, log_in: Any) -> None:
    for _ in range(60):
        await stage.place(reference="r" * 40)
    admin = await log_in("admin")
    for path in ("/console/overview", "/console/orders"):
        page = await admin.get(path)
        assert len(page.text.encode()) < 200_000
        assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son[a-z]+=", page.text)
        assert "connect-src 'self'" in page.headers["content-security-policy"]


async def test_a_fault_of_ours_is_logged_and_not_blamed_on_the_database(
    stage: Any, log_in: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A row that is there already is no database that is away: whoever reloads in a moment sees the same again."""
    _, order = await stage.place()
    spoil = Statement("spoil", "UPDATE orders SET version = 0 WHERE merchant_id = $1::text")
    await stage.database.execute(spoil, stage.merchant_id)
    answer = await (await log_in("support")).confirm(f"/console/orders/{order['id']}/cancel")
    assert answer.status == 500
    assert "a page of operators broke" in caplog.text
