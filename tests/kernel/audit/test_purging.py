"""Old acts go from the audit trail by its tables' owner alone, and that they went stands in it (RULES §12)."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tallystick.cli.command import run
from tallystick.kernel.audit.purging import purge
from tallystick.kernel.audit.trail import PREFIX
from tallystick.kernel.grants import GATEWAY, OWNER
from tallystick.kernel.identifiers import new_id
from tallystick.kernel.migrations import migrate
from tallystick.ports.entropy import SystemEntropy
from tallystick.ports.postgres_roles import give_database

AGES_D = (500, 401, 399, 0)


@pytest.fixture(params=["gateway", "merchant"])
def trail(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """A service with acts of these ages, each with its outcome; its DSN, by which the commands go."""
    service: str = request.param
    dsn: str = request.getfixturevalue(f"{service}_dsn")
    monkeypatch.setenv(f"TALLYSTICK_{service.upper()}_DATABASE_DSN", dsn)
    keep_acts(dsn)
    return service, dsn


def keep_acts(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        for age_d in AGES_D:
            at = datetime.now(UTC) - timedelta(days=age_d)
            entry = new_id(PREFIX, at, SystemEntropy())
            connection.execute(
                "INSERT INTO audit_entry (id, at, operator, via, act, subject, address)"
                " VALUES (%s, %s, 'ada', 'api', %s, '', '')",
                [entry, at, f"{age_d}"],
            )
            connection.execute("INSERT INTO audit_outcome VALUES (%s, %s, 'done', 200)", [entry, at])


def acts(dsn: str) -> list[tuple[str, str | None]]:
    """What is left, the oldest first, with its outcome."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "SELECT e.act, o.outcome FROM audit_outcome o FULL JOIN audit_entry e ON e.id = o.entry ORDER BY e.id"
        ).fetchall()
    return [(str(act), outcome) for act, outcome in rows]


def test_old_acts_go_with_their_outcomes_and_that_stands_in_the_trail(
    trail: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    service, dsn = trail
    monkeypatch.setattr(purge, "ACTS_MAX", 1)
    assert run([service, "audit", "purge", "--older-than", "400d", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["purged"] == 2
    assert acts(dsn) == [("399", "done"), ("0", "done"), ("audit purge", "done")]
    assert run([service, "audit", "purge", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["purged"] == 0, "by the setting where no age is given"


@pytest.mark.parametrize("age", ["399d", "0d", "400", "1y", "-400d"])
def test_nothing_goes_that_must_be_kept(trail: tuple[str, str], age: str) -> None:
    service, dsn = trail
    assert run([service, "audit", "purge", f"--older-than={age}"]) == 2
    assert len(acts(dsn)) == len(AGES_D)


def test_no_service_takes_from_its_own_trail(
    empty_dsn: str, as_role: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    give_database(empty_dsn, OWNER)
    owner = as_role(empty_dsn, OWNER)
    migrate(owner, "tallystick.gateway.schema")
    keep_acts(owner)
    monkeypatch.setenv("TALLYSTICK_GATEWAY_DATABASE_DSN", as_role(empty_dsn, GATEWAY))
    assert run(["gateway", "audit", "purge"]) == 2
    assert "OWNER_DSN" in capsys.readouterr().err
    assert len(acts(owner)) == len(AGES_D)
    monkeypatch.setenv("TALLYSTICK_GATEWAY_OWNER_DSN", owner)
    assert run(["gateway", "audit", "purge"]) == 0
    assert acts(owner)[-1] == ("audit purge", "done")
