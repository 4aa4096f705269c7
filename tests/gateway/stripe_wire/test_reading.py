"""Retrieving, listing and expanding over real HTTP (DESIGN §5)."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

INTENTS = "/v1/payment_intents"
CHARGES = "/v1/charges"
SESSIONS = "/v1/checkout/sessions"
PAID = {"amount": "2000", "currency": "eur", "payment_method": "pm_card_visa", "confirm": "true"}
A_SESSION = {
    "success_url": "https://shop.example/thanks",
    **{
        f"line_items[{number}][{member}]": value
        for number in range(12)
        for member, value in (
            ("price_data][currency", "eur"),
            ("price_data][unit_amount", "100"),
            ("price_data][product_data][name", f"Thing {number}"),
            ("quantity", "1"),
        )
    },
}


@pytest.fixture(scope="module")
def api(
    lasting_gateway_dsn: str, run_gateway_on: Callable[..., AbstractContextManager[Any]], client: Any
) -> Iterator[Any]:
    """A client of an account that has three payments and a session."""
    with run_gateway_on(lasting_gateway_dsn) as gateway:
        made = client(gateway.url, gateway.test.secret_key)
        for number in range(3):
            assert made.post(INTENTS, {**PAID, "metadata[n]": str(number)}).status == 200
        assert made.post(SESSIONS, A_SESSION).status == 200
        yield made


def listed(api: Any, path: str, query: str = "") -> Any:
    answer = api.get(f"{path}?{query}")
    assert answer.status == 200, answer.body
    return answer.json


def test_objects_stand_in_the_place_of_their_ids(api: Any) -> None:
    intent = listed(api, INTENTS, "expand[]=data.latest_charge.payment_intent.payment_method&limit=3")["data"][1]
    charge = intent["latest_charge"]
    assert (charge["object"], charge["payment_intent"]["id"]) == ("charge", intent["id"])
    assert charge["payment_intent"]["payment_method"]["card"]["brand"] == "visa"
    assert isinstance(charge["payment_intent"]["latest_charge"], str), "only what was asked for"
    one = api.get(f"{INTENTS}/{intent['id']}?expand[]=payment_method&expand[]=latest_charge&expand[0]=customer")
    assert one.status == 400, "an indexed and an appended list contradict each other"
    one = api.get(f"{INTENTS}/{intent['id']}?expand[0]=payment_method&expand[1]=latest_charge&expand[2]=customer").json
    assert (one["payment_method"]["object"], one["latest_charge"]["object"], one["customer"]) == (
        "payment_method",
        "charge",
        None,
    )


def test_what_a_write_answers_can_be_expanded_and_is_replayed_so(api: Any) -> None:
    fields = {**PAID, "expand[]": "latest_charge.payment_method"}
    first = api.post(INTENTS, fields, key="expanded")
    assert first.json["latest_charge"]["payment_method"]["object"] == "payment_method"
    assert api.post(INTENTS, fields, key="expanded").body == first.body


def test_a_path_that_names_nothing_is_refused_before_anything_is_done(api: Any) -> None:
    before = len(listed(api, INTENTS, "limit=100")["data"])
    refused = api.post(INTENTS, {**PAID, "expand[]": "latest_charge.nothing"}, key="refused")
    assert (refused.status, refused.error["param"]) == (400, "expand[0]")
    for query in ("expand[]=latest_charge", "expand[]=data", "expand[]=data.amount", "expand[]=data.latest_charge."):
        assert api.get(f"{INTENTS}?{query}").status == 400, query
    assert len(listed(api, INTENTS, "limit=100")["data"]) == before


def test_a_session_shows_its_positions_and_its_payment(api: Any) -> None:
    [session] = listed(api, SESSIONS, "expand[]=data.line_items&expand[]=data.payment_intent")["data"]
    assert [item["description"] for item in session["line_items"]["data"]] == [f"Thing {n}" for n in range(10)]
    assert session["line_items"]["has_more"] is True
    assert session["payment_intent"]["amount"] == 1200
    assert listed(api, SESSIONS, f"payment_intent={session['payment_intent']['id']}")["data"] != []
    assert listed(api, SESSIONS, f"payment_intent={session['payment_intent']['id']}&status=expired")["data"] == []

    url = session["line_items"]["url"]
    everything = [item["id"] for item in listed(api, url, "limit=100")["data"]]
    assert len(everything) == 12
    page = listed(api, url, f"limit=5&starting_after={everything[9]}")
    assert ([item["id"] for item in page["data"]], page["has_more"]) == (everything[10:], False)
    page = listed(api, url, f"limit=5&ending_before={everything[9]}")
    assert ([item["id"] for item in page["data"]], page["has_more"]) == (everything[4:9], True)
    assert api.get(f"{url}?starting_after=li_none").status == 400


def test_pages_follow_each_other_in_both_directions(api: Any) -> None:
    for path in (INTENTS, CHARGES, "/v1/events"):
        everything = [one["id"] for one in listed(api, path, "limit=100")["data"]]
        assert len(everything) >= 3
        assert everything == sorted(everything, reverse=True), "newest first"
        after = listed(api, path, f"limit=1&starting_after={everything[0]}")
        assert ([one["id"] for one in after["data"]], after["has_more"]) == ([everything[1]], True)
        before = listed(api, path, f"limit=1&ending_before={everything[2]}")
        assert ([one["id"] for one in before["data"]], before["has_more"]) == ([everything[1]], True)
        last = listed(api, path, f"limit=1&starting_after={everything[-1]}")
        assert (last["data"], last["has_more"]) == ([], False)
        refused = api.get(f"{path}?starting_after=nobody")
        assert (refused.status, refused.error["code"]) == (400, "resource_missing")


def test_lists_are_narrowed_by_time_and_by_what_they_belong_to(api: Any) -> None:
    newest = listed(api, CHARGES, "limit=1")["data"][0]
    assert [one["id"] for one in listed(api, CHARGES, f"payment_intent={newest['payment_intent']}")["data"]] == [
        newest["id"]
    ]
    created = newest["created"]
    assert newest["id"] in [one["id"] for one in listed(api, CHARGES, f"created={created}")["data"]]
    for query in (f"created[gt]={created}", "created[lt]=1000", f"created[gte]={created + 1}", "created=5"):
        assert listed(api, CHARGES, query)["data"] == [], query
    assert listed(api, CHARGES, f"created[lte]={created}&created[gte]={created}")["data"] != []
    for path in (INTENTS, CHARGES, SESSIONS, "/v1/events"):
        for query in ("created[lt]=253402300799", "created[gt]=5", "created[gte]=0", f"created[gt]={created - 3600}"):
            assert listed(api, path, query)["data"] != [], (path, query)


def test_events_are_narrowed_by_type(api: Any) -> None:
    def types(query: str) -> set[str]:
        return {event["type"] for event in listed(api, "/v1/events", f"limit=100&{query}")["data"]}

    assert types("type=payment_intent.succeeded") == {"payment_intent.succeeded"}
    assert types("types[]=payment_intent.succeeded&types[]=charge.succeeded") == {
        "payment_intent.succeeded",
        "charge.succeeded",
    }
    assert {"payment_intent.created", "payment_intent.succeeded"} <= types("type=payment_intent.*")
    assert not {type for type in types("type=payment_intent.*") if not type.startswith("payment_intent.")}
    assert types("type=paymentXintent.succeeded") == set()
    assert types("type=payment%25") == set()
    assert types("delivery_success=true") == types("")
    assert types("delivery_success=false") == set()


def test_what_was_not_delivered_is_paged_through_in_order(run_gateway: Any, client: Any) -> None:
    """RULES §6: undelivered events can be pulled, each once, however many endpoints have not got it; the others not."""
    at = datetime(2026, 11, 20, 12, tzinfo=UTC)
    with run_gateway() as running, psycopg.connect(running.dsn) as connection:
        for n in range(9):
            connection.execute(
                "INSERT INTO event (account_id, livemode, id, type, object_id, object, created_at)"
                " VALUES (%s, false, %s, %s, 'ch_1', '{}', %s)",
                (running.account_id, f"evt_{n}", "charge.updated" if n % 2 else "charge.failed", at),
            )
            for endpoint in ("we_1", "we_2"):
                state = "delivered" if n in (3, 8) else ("held", "dead")[n % 2]
                connection.execute(
                    "INSERT INTO delivery"
                    " (owner_id, id, livemode, message, api_version, endpoint, state, due_at, created_at)"
                    " VALUES (%s, %s, false, %s, 'v', %s, %s, %s, %s)",
                    (running.account_id, f"dlv_{n}_{endpoint}", f"evt_{n}", endpoint, state, at, at),
                )
        connection.commit()
        api = client(running.url, running.test.secret_key)
        pages = []
        query = "limit=3"
        while True:
            page = listed(api, "/v1/events", f"delivery_success=false&{query}")
            pages.append([event["id"] for event in page["data"]])
            if not page["has_more"]:
                break
            query = f"limit=3&starting_after={pages[-1][-1]}"
        assert pages == [["evt_7", "evt_6", "evt_5"], ["evt_4", "evt_2", "evt_1"], ["evt_0"]]
        back = listed(api, "/v1/events", "delivery_success=false&limit=2&ending_before=evt_4")["data"]
        assert [event["id"] for event in back] == ["evt_6", "evt_5"]
        failed = listed(api, "/v1/events", "delivery_success=false&type=charge.failed")["data"]
        assert [event["id"] for event in failed] == ["evt_6", "evt_4", "evt_2", "evt_0"]
        reached = listed(api, "/v1/events", "delivery_success=true")["data"]
        assert {"evt_8", "evt_3"} <= {event["id"] for event in reached}
        assert "evt_4" not in {event["id"] for event in reached}
