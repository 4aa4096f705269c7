"""A service's own identity at Vault: its settings, its start, and what rotates while it runs (RULES §12)."""

import asyncio
import logging
from pathlib import Path
from typing import Annotated, Any

import pytest
from msgspec import Meta, Struct

from tallystick.gateway import settings as gateway_settings
from tallystick.gateway.vault.encryption import key_encryption
from tallystick.kernel.service_secrets import LiveSetting, ServiceSecrets, Watch
from tallystick.kernel.settings import SettingsRefused
from tallystick.kernel.vault import opened_secrets, vault_values
from tallystick.kernel.vault_settings import read_vault_settings
from tallystick.ports.secrets import AnySecrets

PREFIX = "X_"


class Example(Struct, frozen=True, kw_only=True):
    dsn: Annotated[str, Meta(min_length=1, description="Where.")]


def told(openbao: Any, **more: str) -> dict[str, str]:
    """The environment of a service that may read what is below `x/`."""
    openbao.policy("x", "read secret/data/x/*")
    ids = openbao.approle("x", "x", token_ttl="1h")
    return {
        "X_VAULT_URL": openbao.url,
        "X_VAULT_ROLE_ID": ids["role_id"],
        "X_VAULT_SECRET_ID": ids["secret_id"],
        **more,
    }


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"X_VAULT_URL": "http://vault.example:8200"}, "https"),
        ({"X_VAULT_URL": "ftp://127.0.0.1"}, "X_VAULT_URL"),
        ({"X_VAULT_URL": "https://user:password@vault.example"}, "X_VAULT_URL"),
        ({"X_VAULT_URL": "https://vault.example"}, "X_VAULT_ROLE_ID"),
        ({"X_VAULT_URL": "https://vault.example", "X_VAULT_ROLE_ID": "r"}, "X_VAULT_SECRET_ID"),
        ({"X_VAULT_URL": "https://vault.example", "X_VAULT_LOGIN": "jwt"}, "X_VAULT_ROLE"),
        ({"X_VAULT_URL": "https://vault.example", "X_VAULT_LOGIN": "token"}, "X_VAULT_TOKEN"),
        ({"X_VAULT_URL": "https://vault.example", "X_VAULT_LOGIN": "ldap"}, "X_VAULT_LOGIN"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(environ: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsRefused, match=says):
        read_vault_settings(PREFIX, environ)


def test_without_an_address_there_is_no_vault() -> None:
    assert read_vault_settings(PREFIX, {}) is None
    assert vault_values(Example, PREFIX, {"X_DSN": "plain"}) == {}


async def test_a_command_reads_its_settings_in_vault_inside_a_running_loop_too(openbao: Any) -> None:
    openbao.put("x/database", dsn="postgresql:///shop")
    environ = told(openbao, X_DSN_VAULT="x/database#dsn")
    assert vault_values(Example, PREFIX, environ) == {"vault:x/database#dsn": "postgresql:///shop"}


def test_the_services_read_their_dsn_there(openbao: Any) -> None:
    openbao.put("x/database", dsn="postgresql:///shop")
    given = {name.replace("X_", gateway_settings.PREFIX): value for name, value in told(openbao).items()}
    environ = given | {"TALLYSTICK_GATEWAY_DATABASE_DSN_VAULT": "x/database#dsn"}
    assert gateway_settings.read(environ).database_dsn == "postgresql:///shop"


def test_a_secret_that_is_not_there_is_told_with_its_variable_and_place(openbao: Any) -> None:
    with pytest.raises(SettingsRefused, match=r"X_DSN_VAULT: secret vault:x/none#dsn: Vault has nothing there"):
        vault_values(Example, PREFIX, told(openbao, X_DSN_VAULT="x/none#dsn"))


def test_a_start_without_credentials_that_are_good_fails_at_once(openbao: Any) -> None:
    environ = told(openbao, X_DSN_VAULT="x/database#dsn", X_VAULT_SECRET_ID="no such")
    with pytest.raises(SettingsRefused, match="X_VAULT_LOGIN: Vault refuses the login"):
        vault_values(Example, PREFIX, environ)


def test_a_start_waits_for_a_sealed_vault_and_not_for_ever(openbao: Any, caplog: pytest.LogCaptureFixture) -> None:
    openbao.put("x/database", dsn="postgresql:///shop")
    environ = told(openbao, X_DSN_VAULT="x/database#dsn", X_VAULT_START_WAIT_S="1.5")
    openbao.seal()
    with pytest.raises(SettingsRefused, match=r"X_VAULT_URL: Vault is sealed: unseal it; waited 1.5 s"):
        vault_values(Example, PREFIX, environ)
    assert "waiting for Vault" in caplog.text


async def test_a_vault_that_comes_in_time_is_logged_in_to(openbao: Any) -> None:
    openbao.put("x/database", dsn="postgresql:///shop")
    environ = told(openbao, X_DSN_VAULT="x/database#dsn", X_VAULT_START_WAIT_S="20")
    openbao.seal()

    async def start() -> dict[str, str]:
        async with opened_secrets(PREFIX, environ) as secrets:
            return await secrets.of_settings(Example)

    starting = asyncio.create_task(start())
    await asyncio.sleep(0.5)
    await asyncio.to_thread(openbao.unseal)
    assert await starting == {"vault:x/database#dsn": "postgresql:///shop"}


class Jump:
    """A clock on which waiting is one turn of the loop."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


async def test_who_keeps_something_made_of_a_secret_is_told_when_its_file_changes(tmp_path: Path) -> None:
    file = tmp_path / "targets"
    file.write_text("one\n")
    secrets = ServiceSecrets(PREFIX, {"X_TARGETS_FILE": str(file), "X_PLAIN": "stays"})
    seen: list[str] = []

    async def changed(value: str) -> None:
        if value == "of no use" and not seen:
            raise ValueError("it is written later")
        seen.append(value)

    watch = Watch(secrets.live("targets", "one"), changed, Jump())  # type: ignore[arg-type]
    task = asyncio.create_task(watch.run())
    await asyncio.sleep(0.01)
    file.write_text("of no use")
    await asyncio.sleep(0.01)
    assert seen == []
    file.unlink()
    await asyncio.sleep(0.01)
    file.write_text("two\n")
    await asyncio.sleep(0.01)
    assert seen == ["two"]
    assert not task.done()
    task.cancel()
    secrets.watch(secrets.live("plain", "stays"), changed)
    assert secrets.workers == (), "the environment of a process stays as it is"


async def test_a_file_that_is_gone_leaves_the_last_value_in_use(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    file = tmp_path / "dsn"
    file.write_text("first")
    setting = LiveSetting(AnySecrets(), f"file:{file}", "first")
    file.write_text("second\n")
    assert await setting.now() == "second"
    file.unlink()
    assert await setting.now() == await setting.again() == "second"
    assert "last known in use" in caplog.text
    assert "second" not in caplog.text


async def test_a_key_of_transit_wraps_data_keys_by_the_same_identity(openbao: Any, tmp_path: Path) -> None:
    openbao.ask("POST", "transit/keys/wiring", {})
    openbao.policy("x", "update transit/encrypt/wiring", "update transit/decrypt/wiring")
    ids = openbao.approle("x", "x", token_ttl="1h")
    told = {"URL": openbao.url, "ROLE_ID": ids["role_id"], "SECRET_ID": ids["secret_id"], "TRANSIT_KEY": "wiring"}
    environ = {f"TALLYSTICK_GATEWAY_VAULT_{name}": value for name, value in told.items()}
    async with opened_secrets(gateway_settings.PREFIX, environ) as secrets:
        encryption = key_encryption(gateway_settings.Settings(database_dsn="postgresql:///x"), secrets)
        assert encryption is not None
        assert await encryption.unwrap(await encryption.wrap([b"k" * 32])) == [b"k" * 32]
        with pytest.raises(SettingsRefused, match="not both"):
            key_encryption(
                gateway_settings.Settings(database_dsn="postgresql:///x", vault_key_file=str(tmp_path)), secrets
            )
