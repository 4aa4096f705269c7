"""The port of settlement lines: what a report or a statement says, whatever its layout. Pure. RULES §2, §11.

A reader takes the bytes of a file and gives `Manifest` and `SettlementLine` in the order in which they stand there: a
manifest opens a part of the file (most have one), its lines follow. One whose layout may hold much that is no line
gives None now and then, so that others have a turn. `Tally` watches over them: what does not add up is no settlement,
and the whole file is refused (`FileDamaged`).

Amounts are minor units by ISO 4217, signed as the merchant sees them: what comes in is positive, what goes out is
negative, a fee that is taken is positive. So `net = gross - fee` in every line of every layout.
"""

from collections.abc import Callable, Iterator
from datetime import date, datetime
from typing import BinaryIO, Final, Literal

from msgspec import Struct

from tallystick.kernel.money import AMOUNT_MAX

Category = Literal[
    "charge",
    "refund",
    "refund_failure",
    "dispute",
    "dispute_reversal",
    "payout",
    "payout_failure",
    "fee",
    "adjustment",
    "other",
]
Damage = Literal[
    "account",
    "amount",
    "balance",
    "batch",
    "columns",
    "count",
    "currency",
    "date",
    "duplicate_line",
    "empty",
    "encoding",
    "field",
    "hash",
    "net",
    "opening",
    "sequence",
    "size",
    "sums",
    "syntax",
    "time_zone",
]

ID_CHARACTERS_MAX: Final = 255  # the longest id that we store
SUM_MAX: Final = 10**17  # of a file's sums: ten thousand times the largest amount, and safe in a bigint

WORDS: Final[dict[Damage, str]] = {
    "account": "the file is another account's",
    "amount": "an amount is no exact number of the currency's minor units",
    "balance": "opening balance and lines do not give the closing balance",
    "batch": "the parts of a batch do not give its whole",
    "columns": "columns are missing, or a line has another number of them",
    "count": "the number of lines is not the one that the manifest names",
    "currency": "a currency is unknown, or not the file's",
    "date": "a time cannot be read, or the file is another day's",
    "duplicate_line": "a line's id is there twice",
    "empty": "there is nothing in the file",
    "encoding": "the file is not UTF-8",
    "field": "a field cannot be read",
    "hash": "the file's SHA-256 is not the one that the manifest names",
    "net": "gross less fee is not net in a line",
    "opening": "the opening balance is not the closing balance of the file before",
    "sequence": "a file of the sequence is missing, or came before",
    "size": "the file or a field of it is too long",
    "sums": "the sums of the lines are not those that the manifest names",
    "syntax": "the file is not written as its layout says",
    "time_zone": "a time zone is unknown",
}


class FileDamaged(Exception):
    """The file is no settlement: all of it is refused. `line` counts from 1 where it is known; the text holds no
    content of the file.
    """

    def __init__(self, damage: Damage, line: int | None = None, detail: str = "") -> None:
        where = f" (line {line})" if line is not None else ""
        super().__init__(f"{WORDS[damage]}{where}{': ' if detail else ''}{detail}")
        self.damage = damage
        self.line = line


class SettlementLine(Struct, frozen=True):
    """One movement of money as the other side tells it. `payment` is the gateway's name for the payment, `source` that
    of what moved it (a charge, a refund, a dispute, a payout), `order_reference` what we gave the gateway as our own.
    """

    line_id: str
    created_at: datetime
    currency: str
    gross_minor: int
    fee_minor: int
    net_minor: int
    category: Category
    source: str | None = None
    payment: str | None = None
    charge: str | None = None
    order_reference: str | None = None
    payout: str | None = None


class Manifest(Struct, frozen=True):
    """What a file, or a part of it, says about itself. None: it does not say."""

    currency: str | None = None
    account: str | None = None
    day: date | None = None
    sequence: int | None = None
    revision: int | None = None
    lines: int | None = None
    gross_minor: int | None = None
    fee_minor: int | None = None
    net_minor: int | None = None
    opening_minor: int | None = None
    closing_minor: int | None = None
    sha256: str | None = None


Reader = Callable[[BinaryIO], Iterator[Manifest | SettlementLine | None]]


class Tally:
    """Adds up the lines of one part of a file, and holds them against its manifest. `add` is called for every line of
    every file: it does little."""

    def __init__(self, manifest: Manifest, first_line: int = 1) -> None:
        self.manifest = manifest
        self.currency = manifest.currency
        self.lines = 0
        self.gross_minor = 0
        self.fee_minor = 0
        self.net_minor = 0
        self._place = first_line

    def add(self, line: SettlementLine) -> None:
        """Count a line. Raises FileDamaged."""
        if line.currency != self.currency:
            if self.currency is not None:
                raise FileDamaged("currency", self._place + self.lines)
            self.currency = line.currency
        if line.gross_minor - line.fee_minor != line.net_minor:
            raise FileDamaged("net", self._place + self.lines)
        self.lines += 1
        self.gross_minor += line.gross_minor
        self.fee_minor += line.fee_minor
        self.net_minor += line.net_minor

    def close(self) -> Manifest:
        """What was counted, as a manifest, once it was compared with what was announced. Raises FileDamaged."""
        told = self.manifest
        if told.lines is not None and told.lines != self.lines:
            raise FileDamaged("count", detail=f"{self.lines} instead of {told.lines}")
        counted = (self.gross_minor, self.fee_minor, self.net_minor)
        for mine, theirs in zip(counted, (told.gross_minor, told.fee_minor, told.net_minor), strict=True):
            if theirs is not None and mine != theirs:
                raise FileDamaged("sums")
        if max(map(abs, counted)) > SUM_MAX:
            raise FileDamaged("size")
        closing_minor = told.closing_minor
        if told.opening_minor is not None:
            if closing_minor is not None and told.opening_minor + self.net_minor != closing_minor:
                raise FileDamaged("balance")
            closing_minor = told.opening_minor + self.net_minor
        return Manifest(
            currency=self.currency,
            account=told.account,
            day=told.day,
            sequence=told.sequence,
            revision=told.revision,
            lines=self.lines,
            gross_minor=self.gross_minor,
            fee_minor=self.fee_minor,
            net_minor=self.net_minor,
            opening_minor=told.opening_minor,
            closing_minor=closing_minor,
            sha256=told.sha256,
        )


def an_id(text: str, place: int) -> str | None:
    """A field that names something, None where it is empty. Raises FileDamaged for what cannot be an id."""
    if not text:
        return None
    if len(text) > ID_CHARACTERS_MAX or not (text.isascii() and text.isprintable()):
        raise FileDamaged("field", place)
    return text


def our_reference(text: str) -> str | None:
    """What stands where our own reference should; None where it cannot be one of ours. Strangers may have written it,
    so an odd one is no damage.
    """
    return text if 0 < len(text) <= ID_CHARACTERS_MAX and text.isascii() and text.isprintable() else None


def in_range(amount_minor: int, place: int) -> int:
    """An amount of a line, if it can be one. Raises FileDamaged."""
    if abs(amount_minor) > AMOUNT_MAX:
        raise FileDamaged("amount", place)
    return amount_minor
