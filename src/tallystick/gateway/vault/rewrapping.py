"""Rewrapping: data keys that an older version of the key-encryption key wrapped are wrapped by the newest (RULES §9).

Numbers are not opened, only their keys are wrapped anew. Batch after batch in the order of their places; a row says by
its `key_version` that it is done, so whoever breaks off begins again and finds what is left. Payments go on meanwhile:
what a batch has not reached is read with its old version.
"""

from collections.abc import Sequence

from msgspec import Struct

from tallystick.gateway.vault.sealing import Place
from tallystick.gateway.vault.vault import CARDS_MAX, SQL
from tallystick.kernel.columns import columns
from tallystick.ports.database import Database, Record
from tallystick.ports.key_encryption import KeyEncryption, KeyEncryptionRefused, version_of

BEGINNING: Place = ("", False, "")


class Standing(Struct, frozen=True):
    """How many numbers stand under which version of the key-encryption key, which is the newest, and how many stand
    under another key, from which the installation moves."""

    newest: int
    cards: dict[int, int]
    others: int = 0

    @property
    def behind(self) -> int:
        """How many are to be rewrapped."""
        return self.others + sum(cards for version, cards in self.cards.items() if version < self.newest)


class Step(Struct, frozen=True):
    """What one batch did, and from where the next goes on; None: there is nothing left. `refused`: places whose key the
    key-encryption port does not take, because it is damaged or its version is gone."""

    after: Place | None
    rewrapped: int
    refused: tuple[Place, ...]


class Rewrapping:
    """Brings data keys to the newest version."""

    def __init__(self, database: Database, encryption: KeyEncryption) -> None:
        self._database = database
        self._encryption = encryption

    async def standing(self) -> Standing:
        """Where the vault stands. Raises KeyEncryptionError and DatabaseError."""
        rows = await self._database.rows(SQL.key_versions)
        own = [row for row in rows if row["scheme"] == self._encryption.scheme]
        others = sum(row["cards"] for row in rows) - sum(row["cards"] for row in own)
        return Standing(await self._encryption.version(), {row["key_version"]: row["cards"] for row in own}, others)

    async def step(self, after: Place, items_max: int = CARDS_MAX) -> Step:
        """Rewrap the next batch. Raises KeyEncryptionUnavailable and DatabaseError; then it was not done."""
        newest = await self._encryption.version()
        rows = await self._database.rows(SQL.cards_to_rewrap, *after, newest, items_max, self._encryption.scheme)
        if not rows:
            return Step(None, 0, ())
        taken, refused = await self._rewrapped(rows)
        changed = [(*_place(row), row["data_key"], text, version_of(text)) for row, text in taken]
        done = await self._database.execute(SQL.rewrap_cards, *columns(6, changed)) if changed else 0
        return Step(_place(rows[-1]), done, refused)

    async def _rewrapped(self, rows: Sequence[Record]) -> tuple[list[tuple[Record, str]], tuple[Place, ...]]:
        """The rows whose keys were taken with their new texts, and the places of those that were refused."""
        try:
            return list(zip(rows, await self._encryption.rewrap([row["data_key"] for row in rows]), strict=True)), ()
        except KeyEncryptionRefused as error:
            if not error.places:
                raise
            places = error.places
        kept = [row for number, row in enumerate(rows) if number not in places]
        texts = await self._encryption.rewrap([row["data_key"] for row in kept])
        return list(zip(kept, texts, strict=True)), tuple(_place(rows[number]) for number in places)


def _place(row: Record) -> Place:
    return row["account_id"], row["livemode"], row["token"]
