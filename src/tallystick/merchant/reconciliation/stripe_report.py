"""Stripe's itemized reports, and our own gateway's: CSV, decimal major units, UTC (RULES §10).

`payout_reconciliation.itemized.5` and `balance_change_from_activity.itemized.3` name what we need alike; columns are
found by their names, and those that we do not know are passed over.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import BinaryIO, Final

from tallystick.kernel.money import AMOUNT_MAX, AmountRefused, parse_decimal
from tallystick.merchant.gateways.stripe_currencies import STRIPE_CURRENCIES
from tallystick.merchant.reconciliation.lines import (
    Category,
    FileDamaged,
    Manifest,
    SettlementLine,
    an_id,
    our_reference,
)
from tallystick.merchant.reconciliation.tables import rows_of

REQUIRED: Final = ("balance_transaction_id", "created_utc", "currency", "gross", "fee", "net", "reporting_category")
OPTIONAL: Final = (
    "source_id",
    "payment_intent_id",
    "charge_id",
    "payment_metadata[order_id]",
    "automatic_payout_id",
)

CATEGORIES: MappingProxyType[str, Category] = MappingProxyType(
    {
        "charge": "charge",
        "charge_failure": "charge",  # the charge taken back: a negative one
        "partial_capture_reversal": "charge",
        "refund": "refund",
        "refund_failure": "refund_failure",
        "dispute": "dispute",
        "dispute_reversal": "dispute_reversal",
        "payout": "payout",
        "payout_reversal": "payout_failure",
        "payout_failure": "payout_failure",
        "fee": "fee",
        "tax": "fee",
        "network_cost": "fee",
        "other_adjustment": "adjustment",
        "adjustment": "adjustment",
    }
)
"""What the report calls a movement, in our words. What is not here is `other`, and a person looks at it."""


def read_stripe(file: BinaryIO) -> Iterator[Manifest | SettlementLine]:
    """The lines of a report; what it says of itself comes beside it. Raises FileDamaged."""
    places, rows = rows_of(file, REQUIRED)
    line_id, created, currency, gross, fee, net, category = (places[name] for name in REQUIRED)
    source, payment, charge, reference, payout = (places.get(name) for name in OPTIONAL)
    yield Manifest()
    for number, row in rows:
        id = an_id(row[line_id], number)
        if id is None:
            raise FileDamaged("field", number)
        code, exponent = _currency(row[currency], number)
        try:
            amounts = (
                _amount(row[gross], exponent),
                _amount(row[fee], exponent),
                _amount(row[net], exponent),
            )
        except AmountRefused:
            raise FileDamaged("amount", number) from None
        if max(amounts) > AMOUNT_MAX or min(amounts) < -AMOUNT_MAX:
            raise FileDamaged("amount", number)
        yield SettlementLine(
            id,
            _time(row[created], number),
            code,
            *amounts,
            CATEGORIES.get(row[category], "other"),
            _id_at(row, source, number),
            _id_at(row, payment, number),
            _id_at(row, charge, number),
            our_reference(row[reference]) if reference is not None else None,
            _id_at(row, payout, number),
        )


def _id_at(row: Sequence[str], place: int | None, number: int) -> str | None:
    return an_id(row[place], number) if place is not None else None


def _currency(text: str, number: int) -> tuple[str, int]:
    found = _known_currency(text)
    if found is None:
        raise FileDamaged("currency", number)
    return found


@lru_cache(maxsize=256)
def _known_currency(text: str) -> tuple[str, int] | None:
    code = text.upper() if len(text) == 3 and text.isascii() else ""
    rule = STRIPE_CURRENCIES.get(code)
    return (code, rule.iso_exponent) if rule else None


def _time(text: str, number: int) -> datetime:
    try:
        return _read_time(text)
    except ValueError:
        raise FileDamaged("date", number) from None


# Prices, fees and seconds come again and again in a day's file.
_amount = lru_cache(maxsize=65_536)(parse_decimal)


@lru_cache(maxsize=4_096)
def _read_time(text: str) -> datetime:
    """`2026-11-27 23:59:59`, UTC. The parser takes more than this layout, also times with a zone. Raises ValueError."""
    if len(text) != 19 or text[10] != " " or text[16] != ":":
        raise ValueError("not the layout's time")
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
