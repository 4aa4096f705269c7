"""A security code leaves no trace: with another one, the same seed writes, logs and answers the same. RULES §9.

Both services run whole, with crashes at every statement, challenges, declines and saved numbers; what shoppers type as
their codes is the only difference.
"""

import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from tallystick.ports.http import Answered
from tallystick.simulation.databases import databases
from tallystick.simulation.network import VirtualHttp
from tallystick.simulation.seeds import Seeds

FIRST, SECOND = "471", "905"
SEEDS = (("checkout", 21), ("challenge", 22), ("declines", 23))

_TABLES = """
SELECT table_schema, table_name FROM information_schema.tables
 WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2"""


def test_whatever_the_codes_are_databases_logs_and_answers_are_the_same(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[str] = []
    send = VirtualHttp.send

    async def heard(self: VirtualHttp, request: Any) -> Any:
        answer = await send(self, request)
        if isinstance(answer, Answered):
            answers.append(f"{answer.status} {sorted(answer.headers.items())} {answer.body!r}")
        return answer

    monkeypatch.setattr(VirtualHttp, "send", heard)
    with databases(1, postgres_dsn) as [pair], logged() as lines:
        seeds = Seeds(pair["gateway"], pair["merchant"])
        for scenario, seed in SEEDS:
            left = []
            for code in (FIRST, SECOND):
                answers.clear()
                lines.clear()
                report = seeds.run(seed, scenario=scenario, security_code=code)
                assert report.violations == ()
                stored = [value for dsn in pair.values() for value in values_of(dsn)]
                assert len(stored) > 1000
                assert len(answers) > 10
                assert [value for value in stored if value == code] == [], "no field is one"
                assert [line for line in lines if code in line.split()] == [], "no logged value is one"
                assert not any(f'value="{code}"' in answer or f'"{code}"' in answer for answer in answers)
                left.append((report.trace, digest(stored), list(lines), list(answers)))
            first, second = left
            assert first[0] == second[0], f"{scenario} {seed}: another story"
            assert first[1] == second[1], f"{scenario} {seed}: other rows"
            assert first[2] == second[2], f"{scenario} {seed}: other log lines"
            assert first[3] == second[3], f"{scenario} {seed}: other answers"


def test_another_seed_would_have_been_told_apart(postgres_dsn: str) -> None:
    with databases(1, postgres_dsn) as [pair]:
        seeds = Seeds(pair["gateway"], pair["merchant"])
        digests = []
        for seed in (21, 24):
            seeds.run(seed, scenario="checkout")
            digests.append(digest([value for dsn in pair.values() for value in values_of(dsn)]))
    assert digests[0] != digests[1]


@contextmanager
def logged() -> Iterator[list[str]]:
    """What is logged meanwhile, at every level."""
    lines: list[str] = []

    class Heard(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{record.levelname} {record.name} {record.getMessage()}")

    handler, root = Heard(), logging.getLogger()
    root.addHandler(handler)
    before = root.level
    root.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


def values_of(dsn: str) -> Iterator[str]:
    """Every value in every table of every schema; of JSON every value in it."""
    with psycopg.connect(dsn) as connection:
        for schema, table in connection.execute(_TABLES).fetchall():
            rows = connection.execute(f'SELECT * FROM "{schema}"."{table}"').fetchall()
            for row in sorted(rows, key=repr):
                for value in row:
                    yield from _leaves(value)


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    elif isinstance(value, memoryview | bytes):
        yield bytes(value).hex()
        try:
            yield from _leaves(json.loads(bytes(value)))
        except ValueError:
            pass
    else:
        yield str(value)


def digest(values: list[str]) -> str:
    return hashlib.sha256("\n".join(values).encode()).hexdigest()
