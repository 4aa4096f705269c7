"""Numbers are kept under a key each, opened by their token, shredded with their key. RULES §9."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from tallystick.gateway.cards.pan import Pan
from tallystick.gateway.vault.vault import Typed, Vault
from tallystick.kernel.batching import Batcher
from tallystick.ports.database import Database, Statement
from tallystick.ports.entropy import SystemEntropy
from tallystick.ports.key_encryption import HeldKeyEncryption, KeyEncryptionRefused, KeyEncryptionUnavailable

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
DUE = AT + timedelta(minutes=15)
VISA, MASTERCARD = Pan("4242424242424242"), Pan("5555555555554444")


class Keys:
    """Key-encryption keys that a test turns and takes away; every call of the port is counted."""

    def __init__(self) -> None:
        self.versions = {1: bytes(32)}
        self.away = False
        self.calls = 0

    def held(self) -> dict[int, bytes]:
        self.calls += 1
        if self.away:
            raise KeyEncryptionUnavailable("away, for a test")
        return self.versions


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def vault(gateway_database: Database, keys: Keys) -> Vault:
    return Vault(gateway_database, HeldKeyEncryption(keys.held), SystemEntropy())


def typed(number: Pan = VISA, account: str = "acct_a") -> Typed:
    return Typed(account, False, number, "pi_1", AT, DUE)


async def rows(database: Database) -> list[dict[str, object]]:
    statement = Statement("of_a_test", "SELECT * FROM vault.card ORDER BY account_id, token")
    return [dict(row) for row in await database.rows(statement)]


async def test_a_number_is_kept_under_a_token_that_says_nothing_of_it(vault: Vault, gateway_database: Database) -> None:
    tokens = await vault.keep([typed(), typed(), typed(MASTERCARD)])
    assert all(re.fullmatch(r"vt_[0-9A-Za-z]{24}", token) for token in tokens)
    assert len(set(tokens)) == 3, "the same number twice has two tokens"
    stored = await rows(gateway_database)
    assert len({row["data_key"] for row in stored}) == 3, "and two keys"
    assert len({bytes(row["sealed"]) for row in stored}) == 3  # type: ignore[call-overload]
    assert all(number.reveal() not in repr(stored) for number in (VISA, MASTERCARD))
    opened = await vault.open([("acct_a", False, token) for token in reversed(tokens)])
    assert opened == [MASTERCARD, VISA, VISA]


async def test_no_other_account_and_mode_opens_it(vault: Vault) -> None:
    (token,) = await vault.keep([typed()])
    assert (
        await vault.open([("acct_b", False, token), ("acct_a", True, token), ("acct_a", False, "vt_x")]) == [None] * 3
    )


async def test_a_row_that_was_moved_does_not_open(vault: Vault, gateway_database: Database) -> None:
    mine, theirs = await vault.keep([typed(), typed(MASTERCARD)])
    swap = "UPDATE vault.card c SET sealed = o.sealed, data_key = o.data_key FROM vault.card o WHERE c.token <> o.token"
    await gateway_database.execute(Statement("of_a_test", swap))
    with pytest.raises(KeyEncryptionRefused) as refused:
        await vault.open([("acct_a", False, mine), ("acct_a", False, theirs)])
    assert refused.value.places == (0, 1)


async def test_one_damaged_number_does_not_stop_its_neighbours(vault: Vault, gateway_database: Database) -> None:
    good, bad = await vault.keep([typed(), typed(MASTERCARD)])
    damage = f"UPDATE vault.card SET data_key = 'local:v7:AAAA' WHERE token = '{bad}'"
    await gateway_database.execute(Statement("of_a_test", damage))
    batcher: Batcher[tuple[str, bool, str], Pan | None] = Batcher(vault.open)
    assert await vault.open_one(("acct_a", False, good)) == VISA
    with pytest.raises(KeyEncryptionRefused):
        await vault.open_one(("acct_a", False, bad))
    assert await batcher.submit(("acct_a", False, good)) == VISA


async def test_concurrent_callers_share_a_call_and_an_outage_is_asked_once(vault: Vault, keys: Keys) -> None:
    import asyncio

    tokens = await asyncio.gather(*(vault.keep_one(typed()) for _ in range(20)))
    assert len(set(tokens)) == 20
    assert keys.calls <= 3
    keys.away, keys.calls = True, 0
    failed = await asyncio.gather(*(vault.keep_one(typed()) for _ in range(20)), return_exceptions=True)
    assert all(isinstance(one, KeyEncryptionUnavailable) for one in failed)
    assert keys.calls <= 3, "a batch is not split to ask again for each"


async def test_a_shredded_number_is_gone_and_what_is_due_later_stays(vault: Vault, gateway_database: Database) -> None:
    first, second = await vault.keep([typed(), typed()])
    assert [one.token for one in await vault.due(AT)] == []
    assert {one.token for one in await vault.due(DUE)} == {first, second}
    await vault.look_again([(("acct_a", False, second), DUE, DUE + timedelta(days=1))])
    seen = [(("acct_a", False, token), DUE) for token in (first, second)]
    assert await vault.shred(seen) == 1, "what is due another time by now is not shredded"
    assert await vault.open([("acct_a", False, first), ("acct_a", False, second)]) == [None, VISA]


async def test_an_old_version_is_read_after_a_new_one_wraps(
    vault: Vault, keys: Keys, gateway_database: Database
) -> None:
    (old,) = await vault.keep([typed()])
    keys.versions = {1: bytes(32), 2: bytes([2]) * 32}
    (new,) = await vault.keep([typed(MASTERCARD)])
    assert await vault.open([("acct_a", False, old), ("acct_a", False, new)]) == [VISA, MASTERCARD]
    assert sorted(row["key_version"] for row in await rows(gateway_database)) == [1, 2]  # type: ignore[type-var]
