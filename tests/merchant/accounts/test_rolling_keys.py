"""A shop's keys roll without a moment without one, by command. RULES §12."""

import asyncio
import json
from typing import Any

import pytest

from tallystick.cli.command import run
from tallystick.merchant.accounts.directory import Directory, Merchant
from tallystick.ports.asyncpg_database import open_database
from tallystick.ports.clock import SystemClock


def test_a_second_key_works_beside_the_first_until_that_is_revoked(
    merchant_dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TALLYSTICK_MERCHANT_DATABASE_DSN", merchant_dsn)

    def told(*command: str) -> Any:
        capsys.readouterr()
        assert run(["merchant", *command, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    def opens(key: str) -> bool:
        return asyncio.run(_merchant_of(merchant_dsn, key)) is not None

    made = told("accounts", "create", "--name", "Tea & Sons")
    old, new = made["api_key"], told("keys", "create", made["merchant"])["api_key"]
    assert opens(old)
    assert opens(new)
    listed = told("keys", "list", made["merchant"])["keys"]
    assert old not in repr(listed)
    assert new not in repr(listed)
    told("keys", "revoke", made["merchant"], listed[0]["id"])
    assert not opens(old)
    assert opens(new)
    assert run(["merchant", "keys", "revoke", made["merchant"], listed[0]["id"]]) == 2, "it lives no more"
    assert run(["merchant", "keys", "create", "mer_0000000000000000"]) == 2


async def _merchant_of(dsn: str, key: str) -> Merchant | None:
    database = await open_database(dsn)
    try:
        return await Directory(database, SystemClock()).merchant_of_key(key)
    finally:
        await database.close()
