"""A service that watches itself: people are told once, whoever judges, and what is over is told too (RULES §13)."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tallystick.gateway.monitoring.figures import FIGURES as OF_GATEWAY
from tallystick.kernel.monitoring.counts import Counts, save_violations
from tallystick.kernel.monitoring.figures import read
from tallystick.kernel.monitoring.heartbeat import Heartbeat
from tallystick.kernel.monitoring.rules import RULES
from tallystick.kernel.monitoring.watching import Watch
from tallystick.merchant.monitoring.figures import FIGURES as OF_MERCHANT
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Database, DatabaseUnavailable, Statement
from tallystick.ports.metrics import ALERTS_TOLD, DEAD_LETTERS, INVARIANTS_VIOLATED, SCRUBBED, WEBHOOK_SECONDS, WEBHOOKS

EVERY_S = 15
A_DAY_TO_CLOSE = Statement(
    "a_day_to_close",
    "INSERT INTO balance_account (account_id, livemode, currency, next_day, close_at)"
    " VALUES ('acct_1', false, 'EUR', '2026-03-01', $1::timestamptz)"
    " ON CONFLICT (account_id, livemode, currency)"
    " DO UPDATE SET next_day = excluded.next_day, close_at = excluded.close_at",
)
DONE = Statement("done", "UPDATE balance_account SET close_at = NULL, next_day = NULL")


class Clock(SystemClock):
    """A clock that tests move: time passes, or the time of day is moved."""

    def __init__(self) -> None:
        self.at, self.passed_s = datetime(2026, 3, 2, 12, 0, tzinfo=UTC), 1_000.0

    def now(self) -> datetime:
        return self.at

    def monotonic_s(self) -> float:
        return self.passed_s

    def passes(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        self.passed_s += seconds

    def is_moved(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class Pager:
    """Remembers what it told; `hears` says whether anybody does."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.texts: list[str] = []
        self.hears = True

    async def tell(self, title: str, text: str) -> bool:
        return self._told(f"fires {title}", text)

    async def tell_over(self, title: str, text: str) -> bool:
        return self._told(f"over {title}", text)

    def _told(self, title: str, text: str) -> bool:
        self.told.append(title)
        self.texts.append(text)
        return self.hears


class Away:
    """A database that is away."""

    async def rows(self, *_: Any) -> Sequence[Any]:
        raise DatabaseUnavailable("away")

    execute = rows


class Bench:
    """A service with processes that watch it, each in its turn every EVERY_S."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock, self.pager = Clock(), Pager()

    def watch(self, process: str = "serve on a:1", figures: Any = OF_GATEWAY, database: Any = None) -> Watch:
        return Watch(
            database or self.database,
            figures,
            self.pager,
            self.clock,
            service="Gateway",
            process=process,
            every_s=EVERY_S,
        )

    async def goes_on(self, seconds: float, *watches: Watch) -> None:
        for _ in range(int(seconds // EVERY_S)):
            self.clock.passes(EVERY_S)
            for watch in watches:
                await watch.step()
                await watch.tell()


@pytest.fixture
def bench(gateway_database: Database) -> Bench:
    return Bench(gateway_database)


OVERDUE_TOLD = "Gateway: WorkOverdue: Work that is due is not done: days."


async def test_people_are_told_when_it_begins_and_when_it_is_over(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    watch = bench.watch()
    await bench.database.execute(A_DAY_TO_CLOSE, bench.clock.now() - timedelta(seconds=300))
    await bench.goes_on(120, watch)
    assert bench.pager.told == [], "it is so for two minutes at least before it is an alert"
    await bench.goes_on(30, watch)
    assert bench.pager.told == [f"fires {OVERDUE_TOLD}"]
    assert bench.pager.texts == ["Since 2026-03-02 12:02:15 UTC (page). What to do: docs/alerts.md#workoverdue"]
    figure = next(each for each in OF_GATEWAY if each.name == "alerts_firing")
    [firing] = (await read(bench.database, [figure], bench.clock.now())).values()
    assert [(value.labels, value.value) for value in firing] == [({"alert": "WorkOverdue", "severity": "page"}, 1)]
    await bench.goes_on(600, watch)
    assert len(bench.pager.told) == 1
    await bench.database.execute(DONE)
    await bench.goes_on(180, watch)
    assert bench.pager.told[1:] == [f"over {OVERDUE_TOLD}"]
    assert [record.getMessage() for record in caplog.records] == [
        "alert WorkOverdue: Work that is due is not done: days.",
        "alert WorkOverdue is over: Work that is due is not done: days.",
    ]


async def test_two_processes_tell_once_and_one_that_starts_tells_nothing_again(bench: Bench) -> None:
    one, two = bench.watch("serve on a:1"), bench.watch("work on a:1")
    await bench.database.execute(A_DAY_TO_CLOSE, bench.clock.now() - timedelta(hours=1))
    await bench.goes_on(300, one, two)
    bench.clock.passes(5)
    again = bench.watch("serve on a:1")
    await bench.goes_on(300, two, again)
    assert bench.pager.told == [f"fires {OVERDUE_TOLD}"]


async def test_two_that_tell_at_once_tell_it_once(bench: Bench) -> None:
    one, two = bench.watch(), bench.watch()
    await bench.database.execute(A_DAY_TO_CLOSE, bench.clock.now() - timedelta(hours=1))
    for _ in range(10):
        bench.clock.passes(EVERY_S)
        await one.step()
    both = asyncio.Barrier(2)

    class Together:
        """A database in which both see what is untold before either takes it."""

        async def rows(self, *asked: Any) -> Sequence[Any]:
            rows = await bench.database.rows(*asked)
            await both.wait()
            return rows

        execute = bench.database.execute

    one._teller._database = two._teller._database = Together()  # type: ignore[assignment]
    await asyncio.gather(one.tell(), two.tell())
    assert bench.pager.told == [f"fires {OVERDUE_TOLD}"]


async def test_after_an_hour_in_which_nobody_looked_a_duration_begins_anew(bench: Bench) -> None:
    await bench.database.execute(A_DAY_TO_CLOSE, bench.clock.now() - timedelta(hours=1))
    await bench.goes_on(30, bench.watch())
    bench.clock.passes(3_600)
    again = bench.watch()
    await bench.goes_on(120, again)
    assert bench.pager.told == []
    await bench.goes_on(15, again)
    assert bench.pager.told == [f"fires {OVERDUE_TOLD}"]


async def test_what_nobody_heard_is_told_again(bench: Bench) -> None:
    watch = bench.watch()
    bench.pager.hears = False
    await bench.database.execute(A_DAY_TO_CLOSE, bench.clock.now() - timedelta(hours=1))
    failed = ALERTS_TOLD.labels("failed")._value.get()
    await bench.goes_on(180, watch)
    bench.pager.hears = True
    await bench.goes_on(300, watch)
    assert bench.pager.told == [f"fires {OVERDUE_TOLD}"] * 2
    assert ALERTS_TOLD.labels("failed")._value.get() == failed + 1


async def test_what_ended_before_anybody_heard_is_told_as_a_whole(bench: Bench) -> None:
    watch = bench.watch()
    bench.pager.hears = False
    await bench.database.execute(A_DAY_TO_CLOSE, bench.clock.now() - timedelta(hours=1))
    await bench.goes_on(150, watch)
    await bench.database.execute(DONE)
    await bench.goes_on(30, watch)
    bench.pager.hears = True
    await bench.goes_on(300, watch)
    assert bench.pager.told[-1] == f"over {OVERDUE_TOLD}"
    assert bench.pager.texts[-1].startswith("Over: it was so from 2026-03-02 12:02:15")


async def test_a_teller_that_dies_has_it_told_again(bench: Bench) -> None:
    watch = bench.watch()
    await bench.database.execute(A_DAY_TO_CLOSE, bench.clock.now() - timedelta(hours=1))

    async def killed(*_: Any) -> bool:
        raise ZeroDivisionError

    bench.pager.tell, heard = killed, bench.pager.tell  # type: ignore[method-assign,assignment]
    with pytest.raises(ZeroDivisionError):
        await bench.goes_on(300, watch)
    bench.pager.tell = heard  # type: ignore[method-assign]
    await bench.goes_on(30, bench.watch())
    assert bench.pager.told == [], "its lease still runs"
    await bench.goes_on(45, bench.watch())
    assert bench.pager.told == [f"fires {OVERDUE_TOLD}"]


async def test_what_processes_count_is_judged_together(bench: Bench) -> None:
    """Each counts for itself; the sum is what a rule looks at."""
    watch = bench.watch()
    await bench.goes_on(30, watch)
    DEAD_LETTERS.labels("endpoint").inc()
    SCRUBBED.inc()
    await bench.goes_on(30, watch)
    assert bench.pager.told == [
        "fires Gateway: CardNumberInLog: A card number was on its way into a log and was taken out at the last moment.",
        "fires Gateway: DeadLetters: Deliveries were given up; the fault is on the side of: endpoint.",
    ]
    await bench.goes_on(660, watch)
    assert [title.split(":")[1] for title in bench.pager.told[2:]] == [" CardNumberInLog", " DeadLetters"]


class Unheard:
    """A database that commits what the next statement says, and whose answer is lost."""

    def __init__(self, database: Database) -> None:
        self._database, self.loses = database, 0

    async def rows(self, *asked: Any) -> Any:
        return await self._database.rows(*asked)

    async def execute(self, *asked: Any) -> int:
        done = await self._database.execute(*asked)
        if self.loses:
            self.loses -= 1
            raise DatabaseUnavailable("the answer is lost")
        return done


async def test_what_was_said_without_hearing_the_answer_counts_once(bench: Bench) -> None:
    there: Any = Unheard(bench.database)
    counts = [Counts(name, RULES) for name in ("serve on a:1", "work on a:1")]
    amount = Statement("amount", "SELECT sum(amount)::int AS n FROM alert_count WHERE metric = 'dead_letters_total'")

    async def known() -> int:
        [row] = await bench.database.rows(amount)
        return int(row["n"] or 0)

    DEAD_LETTERS.labels("endpoint").inc(5)
    there.loses = 2
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            await counts[0].say(there, bench.clock.now())
        bench.clock.passes(EVERY_S)
    assert await known() == 5
    DEAD_LETTERS.labels("endpoint").inc(2)
    await counts[0].say(there, bench.clock.now())
    assert await known() == 7, "what was unheard once, and what came since"
    await counts[1].say(there, bench.clock.now())
    assert await known() == 14, "another process of the same registry, in this test, counted it too"
    await counts[0].say(there, bench.clock.now())
    assert await known() == 14


async def test_slow_webhooks_and_webhooks_that_were_not_stored(merchant_database: Database) -> None:
    bench = Bench(merchant_database)
    watch = bench.watch(figures=OF_MERCHANT)
    for _ in range(20):
        for seconds in [0.4, *[0.01] * 19]:
            WEBHOOK_SECONDS.observe(seconds)
        WEBHOOKS.labels("stored").inc(10)
        WEBHOOKS.labels("unavailable").inc(1)
        await bench.goes_on(EVERY_S, watch)
    assert [title.split(":")[1] for title in bench.pager.told] == [" WebhooksNotStored", " WebhooksSlow"]


NEVER = "Gateway: InvariantViolated: Something is stored that must never be: ledger_follows_payments."


async def test_what_must_never_be_is_as_the_last_round_of_checks_found_it(bench: Bench) -> None:
    """Whichever process made it: one whose own round was before takes nothing back, and one that starts and has not
    checked yet tells nothing again."""
    await save_violations(bench.database, {"ledger_follows_payments": 2}, bench.clock.now())
    INVARIANTS_VIOLATED.labels("ledger_follows_payments").set(0)
    try:
        await bench.goes_on(60, bench.watch())
    finally:
        INVARIANTS_VIOLATED.clear()
    await bench.goes_on(60, bench.watch())
    assert bench.pager.told == [f"fires {NEVER}"]
    await save_violations(bench.database, {"ledger_follows_payments": 0}, bench.clock.now())
    await bench.goes_on(30, bench.watch())
    assert bench.pager.told == [f"fires {NEVER}", f"over {NEVER}"]


async def test_a_rule_of_checks_that_is_no_more_is_not_violated_for_ever(bench: Bench) -> None:
    """Nobody checks it again, so nobody would ever find that it holds."""
    await save_violations(bench.database, {"ledger_follows_payments": 2}, bench.clock.now())
    await bench.goes_on(30, bench.watch())
    await save_violations(bench.database, {"ledger_follows_money": 0}, bench.clock.now())
    await bench.goes_on(30, bench.watch())
    assert bench.pager.told == [f"fires {NEVER}", f"over {NEVER}"]


async def test_a_process_that_dies_is_missed_and_one_that_ends_is_not(bench: Bench) -> None:
    """As Prometheus' `up`, by what they say themselves."""
    stays, dies, ends = (bench.watch(f"{name} on a:1") for name in ("serve", "work", "more"))
    await bench.goes_on(30, stays, dies, ends)
    await ends._say_farewell()
    await bench.goes_on(180, stays)
    assert bench.pager.told == ["fires Gateway: ProcessDown: A process does not answer: work on a:1."]
    await bench.goes_on(30, stays, bench.watch("work on a:1"))
    assert bench.pager.told[1:] == ["over Gateway: ProcessDown: A process does not answer: work on a:1."]


async def test_a_database_that_is_away_is_told_without_it(bench: Bench) -> None:
    watch = bench.watch()
    there = watch._database
    watch._database = Away()  # type: ignore[assignment]
    watch._teller._database = Away()  # type: ignore[assignment]
    for _ in range(4):
        bench.clock.passes(EVERY_S)
        await watch.step()
        with pytest.raises(DatabaseUnavailable):
            await watch.tell()
    assert bench.pager.told == ["fires Gateway: DatabaseDown: The database does not answer."]
    watch._database = watch._teller._database = there
    await bench.goes_on(30, watch)
    assert bench.pager.told[1:] == ["over Gateway: DatabaseDown: The database does not answer."]


async def test_a_database_that_comes_back_finds_workers_that_had_no_moment_to_say_that_they_live(bench: Bench) -> None:
    watch, heart = bench.watch(), Heartbeat(bench.database, bench.clock, "serve")
    await heart.beat()
    await bench.goes_on(EVERY_S, watch)
    bench.clock.passes(90)  # in which it was away: nobody looked, and no heart was heard
    await bench.goes_on(EVERY_S, watch)
    await heart.beat()
    await bench.goes_on(30, watch)
    assert bench.pager.told == []


async def test_time_that_is_moved_brings_no_alert_of_its_own(bench: Bench) -> None:
    """An hour of the sandbox passes in a moment: what became due in it gets a moment to be done; what stays is told."""
    watch, heartbeat = bench.watch(), Heartbeat(bench.database, bench.clock, "serve")
    await heartbeat.beat()
    await bench.goes_on(30, watch)
    await bench.database.execute(A_DAY_TO_CLOSE, bench.clock.now() + timedelta(minutes=30))
    for _ in range(12):
        bench.clock.is_moved(300)
        await watch.step()  # before the workers could say that they live
        await heartbeat.beat()
    await watch.tell()
    await bench.database.execute(DONE)
    for _ in range(20):
        await bench.goes_on(EVERY_S, watch)
        await heartbeat.beat()
    assert bench.pager.told == []
    await bench.database.execute(A_DAY_TO_CLOSE, bench.clock.now())
    bench.clock.is_moved(3_600)
    for _ in range(12):
        await heartbeat.beat()
        await bench.goes_on(EVERY_S, watch)
    assert bench.pager.told == [f"fires {OVERDUE_TOLD}"]


WORKERS_TOLD = "Gateway: WorkersDead: No process of the kind that did runs the workers of this service: work."


async def test_a_worker_that_was_killed_beside_one_that_serves_is_told(bench: Bench) -> None:
    """Whoever judges runs workers itself, and sees all the same that those are gone that ran them alone."""
    serving, working = (Heartbeat(bench.database, bench.clock, kind) for kind in ("serve", "work"))
    watch = bench.watch()
    await working.beat()
    for _ in range(8):
        await serving.beat()
        await bench.goes_on(EVERY_S, watch)
    assert bench.pager.told == [f"fires {WORKERS_TOLD}"]
    assert bench.pager.texts[0].endswith("What to do: docs/alerts.md#workersdead")
    for beating in (serving, working):
        await beating.beat()
    await bench.goes_on(EVERY_S, watch)
    assert bench.pager.told[1:] == [f"over {WORKERS_TOLD}"]


async def test_a_worker_that_ended_as_it_should_is_not_missed(bench: Bench) -> None:
    """Of two that run, the other says so again within moments."""
    serving, working = (Heartbeat(bench.database, bench.clock, kind) for kind in ("serve", "work"))
    watch, running = bench.watch(), asyncio.create_task(working.run())
    figure = next(each for each in OF_GATEWAY if each.name == "workers_silent_seconds")

    async def kinds() -> set[str]:
        [values] = (await read(bench.database, [figure], bench.clock.now())).values()
        return {value.labels["kind"] for value in values}

    for _ in range(1_000):
        if await kinds():
            break
        await asyncio.sleep(0.01)
    assert await kinds() == {"work"}
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert await kinds() == set()
    for _ in range(10):
        await serving.beat()
        await bench.goes_on(EVERY_S, watch)
    assert bench.pager.told == []


async def test_what_is_told_as_a_process_that_is_down_is_not_told_twice(bench: Bench) -> None:
    serving, working = (Heartbeat(bench.database, bench.clock, kind) for kind in ("serve", "work"))
    watch, killed = bench.watch(), bench.watch("work on a:1")
    await working.beat()
    await bench.goes_on(EVERY_S, watch, killed)
    for _ in range(12):
        await serving.beat()
        await bench.goes_on(EVERY_S, watch)
    assert bench.pager.told == ["fires Gateway: ProcessDown: A process does not answer: work on a:1."]


async def test_where_nothing_happens_nobody_is_told(bench: Bench) -> None:
    await bench.goes_on(900, bench.watch(), bench.watch("work on a:1"))
    assert bench.pager.told == []


async def test_what_no_window_looks_back_on_is_forgotten(bench: Bench) -> None:
    watch = bench.watch()
    DEAD_LETTERS.labels("ours").inc()
    await bench.goes_on(EVERY_S, watch)
    bench.clock.passes(4 * 86_400)
    await bench.goes_on(30, watch)
    count = Statement("count", "SELECT count(*) AS n FROM alert_count WHERE metric = 'dead_letters_total'")
    assert (await bench.database.rows(count))[0]["n"] == 0
