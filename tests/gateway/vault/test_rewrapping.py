"""Data keys are brought to the newest version in batches; broken off, it goes on where it stopped. RULES §9."""

from datetime import UTC, datetime

import pytest

from tallystick.gateway.cards.pan import Pan
from tallystick.gateway.vault.rewrapping import BEGINNING, Rewrapping
from tallystick.gateway.vault.vault import Typed, Vault
from tallystick.ports.database import Database, Statement
from tallystick.ports.entropy import SystemEntropy
from tallystick.ports.key_encryption import HeldKeyEncryption, KeyEncryptionRefused

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
NUMBER = Pan("4242424242424242")
FIRST, SECOND = bytes(32), bytes([2]) * 32


async def test_all_are_brought_to_the_newest_version_and_open_without_the_old_one(gateway_database: Database) -> None:
    versions = {1: FIRST}
    encryption = HeldKeyEncryption(lambda: versions)
    vault, rewrapping = Vault(gateway_database, encryption, SystemEntropy()), Rewrapping(gateway_database, encryption)
    accounts = ["acct_a"] * 3 + ["acct_b"] * 2
    tokens = await vault.keep([Typed(account, False, NUMBER, "pi_1", AT, AT) for account in accounts])
    versions[2] = SECOND
    standing = await rewrapping.standing()
    assert (standing.newest, standing.cards, standing.behind) == (2, {1: 5}, 5)

    first = await rewrapping.step(BEGINNING, 2)
    assert (first.rewrapped, first.refused) == (2, ())
    assert (await rewrapping.standing()).cards == {1: 3, 2: 2}
    # It is broken off here, and begins again.
    after, rewrapped, steps = BEGINNING, 0, 0
    while True:
        step = await rewrapping.step(after, 2)
        if step.after is None:
            break
        after, rewrapped, steps = step.after, rewrapped + step.rewrapped, steps + 1
    assert (rewrapped, steps) == (3, 2)
    del versions[1]
    places = [(account, False, token) for account, token in zip(accounts, tokens, strict=True)]
    assert await vault.open(places) == [NUMBER] * 5
    assert (await rewrapping.step(BEGINNING)).after is None, "there is nothing left to do"


async def test_a_damaged_key_is_told_and_does_not_stop_the_others(gateway_database: Database) -> None:
    versions = {1: FIRST}
    encryption = HeldKeyEncryption(lambda: versions)
    vault, rewrapping = Vault(gateway_database, encryption, SystemEntropy()), Rewrapping(gateway_database, encryption)
    tokens = sorted(await vault.keep([Typed("acct_a", False, NUMBER, "pi_1", AT, AT) for _ in range(3)]))
    damage = f"UPDATE vault.card SET data_key = 'local:v1:AAAA' WHERE token = '{tokens[1]}'"
    await gateway_database.execute(Statement("of_a_test", damage))
    versions[2] = SECOND
    step = await rewrapping.step(BEGINNING)
    assert step.rewrapped == 2
    assert step.refused == (("acct_a", False, tokens[1]),)
    again = await rewrapping.step(BEGINNING)
    assert (again.rewrapped, again.refused) == (0, step.refused)


async def test_what_was_shredded_or_kept_anew_meanwhile_is_not_written_over(gateway_database: Database) -> None:
    versions = {1: FIRST}
    encryption = HeldKeyEncryption(lambda: versions)
    vault = Vault(gateway_database, encryption, SystemEntropy())
    (token,) = await vault.keep([Typed("acct_a", False, NUMBER, "pi_1", AT, AT)])

    class Meanwhile(HeldKeyEncryption):
        async def rewrap(self, wrapped: object) -> list[str]:
            await gateway_database.execute(Statement("of_a_test", "UPDATE vault.card SET data_key = 'local:v1:BBBB'"))
            return await super().rewrap(wrapped)  # type: ignore[arg-type]

    versions[2] = SECOND
    step = await Rewrapping(gateway_database, Meanwhile(lambda: versions)).step(BEGINNING)
    assert step.rewrapped == 0
    with pytest.raises(KeyEncryptionRefused):
        await vault.open([("acct_a", False, token)])
