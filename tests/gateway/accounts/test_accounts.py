"""Accounts, their keys and origins (RULES §9, §12)."""

import base64
from datetime import UTC, datetime
from typing import Any

import pytest

from tallystick.gateway.accounts.accounts import (
    SQL,
    create_account,
    create_keys,
    hash_of,
    list_keys,
    revoke_key,
    set_origins,
)
from tallystick.gateway.accounts.authentication import REMEMBERED_S, Authenticator, key_in
from tallystick.gateway.accounts.origins import checked_origins, may_return_to
from tallystick.gateway.errors import AccountRefused, OriginInvalid
from tallystick.gateway.stripe_wire.errors import Unauthenticated
from tallystick.kernel.origins import origin_of
from tallystick.ports.database import Database, Statement
from tallystick.ports.entropy import SystemEntropy

AT = datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)
ENTROPY = SystemEntropy()


class StandingClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return AT

    def monotonic_s(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


async def kept(database: Database, columns: str) -> list[tuple[Any, ...]]:
    """What stands in the table of accounts."""
    return [tuple(row.values()) for row in await database.rows(Statement("kept", f"SELECT {columns} FROM account"))]


async def test_a_new_account_has_a_test_pair_whose_hashes_alone_are_stored(gateway_database: Database) -> None:
    account, [pair] = await create_account(
        gateway_database, "Shop", origins=["https://Shop.example/"], at=AT, entropy=ENTROPY
    )
    assert pair.secret_key.startswith("sk_test_")
    assert pair.publishable_key.startswith("pk_test_")
    assert pair.secret_key not in repr(pair)
    assert account.origins == ("https://shop.example",)
    assert await kept(gateway_database, "name, origins") == [("Shop", ["https://shop.example"])]
    stored = await gateway_database.rows(SQL.list_keys, account.account_id)
    assert {row["key_hash"] for row in stored} == {hash_of(pair.secret_key), hash_of(pair.publishable_key)}
    assert not [row for row in stored for value in row.values() if pair.secret_key in str(value)]


async def test_live_keys_cannot_be_made_while_the_acquirer_is_simulated(gateway_database: Database) -> None:
    """DESIGN §5."""
    with pytest.raises(AccountRefused):
        await create_account(gateway_database, "Shop", live=True, at=AT, entropy=ENTROPY)
    assert await kept(gateway_database, "name") == [], "a refused account leaves nothing behind"
    account, _ = await create_account(gateway_database, "Shop", at=AT, entropy=ENTROPY)
    with pytest.raises(AccountRefused):
        await create_keys(gateway_database, account.account_id, livemode=True, at=AT, entropy=ENTROPY)
    pair = await create_keys(
        gateway_database, account.account_id, livemode=True, live_allowed=True, at=AT, entropy=ENTROPY
    )
    assert pair.secret_key.startswith("sk_live_")


@pytest.mark.parametrize("name", ["", " ", "a" * 201, "a\nb"])
async def test_a_name_that_is_no_name_is_refused(gateway_database: Database, name: str) -> None:
    with pytest.raises(AccountRefused):
        await create_account(gateway_database, name, at=AT, entropy=ENTROPY)


async def test_every_living_key_names_its_caller_by_basic_and_bearer(gateway_database: Database) -> None:
    account, [first] = await create_account(gateway_database, "Shop", at=AT, entropy=ENTROPY)
    second = await create_keys(gateway_database, account.account_id, livemode=False, at=AT, entropy=ENTROPY)
    authenticator = Authenticator(gateway_database, StandingClock())
    for key, kind in (
        (first.secret_key, "secret"),
        (second.secret_key, "secret"),
        (second.publishable_key, "publishable"),
    ):
        for header in (f"Bearer {key}", "Basic " + base64.b64encode(f"{key}:".encode()).decode()):
            caller = await authenticator.caller(key_in([header.encode()]))
            assert (caller.account_id, caller.livemode, caller.kind) == (account.account_id, False, kind)


async def test_a_revoked_key_is_refused_within_seconds(gateway_database: Database) -> None:
    account, [pair] = await create_account(gateway_database, "Shop", at=AT, entropy=ENTROPY)
    clock = StandingClock()
    authenticator = Authenticator(gateway_database, clock)
    assert await authenticator.caller_of(pair.secret_key) is not None
    [secret] = [key for key in await list_keys(gateway_database, account.account_id) if key.kind == "secret"]
    await revoke_key(gateway_database, account.account_id, secret.id, at=AT)
    clock.seconds += REMEMBERED_S + 0.1
    assert await authenticator.caller_of(pair.secret_key) is None
    with pytest.raises(AccountRefused):
        await revoke_key(gateway_database, account.account_id, secret.id, at=AT)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [b""],
        [b"Bearer"],
        [b"Bearer "],
        [b"Basic !!!"],
        [b"Basic Og=="],
        [b"Digest abc"],
        [b"Bearer sk_test_0123456789abcdefghijklmn", b"Bearer sk_test_0123456789abcdefghijklmn"],
        [b"Bearer \xff\xfe"],
        [b"Bearer sk_test_0123456789abcdefghijklmn"],
        [b"Bearer " + b"a" * 100_000],
        [b"Bearer sk_test_0123456789abcdefghijklm\x00"],
    ],
)
async def test_a_header_without_a_living_key_is_refused(gateway_database: Database, headers: list[bytes]) -> None:
    with pytest.raises(Unauthenticated):
        await Authenticator(gateway_database, StandingClock()).caller(key_in(headers))


async def test_a_wrong_key_is_not_repeated(gateway_database: Database) -> None:
    with pytest.raises(Unauthenticated) as refused:
        await Authenticator(gateway_database, StandingClock()).caller("sk_test_0123456789abcdefghijklmn")
    assert refused.value.message == "Invalid API Key provided: sk_test_****************klmn"


async def test_the_first_version_that_an_account_sends_stays_its_default(gateway_database: Database) -> None:
    _, [pair] = await create_account(gateway_database, "Shop", at=AT, entropy=ENTROPY)
    for _ in range(2):  # another process knows nothing of what the first one saw
        authenticator = Authenticator(gateway_database, StandingClock())
        caller = await authenticator.caller_of(pair.secret_key)
        assert caller is not None
        for version in ("nonsense", "2026-10-28.endive", "2025-01-01.acacia"):
            await authenticator.note_version(caller, version)
        assert await kept(gateway_database, "default_api_version") == [("2026-10-28.endive",)]


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Shop.Example/a?b#c", "https://shop.example"),
        ("https://shop.example:443/", "https://shop.example"),
        ("https://shop.example:8443/", "https://shop.example:8443"),
        ("http://127.0.0.1:8000/x", "http://127.0.0.1:8000"),
        ("http://[::1]:8000/x", "http://[::1]:8000"),
        ("https://user@shop.example/", None),
        ("https://shop.example:99999/", None),
        ("ftp://shop.example/", None),
        ("https:///a", None),
        ("//shop.example", None),
        ("https://shop.example;frame-ancestors/", None),
        ("https://höchst.example", None),
        ("https://*.example", None),
        ("https://[::1", None),
    ],
)
def test_the_origin_of_an_address(url: str, origin: str | None) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    "text", ["shop.example", "https://shop.example/path", "http://shop.example", "https://a?b", "null"]
)
def test_what_cannot_be_registered(text: str) -> None:
    with pytest.raises(OriginInvalid):
        checked_origins([text])


async def test_return_urls_match_a_registered_origin(gateway_database: Database) -> None:
    """RULES §9; an account in test mode that has registered nothing is not held up."""
    account, _ = await create_account(gateway_database, "Shop", at=AT, entropy=ENTROPY)
    await set_origins(gateway_database, account.account_id, ["https://shop.example", "http://localhost:3000"])
    [(origins,)] = await kept(gateway_database, "origins")
    assert may_return_to(origins, False, "https://shop.example/thanks")
    assert may_return_to(origins, False, "http://localhost:3000/thanks")
    assert not may_return_to(origins, False, "https://shop.example.evil.example/thanks")
    assert not may_return_to(origins, False, "http://shop.example/thanks")
    assert may_return_to((), False, "https://anywhere.example/thanks")
    assert not may_return_to((), True, "https://anywhere.example/thanks")
    with pytest.raises(AccountRefused):
        await set_origins(gateway_database, "acct_none", [])
