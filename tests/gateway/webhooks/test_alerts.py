"""Dead letters are told once for each endpoint and reason, and every try to tell is kept in a row (RULES §6)."""

import logging
from typing import Any

import pytest

from tallystick.kernel.delivery.alerting import WAITS_S, Alerter
from tallystick.ports.database import Database, Statement
from tallystick.ports.http import Answered, HttpRequest
from tallystick.ports.metrics import DEAD_LETTERS


class Told:
    """Remembers what it was told; fails as often as it should."""

    def __init__(self, failures: int = 0) -> None:
        self.alerts: list[tuple[str, str]] = []
        self.failures = failures

    async def tell(self, title: str, text: str) -> bool:
        self.alerts.append((title, text))
        self.failures -= 1
        return self.failures < 0


def _alerter(bench: Any, told: Told) -> Alerter:
    return Alerter(bench.database, told, bench.clock, command="tallystick gateway dead-letters")


def _counted(fault: str) -> float:
    return float(DEAD_LETTERS.labels(fault=fault)._value.get())


async def test_once_for_each_endpoint_and_reason(bench: Any, receiver: Any, caplog: pytest.LogCaptureFixture) -> None:
    """However many events, dispatchers and restarts."""
    caplog.set_level(logging.ERROR)
    async with bench.receiving() as other:
        receiver.always = receiver.answer(404)
        other.always = receiver.answer(400)
        bench.endpoint("we_1", receiver.url, delays_s=[])
        bench.endpoint("we_2", other.url, delays_s=[])
        told, before = Told(), _counted("endpoint")
        for _ in range(2):
            await bench.happen(3)
            async with bench.running(bench.dispatcher(), bench.dispatcher()):
                await bench.until(lambda: bench.sql("SELECT count(*) FROM delivery WHERE state <> 'dead'") == [(0,)])
            await _alerter(bench, told).step()
            await _alerter(bench, told).step()
        assert len(told.alerts) == 2
        assert _counted("endpoint") - before == 12
        receiver.always = receiver.answer(405)
        await bench.happen()
        async with bench.running():
            await bench.until(lambda: bench.sql("SELECT count(*) FROM delivery WHERE state <> 'dead'") == [(0,)])
        await _alerter(bench, told).step()
    titles = sorted(title for title, _ in told.alerts)
    assert titles == [
        "Webhooks to we_1 become dead letters: http_404",
        "Webhooks to we_1 become dead letters: http_405",
        "Webhooks to we_2 become dead letters: http_400",
    ]
    assert any("tallystick gateway dead-letters list --endpoint we_1" in text for _, text in told.alerts)
    assert sum("become dead letters" in record.getMessage() for record in caplog.records) == 3


async def test_a_deleted_endpoint_is_no_news(bench: Any) -> None:
    bench.endpoint("we_1", "http://127.0.0.1:1/")
    await bench.happen(2)
    before = _counted("endpoint")
    bench.sql("UPDATE webhook_endpoint SET deleted_at = $1", bench.clock.now())
    async with bench.running():
        await bench.until_states(*[("dead", 0, "endpoint_deleted")] * 2)
    assert bench.sql("SELECT count(*) FROM dead_letter_alert") == [(0,)]
    assert _counted("endpoint") == before, "what is not told is not counted, and no rule looks at it"


async def test_faults_of_ours_are_kept_apart(bench: Any) -> None:
    """Poison: its reason is no endpoint's, it says nothing of the endpoint's health, and its alert says whose it is."""

    class Breaking:
        async def send(self, request: HttpRequest) -> Answered:
            raise ZeroDivisionError

    bench.endpoint("we_1", "http://127.0.0.1:1/", delays_s=[])
    before = _counted("ours")
    await bench.happen()
    async with bench.running(bench.dispatcher(http=Breaking())):
        await bench.until_states(("dead", 1, "broken"))
    told = Told()
    await _alerter(bench, told).step()
    assert "a fault of ours" in told.alerts[0][1]
    assert bench.sql("SELECT count(*) FROM endpoint_health") == [(0,)]
    assert _counted("ours") - before == 1


async def _one_alert(bench: Any) -> None:
    bench.endpoint("we_1", "http://127.0.0.1:1/", delays_s=[])
    await bench.happen()
    async with bench.running():
        await bench.until_states(("dead", 1, "connection_refused"))


async def test_what_could_not_be_told_is_told_again(bench: Any, caplog: pytest.LogCaptureFixture) -> None:
    await _one_alert(bench)
    told = Told(failures=2)
    for wait_s in (0, 59, 2, 299, 2, 86_400):
        bench.clock.ahead_s += wait_s
        await _alerter(bench, told).step()
    assert len(told.alerts) == 3
    assert bench.sql("SELECT tries, due_at FROM dead_letter_alert") == [(3, None)]
    assert sum("become dead letters" in record.getMessage() for record in caplog.records) == 1


async def test_telling_is_given_up_at_last(bench: Any) -> None:
    await _one_alert(bench)
    told = Told(failures=99)
    for _ in range(10):
        await _alerter(bench, told).step()
        bench.clock.ahead_s += 86_400
    assert len(told.alerts) == len(WAITS_S) + 1


async def test_two_alerters_tell_it_once_and_one_that_dies_has_it_told_again(bench: Any) -> None:
    await _one_alert(bench)

    class Dying:
        """The database of a process that is killed before it can write that it told."""

        def __init__(self, database: Database) -> None:
            self._database = database

        async def rows(self, statement: Statement, *parameters: Any) -> Any:
            return await self._database.rows(statement, *parameters)

        async def execute(self, statement: Statement, *parameters: Any) -> int:
            if statement.name == "record_alert":
                raise ZeroDivisionError("killed")
            return await self._database.execute(statement, *parameters)

    told = Told()
    dying = Alerter(Dying(bench.database), told, bench.clock, command="x")  # type: ignore[arg-type]
    with pytest.raises(ZeroDivisionError):
        await dying.step()
    await _alerter(bench, told).step()
    assert len(told.alerts) == 1, "its lease still runs"
    bench.clock.ahead_s += 61
    await _alerter(bench, told).step()
    assert len(told.alerts) == 2
