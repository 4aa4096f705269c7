"""RULES §10: reports as a Stripe user fetches them, with a manifest that fits the file."""

import csv
import hashlib
import io
import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tallystick.gateway.accounts.accounts import set_fees
from tallystick.gateway.faults.faults import NewFault
from tallystick.gateway.reporting.files import contents
from tallystick.gateway.reporting.run import Run
from tallystick.gateway.reporting.worker import ITEMS_MAX
from tallystick.gateway.settlement.lines import COLUMNS, FAULTS, Fault, Line, header
from tallystick.gateway.settlement.report import Tally
from tallystick.gateway.stripe_wire import errors
from tallystick.kernel.money import parse_decimal

Core = Any
DAY_S = 86_400
AT = datetime(2026, 11, 27, 13, 5, 9, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _noon(request: pytest.FixtureRequest) -> None:
    """Tests begin at noon: whatever the hour, the next day is a day away."""
    if "core" in request.fixturenames:
        core = request.getfixturevalue("core")
        now = core.clock.now()
        core.clock.ahead += now.replace(hour=12, minute=0) + timedelta(days=1) - now


async def next_day(core: Core, days: int = 1) -> None:
    core.clock.ahead += timedelta(days=days)
    await core.settlement.close_due()


async def pay(core: Core, amount: int = 1000, **fields: Any) -> Any:
    return await core.create(**{"amount": amount, "confirm": True, "payment_method": "pm_card_visa", **fields})


def midnight(core: Core) -> int:
    """The beginning of today."""
    return int(core.clock.now().timestamp()) // DAY_S * DAY_S


async def fetched(core: Core, **parameters: Any) -> tuple[dict[str, Any], bytes]:
    """A report's manifest and file."""
    run = await core.run_report(**parameters)
    assert (run["status"], run["result"]) == ("pending", None)
    while await core.writer.write():
        pass
    [row] = await core.rows(f"SELECT * FROM report_run WHERE id = '{run['id']}'")
    manifest: dict[str, Any] = json.loads(row["manifest"])
    stored = Run(**{field: row[field] for field in Run.__struct_fields__})
    text = b"".join([piece async for piece in contents(core.database, stored)])
    assert len(text) == row["size_bytes"]
    return manifest, text


def rows_of(text: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text.decode(), newline="")))


def fits(manifest: dict[str, Any], text: bytes) -> None:
    """What reconciliation checks first."""
    rows = rows_of(text)
    assert manifest["lines"] == len(rows)
    for name in ("gross", "fee", "net"):
        assert parse_decimal(manifest[name], 2) == sum(parse_decimal(row[name], 2) for row in rows)
    assert parse_decimal(manifest["closing"], 2) - parse_decimal(manifest["opening"], 2) == parse_decimal(
        manifest["net"], 2
    )
    assert manifest["sha256"] == hashlib.sha256(text).hexdigest()
    assert all(
        parse_decimal(row["gross"], 2) - parse_decimal(row["fee"], 2) == parse_decimal(row["net"], 2) for row in rows
    )


async def test_a_days_report(core: Core) -> None:
    await set_fees(core.database, core.account_id, "eur", basis_points=140, fixed=25)
    start = midnight(core)
    intent = await pay(core, 10_000, metadata={"order_id": "ord_1"})
    refund = await core.refund(payment_intent=intent["id"], amount=500)
    with pytest.raises(errors.InvalidRequest) as refused:
        await core.run_report(interval_start=start, interval_end=start + DAY_S)
    assert refused.value.param == "parameters[interval_end]"
    await next_day(core)
    manifest, text = await fetched(core, interval_start=start, interval_end=start + DAY_S)
    fits(manifest, text)
    day = datetime.fromtimestamp(start, UTC).date().isoformat()
    assert manifest | {"sha256": ""} == {
        "account": core.account_id,
        "currency": "eur",
        "date": day,
        "sequence": 1,
        "revision": 1,
        "lines": 2,
        "gross": "95.00",
        "fee": "1.65",
        "net": "93.35",
        "opening": "0.00",
        "closing": "93.35",
        "sha256": "",
    }
    charge, given_back = rows_of(text)
    assert list(charge) == list(COLUMNS)
    assert charge["created_utc"].startswith(f"{day} 12:0")
    assert charge["available_on_utc"].endswith(" 00:00:00")
    assert (charge["gross"], charge["fee"], charge["net"], charge["currency"]) == ("100.00", "1.65", "98.35", "eur")
    assert (charge["reporting_category"], charge["source_id"]) == ("charge", intent["latest_charge"])
    assert (charge["payment_intent_id"], charge["charge_id"]) == (intent["id"], intent["latest_charge"])
    assert (charge["payment_metadata[order_id]"], charge["automatic_payout_id"]) == ("ord_1", "")
    assert (given_back["net"], given_back["reporting_category"], given_back["source_id"]) == (
        "-5.00",
        "refund",
        refund["id"],
    )
    assert await fetched(core, interval_start=start, interval_end=start + DAY_S) == (manifest, text), "the same again"
    assert (await core.events()).count("reporting.report_run.succeeded") == 2


async def test_several_days_follow_one_another(core: Core) -> None:
    start = midnight(core)
    for amount in (100, 200, 300):
        await pay(core, amount)
        await next_day(core)
    manifest, text = await fetched(core, interval_start=start + DAY_S, interval_end=start + 3 * DAY_S)
    fits(manifest, text)
    assert (manifest["sequence"], manifest["opening"]) == (3, "1.00")
    assert [row["reporting_category"] for row in rows_of(text)] == ["charge", "payout", "charge", "payout"]
    part, _ = await fetched(core, interval_start=start + 1, interval_end=start + 3 * DAY_S)
    assert part["opening"] == "1.00", "a day that does not lie whole in the interval is not in it"


async def test_columns_are_chosen_and_ordered(core: Core) -> None:
    start = midnight(core)
    await pay(core)
    await next_day(core)
    manifest, text = await fetched(
        core, interval_start=start, interval_end=start + DAY_S, columns=["net", "balance_transaction_id"]
    )
    assert text.startswith(b"net,balance_transaction_id\r\n10.00,txn_")
    assert manifest["sha256"] == hashlib.sha256(text).hexdigest()


async def test_a_report_of_nothing(core: Core) -> None:
    start = midnight(core)
    manifest, text = await fetched(core, interval_start=start - DAY_S, interval_end=start)
    assert text == header(tuple(COLUMNS)).encode()
    assert (manifest["lines"], manifest["sequence"], manifest["closing"]) == (0, 0, "0.00")


async def test_whoever_asks_for_many_reports_keeps_nobody_else_waiting(core: Core) -> None:
    start = midnight(core)
    runs = [await core.run_report(interval_start=start - DAY_S, interval_end=start) for _ in range(ITEMS_MAX + 1)]
    await core.rows(f"UPDATE report_run SET account_id = 'acct_other' WHERE id = '{runs[-1]['id']}' RETURNING 1")
    assert await core.writer.write() == 2
    written = await core.rows("SELECT id FROM report_run WHERE status = 'succeeded' ORDER BY id")
    assert [row["id"] for row in written] == [runs[0]["id"], runs[-1]["id"]]


async def test_a_correction_is_in_later_runs_only(core: Core) -> None:
    start = midnight(core)
    await pay(core, 1000, payment_method="pm_card_settlementMissing")
    await next_day(core)
    earlier = await core.run_report(interval_start=start, interval_end=start + DAY_S)
    await core.settlement.correct(core.account_id, datetime.fromtimestamp(start, UTC).date())
    manifest, text = await fetched(core, interval_start=start, interval_end=start + DAY_S)
    fits(manifest, text)
    assert (manifest["revision"], manifest["lines"]) == (2, 1)
    [row] = await core.rows(f"SELECT manifest::jsonb->>'lines' AS lines FROM report_run WHERE id = '{earlier['id']}'")
    assert row["lines"] == "0"


FITTING = sorted(FAULTS.keys() - {"line_duplicated"})


@pytest.mark.parametrize("kind", FITTING)
async def test_faults_on_demand_change_the_file_and_its_manifest(core: Core, kind: str) -> None:
    start = midnight(core)
    intents = [await pay(core, 1000) for _ in range(3)]
    await core.faults.add(NewFault(place="settlement", kind=kind, calls=1), "me")
    await next_day(core)
    manifest, text = await fetched(core, interval_start=start, interval_end=start + DAY_S)
    fits(manifest, text)
    rows = rows_of(text)
    charges = [row["charge_id"] for row in rows]
    known = {intent["latest_charge"] for intent in intents}
    match kind:
        case "line_missing":
            assert len(rows) == 2
        case "line_twice":
            assert len(rows) == 4
            assert len(set(charges)) == 3
            assert len({row["balance_transaction_id"] for row in rows}) == 4
        case "other_amount":
            assert sorted(row["gross"] for row in rows) == ["10.00", "10.00", "9.99"]
        case "other_currency":
            assert sorted(row["currency"] for row in rows) == ["eur", "eur", "usd"]
        case "other_day":
            assert len({row["created_utc"][:10] for row in rows}) == 2
        case "unknown_payment":
            assert len(set(charges) & known) == 2
    [fault] = await core.faults.all()
    assert (fault.struck, fault.calls_left) == (1, 0)
    manifest, text = await fetched(core, interval_start=start, interval_end=start + DAY_S)
    fits(manifest, text)


async def test_a_truncated_file_has_the_manifest_of_the_whole(core: Core) -> None:
    start = midnight(core)
    for _ in range(3):
        await pay(core)
    await core.faults.add(NewFault(place="settlement", kind="truncated_file", calls=1), "me")
    await next_day(core)
    manifest, text = await fetched(core, interval_start=start, interval_end=start + DAY_S)
    assert manifest["lines"] == 3
    assert len(rows_of(text)) < 3
    assert manifest["sha256"] != hashlib.sha256(text).hexdigest()


LINES = st.builds(
    Line,
    number=st.integers(1, 1000),
    id=st.just("txn_0000000001aaaabbbbccccdddd"),
    kind=st.sampled_from(["charge", "refund", "payout", "dispute"]),
    currency=st.just("EUR"),
    gross=st.integers(-(10**12), 10**12),
    fee=st.integers(-1000, 1000),
    net=st.just(0),
    source=st.just("ch_0000000001aaaabbbbccccdddd"),
    payment_intent=st.none() | st.just("pi_0000000001aaaabbbbccccdddd"),
    charge=st.none() | st.just("ch_0000000001aaaabbbbccccdddd"),
    order_id=st.none() | st.text(max_size=30),
    payout=st.none(),
    created_at=st.just(AT),
    available_at=st.just(AT),
).map(lambda line: replace(line, net=line.gross - line.fee))


@given(lines=st.lists(LINES, max_size=20, unique_by=lambda line: line.number), kind=st.sampled_from(sorted(FAULTS)))
def test_whatever_is_written_can_be_read_and_adds_up(lines: list[Line], kind: str) -> None:
    """Quoting, signs, decimals; faulty or not."""
    for faults in ((), tuple(Fault(line.number, kind) for line in lines[:3])):
        tally = Tally(2)
        text = header(tuple(COLUMNS)).encode() + tally.add(lines, faults)
        rows = rows_of(text)
        assert len(rows) == tally.lines
        assert sum(parse_decimal(row["gross"], 2) for row in rows) == tally.gross
        assert sum(parse_decimal(row["net"], 2) for row in rows) == tally.net
        assert tally.gross - tally.fee == tally.net
        assert hashlib.sha256(text).hexdigest() == tally.sha256
        if not faults:
            assert [row["payment_metadata[order_id]"] for row in rows] == [line.order_id or "" for line in lines]


@pytest.mark.parametrize(
    "parameters",
    [
        {"interval_start": 5, "interval_end": 5},
        {"interval_start": -1, "interval_end": 5},
        {"interval_start": 0, "interval_end": DAY_S, "currency": "xts"},
        {"interval_start": 0, "interval_end": DAY_S, "columns": ["shoe_size"]},
        {"interval_start": 0, "interval_end": DAY_S, "columns": ["net", "net"]},
        {"interval_start": 0, "interval_end": DAY_S, "columns": []},
        {"interval_start": 0, "interval_end": DAY_S, "timezone": "Europe/Paris"},
        {"interval_start": 0, "interval_end": 253_402_300_799},
    ],
)
async def test_what_cannot_be_asked_for(core: Core, parameters: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidRequest):
        await core.run_report(**parameters)


def test_reports_with_the_official_sdk(run_gateway: Callable[..., AbstractContextManager[Any]], client: Any) -> None:
    with run_gateway() as gateway:
        api = stripe.StripeClient(gateway.test.secret_key, base_addresses={"api": gateway.url}, max_network_retries=0)
        pay: Any = {"amount": 700, "currency": "eur", "payment_method": "pm_card_visa", "confirm": True}
        api.v1.payment_intents.create(pay)
        for name in ("payout_reconciliation.itemized.5", "balance_change_from_activity.itemized.3"):
            type: Any = api.v1.reporting.report_types.retrieve(name)
            assert type.id == name
            end = type.data_available_end
            asked: Any = {
                "report_type": name,
                "parameters": {"interval_start": end - DAY_S, "interval_end": end, "currency": "eur"},
            }
            run = api.v1.reporting.report_runs.create(asked)
            assert run.status == "pending"
            for _ in range(100):
                run = api.v1.reporting.report_runs.retrieve(run.id)
                if run.status == "succeeded":
                    break
                time.sleep(0.05)
            assert run.result is not None
            file = api.v1.files.retrieve(run.result.id)
            assert (file.type, file.purpose, file.size) == ("csv", "finance_report_run", run.result.size)
            assert file.url is not None
            answer = client(gateway.url, gateway.test.secret_key).get(file.url.removeprefix(gateway.url))
            assert (answer.status, answer.headers["content-type"]) == (200, "text/csv; charset=utf-8")
            text = answer.body
            assert text == header(tuple(COLUMNS)).encode()
            manifest: Any = run.result["manifest"]
            assert manifest["sha256"] == hashlib.sha256(text).hexdigest()
        assert len(list(api.v1.reporting.report_runs.list({"limit": 1}).auto_paging_iter())) == 2
        [event, _] = api.v1.events.list({"type": "reporting.report_run.succeeded"}).data
        assert event.data.object["result"]["id"] == file.id
        asked["parameters"]["interval_end"] += 1
        with pytest.raises(stripe.InvalidRequestError) as refused:
            api.v1.reporting.report_runs.create(asked)
        assert refused.value.param == "parameters[interval_end]"
        live = stripe.StripeClient(gateway.live.secret_key, base_addresses={"api": gateway.url}, max_network_retries=0)
        with pytest.raises(stripe.InvalidRequestError):
            live.v1.files.retrieve(file.id)
