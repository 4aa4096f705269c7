"""Adyen's settlement details report: CSV, one row for each journal entry.

What is different from other layouts, and has cost others money:

    direction      an amount stands in a debit or in a credit column and has no sign
    major units    "12.5" is twelve fifty; the decimals are the currency's, by Adyen's own table
    time           local, with the zone's abbreviation in every row
    reference      ours is "Merchant Reference"; the payment is "Psp Reference", and a refund has one of its own in
                   "Modification Reference"
    batch          rows belong to numbered batches; a batch's payout is a row of it, and then all its rows sum to zero
    two moneys     gross (GC) and net (NC) may differ in currency: such a file is refused, we do not convert
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import BinaryIO, Final

from tallystick.kernel.money import AmountRefused, parse_decimal
from tallystick.merchant.gateways.adyen_currencies import ADYEN_CURRENCIES
from tallystick.merchant.reconciliation.lines import (
    Category,
    FileDamaged,
    Manifest,
    SettlementLine,
    an_id,
    in_range,
    our_reference,
)
from tallystick.merchant.reconciliation.tables import rows_of

REQUIRED: Final = (
    "Merchant Account",
    "Psp Reference",
    "Merchant Reference",
    "Creation Date",
    "TimeZone",
    "Type",
    "Modification Reference",
    "Gross Currency",
    "Gross Debit (GC)",
    "Gross Credit (GC)",
    "Net Currency",
    "Net Debit (NC)",
    "Net Credit (NC)",
    "Commission (NC)",
    "Markup (NC)",
    "Scheme Fees (NC)",
    "Interchange (NC)",
    "Batch Number",
)
BATCHES_MAX: Final = 10_000  # of a file, whose sums are kept to its end; a merchant has one each day and currency
FEES: Final = ("Commission (NC)", "Markup (NC)", "Scheme Fees (NC)", "Interchange (NC)")

JOURNALS: MappingProxyType[str, Category] = MappingProxyType(
    {
        "Settled": "charge",
        "SettledInstallment": "charge",
        "SettledExternally": "other",
        "Refunded": "refund",
        "RefundedReversed": "refund_failure",
        "Chargeback": "dispute",
        "SecondChargeback": "dispute",
        "ChargebackReversed": "dispute_reversal",
        "MerchantPayout": "payout",
        "MerchantPayoutReversed": "payout_failure",
        "Fee": "fee",
        "MiscCosts": "fee",
        "PaymentCost": "fee",
        "InvoiceDeduction": "fee",
        "Balancetransfer": "adjustment",
        "DepositCorrection": "adjustment",
        "ReserveAdjustment": "adjustment",
        "ManualCorrected": "adjustment",
    }
)
"""Journal types in our words. What is not here is `other`, and a person looks at it."""

# Abbreviations as they stand in the rows, with their hours from UTC. One is read as what it says, summer or winter.
ZONES: MappingProxyType[str, float] = MappingProxyType(
    {
        "UTC": 0,
        "GMT": 0,
        "WET": 0,
        "WEST": 1,
        "BST": 1,
        "CET": 1,
        "CEST": 2,
        "EET": 2,
        "EEST": 3,
        "MSK": 3,
        "GST": 4,
        "SGT": 8,
        "HKT": 8,
        "JST": 9,
        "AEST": 10,
        "AEDT": 11,
        "NZST": 12,
        "NZDT": 13,
        "BRT": -3,
        "BRST": -2,
        "EST": -5,
        "EDT": -4,
        "CST": -6,
        "CDT": -5,
        "MST": -7,
        "MDT": -6,
        "PST": -8,
        "PDT": -7,
    }
)

Row = Sequence[str]


def read_adyen(file: BinaryIO) -> Iterator[Manifest | SettlementLine]:
    """The lines of a report, all of its batches together. Raises FileDamaged."""
    places, rows = rows_of(file, REQUIRED)
    batches = Batches()
    account: str | None = None
    for number, row in rows:
        told = row[places["Merchant Account"]]
        if account is None:
            account = told
            yield Manifest(account=an_id(told, number), currency=row[places["Net Currency"]].upper())
        elif told != account:
            raise FileDamaged("account", number)
        line = _line(row, places, number)
        batches.add(row[places["Batch Number"]], line, number)
        yield line
    if account is None:
        raise FileDamaged("empty")
    batches.close()


class Batches:
    """The sums of a file's batches: one that was paid out is at zero."""

    def __init__(self) -> None:
        self._sums: dict[str, int] = {}
        self._paid: set[str] = set()

    def add(self, batch: str, line: SettlementLine, number: int) -> None:
        """Count a line. Raises FileDamaged."""
        if len(self._sums) >= BATCHES_MAX and batch not in self._sums:
            raise FileDamaged("size", number)
        self._sums[batch] = self._sums.get(batch, 0) + line.net_minor
        if line.category == "payout":
            self._paid.add(batch)

    def close(self) -> None:
        """Raises FileDamaged where a payout is not what its batch comes to."""
        if any(self._sums[batch] for batch in self._paid):
            raise FileDamaged("batch")


def _line(row: Row, places: dict[str, int], number: int) -> SettlementLine:
    currency = row[places["Net Currency"]].upper()
    gross_currency = row[places["Gross Currency"]].upper() or currency  # a payout has no gross
    if gross_currency != currency or currency not in ADYEN_CURRENCIES:
        raise FileDamaged("currency", number)
    net = _signed(row, places, "Net Credit (NC)", "Net Debit (NC)", currency, number)
    gross = _signed(row, places, "Gross Credit (GC)", "Gross Debit (GC)", currency, number)
    fee = sum(_amount(row[places[name]], currency, number) for name in FEES)
    if not row[places["Gross Credit (GC)"]] and not row[places["Gross Debit (GC)"]]:
        gross = net + fee
    kind = row[places["Type"]]
    payment = an_id(row[places["Psp Reference"]], number)
    modification = an_id(row[places["Modification Reference"]], number)
    batch = an_id(row[places["Batch Number"]], number)
    category = JOURNALS.get(kind, "other")
    return SettlementLine(
        # The layout gives its rows no id: what makes them differ is one, and the row's number where nothing does.
        line_id="/".join([batch or "", an_id(kind, number) or "", payment or "", modification or f"#{number}"]),
        created_at=_time(row[places["Creation Date"]], row[places["TimeZone"]], number),
        currency=currency,
        gross_minor=in_range(gross, number),
        fee_minor=in_range(fee, number),
        net_minor=in_range(net, number),
        category=category,
        source=modification or payment,
        payment=payment,
        charge=payment if category == "charge" else None,
        order_reference=our_reference(row[places["Merchant Reference"]]),
        payout=batch,
    )


def _signed(row: Row, places: dict[str, int], credit: str, debit: str, currency: str, number: int) -> int:
    """Credit less debit: an amount's direction is the column in which it stands."""
    came, went = row[places[credit]], row[places[debit]]
    if came and went:
        raise FileDamaged("amount", number)
    return _amount(came, currency, number) - _amount(went, currency, number)


def _amount(text: str, currency: str, number: int) -> int:
    """Major units as our minor units, exactly: no more decimals than Adyen has, and a whole number of ours."""
    if not text:
        return 0
    rule = ADYEN_CURRENCIES[currency]
    try:
        minor, rest = divmod(parse_decimal(text, rule.wire_exponent) * rule.iso_scale, rule.wire_scale)
    except AmountRefused:
        raise FileDamaged("amount", number) from None
    if rest:
        raise FileDamaged("amount", number)
    return minor


def _time(text: str, zone: str, number: int) -> datetime:
    if zone not in ZONES:
        raise FileDamaged("time_zone", number)
    try:
        if len(text) != 19 or text[10] not in " T" or text[16] != ":":
            raise ValueError  # the parser takes more than this layout, also times with a zone
        return datetime.fromisoformat(text).replace(tzinfo=UTC) - timedelta(hours=ZONES[zone])
    except (ValueError, OverflowError):
        raise FileDamaged("date", number) from None
