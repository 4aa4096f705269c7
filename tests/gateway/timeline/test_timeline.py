"""RULES §13: the gateway's half of a payment's timeline, on a real PostgreSQL, by any id of it."""

import re
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from tallystick.gateway.timeline.timeline import Timelines
from tallystick.kernel.timeline.entries import Entry, Timeline, place_of

Core = Any


def timelines(core: Core) -> Timelines:
    return Timelines(core.database, core.clock)


async def explained(core: Core, id: str, **options: Any) -> Timeline:
    found = await timelines(core).find(id)
    assert found is not None
    return await timelines(core).read(found, **options)


def kinds(timeline: Timeline) -> list[str]:
    return [entry.kind for entry in timeline.entries]


async def listened_to(core: Core) -> str:
    """An endpoint for everything."""
    await core.rows(
        "INSERT INTO webhook_endpoint (account_id, livemode, id, url, status, enabled_events, secrets, created_at) "
        f"VALUES ('{core.account_id}', false, 'we_1', 'https://shop.example', 'enabled', '{{*}}', '{{whsec_1}}', "
        "'2026-01-01T00:00:00Z') RETURNING id"
    )
    return "we_1"


async def paid(core: Core) -> tuple[str, str]:
    """A session that was declined once and then paid; it and its intent."""
    session = await core.open_session(metadata={"order_id": "ord_of_the_shop"})
    await core.pay(session["id"], "4000000000000002")
    await core.pay(session["id"])
    return session["id"], (await core.session(session["id"]))["payment_intent"]


async def test_a_payment_that_failed_and_then_succeeded_is_told_in_its_order(core: Core) -> None:
    session, intent = await paid(core)
    timeline = await explained(core, intent)
    assert (timeline.id, timeline.owner, timeline.state) == (intent, core.account_id, "succeeded")
    assert timeline.amount == "€10.00"
    assert timeline.ids[:3] == ("ord_of_the_shop", intent, session)
    told = kinds(timeline)
    expected = [
        "session.opened",
        "charge.made",
        "event.charge.failed",
        "event.payment_intent.payment_failed",
        "charge.made",
        "event.charge.succeeded",
        "event.payment_intent.succeeded",
        "event.checkout.session.completed",
        "ledger.charge",
    ]
    assert [kind for kind in told if kind in expected] == expected
    assert list(timeline.entries) == sorted(timeline.entries, key=lambda entry: (entry.at, entry.place))
    [approved] = [entry for entry in timeline.entries if entry.kind == "event.charge.succeeded"]
    assert approved.took_ms is not None
    assert approved.took_ms >= 0
    [declined] = [entry for entry in timeline.entries if entry.kind == "event.charge.failed"]
    assert declined.words == "The bank declined €10.00: generic decline"
    [booked] = [each for each in timeline.due if each.kind == "due.available"]
    assert booked.words == "€10.00 becomes available to the merchant"


async def test_an_outcome_that_came_after_weeks_is_told(core: Core) -> None:
    """How long it took has more milliseconds than 32 bits hold: of a charge that somebody resolved after a month."""
    _, intent = await paid(core)
    await core.rows("UPDATE charge SET created_at = created_at - interval '40 days' RETURNING id")
    timeline = await explained(core, intent)
    [approved] = [entry for entry in timeline.entries if entry.kind == "event.charge.succeeded"]
    assert approved.took_ms is not None
    assert approved.took_ms > 2**31


async def test_it_is_found_by_every_id_of_it_and_by_no_other_accounts(core: Core) -> None:
    session, intent = await paid(core)
    [charge, *_] = await core.rows("SELECT id FROM charge ORDER BY id DESC")
    refund = await core.refund(payment_intent=intent, amount=400)
    [request] = await core.rows("SELECT id FROM acquirer_request")
    events = await core.rows("SELECT id FROM event")
    for id in (intent, session, charge["id"], refund["id"], request["id"], *(event["id"] for event in events)):
        found = await timelines(core).find(id)
        assert found is not None, id
        assert found.intent == intent, id
    assert await timelines(core).find(intent, account="acct_else") is None
    assert await timelines(core).find("pi_nobody_knows") is None


async def test_refunds_and_disputes_are_told_with_their_bookings(core: Core) -> None:
    created = await core.create(confirm=True, payment_method="pm_card_createDispute")
    await core.refund(payment_intent=created["id"], amount=100)
    told = kinds(await explained(core, created["id"]))
    assert {"event.refund.created", "request.refund", "ledger.refund", "ledger.refund_paid"} <= set(told)


async def test_a_session_that_nobody_paid_by_is_told_too_and_when_it_expires(core: Core) -> None:
    session = await core.open_session()
    timeline = await explained(core, session["id"])
    assert kinds(timeline)[0] == "session.opened"
    assert [each.kind for each in timeline.due] == ["due.session"]


async def test_a_charge_whose_outcome_nobody_knows_says_when_the_bank_is_asked_next(core: Core) -> None:
    intent = await core.create(confirm=True, payment_method="pm_card_approvedAfterCancel")
    timeline = await explained(core, intent["id"])
    assert "charge.unknown" in kinds(timeline)
    [look] = [each for each in timeline.due if each.kind == "due.charge"]
    assert look.at > core.clock.now()


async def test_every_try_of_a_webhook_is_told_and_many_failures_are_counted(core: Core) -> None:
    """However often a delivery failed, its story is five lines: the first two tries, the last two, and how many."""
    await listened_to(core)
    _, intent = await paid(core)
    [delivery, *_] = await core.rows(
        "SELECT d.id, d.owner_id FROM delivery d JOIN event e ON e.id = d.message "
        "WHERE e.type = 'payment_intent.succeeded'"
    )
    await core.rows(
        "INSERT INTO delivery_attempt (owner_id, delivery, number, started_at, duration_ms, status, reason, answer) "
        f"SELECT '{delivery['owner_id']}', '{delivery['id']}', n, timestamptz '2090-01-01T00:00:00Z' + n * interval "
        "'1 minute', 7, 500, 'status_500', 'ana@example.com 4242424242424242' FROM generate_series(1, 10000) AS n "
        "RETURNING 1 AS one"
    )
    timeline = await explained(core, intent, rows_max=500)
    tries = [entry for entry in timeline.entries if entry.subject == delivery["id"] and "tr" in entry.kind[:4]]
    assert [entry.kind for entry in tries] == ["try.refused"] * 2 + ["tries.failed"] + ["try.refused"] * 2
    assert tries[2].more == 9995
    assert tries[2].words == "9996 more tries of webhook payment_intent.succeeded failed, the last one now"
    assert tries[0].took_ms == 7
    assert "due.try" in [each.kind for each in timeline.due]
    assert len(timeline.due) <= 20


async def test_pages_follow_each_other_without_a_gap(core: Core) -> None:
    await listened_to(core)
    _, intent = await paid(core)
    whole = (await explained(core, intent, rows_max=500)).entries
    assert len(whole) > 12
    read: list[Entry] = []
    options: dict[str, Any] = {"rows_max": 5}
    while True:
        page = await explained(core, intent, **options)
        assert len(page.entries) <= 5
        read += page.entries
        if page.next_cursor is None:
            break
        options["after"] = place_of(page.next_cursor)
    assert read == list(whole)


async def test_what_operators_did_about_it_is_told(core: Core) -> None:
    _, intent = await paid(core)
    await core.rows(
        "INSERT INTO audit_entry (id, at, operator, via, act, subject, asked, address) VALUES "
        f"('aud_1', '2090-01-01T00:00:00Z', 'ada', 'api', 'POST /operator/v1/x/{{id}}', 'acct/{intent}', NULL, '::1'), "
        "('aud_2', '2090-01-01T00:00:00Z', 'bob', 'api', 'POST /operator/v1/y', 'pi_another', NULL, '::1') "
        "RETURNING id"
    )
    await core.rows(
        "INSERT INTO audit_outcome (entry, at, outcome, status) "
        "VALUES ('aud_1', '2090-01-01T00:00:01Z', 'done', 200) RETURNING entry"
    )
    [act] = [entry for entry in (await explained(core, intent)).entries if entry.kind.startswith("act.")]
    assert (act.kind, act.by, act.reference, act.took_ms) == ("act.done", "ada", "aud_1", 1000)


@pytest.mark.parametrize("number", ["4242424242424242", "4000000000000259"])
async def test_no_line_shows_a_card_number_a_mail_address_or_a_secret(core: Core, number: str) -> None:
    """Also where a shop has written them into what it may write: descriptions, metadata, references, keys."""
    await listened_to(core)
    session = await core.open_session(
        client_reference_id="ana@example.com",
        metadata={"order_id": "ana@example.com", "card": number},
    )
    await core.pay(session["id"], number)
    intent = (await core.session(session["id"]))["payment_intent"]
    await core.rows(
        f"UPDATE event SET idempotency_key = 'for ana@example.com, {number}' WHERE object_id = '{intent}' RETURNING id"
    )
    await core.rows(
        "INSERT INTO idempotency_key (owner_id, mode, key, fingerprint, state, generation, lease_until, created_at) "
        f"VALUES ('{core.account_id}', 'test', 'for ana@example.com, {number}', '', 'running', 1, "
        "'2090-01-01T00:00:00Z', '2090-01-01T00:00:00Z') RETURNING key"
    )
    core.clock.ahead += timedelta(minutes=1)
    timeline = await explained(core, intent, rows_max=500)
    assert "call.running" in kinds(timeline)
    said = msgspec.json.encode(timeline).decode()
    secret = (await core.intent(intent))["client_secret"]
    for hidden in (number, "example.com", secret, "whsec_", "shop.example"):
        assert hidden not in said
    assert not re.search(r"[0-9]{13,}", said)
