"""The vault of card numbers: kept under a token, opened for the acquirer, shredded. Batch first (RULES §9).

    keep    data key and nonce made → data keys wrapped by the key-encryption port → one INSERT
    open    rows read → data keys unwrapped → numbers, as `Pan`, for the acquirer port alone
    shred   rows deleted: data key and ciphertext go together

Nothing here is inside a payment's transaction: the number is kept before the payment says its token, and what nobody
came to name is shredded by the clock (`cards/worker.py`). Wrapping may be a call to a Vault over the network.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeVar

from msgspec import Struct

from tallystick.gateway.cards.pan import Pan
from tallystick.gateway.vault.sealing import DATA_KEY_BYTES, NONCE_BYTES, Place, seal, unseal
from tallystick.kernel.batching import Batcher
from tallystick.kernel.columns import columns
from tallystick.kernel.identifiers import new_secret
from tallystick.ports.database import Database, Statements
from tallystick.ports.entropy import Entropy
from tallystick.ports.key_encryption import KeyEncryption, KeyEncryptionRefused, KeyEncryptionUnavailable, version_of

SQL = Statements.beside(__file__)

Item = TypeVar("Item")
Result = TypeVar("Result")

CARDS_MAX = 500  # of one batch: a Vault takes it as one request


class Typed(Struct, frozen=True):
    """A number to keep, and the payment for which it was typed. `due_at`: when to look whether it is still needed."""

    account_id: str
    livemode: bool
    number: Pan
    payment_intent: str
    at: datetime
    due_at: datetime


class Vault:
    """Keeps card numbers. Concurrent callers share its statements and its calls of the key-encryption port."""

    def __init__(self, database: Database, encryption: KeyEncryption, entropy: Entropy) -> None:
        self._database = database
        self._encryption = encryption
        self._entropy = entropy
        self._keeping: Batcher[Typed, str] = Batcher(_each(self.keep), items_max=CARDS_MAX)
        self._opening: Batcher[Place, Pan | None] = Batcher(_each(self.open), items_max=CARDS_MAX)

    async def keep_one(self, typed: Typed) -> str:
        """The token under which this number is kept from now on. Raises KeyEncryptionError and DatabaseError."""
        return await self._keeping.submit(typed)

    async def open_one(self, place: Place) -> Pan | None:
        """The number behind a token; None where it is shredded. Raises KeyEncryptionError and DatabaseError."""
        return await self._opening.submit(place)

    async def keep(self, numbers: Sequence[Typed]) -> list[str]:
        """Keep numbers in one commit; their tokens. The same number kept twice has two tokens and two keys."""
        data_keys = [self._entropy.token_bytes(DATA_KEY_BYTES) for _ in numbers]
        wrapped = await self._encryption.wrap(data_keys)
        tokens = [new_secret("vt", self._entropy) for _ in numbers]
        rows = [
            (
                one.account_id,
                one.livemode,
                token,
                seal(
                    one.number,
                    (one.account_id, one.livemode, token),
                    data_key,
                    self._entropy.token_bytes(NONCE_BYTES),
                ),
                text,
                version_of(text),
                one.payment_intent,
                one.at,
                one.due_at,
            )
            for one, token, data_key, text in zip(numbers, tokens, data_keys, wrapped, strict=True)
        ]
        await self._database.execute(SQL.insert_cards, *columns(9, rows))
        return tokens

    async def open(self, places: Sequence[Place]) -> list[Pan | None]:
        """The numbers behind tokens, in their order; None where one is shredded.

        Raises KeyEncryptionRefused where a key or a number is damaged: its places are those of `places`."""
        rows = await self._database.rows(SQL.find_cards, *columns(3, sorted(set(places))))
        data_keys = await self._encryption.unwrap([row["data_key"] for row in rows])
        found: dict[Place, Pan | None] = {}
        for row, data_key in zip(rows, data_keys, strict=True):
            place = (row["account_id"], row["livemode"], row["token"])
            found[place] = unseal(row["sealed"], place, data_key)
        damaged = [number for number, place in enumerate(places) if place in found and found[place] is None]
        if damaged:
            raise KeyEncryptionRefused("a sealed number does not open with its data key", damaged)
        return [found.get(place) for place in places]

    async def shred(self, seen: Sequence[tuple[Place, datetime]]) -> int:
        """Delete numbers with their keys, each if it is still due when it was seen to be; how many there were."""
        return await self._database.execute(SQL.delete_cards, *columns(4, [(*place, due) for place, due in seen]))

    async def look_again(self, seen: Sequence[tuple[Place, datetime, datetime]]) -> None:
        """Say when to look whether a number is still needed: place, when it was due, when it is due next."""
        rows = [(*place, due, then) for place, due, then in seen]
        await self._database.execute(SQL.postpone_cards, *columns(5, rows))

    async def release(self, places: Sequence[Place], at: datetime) -> None:
        """Look at these numbers from `at` on: whoever they belong to does not want them kept any more."""
        await self._database.execute(SQL.release_cards, *columns(3, places), at)

    async def due(self, at: datetime) -> list["Due"]:
        """Numbers for which it is time to look whether they are still needed, longest due first."""
        return [Due(**row) for row in await self._database.rows(SQL.due_cards, at, CARDS_MAX)]


def _each(
    work: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
) -> Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]]:
    """Who is not there is not there for each of a batch: it is not split, and asked again for every part of it."""

    async def all_or_none(items: Sequence[Item]) -> Sequence[Result | Exception]:
        try:
            return await work(items)
        except KeyEncryptionUnavailable as unavailable:
            return [unavailable for _ in items]

    return all_or_none


class Due(Struct, frozen=True):
    """A number that somebody should look at."""

    account_id: str
    livemode: bool
    token: str
    payment_intent: str
    due_at: datetime

    @property
    def place(self) -> Place:
        return self.account_id, self.livemode, self.token
