"""The lines of a settlement report and its file, as columns that a Stripe user knows. Pure. docs/settlement.md.

A file is a function of its lines, so it is written anew whenever it is fetched and is the same to the byte; what is
wrong in it on purpose is a function of the line too.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from tallystick.gateway.balance.transactions import CATEGORIES
from tallystick.kernel.money import format_decimal

LINE_END: Final = "\r\n"
_QUOTED = frozenset(',"\r\n')


class Line(Struct, frozen=True, kw_only=True):
    """One line: a ledger transaction that changed what the merchant has. Amounts in minor units."""

    number: int
    id: str
    kind: str
    currency: str
    gross: int
    fee: int
    net: int
    source: str
    payment_intent: str | None
    charge: str | None
    order_id: str | None
    payout: str | None
    created_at: datetime
    available_at: datetime


Cell = Callable[[Line, int], str]

COLUMNS: Final[Mapping[str, Cell]] = MappingProxyType(
    {
        "balance_transaction_id": lambda line, _: line.id,
        "created_utc": lambda line, _: _time(line.created_at),
        "available_on_utc": lambda line, _: _time(line.available_at),
        "currency": lambda line, _: line.currency.lower(),
        "gross": lambda line, decimals: format_decimal(line.gross, decimals),
        "fee": lambda line, decimals: format_decimal(line.fee, decimals),
        "net": lambda line, decimals: format_decimal(line.net, decimals),
        "reporting_category": lambda line, _: CATEGORIES[line.kind][1],
        "source_id": lambda line, _: line.source,
        "payment_intent_id": lambda line, _: line.payment_intent or "",
        "charge_id": lambda line, _: line.charge or "",
        "payment_metadata[order_id]": lambda line, _: line.order_id or "",
        "automatic_payout_id": lambda line, _: line.payout or "",
    }
)
"""Name of a column → what stands in it, given the currency's decimals on the wire."""

FAULTS: Final[Mapping[str, Callable[[Line], Sequence[Line]]]] = MappingProxyType(
    {
        "line_missing": lambda line: (),
        "line_twice": lambda line: (line, replace(line, id=_another(line.id))),
        "line_duplicated": lambda line: (line, line),
        "other_amount": lambda line: (replace(line, gross=line.gross - 1, net=line.net - 1),),
        "other_currency": lambda line: (replace(line, currency="USD" if line.currency != "USD" else "EUR"),),
        "other_day": lambda line: (
            replace(
                line,
                created_at=line.created_at - timedelta(days=1),
                available_at=line.available_at - timedelta(days=1),
            ),
        ),
        "unknown_payment": lambda line: (_of_nobody(line),),
    }
)
"""What a fault makes of a line."""
TRUNCATED: Final = "truncated_file"  # the one fault of a whole file


class Fault(Struct, frozen=True):
    """Something that is wrong on purpose in the line of that number (0: in the file)."""

    number: int
    kind: str


def as_written(lines: Iterable[Line], faults: Iterable[Fault]) -> Iterator[Line]:
    """The lines as they stand in the file."""
    wrong = {fault.number: fault.kind for fault in faults}
    for line in lines:
        kind = wrong.get(line.number)
        yield from (line,) if kind is None else FAULTS[kind](line)


def header(columns: Sequence[str]) -> str:
    """The first line of a file."""
    return ",".join(columns) + LINE_END


def row(line: Line, columns: Sequence[str], decimals: int) -> str:
    """One line of a file."""
    return ",".join(_quoted(COLUMNS[column](line, decimals)) for column in columns) + LINE_END


def _quoted(text: str) -> str:
    return f'"{text.replace(chr(34), chr(34) * 2)}"' if _QUOTED & set(text) else text


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S")


def _another(id: str) -> str:
    """An id that looks like this one and is none: its random part backwards."""
    return id[:-16] + id[-16:][::-1]


def _of_nobody(line: Line) -> Line:
    charge = _another(line.charge) if line.charge is not None else None
    source = _another(line.source)
    intent = _another(line.payment_intent) if line.payment_intent is not None else None
    return replace(line, source=source, charge=charge, payment_intent=intent, order_id=None)
