"""People's keys are brought to the newest version of the key-encryption key, or from one to another (RULES §9, §12).

What wraps people's keys is a key of a process, stored as the key-encryption key wrapped it (`keys.py`): that text alone
is wrapped anew, and no person is opened. A batch at a time in the order of places; whoever breaks off begins again.
"""

from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from tallystick.kernel.columns import columns
from tallystick.kernel.people.tables import Rewrapped, Tables
from tallystick.ports.database import Database
from tallystick.ports.key_encryption import KeyEncryption, KeyEncryptionRefused

PEOPLE_MAX: Final = 500  # of one commit


class Step(Struct, frozen=True):
    """What one batch did, and after whom the next begins; None: there is nobody left. `refused`: people whose key the
    key-encryption port does not take, because it is damaged or its version is gone."""

    after: tuple[Any, ...] | None
    rewrapped: int
    refused: int


class Rewrapping:
    """Brings people's keys to the newest version."""

    def __init__(self, database: Database, tables: Tables, statements: Rewrapped, encryption: KeyEncryption) -> None:
        self._database = database
        self._tables = tables
        self._statements = statements
        self._encryption = encryption

    @property
    def beginning(self) -> tuple[Any, ...]:
        """Before everybody."""
        return self._statements.beginning

    async def step(self, after: tuple[Any, ...], people_max: int = PEOPLE_MAX) -> Step:
        """Rewrap the next batch. Raises KeyEncryptionUnavailable and DatabaseError; then it was not done."""
        newest = await self._encryption.version()
        rows = await self._database.rows(self._statements.look, *after, people_max)
        if not rows:
            return Step(None, 0, 0)
        begins = f"{self._encryption.scheme}:v{newest}:"
        texts = sorted({row["wrapped_by"] for row in rows if not row["wrapped_by"].startswith(begins)})
        anew = await self._anew(texts)
        changed = [
            (*self._tables.owner_of(row).columns, row["customer_id"], row["wrapped_by"], anew[row["wrapped_by"]])
            for row in rows
            if row["wrapped_by"] in anew
        ]
        width = len(self._tables.owner) + 3
        done = await self._database.execute(self._statements.save, *columns(width, changed)) if changed else 0
        refused = [row for row in rows if row["wrapped_by"] in texts and row["wrapped_by"] not in anew]
        last = (*self._tables.owner_of(rows[-1]).columns, rows[-1]["customer_id"])
        return Step(last, done, len(refused))

    async def _anew(self, texts: Sequence[str]) -> dict[str, str]:
        """The texts that were taken, with what they are from now on."""
        if not texts:
            return {}
        try:
            return dict(zip(texts, await self._encryption.rewrap(texts), strict=True))
        except KeyEncryptionRefused as error:
            if not error.places:
                raise
            kept = [text for place, text in enumerate(texts) if place not in error.places]
            return dict(zip(kept, await self._encryption.rewrap(kept), strict=True))
