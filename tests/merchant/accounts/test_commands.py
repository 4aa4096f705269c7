"""Merchants, keys and connections: what can be made, and what is refused before it is (RULES §9, §12)."""

from typing import Any

import pytest

from tallystick.kernel.identifiers import owner_of
from tallystick.merchant.accounts import directory as directories
from tallystick.merchant.accounts.api_keys import KEYS_LIVING_MAX, create_api_key, list_api_keys, revoke_api_key
from tallystick.merchant.accounts.commands import (
    AccountRefused,
    add_connection,
    check_origin,
    create_merchant,
    return_origin,
    set_return_origins,
    set_secret_key,
    set_webhook_secrets,
    webhook_address,
)
from tallystick.merchant.accounts.directory import Directory
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Database, Statement
from tallystick.ports.entropy import SystemEntropy

PORTS = (SystemClock(), SystemEntropy())
GOOD: dict[str, Any] = {
    "url": "https://gateway.example",
    "secret_key_ref": "file:/run/key",
    "webhook_secret_refs": ["env:HOOK"],
}


async def a_merchant(database: Database, **more: Any) -> tuple[str, str]:
    made = await create_merchant(database, *PORTS, **{"name": "Tea & Sons", **more})
    return made.merchant_id, made.api_key


async def test_a_new_merchant_is_found_by_its_key(merchant_database: Database) -> None:
    merchant_id, api_key = await a_merchant(merchant_database, return_origins=["https://shop.example/"])
    found = await Directory(merchant_database, SystemClock()).merchant_of_key(api_key)
    assert found is not None
    assert (found.merchant_id, found.name, found.return_origins) == (
        merchant_id,
        "Tea & Sons",
        frozenset({"https://shop.example"}),
    )
    assert found.connections == ()
    assert api_key.startswith("tsk_")


async def test_several_keys_live_until_they_are_revoked(
    merchant_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RULES §12: several live keys (rotation); a revoked one works no more after a moment."""
    monkeypatch.setattr(directories, "KEPT_S", -1.0)
    merchant_id, old = await a_merchant(merchant_database)
    new = await create_api_key(merchant_database, *PORTS, merchant_id=merchant_id)
    directory = Directory(merchant_database, SystemClock())
    for key in (old, new):
        found = await directory.merchant_of_key(key)
        assert found is not None
        assert found.merchant_id == merchant_id
    listed = await list_api_keys(merchant_database, merchant_id=merchant_id)
    assert [(key.last4, key.revoked_at) for key in listed] == [(old[-4:], None), (new[-4:], None)]
    revoked = {"merchant_id": merchant_id, "key_id": listed[0].id}
    await revoke_api_key(merchant_database, SystemClock(), **revoked)
    assert await directory.merchant_of_key(old) is None
    assert await directory.merchant_of_key(new) is not None
    with pytest.raises(AccountRefused, match="no living"):
        await revoke_api_key(merchant_database, SystemClock(), **revoked)


async def test_a_key_is_revoked_by_its_owner_alone_and_keys_have_a_limit(merchant_database: Database) -> None:
    """RULES §12."""
    merchant_id, _ = await a_merchant(merchant_database)
    stranger, _ = await a_merchant(merchant_database)
    [theirs] = await list_api_keys(merchant_database, merchant_id=stranger)
    with pytest.raises(AccountRefused, match="no living"):
        await revoke_api_key(merchant_database, SystemClock(), merchant_id=merchant_id, key_id=theirs.id)
    for _ in range(KEYS_LIVING_MAX - 1):
        await create_api_key(merchant_database, *PORTS, merchant_id=merchant_id)
    with pytest.raises(AccountRefused, match="revoke one"):
        await create_api_key(merchant_database, *PORTS, merchant_id=merchant_id)


async def test_a_connection_carries_its_owner_and_holds_no_secret(merchant_database: Database) -> None:
    merchant_id, api_key = await a_merchant(merchant_database)
    connection_id = await add_connection(merchant_database, *PORTS, merchant_id=merchant_id, **GOOD)
    assert owner_of(connection_id, "mer") == merchant_id
    assert webhook_address("https://pay.example/", connection_id) == f"https://pay.example/webhooks/{connection_id}"
    found = await Directory(merchant_database, SystemClock()).merchant_of_key(api_key)
    assert found is not None
    assert found.connection(None) == found.connection(connection_id) == found.connections[0]
    assert found.connections[0].secret_key_ref == "file:/run/key"
    await add_connection(merchant_database, *PORTS, merchant_id=merchant_id, **GOOD)
    found = await Directory(merchant_database, SystemClock()).merchant_of_key(api_key)
    assert found is not None
    assert found.connection(None) is None, "of two the shop names one"


async def test_a_disabled_connection_opens_nothing_new_and_is_still_found(merchant_database: Database) -> None:
    merchant_id, api_key = await a_merchant(merchant_database)
    connection_id = await add_connection(merchant_database, *PORTS, merchant_id=merchant_id, **GOOD)
    await merchant_database.execute(
        Statement("x", "UPDATE connection SET disabled_at = $1::timestamptz"), SystemClock().now()
    )
    directory = Directory(merchant_database, SystemClock())
    found = await directory.merchant_of_key(api_key)
    assert found is not None
    assert found.connection(None) is None
    assert await directory.connection(merchant_id, connection_id) is not None
    assert await directory.connection(merchant_id, "con_other") is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "http://gateway.example"},
        {"url": "gateway.example"},
        {"url": "https://user:password@gateway.example"},
        {"url": "https://gateway.example/?a=b"},
        {"url": "ftp://gateway.example"},
        {"secret_key_ref": "sk_test_given_itself"},
        {"secret_key_ref": "file:"},
        {"webhook_secret_refs": []},
        {"webhook_secret_refs": ["env:A"] * 5},
        {"webhook_secret_refs": ["whsec_given_itself"]},
        {"gateway": "abacus"},
        {"signature_scheme": "none"},
        {"merchant_id": "mer_0123456789abcdef"},
    ],
)
async def test_a_connection_that_cannot_work_is_refused(merchant_database: Database, wrong: dict[str, Any]) -> None:
    merchant_id, _ = await a_merchant(merchant_database)
    with pytest.raises(AccountRefused) as refused:
        await add_connection(merchant_database, *PORTS, **{"merchant_id": merchant_id, **GOOD, **wrong})
    assert "given_itself" not in str(refused.value)


async def test_what_concerns_no_merchant_is_refused(merchant_database: Database) -> None:
    with pytest.raises(AccountRefused):
        await create_api_key(merchant_database, *PORTS, merchant_id="mer_0123456789abcdef")
    with pytest.raises(AccountRefused):
        await set_return_origins(merchant_database, merchant_id="mer_0123456789abcdef", return_origins=[])
    for name in ("", "x" * 201, "a\nb"):
        with pytest.raises(AccountRefused):
            await a_merchant(merchant_database, name=name)


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ("https://shop.example", "https://shop.example"),
        ("https://SHOP.example/", "https://shop.example"),
        ("https://shop.example:443", "https://shop.example"),
        ("https://shop.example:8443", "https://shop.example:8443"),
        ("http://127.0.0.1:8480", "http://127.0.0.1:8480"),
        ("http://[::1]:8480", "http://[::1]:8480"),
        ("http://localhost", "http://localhost"),
    ],
)
def test_an_origin_has_one_spelling(given: str, origin: str) -> None:
    assert check_origin(given) == origin
    assert return_origin(f"{given.rstrip('/')}/a/path?b=c#d") == origin


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "shop.example",
        "http://shop.example",
        "http://127.0.0.1.evil.example",
        "https://",
        "https://shop.example/path",
        "https://user@shop.example",
        "https://shop.example:0",
        "https://shop.example:99999",
        "https://shop.example\\@evil.example",
        "https://shop example",
        "https://[::1",
        "javascript:alert(1)",
        "https://sho\u1e57.example",
        "https://shop.example\n",
    ],
)
def test_what_is_no_origin_is_refused(wrong: str) -> None:
    with pytest.raises(AccountRefused):
        check_origin(wrong)


async def test_a_secret_key_can_lie_elsewhere_from_now_on(merchant_database: Database) -> None:
    """RULES §12: the place is named, never the key; one connection changes, and nothing else of it."""
    merchant_id, _ = await a_merchant(merchant_database)
    connection_id, other = [
        await add_connection(merchant_database, *PORTS, merchant_id=merchant_id, **GOOD) for _ in range(2)
    ]
    named: dict[str, str] = {"merchant_id": merchant_id, "connection_id": connection_id}
    await set_secret_key(merchant_database, **named, secret_key_ref="vault:shop#key")
    directory = Directory(merchant_database, SystemClock())
    moved, stayed = [await directory.connection(merchant_id, each) for each in (connection_id, other)]
    assert moved is not None
    assert stayed is not None
    assert moved.secret_key_ref == "vault:shop#key"
    assert stayed.secret_key_ref == GOOD["secret_key_ref"]
    assert moved.webhook_secret_refs == stayed.webhook_secret_refs
    with pytest.raises(AccountRefused):
        await set_secret_key(merchant_database, **named, secret_key_ref="sk_test_itself")
    with pytest.raises(AccountRefused):
        await set_secret_key(
            merchant_database, merchant_id=merchant_id, connection_id="con_none", secret_key_ref="env:KEY"
        )


async def test_two_webhook_secrets_are_live_during_a_rotation(merchant_database: Database) -> None:
    """RULES §7: every live secret verifies; the references are replaced as a whole, and checked."""
    merchant_id, _ = await a_merchant(merchant_database)
    connection_id = await add_connection(merchant_database, *PORTS, merchant_id=merchant_id, **GOOD)
    both = ["env:HOOK", "env:NEW"]
    named: dict[str, str] = {"merchant_id": merchant_id, "connection_id": connection_id}
    await set_webhook_secrets(merchant_database, **named, webhook_secret_refs=both)
    found = await Directory(merchant_database, SystemClock()).connection(merchant_id, connection_id)
    assert found is not None
    assert list(found.webhook_secret_refs) == both
    for refused in ([], ["env:A"] * 5, ["whsec_itself"]):
        with pytest.raises(AccountRefused):
            await set_webhook_secrets(merchant_database, **named, webhook_secret_refs=refused)
    with pytest.raises(AccountRefused):
        await set_webhook_secrets(
            merchant_database, merchant_id=merchant_id, connection_id="con_none", webhook_secret_refs=both
        )
