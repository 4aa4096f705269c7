"""The gateway's pages for operators over HTTP: what they show and to whom, what they do, what they never show."""

import asyncio
import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tallystick.gateway.access import CONSOLE, CONSOLE_SANDBOX
from tallystick.gateway.console.hours import HOURS, Hours, charts_of, read_hours
from tallystick.gateway.console.overview import READ_AGAIN_S
from tallystick.kernel.identifiers import first_id
from tallystick.kernel.operators.roles import Role
from tallystick.ports.asyncpg_database import open_database

PAGE_BYTES_MAX = 200_000
ROUTES = {**CONSOLE, **CONSOLE_SANDBOX}
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


def at(route: str, ids: dict[str, str]) -> str:
    """The path of a route, with ids in place of its parameters."""
    return re.sub(r"\{(\w+)\}", lambda found: ids.get(found[1], "x_1"), route.partition(" ")[2])


@pytest.fixture(scope="module")
def paid(office: Any) -> Any:
    """A payment that was refunded in part and told to a receiver that nobody answers at."""
    office.shop.post(
        "/v1/webhook_endpoints", {"url": "http://127.0.0.1:1/hook?token=verysecret", "enabled_events[]": "*"}
    )
    intent = office.pay(
        **{
            "metadata[order_id]": "basket-17",
            "metadata[email]": "ada@example.com",
            "description": "a gift for Ada Lovelace",
        }
    )
    refund = {"payment_intent": intent["id"], "amount": "700"}
    assert office.shop.post("/v1/refunds", refund, key="refund-of-basket-17").status == 200
    return intent


def test_every_page_is_there_and_small_and_has_no_secret(office: Any, paid: Any) -> None:
    ada = office.people[Role.ADMIN]
    ids = {"payment_id": paid["id"], "account_id": office.account}
    secrets = [row[0] for row in office.rows("SELECT unnest(secrets) FROM webhook_endpoint")]
    secrets += [row[0] for row in office.rows("SELECT client_secret FROM payment_intent")]
    secrets += [row[0] for row in office.rows("SELECT fingerprint FROM payment_method")]
    secrets += ["verysecret", "ada@example.com", "Lovelace", office.gateway.test.secret_key]
    looked_at = 0
    for route in ROUTES:
        if not route.startswith("GET ") or re.search(r"\{(delivery|redrive)_id\}", route):
            continue
        answer = ada.get(at(route, ids))
        assert answer.status == 200, route
        assert len(answer.body) < PAGE_BYTES_MAX, route
        assert "default-src 'none'" in answer.headers["content-security-policy"], route
        text = answer.body.decode()
        assert " style=" not in text, route
        assert not [secret for secret in secrets if secret in text], route
        looked_at += 1
    assert looked_at > 15


@pytest.mark.parametrize("role", list(Role))
def test_roles_decide_what_is_shown_and_done(office: Any, paid: Any, role: Role) -> None:
    """Whoever may not is told so, and is not offered the link."""
    person = office.people[role]
    bar = re.findall(r'href="(/console/[a-z-]+)"', person.page("/console/account").partition("</nav>")[0])
    for route, allowed in ROUTES.items():
        if route in ("POST /console/logout", "POST /console/account/logout-everywhere"):
            continue
        path = at(route, {"payment_id": paid["id"], "account_id": office.account})
        answer = person.get(path) if route.startswith("GET ") else person.send(path)
        assert (answer.status == 403) == (role not in allowed), f"{role} {route}: {answer.status}"
        if role not in allowed:
            assert b"does not allow" in answer.body
            assert route.startswith("POST ") or path not in bar


def test_a_form_without_the_sessions_token_does_nothing(office: Any) -> None:
    ada = office.people[Role.ADMIN]
    for route in ROUTES:
        if route.startswith("POST ") and "account" not in route and "logout" not in route:
            assert ada.send(at(route, {}), {"csrf": "0" * 64}).status == 403, route
    assert office.rows("SELECT count(*) FROM fault") == [(0,)]


@pytest.mark.parametrize("path", ["payments", "accounts", "endpoints", "cases", "unknown-outcomes", "disputes"])
@pytest.mark.parametrize("query", ["x=1", "cursor=%00", "account=%27", "since=x"])
def test_what_cannot_be_read_is_told(office: Any, path: str, query: str) -> None:
    answer = office.people[Role.ADMIN].get(f"/console/{path}?{query}")
    assert answer.status == 422
    assert b"cannot be read" in answer.body


@pytest.mark.parametrize("id", ["pi_nothing", "x%00y", "%3Cb%3E", "pi_" + "0" * 400])
def test_what_is_not_there_is_told(office: Any, id: str) -> None:
    for page in ("payments", "accounts", "dead-letters", "redrives"):
        assert office.people[Role.ADMIN].get(f"/console/{page}/{id}").status in (400, 404)


# Payments


def found(page: str) -> list[str]:
    """The payments on a page of the list."""
    return re.findall(r'href="/console/payments/(pi_\w+)"', page)


def test_a_payment_is_found_by_whatever_somebody_can_say(office: Any, paid: Any) -> None:
    ada, id = office.people[Role.SUPPORT], paid["id"]
    [(refund,)] = office.rows("SELECT id FROM refund WHERE payment_intent = %s", id)
    [(entry,)] = office.rows("SELECT id FROM ledger_transaction WHERE payment_intent = %s AND kind = 'charge'", id)
    [(request,)] = office.rows("SELECT id FROM acquirer_request WHERE payment_intent = %s", id)
    event, delivery = office.rows("SELECT message, id FROM delivery ORDER BY id LIMIT 1")[0]
    ids = [id, paid["latest_charge"], paid["payment_method"], refund, entry, request, event, delivery]
    for said in ids:
        answer = ada.get(f"/console/payments?q={said}")
        assert (answer.status, answer.headers.get("location")) == (303, f"/console/payments/{id}"), said
    for said in ("25.00+EUR", "eur+25", "25,00eur", "visa+4242", "4242", "ending+4242", "basket-17"):
        assert id in found(ada.page(f"/console/payments?q={said}")), said
    for said in ("25.01+EUR", "25.00+USD", "mastercard+4242", "4241", "basket-18", "ch_nothing", "evt_nothing"):
        assert id not in found(ada.page(f"/console/payments?q={said}")), said
    assert found(ada.page(f"/console/payments?q=basket-17&account={office.account}&mode=test")) == [id]
    assert found(ada.page(f"/console/payments?q=basket-17&account={office.account}&mode=live")) == []


@pytest.mark.parametrize("typed", ["4242424242424242", "4242+4242+4242+4242", "order+5555-5555-5555-4444"])
def test_a_card_number_is_neither_looked_for_nor_repeated(office: Any, typed: str) -> None:
    answer = office.people[Role.SUPPORT].get(f"/console/payments?q={typed}")
    assert answer.status == 422
    assert b"whole card number" in answer.body
    assert typed.replace("+", " ").encode() not in answer.body


def test_filters_leave_out_what_does_not_fit(office: Any, paid: Any) -> None:
    ada = office.people[Role.SUPPORT]
    declined = office.pay("pm_card_chargeDeclined", currency="usd")["id"]
    assert {paid["id"], declined} <= set(found(ada.page("/console/payments")))
    assert found(ada.page("/console/payments?status=requires_payment_method")) == [declined]
    assert paid["id"] in found(ada.page("/console/payments?currency=eur"))
    assert declined not in found(ada.page("/console/payments?currency=eur"))
    assert found(ada.page("/console/payments?until=2026-01-01T00:00:00Z")) == []
    assert found(ada.page("/console/payments?account=acct_nobody")) == []


def test_pages_follow_one_another_across_accounts(office: Any) -> None:
    """Each payment once, the newest first, whoever's it is and whatever is left out."""
    accounts = [row[0] for row in office.rows("SELECT account_id FROM account ORDER BY account_id")]
    ids = []
    for n in range(130):
        made_at = AT - timedelta(minutes=n)
        ids.append(f"{first_id('pi', made_at)}{n:016d}")
        office.change(
            "INSERT INTO payment_intent (account_id, livemode, id, version, status, amount, currency, capture_method,"
            " client_secret, canceled_at, created_at)"
            " VALUES (%s, %s, %s, 1, %s, 4711, 'CHF', 'automatic', 's', %s, %s)",
            accounts[n % 2],
            n % 3 == 0,
            ids[-1],
            "canceled" if n % 5 == 0 else "requires_payment_method",
            AT if n % 5 == 0 else None,
            made_at,
        )
    until = (AT + timedelta(seconds=1)).isoformat().replace("+00:00", "Z")
    for query, wanted in (
        ("", ids),
        ("&status=canceled", ids[::5]),
        ("&mode=live", ids[::3]),
        (f"&account={accounts[1]}", ids[1::2]),
        ("&q=47.11+chf", ids),
    ):
        assert all_pages(office, f"/console/payments?until={until}{query}") == wanted, query


def all_pages(office: Any, path: str) -> list[str]:
    """What stands on a list and on the pages behind it."""
    gone_through = []
    for _ in range(20):
        page = office.people[Role.AUDITOR].page(path)
        gone_through += found(page)
        link = re.search(r'<a rel="next" href="([^"]+)">', page)
        if link is None:
            return gone_through
        path = "/console/payments" + link[1].replace("&amp;", "&")
    raise AssertionError("the pages do not end")


def test_the_page_of_a_payment_tells_all_of_it(office: Any, paid: Any) -> None:
    office.until("SELECT 1 FROM delivery_attempt LIMIT 1")
    page = office.people[Role.SUPPORT].page(f"/console/payments/{paid['id']}")
    for told in (
        "€25.00",
        "basket-17",
        "visa …4242",
        paid["latest_charge"],
        "€7.00",
        "refund_clearing",
        "charge.succeeded",
        "connection_refused",
        "refund-of-basket-17",
        "Shop</a>, test mode",
    ):
        assert told in page, told
    assert "<h2>Disputes" not in page


# What a person does


def test_an_unknown_outcome_is_resolved_with_evidence(office: Any) -> None:
    """By whom the operator API would let, with the words it would refuse with."""
    finance, support = office.people[Role.FINANCE], office.people[Role.SUPPORT]
    office.people[Role.ADMIN].send("/console/faults", {"place": "acquirer", "kind": "timeout", "calls": "1"})
    intent = office.pay(amount="1234")
    [(charge,)] = office.until("SELECT id FROM charge WHERE payment_intent = %s AND state = 'unknown'", intent["id"])
    for path in ("/console/unknown-outcomes", f"/console/payments/{intent['id']}"):
        assert f"/console/unknown-outcomes/{charge}/resolve" in finance.page(path)
        assert charge in support.page(path)
        assert f"/console/unknown-outcomes/{charge}/resolve" not in support.page(path), "not offered"
    path, told = f"/console/unknown-outcomes/{charge}/resolve", {"account": office.account, "livemode": "false"}
    assert support.send(path, told).status == 403
    assert finance.send(path, told).status == 422
    refused = finance.send(path, {**told, "outcome": "done", "evidence": "they said so"})
    assert (refused.status, b"reference" in refused.body) == (422, True)
    assert finance.send(path, {**told, "outcome": "refused", "evidence": "their list of the day"}).status == 303
    assert finance.send(path, {**told, "outcome": "refused", "evidence": "again"}).status == 409
    assert office.rows("SELECT outcome, evidence, operator FROM outcome_resolution WHERE object = %s", charge) == [
        ("refused", "their list of the day", "finance")
    ]
    assert charge not in finance.page("/console/unknown-outcomes")


def test_a_case_is_closed_with_a_note(office: Any, paid: Any) -> None:
    office.change(
        "INSERT INTO cases (account_id, livemode, id, kind, subject, payment_intent, charge, amount, currency,"
        " opened_at)"
        " VALUES (%s, false, 'cas_1', 'over_refunded', 're_1', %s, %s, 700, 'EUR', %s)",
        office.account,
        paid["id"],
        paid["latest_charge"],
        AT,
    )
    finance = office.people[Role.FINANCE]
    assert "done after all" in finance.page("/console/cases")
    assert "done after all" in finance.page(f"/console/payments/{paid['id']}")
    told = {"account": office.account, "livemode": "false"}
    assert finance.send("/console/cases/cas_1/close", {**told, "note": "  "}).status == 422
    assert finance.send("/console/cases/cas_1/close", {**told, "note": "the shop was asked"}).status == 303
    assert finance.send("/console/cases/cas_1/close", {**told, "note": "again"}).status == 409
    assert "cas_1" not in finance.page("/console/cases")
    assert "the shop was asked" in finance.page("/console/cases?state=closed")
    acts = office.rows(
        "SELECT act, subject FROM audit_entry WHERE act LIKE '%%cases%%' AND via = 'console' ORDER BY id"
    )
    assert ("POST /console/cases/{case_id}/close", "cas_1") in acts


def test_faults_are_set_refused_and_cleared(office: Any) -> None:
    ada = office.people[Role.ADMIN]
    assert ada.send("/console/faults", {"place": "acquirer", "kind": "duplicate"}).status == 422
    assert ada.send("/console/faults", {"place": "acquirer", "kind": "decline", "delay_s": "2"}).status == 422
    assert ada.send("/console/faults", {"place": "api", "kind": "drop_answer", "calls": "x"}).status == 422
    for kind in ("decline", "slow"):
        assert ada.send("/console/faults", {"place": "acquirer", "kind": kind, "account": "acct_nobody"}).status == 303
    ids = re.findall(r"/console/faults/(flt_\w+)/clear", ada.page("/console/faults"))
    assert len(ids) >= 2
    assert "/clear" not in office.people[Role.AUDITOR].page("/console/faults")
    assert ada.send(f"/console/faults/{ids[0]}/clear").status == 303
    assert ada.send(f"/console/faults/{ids[0]}/clear").status == 404
    assert ada.send("/console/faults/clear").status == 303
    assert office.rows("SELECT count(*) FROM fault") == [(0,)]


def test_dead_letters_are_counted_and_redriven_in_bulk(office: Any, paid: Any) -> None:
    """First how many, and nothing happens; then all that fit, at the pace that was asked for."""
    support = office.people[Role.SUPPORT]
    office.change(
        "UPDATE delivery SET state = 'dead', reason = 'http_500', finished_at = %s WHERE message IN"
        " (SELECT id FROM event WHERE object_id = %s)",
        AT,
        paid["id"],
    )
    [(id, dead)] = office.rows("SELECT max(id), count(*) FROM delivery WHERE state = 'dead'")
    letter = support.page(f"/console/dead-letters/{id}")
    assert "http://127.0.0.1:1/hook?…" in letter
    assert "verysecret" not in letter
    asked = {"account": office.account, "livemode": "false", "reason": "http_500"}
    shown = support.send("/console/redrives", asked).body.decode()
    assert f"Redrive {dead} dead letter" in shown
    assert office.rows("SELECT count(*) FROM redrive") == [(0,)]
    assert support.send("/console/redrives", {**asked, "rate_max": "0"}).status == 400
    begun = support.send("/console/redrives", {**asked, "confirmed": "yes", "rate_max": "7"})
    assert begun.status == 303
    assert office.rows("SELECT matched, rate_max, created_by FROM redrive") == [(dead, 7, "support")]
    assert begun.headers["location"] in support.page("/console/redrives")
    office.until("SELECT 1 FROM redrive WHERE state = 'done'")


def test_endpoints_are_shown_with_how_they_stand(office: Any, paid: Any) -> None:
    [(id,)] = office.rows("SELECT id FROM webhook_endpoint LIMIT 1")
    office.change(
        "INSERT INTO endpoint_health (owner_id, livemode, endpoint, width, failures, reason, broken_until)"
        " VALUES (%s, false, %s, 1, 9, 'http_500', 'infinity') ON CONFLICT (owner_id, livemode, endpoint)"
        " DO UPDATE SET failures = 9, reason = 'http_500', broken_until = '2099-01-01T00:00:00Z'",
        office.account,
        id,
    )
    page = office.people[Role.SUPPORT].page(f"/console/endpoints?ailing=true&endpoint={id}")
    assert id in page
    assert "broken" in page
    assert "http://127.0.0.1:1/hook?…" in page, "not what stands behind it"
    assert id not in office.people[Role.SUPPORT].page("/console/endpoints?account=acct_nobody")


def test_card_testing_is_shown_without_who(office: Any) -> None:
    [(ahead_ms,)] = office.rows("SELECT coalesce(max(offset_ms), 0) FROM sandbox_clock")
    now = (datetime.now(UTC) + timedelta(milliseconds=ahead_ms)).replace(minute=0, second=0, microsecond=0)
    for subject, declines in (("address 203.0.113.77", 500), ("address 2001:db8:1:2::/64", 1), ("card fing", 3)):
        office.change(
            "INSERT INTO payment_tries (account_id, livemode, subject, window_at, tries, declines)"
            " VALUES (%s, true, %s, %s, 600, %s)",
            office.account,
            subject,
            now,
            declines,
        )
    page = office.people[Role.SUPPORT].page(f"/console/card-testing?account={office.account}")
    assert "from 203.0.113.0/24" in page
    assert "from 2001:db8:1::/48" in page
    assert "203.0.113.77" not in page
    assert "fing" not in page
    assert "refused" in page


# The overview


def test_the_overview_tells_the_numbers_of_the_metrics(office: Any, paid: Any) -> None:
    reached, approved = office.rows(
        "SELECT count(*) FILTER (WHERE state IN ('approved', 'declined', 'unknown', 'reversing', 'reversed')),"
        " count(*) FILTER (WHERE state IN ('approved', 'reversing', 'reversed')) FROM charge"
    )[0]
    told, ends_at = f"{approved} of {reached} that reached the acquirer", time.monotonic() + 3 * READ_AGAIN_S
    while told not in (page := office.people[Role.SUPPORT].page("/console")):
        assert time.monotonic() < ends_at, "a page is a few seconds old at most"
        time.sleep(0.2)
    assert "Workers seen" in page
    assert "Dead letters" in page
    assert office.people[Role.FULFILMENT].get("/console").headers["location"] == "/console/account"


def test_the_overview_tells_what_the_last_round_of_checks_found_whichever_process_made_it(office: Any) -> None:
    found = (
        "INSERT INTO alert_gauge (metric, labels, value, seen_at)"
        " VALUES ('invariant_violations', 'rule=books', %s, now())"
        " ON CONFLICT (metric, labels) DO UPDATE SET value = excluded.value"
    )
    support, tile = office.people[Role.SUPPORT], re.compile(r"Ledger and other rules broken</dt><dd>7<")
    ends_at = time.monotonic() + 4 * READ_AGAIN_S
    while not tile.search(support.page("/console")):
        office.change(found, 7)  # again: a round of this gateway's own may fall between
        assert time.monotonic() < ends_at, "a page is a few seconds old at most"
        time.sleep(0.2)
    office.change("DELETE FROM alert_gauge WHERE labels = 'rule=books'")


def test_the_overview_draws_the_charges_and_deliveries_of_the_last_hours(office: Any, paid: Any) -> None:
    """Each in the hour in which it was made, and nothing of before."""
    [(now,)] = office.rows("SELECT max(created_at) FROM charge")
    hour = now.replace(minute=0, second=0, microsecond=0)

    async def read(at: datetime) -> Hours:
        database = await open_database(office.gateway.dsn, connections_max=2)
        try:
            return await read_hours(database, [office.account], at)
        finally:
            await database.close()

    shown = asyncio.run(read(now))
    assert len(shown.begin) == HOURS
    assert shown.begin[-1] == hour
    [(charges_made,)] = office.rows("SELECT count(*) FROM charge WHERE created_at >= %s", hour)
    made = "SELECT count(*) FROM delivery WHERE owner_id = %s AND created_at >= %s"
    [(deliveries_made,)] = office.rows(made, office.account, hour)
    assert sum(shown.charges[-1].values()) == charges_made
    assert sum(shown.deliveries[-1].values()) == deliveries_made
    later = asyncio.run(read(now + timedelta(hours=2)))
    assert later.charges[-3:] == [shown.charges[-1], {}, {}]
    assert not any(asyncio.run(read(now + timedelta(hours=25))).deliveries)

    charges, authorization, *_ = charts_of(shown, {"days": 0.0})
    assert charges.rows[-1].label == f"{hour:%H}:00"
    assert sum(int(value) for value in charges.rows[-1].values) == charges_made
    assert any(row.values != ("–",) for row in authorization.rows)
    assert charges.title in office.people[Role.SUPPORT].page("/console")


# Money


def test_days_are_closed_and_corrected_and_the_ledger_is_checked(office: Any, paid: Any) -> None:
    """The time is moved by a day first; then the day's report, the balance, and rules that hold."""
    finance, ada = office.people[Role.FINANCE], office.people[Role.ADMIN]
    [(day,)] = office.rows("SELECT min(next_day) FROM balance_account WHERE account_id = %s", office.account)
    assert ada.send("/console/clock", {"advance_s": "0"}).status == 422
    assert ada.send("/console/clock", {"advance_s": "90000"}).status == 303
    office.until("SELECT 1 FROM sandbox_clock WHERE offset_ms >= 90000000")
    assert finance.send("/console/settlements", {"account": office.account, "date": "soon"}).status == 422
    assert finance.send("/console/settlements", {"account": office.account, "date": str(day)}).status == 303
    shown = finance.page(f"/console/settlements?account={office.account}&date={day}")
    assert str(day) in shown
    assert "stl_" in shown
    assert finance.send("/console/settlements/correct", {"account": office.account}).status == 422
    asked = {"account": office.account, "date": str(day)}
    assert finance.send("/console/settlements/correct", asked).status == 303
    balance = finance.page(f"/console/balance?account={office.account}&check=true")
    assert "nothing, as it must be" in balance
    assert "not nothing" not in balance
    assert balance.count("holds") == 4
    office.change(
        "INSERT INTO payout (account_id, livemode, id, currency, day, amount, status, arrival_at, created_at)"
        " VALUES (%s, false, 'po_1', 'JPY', %s, 5000, 'failed', %s, %s)",
        office.account,
        day,
        AT,
        AT,
    )
    assert "¥5,000" in finance.page("/console/payouts?status=failed")
    for status in ("paid", "pending", "canceled"):
        page = finance.page(f"/console/payouts?status={status}")
        assert ("po_1" in page, "cannot be read" in page, f'value="{status}" selected' in page) == (False, False, True)
    office.change("UPDATE payout SET status = 'canceled', automatic = false WHERE id = 'po_1'")
    assert "po_1" in finance.page("/console/payouts?status=canceled")


def test_disputes_are_listed_by_what_became_of_them(office: Any) -> None:
    for n, status in enumerate(("needs_response", "lost")):
        office.change(
            "INSERT INTO dispute (account_id, livemode, id, version, payment_intent, charge, reference, status, amount,"
            " currency, reason, brand, created_at, evidence_due_at)"
            " VALUES (%s, false, %s, 1, 'pi_1', 'ch_1', %s, %s, 900, 'EUR', 'fraudulent', 'visa', %s, %s)",
            office.account,
            f"dp_{n}",
            f"ref{n}",
            status,
            AT,
            AT,
        )
    finance = office.people[Role.FINANCE]
    assert "dp_0" in finance.page("/console/disputes?state=open")
    assert "dp_1" not in finance.page("/console/disputes?state=open")
    assert "dp_1" in finance.page("/console/disputes?state=decided")
    office.change("DELETE FROM dispute")
