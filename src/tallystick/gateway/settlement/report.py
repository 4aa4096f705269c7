"""A report's manifest: what its file adds up to, chained to the report before. Pure. RULES §10."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime

from msgspec import Struct

from tallystick.gateway.settlement.lines import COLUMNS, Fault, Line, as_written, header, row


class Report(Struct, frozen=True, kw_only=True):
    """The report of one account, mode, currency and business day. Amounts in minor units; `balances` are the ledger's
    accounts, debit positive."""

    account_id: str
    livemode: bool
    id: str
    currency: str
    day: date
    revision: int
    sequence: int
    ends_at: datetime
    lines: int
    gross: int
    fee: int
    net: int
    opening: int
    closing: int
    sha256: str
    balances: Mapping[str, int]
    later_from: str
    faults: tuple[Fault, ...]
    created_at: datetime


class Tally:
    """Counts, adds up and hashes the lines of a file, page by page."""

    def __init__(self, decimals: int, columns: Sequence[str] = tuple(COLUMNS)) -> None:
        self._decimals = decimals
        self._columns = columns
        self._hash = hashlib.sha256()
        self.lines = self.gross = self.fee = self.net = self.size_bytes = 0
        self._take(header(columns))

    def add(self, lines: Iterable[Line], faults: Sequence[Fault] = ()) -> bytes:
        """The bytes of some more lines."""
        rows = []
        for line in as_written(lines, faults):
            self.lines += 1
            self.gross += line.gross
            self.fee += line.fee
            self.net += line.net
            rows.append(row(line, self._columns, self._decimals))
        return self._take("".join(rows))

    @property
    def sha256(self) -> str:
        """Of the bytes so far, hexadecimal."""
        return self._hash.hexdigest()

    def _take(self, text: str) -> bytes:
        written = text.encode()
        self._hash.update(written)
        self.size_bytes += len(written)
        return written
