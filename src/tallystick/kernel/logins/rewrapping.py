"""Secrets of second factors are brought to the newest key-encryption key, as people's keys are (RULES §12)."""

from tallystick.kernel.columns import columns
from tallystick.kernel.logins.lockout import SQL
from tallystick.ports.database import Database
from tallystick.ports.key_encryption import KeyEncryption, KeyEncryptionRefused

FACTORS_MAX = 200  # of one call: operators are few


async def rewrap_factors(database: Database, encryption: KeyEncryption) -> tuple[int, int]:
    """How many were rewrapped, and how many open with no key that is there. Raises KeyEncryptionUnavailable."""
    after, rewrapped, refused = "", 0, 0
    while rows := await database.rows(SQL.wrapped_second_factors, after, FACTORS_MAX):
        changed = []
        for row in rows:  # one by one: a damaged one keeps nobody else from it
            try:
                [text] = await encryption.rewrap([row["wrapped"]])
            except KeyEncryptionRefused:
                refused += 1
                continue
            changed.append((row["user_name"], row["wrapped"], text))
        rewrapped += await database.execute(SQL.rewrap_second_factors, *columns(3, changed))
        after = rows[-1]["user_name"]
    return rewrapped, refused
