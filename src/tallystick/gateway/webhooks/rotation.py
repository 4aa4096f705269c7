"""Signing secrets of endpoints: made, and rolled with an overlap in which the old one signs beside the new (RULES §6).

The old secret ends by itself: its time stands in the row, and no delivery that begins later is signed with it.
"""

import base64
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from tallystick.gateway.webhooks.listeners import SQL
from tallystick.kernel.columns import columns
from tallystick.kernel.signatures import SECRET_PREFIX
from tallystick.ports.database import Transaction
from tallystick.ports.entropy import Entropy

SECRET_BYTES: Final = 32
OVERLAP_S: Final = 86_400
"""A day to tell the receiver."""
OVERLAP_S_MAX: Final = 7 * 86_400
"""A secret that is to go must go: a leak is why most are rolled."""

Key = tuple[str, bool, str]


def new_secret(entropy: Entropy) -> str:
    """`whsec_` + base64 of 32 bytes: good for both schemes of signatures."""
    return SECRET_PREFIX + base64.b64encode(entropy.token_bytes(SECRET_BYTES)).decode()


async def roll_secrets(
    tx: Transaction, overlaps_s: Mapping[Key, int], *, at: datetime, entropy: Entropy
) -> dict[Key, str]:
    """A new secret for each endpoint that is there; the present one signs beside it for so many seconds, older ones no
    more. Gives the new ones, to be shown once."""
    keys = sorted(overlaps_s)
    secrets = {key: new_secret(entropy) for key in keys}
    rows = [(*key, secrets[key], at + timedelta(seconds=overlaps_s[key])) for key in keys]
    rolled = await tx.rows(SQL.roll_secrets, *columns(5, rows), at)
    found = {(row["account_id"], row["livemode"], row["id"]) for row in rolled}
    return {key: secrets[key] for key in keys if key in found}
