"""Reconciliation over HTTP: runs, mismatches, report, files; cases proposed and approved by two people."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from tallystick.kernel.identifiers import new_id
from tallystick.kernel.monitoring.figures import read
from tallystick.kernel.operators.keys import create_key
from tallystick.kernel.operators.roles import Role
from tallystick.merchant.monitoring.figures import FIGURES
from tallystick.merchant.reconciliation import api, job, report
from tallystick.merchant.reconciliation.taking import SQL
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import ConstraintViolated, Statement
from tallystick.ports.entropy import SystemEntropy

Files = Any
Stage = Any


async def hand_in(stage: Stage, raw: bytes | AsyncIterator[bytes], **query: str) -> tuple[int, dict[str, Any]]:
    address = f"{stage.url}/v1/reconciliations/files"
    wanted = {"format": "stripe", "date": "2026-11-26"} | query
    async with stage.client.post(address, params=wanted, data=raw, headers=stage.headers()) as answer:
        return answer.status, await answer.json(content_type=None)


async def work(stage: Stage) -> None:
    """Runs that are due."""
    [worker] = [each for each in stage.service.workers if type(each).__name__ == "Reconciler"]
    while await worker.run_once():
        pass


async def text(stage: Stage, path: str) -> tuple[int, str, Any]:
    async with stage.client.get(f"{stage.url}{path}", headers=stage.headers()) as answer:
        return answer.status, await answer.text(), answer.headers


async def test_a_file_is_handed_in_and_its_run_is_shown(stage: Stage, files: Files) -> None:
    raw = files.stripe(files.stripe_row(1, created_utc="2026-11-26 10:00:00"), files.stripe_row(2, "new <b>"))
    status, run = await hand_in(stage, raw)
    assert (status, run["state"], run["source"]) == (202, "due", "stripe")
    await work(stage)
    status, run = await stage.get(f"/v1/reconciliations/{run['id']}")
    assert (status, run["state"], run["files"][0]["lines"]) == (200, "done", 2)
    assert {each["code"] for each in run["summary"]["lines"]} == {"unknown_payment"}
    assert await stage.count("settlement_upload") == 0
    status, page = await stage.get(f"/v1/mismatches?reconciliation={run['id']}&limit=1")
    assert (status, len(page["data"])) == (200, 1)
    _, rest = await stage.get(f"/v1/mismatches?limit=1&cursor={page['next_cursor']}")
    assert rest["data"][0]["subject"] != page["data"][0]["subject"]
    assert rest["next_cursor"] is None
    status, runs = await stage.get("/v1/reconciliations")
    assert [each["id"] for each in runs["data"]] == [run["id"]]


async def test_pages_of_mismatches_follow_each_other_whatever_a_file_calls_things(stage: Stage, files: Files) -> None:
    """Names may hold spaces, and Adyen's rows are named by four of their fields."""
    names = ["a payment", "another payment", *(f"{n}{'x' * 254}" for n in range(2))]
    rows = [files.adyen_row(n, name, **{"Batch Number": name, "Psp Reference": name}) for n, name in enumerate(names)]
    rows = [row | {"Type": name, "Modification Reference": name} for row, name in zip(rows, names, strict=True)]
    await hand_in(stage, files.adyen(*rows), format="adyen")
    await work(stage)
    cursor: str | None = ""
    found: list[Any] = []
    while cursor is not None:
        status, page = await stage.get(f"/v1/mismatches?limit=1{cursor and '&cursor='}{quote(cursor)}")
        assert status == 200, page
        found += page["data"]
        cursor = page["next_cursor"]
    assert len({each["subject"] for each in found}) == len(found) >= len(names)


async def test_a_file_that_breaks_off_leaves_nothing_behind(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    async def half() -> AsyncIterator[bytes]:
        yield b"x" * 2 * api.PIECE_BYTES
        while not await stage.count("settlement_upload"):  # noqa: ASYNC110 - it happens in the database
            await asyncio.sleep(0.02)
        raise ConnectionResetError

    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await hand_in(stage, half())
    async with asyncio.timeout(20):
        while await stage.count("settlement_upload"):  # noqa: ASYNC110 - it happens in the database
            await asyncio.sleep(0.02)
    assert not [each for each in caplog.records if each.levelname == "ERROR"]


async def test_what_a_process_that_died_was_handed_is_let_go_of(stage: Stage, files: Files) -> None:
    at = SystemClock().now()
    for age in (job.ABANDONED_AFTER + timedelta(days=1), timedelta(hours=1)):
        abandoned = (stage.merchant_id, new_id(job.PREFIX, at - age, SystemEntropy()))
        await stage.database.execute(SQL.insert_piece, *abandoned, 1, b"x")
    await work(stage)
    assert await stage.count("settlement_upload") == 1, "the younger one may still be coming"


async def test_a_day_has_one_run_and_a_dry_run_is_always_a_new_one(stage: Stage, files: Files) -> None:
    raw = files.stripe(files.stripe_row(1))
    _, first = await hand_in(stage, raw)
    _, again = await hand_in(stage, raw)
    _, dry = await hand_in(stage, raw, dry_run="true")
    assert first["id"] == again["id"] != dry["id"]
    await work(stage)
    _, dry = await stage.get(f"/v1/reconciliations/{dry['id']}")
    assert (dry["state"], {each["state"] for each in dry["summary"]["mismatches"]}) == ("done", {"stopped"})
    assert await stage.count("cases") == 1, "the dry run opened none"
    assert await stage.count("settlement_line") == 1, "and keeps no lines"


async def test_a_file_that_was_refused_is_handed_in_again(stage: Stage, files: Files) -> None:
    """What was handed in is another comparison of its day: the refused one told nothing."""
    raw = files.stripe(files.stripe_row(1, "adjustment", payment_intent_id="", created_utc="2026-11-26 10:00:00"))
    for damaged in (raw[:-1], raw[:-2]):
        _, run = await hand_in(stage, damaged)
        await work(stage)
        assert (await stage.get(f"/v1/reconciliations/{run['id']}"))[1]["state"] == "refused"
        assert "Nothing was compared" in (await text(stage, f"/v1/reconciliations/{run['id']}/report"))[1]
    assert await stage.count("cases") == 2, "each is told of"
    _, good = await hand_in(stage, raw)
    await work(stage)
    _, good = await stage.get(f"/v1/reconciliations/{good['id']}")
    assert (good["state"], good["number"], good["files"][0]["lines"]) == ("done", 3, 1)
    assert (await hand_in(stage, raw))[1]["id"] == good["id"]
    assert await stage.count("settlement_upload") == 0


async def test_payouts_that_arrive_at_the_bank_are_held_against_those_of_the_reports(
    stage: Stage, files: Files
) -> None:
    """RULES §11: by their name and amount; what arrives and was never sent is a person's."""
    sent = {"fee": "0.00", "payment_intent_id": "", "charge_id": "", "created_utc": "2026-11-26 10:00:00"}
    rows = [
        files.stripe_row(number, "payout", gross=f"-{number}.00", net=f"-{number}.00", source_id=f"po_{number}", **sent)
        for number in (50, 60)
    ]
    await hand_in(stage, files.stripe(*rows))
    await work(stage)
    arrived = "".join(
        files.entry(amount, details=files.detail(amount, name))
        for amount, name in (("50.00", "po_50"), ("61.00", "po_60"), ("7.00", "po_nobody_knows"))
    )
    raw = files.camt(files.statement(arrived, closing="218.00"))
    _, run = await hand_in(stage, raw, format="camt053", date="2026-11-27")
    await work(stage)
    _, run = await stage.get(f"/v1/reconciliations/{run['id']}")
    assert [(each["code"], each["lines"]) for each in run["summary"]["lines"]] == [
        ("payout", 1),
        ("unexplained_line", 2),
    ]
    _, page = await stage.get("/v1/mismatches")
    assert [(each["code"], each["amount_minor"], each["state"]) for each in page["data"]] == [
        ("unexplained_line", 6100, "case"),
        ("unexplained_line", 700, "case"),
    ]
    assert await stage.count("cases") == 2


async def test_statements_follow_one_another_account_by_account(stage: Stage, files: Files) -> None:
    """Of several in one file, as after a weekend, and of several accounts in one currency."""

    def statement(account: str, sequence: int, opening: str, closing: str) -> str:
        amount = f"{float(closing) - float(opening):.2f}"
        text: str = files.statement(
            files.entry(amount, more=f"<!-- {account}{sequence} -->"), opening=opening, closing=closing
        )
        text = text.replace(">S1<", f">S{account}{sequence}<").replace(">42<", f">{sequence}<")
        return text.replace("DE00TEST", f"DE00TEST{account}")

    async def taken(day: int, *statements: str) -> list[str | None]:
        _, run = await hand_in(stage, files.camt(*statements), format="camt053", date=f"2026-11-{day}")
        await work(stage)
        return [each["damage"] for each in (await stage.get(f"/v1/reconciliations/{run['id']}"))[1]["files"]]

    assert await taken(24, statement("A", 8, "1.00", "2.00"), statement("B", 70, "5.00", "6.00")) == [None, None]
    week = statement("A", 9, "2.00", "3.00"), statement("A", 10, "3.00", "5.00"), statement("B", 71, "6.00", "7.00")
    assert await taken(25, *week) == [None] * 3
    assert await taken(26, statement("A", 11, "5.00", "6.00")) == [None]
    assert await taken(27, statement("A", 12, "6.00", "7.00"), statement("A", 14, "7.00", "8.00")) == ["sequence"]
    assert await taken(28, statement("B", 72, "7.01", "8.00")) == ["opening"]


async def test_the_report_is_a_page_and_a_table(stage: Stage, files: Files) -> None:
    row = files.stripe_row(1) | {"payment_metadata[order_id]": "<script>alert(1)</script>"}
    _, run = await hand_in(stage, files.stripe(row, files.stripe_row(2) | {"payment_metadata[order_id]": "=1+1"}))
    await work(stage)
    status, page, headers = await text(stage, f"/v1/reconciliations/{run['id']}/report")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "Captured at the gateway, no order here" in page
    assert "25.00 EUR" in page
    assert "<script>" not in page
    status, table, headers = await text(stage, f"/v1/reconciliations/{run['id']}/report?format=csv")
    assert (status, headers["Content-Type"].split(";")[0]) == (200, "text/csv")
    assert table.splitlines()[0].split(",") == list(report.CSV_COLUMNS)
    assert len(table.splitlines()) == 3
    assert ",=1+1" not in table
    status, _, _ = await text(stage, "/v1/reconciliations/rec_nobody/report")
    assert status == 404


async def test_adyens_report_is_matched_by_our_reference(stage: Stage, files: Files) -> None:
    """The payments have names of their own there; what was settled for a paid order of that amount is matched."""
    _, paid = await stage.place()
    await stage.pay(paid)
    _, open_order = await stage.place()
    rows = [
        files.adyen_row(1) | {"Merchant Reference": paid["id"]},
        files.adyen_row(2) | {"Merchant Reference": open_order["id"]},
    ]
    today = SystemClock().now()
    rows = [each | {"Creation Date": today.strftime("%Y-%m-%d 12:00:00"), "TimeZone": "UTC"} for each in rows]
    _, run = await hand_in(stage, files.adyen(*rows), format="adyen", date=today.date().isoformat())
    await work(stage)
    _, run = await stage.get(f"/v1/reconciliations/{run['id']}")
    assert {(each["code"], each["lines"]) for each in run["summary"]["lines"]} == {
        ("matched", 1),
        ("captured_but_pending", 1),
    }
    assert (await stage.order(open_order["id"]))["state"] == "PENDING", "nobody can be asked: a person decides"
    assert await stage.count("cases") == 1


async def test_another_merchants_runs_are_not_shown(stage: Stage, files: Files) -> None:
    _, run = await hand_in(stage, files.stripe(files.stripe_row(1)))
    await stage.database.execute(Statement("x", "UPDATE reconciliation SET merchant_id = 'mer_x'"))
    assert (await stage.get(f"/v1/reconciliations/{run['id']}"))[0] == 404


@pytest.mark.parametrize(
    ("query", "status"),
    [({"format": "other"}, 422), ({"date": "26.11.2026"}, 422), ({"connection": "con_x"}, 422), ({"x": "1"}, 422)],
)
async def test_what_is_wrong_is_refused(stage: Stage, query: dict[str, str], status: int) -> None:
    assert (await hand_in(stage, b"x", **query))[0] == status


async def operator(stage: Stage, name: str) -> dict[str, str]:
    made = await create_key(stage.database, name, role=Role.ADMIN, at=SystemClock().now(), entropy=SystemEntropy())
    return {"Authorization": f"Bearer {made.key}"}


async def asked(
    stage: Stage, who: dict[str, str], path: str, fields: Any = None, method: str = "POST"
) -> tuple[int, dict[str, Any]]:
    client: aiohttp.ClientSession = stage.client
    address = f"{stage.url}/operator/v1/merchants/{stage.merchant_id}/cases/{path}"
    async with client.request(method, address, json=fields, headers=who) as answer:
        return answer.status, await answer.json(content_type=None)


async def a_case(stage: Stage, files: Files) -> str:
    await hand_in(stage, files.stripe(files.stripe_row(1)))
    await work(stage)
    _, page = await stage.get("/v1/cases")
    case: str = page["data"][0]["id"]
    return case


async def test_one_person_proposes_and_another_approves(stage: Stage, files: Files) -> None:
    ada, bob = await operator(stage, "Ada"), await operator(stage, "Bob")
    case = await a_case(stage, files)
    wanted = {"action": "close", "note": "sold over the telephone"}
    assert (await asked(stage, ada, f"{case}/approve"))[0] == 409, "nothing is proposed yet"
    assert (await asked(stage, ada, f"{case}/proposals", wanted))[0] == 201
    assert (await asked(stage, bob, f"{case}/proposals", wanted))[0] == 409, "one at a time"
    status, problem = await asked(stage, ada, f"{case}/approve")
    assert (status, "another person" in problem["detail"]) == (409, True)
    assert (await stage.get(f"/v1/cases/{case}"))[1]["state"] == "open"
    status, done = await asked(stage, bob, f"{case}/approve")
    assert (status, done["state"], done["decided_by"]) == (200, "executed", "Bob")
    assert (await stage.get(f"/v1/cases/{case}"))[1]["state"] == "closed"
    _, shown = await asked(stage, bob, case, method="GET")
    assert [each["proposed_by"] for each in shown["proposals"]] == ["Ada"]
    trail = await stage.database.rows(Statement("x", "SELECT who, what FROM audit ORDER BY audit_id"))
    assert [tuple(row.values()) for row in trail] == [("Ada", "case.proposed"), ("Bob", "case.executed")]


async def test_a_difference_that_was_decided_is_no_open_one(stage: Stage, files: Files) -> None:
    """docs/alerts.md, MoneyUnmatched: two people decide, and it is over. Nor does a dry run raise it."""
    ada, bob = await operator(stage, "Ada"), await operator(stage, "Bob")
    await hand_in(stage, files.stripe(files.stripe_row(2)), date="2026-11-25", dry_run="true")
    case = await a_case(stage, files)
    assert await figure(stage, "unmatched_amount_minor") == 2500, "of one line, and not of the dry run"
    assert await figure(stage, "mismatches_open") == 1
    await asked(stage, ada, f"{case}/proposals", {"action": "close", "note": "sold over the telephone"})
    await asked(stage, bob, f"{case}/approve")
    assert await figure(stage, "unmatched_amount_minor") == await figure(stage, "mismatches_open") == 0
    _, page = await stage.get("/v1/mismatches")
    assert {each["state"] for each in page["data"]} == {"stopped", "resolved"}


async def figure(stage: Stage, name: str) -> float:
    [wanted] = [each for each in FIGURES if each.name == name]
    read_ = await read(stage.database, [wanted], SystemClock().now())
    return sum(each.value for each in read_[wanted])


async def test_the_database_refuses_the_same_person(stage: Stage, files: Files) -> None:
    ada = await operator(stage, "Ada")
    case = await a_case(stage, files)
    await asked(stage, ada, f"{case}/proposals", {"action": "close", "note": "x"})
    update = "UPDATE case_proposal SET state = 'executed', decided_by = 'Ada', decided_at = proposed_at"
    with pytest.raises(ConstraintViolated):
        await stage.database.execute(Statement("x", update))


async def test_what_changed_since_it_was_proposed_is_not_done(stage: Stage, files: Files) -> None:
    ada, bob = await operator(stage, "Ada"), await operator(stage, "Bob")
    case = await a_case(stage, files)
    await asked(stage, ada, f"{case}/proposals", {"action": "close", "note": "x"})
    await stage.database.execute(Statement("x", "UPDATE cases SET details = details || '{\"amount\": 1}'"))
    status, stale = await asked(stage, bob, f"{case}/approve")
    assert (status, stale["state"]) == (200, "stale")
    assert (await stage.get(f"/v1/cases/{case}"))[1]["state"] == "open"


async def test_a_proposal_is_rejected_by_another_person(stage: Stage, files: Files) -> None:
    ada, bob = await operator(stage, "Ada"), await operator(stage, "Bob")
    case = await a_case(stage, files)
    await asked(stage, ada, f"{case}/proposals", {"action": "close", "note": "x"})
    assert (await asked(stage, ada, f"{case}/reject"))[0] == 409
    assert (await asked(stage, bob, f"{case}/reject"))[1]["state"] == "rejected"
    assert (await stage.get(f"/v1/cases/{case}"))[1]["state"] == "open"
    assert (await asked(stage, ada, "cas_nobody/reject"))[0] == 404


async def test_goods_that_are_held_leave_when_two_people_say_so(stage: Stage, files: Files) -> None:
    """RULES §11: hold, and cases are decided by two people; closing a case lets nothing go."""
    ada, bob = await operator(stage, "Ada"), await operator(stage, "Bob")
    _, order = await stage.place()
    intent = await stage.pay(order)
    dispute = {"id": "dp_1", "object": "dispute", "payment_intent": intent["id"], "currency": "eur", "status": "lost"}
    await stage.tell("charge.dispute.closed", dispute)
    _, page = await stage.get("/v1/cases")
    case = page["data"][0]["id"]
    assert (await asked(stage, ada, f"{case}/proposals", {"action": "lift", "note": "paid in the shop"}))[0] == 201
    assert (await stage.order(order["id"]))["fulfilment"] == "held"
    assert (await asked(stage, ada, f"{case}/approve"))[0] == 409
    assert (await stage.order(order["id"]))["fulfilment"] == "held"
    assert (await asked(stage, bob, f"{case}/approve"))[1]["state"] == "executed"
    found = await stage.order(order["id"])
    assert (found["fulfilment"], found["attention"]) == ("allowed", None)
    last = (await stage.timeline(order["id"]))[-1]
    assert (last["fact"]["fact"], last["source"], last["reference"]) == ("hold_lifted", "merchant", f"case:{case}")


async def test_a_case_that_holds_nothing_has_nothing_to_lift(stage: Stage, files: Files) -> None:
    ada = await operator(stage, "Ada")
    case = await a_case(stage, files)
    status, problem = await asked(stage, ada, f"{case}/proposals", {"action": "lift", "note": "x"})
    assert (status, "holds no goods" in problem["detail"]) == (409, True)
