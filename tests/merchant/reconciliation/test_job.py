"""A day from the gateway's report to its end: fetched, checked, compared, resolved (RULES §11)."""

import asyncio
import sys
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from tallystick.merchant.reconciliation.holding import LEASE_S
from tallystick.merchant.reconciliation.job import LeaseLost
from tallystick.ports.database import Statement

Books = Any
Files = Any


def row(books: Books, files: Files, number: int, order_id: str, **fields: str) -> dict[str, str]:
    line: dict[str, str] = files.stripe_row(number, created_utc="2026-11-26 10:00:00", **fields)
    return line | {"payment_metadata[order_id]": order_id}


async def test_a_day_that_matches(books: Books, files: Files) -> None:
    for number in range(3):
        books.gateway.lines.append(row(books, files, number, await books.order(number)))
    books.gateway.lines.append(
        files.stripe_row(9, "payout", gross="-50.00", fee="0.00", net="-50.00", payment_intent_id="", charge_id="")
    )
    await books.run()
    [run] = await books.rows("SELECT state, lines_read, business_date, summary FROM reconciliation")
    assert (run["state"], run["lines_read"], run["business_date"].isoformat()) == ("done", 4, "2026-11-26")
    codes = await books.rows("SELECT code, count(*)::int AS n FROM settlement_line GROUP BY code ORDER BY code")
    assert [(each["code"], each["n"]) for each in codes] == [("matched", 3), ("payout", 1)]
    assert await books.found() == set()


async def test_a_lost_webhook_is_mended_with_the_gateways_answer(books: Books, files: Files) -> None:
    for number, state in enumerate(("PENDING", "FAILED", "EXPIRED")):
        order_id = await books.order(number, state)
        books.gateway.lines.append(row(books, files, number, order_id))
        books.gateway.captured(number, order_id)
    await books.run()
    orders = await books.rows("SELECT state, late, fulfilment FROM orders ORDER BY order_id")
    assert [(each["state"], each["late"]) for each in orders] == [("PAID", False), ("PAID", True), ("PAID", True)]
    assert await books.found() == {("captured_but_pending", "resolved"), ("captured_but_closed", "resolved")}
    told = await books.rows("SELECT source, reference FROM timeline WHERE state_after = 'PAID' ORDER BY reference")
    assert told[0] == {"source": "settlement", "reference": "recon:pi_0"}


async def test_what_the_gateway_does_not_confirm_is_a_persons_decision(books: Books, files: Files) -> None:
    unconfirmed = await books.order(1, "PENDING")
    books.gateway.lines.append(row(books, files, 1, unconfirmed))
    books.gateway.captured(1, unconfirmed)["status"] = "requires_payment_method"
    unknown = await books.order(2, "PENDING")
    books.gateway.lines.append(row(books, files, 2, unknown))
    await books.run()
    assert await books.state(unconfirmed) == "PENDING"
    assert await books.found() == {("captured_but_pending", "case")}
    assert await books.cases() == ["recon_captured_but_pending"] * 2


async def test_a_payment_that_the_gateway_never_tells_of_holds_no_day_up(books: Books, files: Files) -> None:
    """It is asked for again for hours, and then a person decides: what is behind it, and the days after it, go on."""
    lost, found = await books.order(1, "PENDING"), await books.order(2, "PENDING")
    books.gateway.lines = [row(books, files, 1, lost), row(books, files, 2, found)]
    books.gateway.captured(1, lost)["amount"] = "many"
    books.gateway.captured(2, found)
    await books.run()
    assert "pi_1 cannot be retrieved" in (await books.rows("SELECT error FROM reconciliation"))[0]["error"]
    for _ in range(12):
        books.clock.at += timedelta(minutes=65)
        await books.run()
    assert [each["state"] for each in await books.rows("SELECT state FROM reconciliation")] == ["done"]
    assert await books.found() == {("captured_but_pending", "case"), ("captured_but_pending", "resolved")}
    assert (await books.state(lost), await books.state(found)) == ("PENDING", "PAID")


async def test_a_refused_file_that_names_a_payment_of_which_nobody_tells_is_refused_all_the_same(
    books: Books, files: Files
) -> None:
    lost, found = await books.order(1, "PENDING"), await books.order(2, "PENDING")
    books.gateway.lines = [row(books, files, 1, lost), row(books, files, 2, found)]
    books.gateway.captured(1, lost)["amount"] = "many"
    books.gateway.captured(2, found)
    books.gateway.raw = books.gateway.file()[:-30]
    for _ in range(13):
        await books.run()
        books.clock.at += timedelta(minutes=65)
    assert [each["state"] for each in await books.rows("SELECT state FROM reconciliation")] == ["refused"]
    assert await books.cases() == ["settlement_file_refused"]
    assert (await books.state(lost), await books.state(found)) == ("PENDING", "PAID")


async def test_a_refund_that_the_gateway_does_not_confirm_is_a_persons_decision(books: Books, files: Files) -> None:
    order_id = await books.order(1)
    refund = {"gross": "-7.00", "fee": "0.00", "net": "-7.00", "source_id": "re_1", "balance_transaction_id": "txn_9"}
    books.gateway.lines = [
        row(books, files, 1, order_id),
        row(books, files, 1, order_id, reporting_category="refund", **refund),
    ]
    books.gateway.captured(1, order_id)
    await books.run()
    assert await books.found() == {("refund_unknown", "case")}
    assert (await books.rows("SELECT amount_refunded_minor AS n FROM orders"))[0]["n"] == 0


async def test_refunds_from_other_sources_are_learnt(books: Books, files: Files) -> None:
    order_id = await books.order(1)
    books.gateway.lines.append(row(books, files, 1, order_id))
    refund = {"gross": "-7.00", "fee": "0.00", "net": "-7.00", "source_id": "re_1", "balance_transaction_id": "txn_9"}
    books.gateway.lines.append(row(books, files, 1, order_id, reporting_category="refund", **refund))
    books.gateway.captured(1, order_id)
    books.gateway.refunded(1)
    await books.run()
    [order] = await books.rows("SELECT amount_refunded_minor FROM orders")
    assert order["amount_refunded_minor"] == 700
    assert await books.found() == {("refund_unknown", "resolved")}


async def test_a_refused_file_leaves_nothing_but_a_case(books: Books, files: Files) -> None:
    await books.order(1)
    books.gateway.lines.append(row(books, files, 1, "ord_x"))
    books.gateway.raw = books.gateway.file().replace(b"24.39", b"24.93")
    await books.run()
    [run] = await books.rows("SELECT state FROM reconciliation")
    [file] = await books.rows("SELECT state, damage, reason FROM settlement_file")
    assert (run["state"], file["state"], file["damage"]) == ("refused", "refused", "hash")
    assert await books.rows("SELECT * FROM settlement_line") == []
    assert await books.cases() == ["settlement_file_refused"], "its orders are not missed"


async def test_the_payments_that_a_refused_file_names_are_retrieved_all_the_same(books: Books, files: Files) -> None:
    lost = await books.order(1, "PENDING")
    books.gateway.lines = [row(books, files, 1, lost), row(books, files, 2, await books.order(2))]
    books.gateway.captured(1, lost)
    books.gateway.raw = books.gateway.file()[:-30]
    await books.run()
    assert [each["damage"] for each in await books.rows("SELECT damage FROM settlement_file")] == ["hash"]
    assert await books.state(lost) == "PAID"
    assert ("GET", "/v1/payment_intents/pi_2") not in books.gateway.calls, "what is known needs no look"


@pytest.mark.parametrize(
    ("changes", "damage"),
    [
        ({"lines": 2}, "count"),
        ({"net": "24.40"}, "sums"),
        ({"closing": "24.40"}, "balance"),
        ({"date": "2026-11-25"}, "date"),
        ({"currency": "usd"}, "currency"),
        ({"sha256": "0" * 64}, "hash"),
    ],
)
async def test_a_manifest_that_does_not_fit(books: Books, files: Files, changes: dict[str, Any], damage: str) -> None:
    books.gateway.lines.append(row(books, files, 1, "ord_x"))
    books.gateway.manifest = changes
    await books.run()
    [file] = await books.rows("SELECT damage FROM settlement_file")
    assert file["damage"] == damage


async def test_a_line_that_is_there_twice(books: Books, files: Files) -> None:
    books.gateway.lines += [row(books, files, 1, "ord_x")] * 2
    await books.run()
    [file] = await books.rows("SELECT damage FROM settlement_file")
    assert file["damage"] == "duplicate_line"


async def test_stripe_itself_has_no_manifest(books: Books, files: Files) -> None:
    books.gateway.lines.append(row(books, files, 1, await books.order(1)))
    books.gateway.manifest = None
    await books.run()
    assert [each["state"] for each in await books.rows("SELECT state FROM settlement_file")] == ["accepted"]


async def test_files_follow_one_another(books: Books, files: Files) -> None:
    """Sequence and opening balance; a refused file does not block later ones."""
    books.gateway.lines.append(row(books, files, 1, await books.order(1)))
    await books.run()
    await books.next_day()
    books.gateway.raw = b"x"
    await books.run()
    await books.next_day()
    await books.run()
    await books.next_day()
    books.gateway.sequence += 1
    await books.run()
    files_then = await books.rows("SELECT state, damage FROM settlement_file ORDER BY reconciliation_id")
    assert [(each["state"], each["damage"]) for each in files_then] == [
        ("accepted", None),
        ("refused", "hash"),
        ("accepted", None),
        ("refused", "sequence"),
    ]


async def test_reports_that_the_gateway_corrected_are_noticed_by_the_job(books: Books, files: Files) -> None:
    """RULES §10: a wrong report is corrected by a revision, as are those after it. The next day's run finds it,
    compares those days again, in their order, and then goes on from them."""
    first, second = await books.order(1), await books.order(2)
    books.gateway.lines.append(row(books, files, 1, first, gross="24.00", net="23.39"))
    books.gateway.captured(1, first)
    books.gateway.captured(2, second)
    await books.run()
    await books.next_day()
    await books.run()
    for day in (before := books.gateway.days[date(2026, 11, 26)]), books.gateway:
        day.revision = 2
    before.lines = [row(books, files, 1, first), row(books, files, 2, second)]
    books.gateway.opening = 2 * 2439
    await books.next_day()
    await books.run()
    waiting = await books.rows("SELECT error FROM reconciliation WHERE due_at IS NOT NULL")
    assert [each["error"] for each in waiting] == [
        "the gateway has corrected its reports: 2026-11-26 is compared again first"
    ]
    books.clock.at += timedelta(minutes=2)
    await books.run()
    runs = await books.rows(
        "SELECT business_date::text AS day, number, state, superseded, requested_by FROM reconciliation ORDER BY 1, 2"
    )
    assert [tuple(each.values()) for each in runs] == [
        ("2026-11-26", 1, "done", True, "schedule"),
        ("2026-11-26", 2, "done", False, "correction"),
        ("2026-11-27", 1, "done", True, "schedule"),
        ("2026-11-27", 2, "done", False, "correction"),
        ("2026-11-28", 1, "done", False, "schedule"),
    ]
    assert await books.found() == {("amount_differs", "case"), ("paid_but_missing", "resolved")}
    calls = len(books.gateway.calls)
    await books.run()
    assert len(books.gateway.calls) == calls


async def test_a_line_that_a_correction_took_away_is_missed(books: Books, files: Files) -> None:
    """What an earlier comparison of the same day had read clears nothing: it no longer counts."""
    books.gateway.lines.append(row(books, files, 1, await books.order(1)))
    await books.run()
    assert await books.found() == set()
    books.gateway.lines, books.gateway.revision = [], 2
    await books.next_day()
    books.gateway.opening = 0
    await books.run()
    books.clock.at += timedelta(minutes=2)
    await books.run()
    assert await books.found() == {("paid_but_missing", "waiting")}


async def test_a_refused_report_is_taken_once_it_was_corrected(books: Books, files: Files) -> None:
    books.gateway.lines.append(row(books, files, 1, await books.order(1)))
    books.gateway.raw = books.gateway.file()[:-30]
    await books.run()
    assert [each["damage"] for each in await books.rows("SELECT damage FROM settlement_file")] == ["hash"]
    books.gateway.raw, books.gateway.revision = None, 2
    await books.next_day()
    await books.run()
    books.clock.at += timedelta(minutes=2)
    await books.run()
    files_then = await books.rows("SELECT state FROM reconciliation ORDER BY business_date, number")
    assert [each["state"] for each in files_then] == ["refused", "done", "done"]


async def test_of_a_corrected_report_that_is_damaged_too_people_hear_again(books: Books, files: Files) -> None:
    """And once: it is no other correction each time that the days after it are looked at, which it does not block."""
    books.gateway.lines.append(row(books, files, 1, await books.order(1)))
    books.gateway.raw = books.gateway.file()[:-30]
    await books.run()
    await books.database.execute(Statement("x", "UPDATE cases SET state = 'closed', closed_at = opened_at"))
    books.gateway.revision = 2
    await books.next_day()
    await books.run()
    books.clock.at += timedelta(minutes=2)
    await books.run()
    assert [each["state"] for each in await books.rows("SELECT state FROM cases ORDER BY case_id")] == [
        "closed",
        "open",
    ]
    runs = await books.rows("SELECT state FROM reconciliation ORDER BY business_date, number")
    assert [each["state"] for each in runs] == ["refused", "refused", "done"]


async def test_what_a_gateway_says_of_an_earlier_report_and_nobody_can_read_is_no_correction(books: Books) -> None:
    await books.run()
    books.gateway.manifest = {"closing": "much"}
    await books.next_day()
    books.gateway.manifest = {}
    await books.run()
    assert [each["state"] for each in await books.rows("SELECT state FROM reconciliation")] == ["done", "done"]


async def test_after_a_long_outage_all_days_are_caught_up_in_their_order(books: Books, files: Files) -> None:
    """However long it was: days that nobody asked for while the service was away are compared, the oldest first."""
    await books.run()
    for _ in range(40):
        await books.next_day()
    await books.run()
    assert books.gateway.reported == [date(2026, 11, 26) + timedelta(days=day) for day in range(41)]
    assert [each["state"] for each in await books.rows("SELECT DISTINCT state FROM settlement_file")] == ["accepted"]


@pytest.mark.parametrize("paid", ["before_midnight", "after_midnight", "by_the_first_file"])
async def test_a_charge_that_two_days_settle_is_found(books: Books, files: Files, paid: str) -> None:
    """RULES §11, settled_twice: also where each of the two files fits by itself, as the order counts as paid on the
    later day: a second too late, or since the first file told of it."""
    times = {"before_midnight": (26, 23, 59), "after_midnight": (27, 0, 1)}
    if paid in times:
        order_id = await books.order(1, paid_at=datetime(2026, 11, *times[paid], tzinfo=UTC))
    else:
        order_id = await books.order(1, "PENDING")
        books.gateway.captured(1, order_id)
    books.gateway.lines.append(row(books, files, 1, order_id))
    await books.run()
    resolved = {("captured_but_pending", "resolved")} if paid == "by_the_first_file" else set()
    assert await books.found() == resolved
    await books.next_day()
    again = {"balance_transaction_id": "txn_again", "created_utc": "2026-11-27 10:00:00"}
    books.gateway.lines.append(row(books, files, 1, order_id) | again)
    await books.run()
    assert await books.found() == resolved | {("settled_twice", "case")}
    assert await books.cases() == ["recon_settled_twice"]


async def test_the_case_of_an_unknown_payment_names_the_webhooks_that_came_for_it(books: Books, files: Files) -> None:
    """RULES §11, unknown_payment: case; looks into the parked inbox."""
    insert = (
        "INSERT INTO inbox (merchant_id, connection_id, event_id, type, order_id, state, received_at, raw) "
        "SELECT $1::text, $2::text, 'evt_' || n, 'refund.created', CASE n WHEN 3 THEN 'ord_z' ELSE 'ord_x' END, "
        "'parked', '2026-11-26T10:00:00Z', 'x' FROM generate_series(1, 3) AS n"
    )
    await books.database.execute(Statement("x", insert), books.merchant_id, books.connection_id)
    books.gateway.lines = [row(books, files, 1, "ord_x"), row(books, files, 2, "ord_y")]
    await books.run()
    told = await books.rows("SELECT details ->> 'parked' AS parked FROM cases ORDER BY subject")
    assert [each["parked"] for each in told] == [
        "evt_1 refund.created, evt_2 refund.created",
        None,
    ]


async def test_days_without_a_report_do_not_break_the_chain(books: Books, files: Files) -> None:
    """A gateway writes none for an account that is idle: no sequence, and no sums. The next one follows the last."""
    books.gateway.lines.append(row(books, files, 1, await books.order(1)))
    payout = {"gross": "-24.39", "fee": "0.00", "net": "-24.39", "payment_intent_id": "", "charge_id": ""}
    books.gateway.lines.append(row(books, files, 2, "", reporting_category="payout", **payout))
    await books.run()
    for _ in range(2):
        await books.next_day()
        books.gateway.sequence = 0
        books.gateway.manifest = {"sequence": 0, "revision": 0}
        await books.run()
    await books.next_day()
    books.gateway.sequence, books.gateway.manifest = 2, {}
    await books.run()
    assert [each["state"] for each in await books.rows("SELECT state FROM settlement_file")] == ["accepted"] * 4


async def test_a_report_that_is_not_ready_is_asked_for_again(books: Books, files: Files) -> None:
    books.gateway.trouble = [400]
    await books.run()
    [run] = await books.rows("SELECT state, error, due_at FROM reconciliation")
    assert run["state"] == "due"
    assert "cannot be had" in run["error"]
    books.clock.at = run["due_at"] + timedelta(seconds=1)
    await books.run()
    assert [each["state"] for each in await books.rows("SELECT state FROM reconciliation")] == ["done"]


async def test_one_run_for_a_day_however_many_workers_try(books: Books, files: Files) -> None:
    order_id = await books.order(1, "PENDING")
    books.gateway.lines.append(row(books, files, 1, order_id))
    books.gateway.captured(1, order_id)
    workers = [books.worker() for _ in range(8)]
    await asyncio.gather(*(worker.run_once() for worker in workers))
    await books.run()
    assert len(await books.rows("SELECT * FROM reconciliation")) == 1
    assert [call for call in books.gateway.calls if call[0] == "POST"] == [("POST", "/v1/reporting/report_runs")]
    assert (
        len(await books.rows("SELECT * FROM timeline WHERE reference = 'recon:pi_1' AND state_before = 'PENDING'")) == 1
    )
    calls = len(books.gateway.calls)
    await books.run()
    assert len(books.gateway.calls) == calls, "a day that is done stays as it is"


async def test_of_workers_that_see_the_same_run_one_takes_it(books: Books) -> None:
    workers = [books.worker() for _ in range(8)]
    await workers[0].schedule()
    for _ in range(3):
        claims = await asyncio.gather(*(worker._claim() for worker in workers))
        assert len([claim for claim in claims if claim is not None]) == 1
        books.clock.at += timedelta(hours=1)


async def test_a_run_is_held_while_its_worker_lives_and_taken_over_soon_after_it_died(
    books: Books, files: Files
) -> None:
    """However long a download takes, the lease is kept; whoever died loses it within half a minute, so that the
    sandbox's time does not stand still for the longest that a run may take."""
    lost = await books.order(1, "PENDING")
    books.gateway.lines.append(row(books, files, 1, lost))
    books.gateway.captured(1, lost)
    downloading, go_on = asyncio.Event(), asyncio.Event()
    other = books.worker()

    async def slow(*arguments: Any) -> Any:
        downloading.set()
        await go_on.wait()
        return await download(*arguments)

    worker = books.worker()
    download, worker._taker._reports.download = worker._taker._reports.download, slow
    running = asyncio.create_task(worker.run_once())
    await downloading.wait()
    for _ in range(4):  # two minutes
        books.clock.at += timedelta(seconds=20)
        await asyncio.sleep(0.2)
        assert await other._claim() is None, "its worker lives"
        books.clock.at += timedelta(seconds=10)
        await asyncio.sleep(0.2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert await other._claim() is None, "its lease has not ended"
    books.clock.at += timedelta(seconds=LEASE_S)
    assert await other.run_once() == 1
    assert [each["state"] for each in await books.rows("SELECT state FROM reconciliation")] == ["done"]
    assert await books.state(lost) == "PAID"


async def test_whoever_lost_a_run_writes_nothing_more_into_it(books: Books, files: Files) -> None:
    """A worker that stood still past its lease: the one that took over ends the run, the late one changes nothing."""
    books.gateway.lines.append(row(books, files, 1, "ord_nobody_knows"))
    late, other = books.worker(), books.worker()
    await late.schedule()
    run = await late._claim()
    books.clock.at += timedelta(seconds=LEASE_S)
    assert await other.run_once() == 1
    with pytest.raises(LeaseLost):
        await late._compare(run)
    assert await books.found() == {("unknown_payment", "case")}
    assert [each["state"] for each in await books.rows("SELECT state FROM reconciliation")] == ["done"]


class Died(Exception):
    """The process died."""


@pytest.mark.parametrize("dies_at", range(1, 16))
async def test_killed_halfway_and_started_again_it_finishes_once(
    books: Books, files: Files, dies_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At whatever commit."""
    for number, state in enumerate(("PENDING", "EXPIRED", "PAID", "PAID")):
        order_id = await books.order(number, state)
        if number != 3:
            books.gateway.lines.append(row(books, files, number, order_id))
            books.gateway.captured(number, order_id)
    books.gateway.lines.append(row(books, files, 7, "ord_nobody_knows"))
    commits = 0
    commit = type(books.database)._commit

    async def dying(self: Any, connection: Any) -> None:
        nonlocal commits
        commits += 1
        if commits == dies_at:
            raise Died
        await commit(self, connection)

    monkeypatch.setattr(type(books.database), "_commit", dying)
    worker = books.worker()
    try:
        while await worker.run_once():
            pass
    except Died:
        pass
    monkeypatch.undo()
    books.clock.at += timedelta(hours=1)
    await books.run()
    assert [each["state"] for each in await books.rows("SELECT state FROM reconciliation")] == ["done"]
    assert await books.found() == {
        ("captured_but_pending", "resolved"),
        ("captured_but_closed", "resolved"),
        ("paid_but_missing", "waiting"),
        ("unknown_payment", "case"),
    }
    assert await books.cases() == ["recon_unknown_payment"]
    paid = await books.rows("SELECT order_id FROM timeline WHERE state_before <> 'PAID' AND state_after = 'PAID'")
    assert len(paid) == 2


WORKER = """
import asyncio, sys
from datetime import UTC, datetime

from tallystick.merchant.accounts.directory import Directory
from tallystick.merchant.gateways.stripe_reports import StripeReports
from tallystick.merchant.orders.outbox import Outbox
from tallystick.merchant.reconciliation.job import Reconciler
from tallystick.merchant.reconciliation.resolving import Resolver
from tallystick.merchant.reconciliation.salvaging import Salvager
from tallystick.merchant.reconciliation.taking import Taker
from tallystick.ports.clock import SystemClock
from tallystick.ports.asyncpg_database import open_database
from tallystick.ports.entropy import SystemEntropy
from tallystick.ports.aiohttp_http import AiohttpClient

class Clock(SystemClock):
    def now(self):
        return datetime(2026, 11, 27, 3, tzinfo=UTC)

class Keys:
    async def read(self, reference):
        return "sk_test_of_no_value"

async def work(dsn):
    database, clock, entropy = await open_database(dsn), Clock(), SystemEntropy()
    reports, outbox = StripeReports(AiohttpClient(), Keys(), clock, entropy), Outbox(clock, entropy)
    salvager = Salvager(database, reports, clock, outbox)
    taker = Taker(database, reports, salvager, clock, entropy)
    resolver = Resolver(database, reports, clock, entropy, outbox)
    await Reconciler(database, Directory(database, clock), taker, resolver, clock, entropy, None).run()

asyncio.run(work(sys.argv[1]))
"""
LONG_LINES = 300_000  # seconds of reading; how far it is is told every hundred thousand


async def test_killed_in_the_middle_of_a_long_file_it_is_finished_by_another(
    books: Books, files: Files, merchant_dsn: str
) -> None:
    """A real process and a real SIGKILL: nothing of the half that was read stays, what is merged is merged once."""
    lost = await books.order(1, "PENDING")
    books.gateway.captured(1, lost)
    adjustment = files.stripe_row(0, "adjustment", created_utc="2026-11-26 10:00:00") | {"payment_intent_id": ""}
    head, line = files.stripe(adjustment).decode().splitlines()
    lines = [line.replace("txn_0", f"txn_long{number}", 1) for number in range(LONG_LINES)]
    charge = files.stripe(row(books, files, 1, lost)).decode().splitlines()[1]
    books.gateway.raw, books.gateway.manifest = "\n".join([head, *lines, charge, ""]).encode(), None

    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", WORKER, merchant_dsn)
    async with asyncio.timeout(120):
        while not await books.rows("SELECT 1 FROM reconciliation WHERE lines_read > 0"):  # noqa: ASYNC110 - a process
            await asyncio.sleep(0.02)
    worker.kill()
    await worker.wait()
    assert [each["state"] for each in await books.rows("SELECT state FROM reconciliation")] == ["due"]

    await books.run()
    assert [each["state"] for each in await books.rows("SELECT state FROM reconciliation")] == ["due"], "it is held"
    books.clock.at += timedelta(hours=1)
    await books.run()
    codes = await books.rows("SELECT code, count(*)::int AS n FROM settlement_line GROUP BY code ORDER BY code")
    assert [(each["code"], each["n"]) for each in codes] == [("adjustment", LONG_LINES), ("captured_but_pending", 1)]
    assert await books.found() == {("captured_but_pending", "resolved")}
    paid = await books.rows("SELECT reference FROM timeline WHERE state_before <> 'PAID' AND state_after = 'PAID'")
    assert [each["reference"] for each in paid] == ["recon:pi_1"]


async def test_missing_lines_wait_and_come_or_become_a_case(books: Books, files: Files) -> None:
    """Nov 26 is a Thursday: T+2 is Monday."""
    comes = await books.order(1)
    stays = await books.order(2)
    only_authorised = await books.order(3)
    at_the_end = await books.order(4, paid_at=datetime(2026, 11, 26, 23, 59, tzinfo=UTC))
    for number, order_id in ((2, stays), (3, only_authorised)):
        books.gateway.captured(number, order_id)
    books.gateway.payments["pi_3"]["status"] = "requires_capture"
    await books.run()
    assert await books.found() == {("paid_but_missing", "waiting"), ("cut_off", "waiting")}
    await books.next_day()
    books.gateway.lines = [row(books, files, 1, comes), row(books, files, 4, at_the_end)]
    await books.run()
    states = await books.rows("SELECT subject, code, state FROM mismatch WHERE lines = '{}' ORDER BY subject")
    assert [(each["subject"], each["code"], each["state"]) for each in states] == [
        ("pi_1", "paid_but_missing", "resolved"),
        ("pi_2", "paid_but_missing", "waiting"),
        ("pi_3", "paid_but_missing", "waiting"),
        ("pi_4", "cut_off", "resolved"),
    ]
    for _ in range(3):
        await books.next_day()
        await books.run()
    states = await books.rows("SELECT subject, code, state FROM mismatch WHERE state = 'case' ORDER BY subject")
    assert [tuple(each.values()) for each in states] == [
        ("pi_2", "paid_but_missing", "case"),
        ("pi_3", "authorised_there", "case"),
    ]
    assert await books.cases() == ["recon_authorised_there", "recon_paid_but_missing"]
    orders = await books.rows("SELECT state, fulfilment, attention FROM orders ORDER BY order_id")
    assert [tuple(each.values()) for each in orders] == [
        ("PAID", "allowed", None),
        ("PAID", "held", "paid_but_missing"),
        ("PAID", "held", "authorised_there"),
        ("PAID", "allowed", None),
    ]


async def test_too_many_of_one_kind_stop_all_automatic_actions(books: Books, files: Files) -> None:
    for number in range(51):
        order_id = await books.order(number, "PENDING")
        books.gateway.lines.append(row(books, files, number, order_id))
        books.gateway.captured(number, order_id)
    await books.run()
    [run] = await books.rows("SELECT state, stopped FROM reconciliation")
    assert run["state"] == "done"
    assert run["stopped"].startswith("breaker: 51")
    assert {each["state"] for each in await books.rows("SELECT state FROM orders")} == {"PENDING"}
    assert await books.found() == {("captured_but_pending", "stopped")}
    assert await books.cases() == ["reconciliation_stopped"]
    assert len(books.alerts.titles) == 1


async def test_a_dispute_that_nobody_told_holds_the_goods(books: Books, files: Files) -> None:
    """RULES §11, dispute_unknown: by fact, and hold; where the gateway does not confirm it, a case, and hold."""
    for number in (1, 2):
        order_id = await books.order(number)
        charge = row(books, files, number, order_id)
        dispute = {"gross": "-25.00", "fee": "15.00", "net": "-40.00", "source_id": f"dp_{number}"}
        dispute |= {"balance_transaction_id": f"txn_d{number}", "reporting_category": "dispute"}
        books.gateway.lines += [charge, row(books, files, number, order_id, **dispute)]
        books.gateway.captured(number, order_id)
    books.gateway.disputes.append(
        {"id": "dp_1", "object": "dispute", "status": "needs_response", "currency": "eur", "payment_intent": "pi_1"}
    )
    await books.run()
    assert await books.found() == {("dispute_unknown", "resolved"), ("dispute_unknown", "case")}
    orders = await books.rows("SELECT fulfilment, attention FROM orders ORDER BY order_id")
    assert [tuple(each.values()) for each in orders] == [("held", "disputed")] * 2
    assert await books.cases() == ["disputed", "recon_dispute_unknown"]
    held = await books.rows("SELECT details ->> 'hold' AS hold FROM cases ORDER BY kind")
    assert [each["hold"] for each in held] == ["disputed:dp_1", "disputed:dp_2"]
