"""Files of every layout, as their makers would write them."""

import io
import zlib
from collections.abc import Sequence

import pytest

from tallystick.merchant.reconciliation.lines import FileDamaged, Manifest, SettlementLine
from tallystick.merchant.reconciliation.reading import Layout, Reading

STRIPE_COLUMNS = (
    "balance_transaction_id created_utc available_on_utc currency gross fee net reporting_category source_id "
    "payment_intent_id charge_id payment_metadata[order_id] automatic_payout_id"
).split()
ADYEN_COLUMNS = (
    "Company Account,Merchant Account,Psp Reference,Merchant Reference,Payment Method,Creation Date,TimeZone,Type,"
    "Modification Reference,Gross Currency,Gross Debit (GC),Gross Credit (GC),Exchange Rate,Net Currency,"
    "Net Debit (NC),Net Credit (NC),Commission (NC),Markup (NC),Scheme Fees (NC),Interchange (NC),Batch Number"
).split(",")


def csv_of(columns: Sequence[str], rows: Sequence[dict[str, str]]) -> bytes:
    """A CSV file; what a row does not say is empty."""
    lines = [",".join(columns), *(",".join(row.get(name, "") for name in columns) for row in rows)]
    return ("\n".join(lines) + "\n").encode()


def stripe_row(number: int, category: str = "charge", **fields: str) -> dict[str, str]:
    """A line of a report of ours: 25.00 less 0.61."""
    return {
        "balance_transaction_id": f"txn_{number}",
        "created_utc": "2026-11-27 10:00:00",
        "available_on_utc": "2026-11-29 00:00:00",
        "currency": "eur",
        "gross": "25.00",
        "fee": "0.61",
        "net": "24.39",
        "reporting_category": category,
        "source_id": f"ch_{number}",
        "payment_intent_id": f"pi_{number}",
        "charge_id": f"ch_{number}",
        "payment_metadata[order_id]": f"ord_{number}",
    } | fields


def adyen_row(number: int, kind: str = "Settled", **fields: str) -> dict[str, str]:
    """A journal entry: 25.00 less 0.50."""
    return {
        "Company Account": "Northwind",
        "Merchant Account": "NorthwindBooks",
        "Psp Reference": f"88161{number}",
        "Merchant Reference": f"ord_{number}",
        "Creation Date": "2026-11-27 10:00:00",
        "TimeZone": "CET",
        "Type": kind,
        "Modification Reference": f"88162{number}",
        "Gross Currency": "EUR",
        "Gross Credit (GC)": "25",
        "Net Currency": "EUR",
        "Net Credit (NC)": "24.5",
        "Commission (NC)": "0.2",
        "Markup (NC)": "0.3",
        "Batch Number": "7",
    } | fields


def camt(*statements: str) -> bytes:
    """A camt.053 document."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08">'
        f"<BkToCstmrStmt><GrpHdr><MsgId>M1</MsgId></GrpHdr>{''.join(statements)}</BkToCstmrStmt></Document>"
    ).encode()


def statement(entries: str, *, opening: str = "100.00", closing: str, id: str = "S1", currency: str = "EUR") -> str:
    """A statement of one account with its balances."""

    def balance(kind: str, amount: str) -> str:
        side = "DBIT" if amount.startswith("-") else "CRDT"
        return (
            f"<Bal><Tp><CdOrPrtry><Cd>{kind}</Cd></CdOrPrtry></Tp><Amt Ccy='{currency}'>{amount.lstrip('-')}</Amt>"
            f"<CdtDbtInd>{side}</CdtDbtInd><Dt><Dt>2026-11-27</Dt></Dt></Bal>"
        )

    return (
        f"<Stmt><Id>{id}</Id><ElctrncSeqNb>42</ElctrncSeqNb><Acct><Id><IBAN>DE00TEST</IBAN></Id><Ccy>{currency}</Ccy>"
        f"</Acct>{balance('OPBD', opening)}{balance('CLBD', closing)}{entries}</Stmt>"
    )


def entry(amount: str, side: str = "CRDT", details: str = "", *, currency: str = "EUR", more: str = "") -> str:
    """An entry of a statement."""
    reference = zlib.crc32(repr((amount, side, details, more)).encode())
    return (
        f"<Ntry><NtryRef>{reference}</NtryRef><Amt Ccy='{currency}'>{amount}</Amt>"
        f"<CdtDbtInd>{side}</CdtDbtInd>{more}<Sts><Cd>BOOK</Cd></Sts>"
        f"<BookgDt><Dt>2026-11-27</Dt></BookgDt>{f'<NtryDtls>{details}</NtryDtls>' if details else ''}</Ntry>"
    )


def detail(amount: str | None, reference: str, *, currency: str = "EUR", side: str = "") -> str:
    """One payment of an entry."""
    told = f"<Amt Ccy='{currency}'>{amount}</Amt>" if amount else ""
    direction = f"<CdtDbtInd>{side}</CdtDbtInd>" if side else ""
    return f"<TxDtls><Refs><EndToEndId>{reference}</EndToEndId></Refs>{told}{direction}</TxDtls>"


class Files:
    """Writes files and reads them."""

    stripe_columns = STRIPE_COLUMNS
    adyen_columns = ADYEN_COLUMNS
    stripe_row = staticmethod(stripe_row)
    adyen_row = staticmethod(adyen_row)
    camt = staticmethod(camt)
    statement = staticmethod(statement)
    entry = staticmethod(entry)
    detail = staticmethod(detail)

    @staticmethod
    def stripe(*rows: dict[str, str]) -> bytes:
        return csv_of(STRIPE_COLUMNS, rows)

    @staticmethod
    def adyen(*rows: dict[str, str]) -> bytes:
        return csv_of(ADYEN_COLUMNS, rows)

    @staticmethod
    def read(
        layout: Layout, raw: bytes, manifest: Manifest | None = None
    ) -> tuple[list[SettlementLine], list[Manifest]]:
        """Read a file to its end."""
        watched = Reading(layout, io.BytesIO(raw), manifest)
        return list(watched), watched.parts

    def damage(self, layout: Layout, raw: bytes, manifest: Manifest | None = None) -> str:
        """Why a file is refused."""
        with pytest.raises(FileDamaged) as refused:
            self.read(layout, raw, manifest)
        return refused.value.damage


@pytest.fixture
def files() -> Files:
    """Files of every layout."""
    return Files()
