"""`gateway vault-key` and `gateway rewrap` on a real database. RULES §9."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tallystick.cli.failures import CommandRefused
from tallystick.cli.gateway import app
from tallystick.gateway.cards.pan import Pan
from tallystick.gateway.vault.vault import Typed, Vault
from tallystick.ports.asyncpg_database import open_database
from tallystick.ports.entropy import SystemEntropy
from tallystick.ports.key_encryption import LocalKeyEncryption, read_key_file

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
CARDS = 7


def run(*arguments: str, environment: dict[str, str] | None = None) -> str:
    result = CliRunner().invoke(app, arguments, env=environment, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "vault.keys"


def keep_cards(dsn: str, key_file: Path) -> None:
    async def keep() -> None:
        database = await open_database(dsn, connections_max=2)
        typed = Typed("acct_a", False, Pan("4242424242424242"), "pi_1", AT, AT)
        await Vault(database, LocalKeyEncryption(key_file), SystemEntropy()).keep([typed] * CARDS)
        await database.close()

    asyncio.run(keep())


def test_a_key_file_is_made_grows_and_never_shows_a_key(key_file: Path) -> None:
    said = run("vault-key", "create", str(key_file)) + run("vault-key", "add", str(key_file))
    assert "version 2" in said
    assert sorted(read_key_file(key_file)) == [1, 2]
    assert not any(line.split()[-1] in said for line in key_file.read_text().splitlines() if line.startswith("v"))
    with pytest.raises(CommandRefused, match="cannot be made"):
        run("vault-key", "create", str(key_file))
    with pytest.raises(CommandRefused):
        run("vault-key", "add", str(key_file.with_name("none")))


def test_rewrap_brings_every_card_to_the_newest_version(gateway_dsn: str, key_file: Path) -> None:
    environment = {
        "TALLYSTICK_GATEWAY_DATABASE_DSN": gateway_dsn,
        "TALLYSTICK_GATEWAY_VAULT_KEY_FILE": str(key_file),
    }
    run("vault-key", "create", str(key_file))
    keep_cards(gateway_dsn, key_file)
    run("vault-key", "add", str(key_file))

    planned = json.loads(run("rewrap", "--dry-run", "--json", environment=environment))
    assert planned == {"newest_version": 2, "cards": {"1": CARDS}, "behind": CARDS, "rewrapped": 0, "refused": 0}
    done = json.loads(run("rewrap", "--batch", "3", "--json", environment=environment))
    assert (done["rewrapped"], done["refused"]) == (CARDS, 0)
    again = run("rewrap", environment=environment)
    assert f"version 2: {CARDS} cards" in again
    assert "0 rewrapped" in again


def test_rewrap_without_a_vault_says_which_setting_is_missing(gateway_dsn: str) -> None:
    with pytest.raises(CommandRefused, match="VAULT_KEY_FILE"):
        run("rewrap", environment={"TALLYSTICK_GATEWAY_DATABASE_DSN": gateway_dsn})
