"""What each layout says, and the traps of each (RULES §2, §11)."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from tallystick.merchant.reconciliation.lines import Manifest

Files = Any

# --- Stripe's and our own --------------------------------------------------------------------------------------------


def test_a_report_of_stripes_layout(files: Files) -> None:
    [line], [part] = files.read("stripe", files.stripe(files.stripe_row(1)))
    assert (line.line_id, line.category, line.currency) == ("txn_1", "charge", "EUR")
    assert (line.gross_minor, line.fee_minor, line.net_minor) == (2500, 61, 2439)
    assert (line.payment, line.charge, line.source, line.order_reference) == ("pi_1", "ch_1", "ch_1", "ord_1")
    assert line.created_at == datetime(2026, 11, 27, 10, tzinfo=UTC)
    assert (part.lines, part.gross_minor, part.net_minor) == (1, 2500, 2439)


def test_columns_are_found_by_name_and_more_of_them_are_passed_over(files: Files) -> None:
    """`payout_reconciliation.itemized.5` has more columns than `balance_change_from_activity.itemized.3`."""
    columns = ["customer_email", *reversed(files.stripe_columns), "description"]
    row = files.stripe_row(1)
    raw = (",".join(columns) + "\n" + ",".join(row.get(name, "x") for name in columns) + "\n").encode()
    [line], _ = files.read("stripe", raw)
    assert (line.line_id, line.payment) == ("txn_1", "pi_1")


@pytest.mark.parametrize(
    ("currency", "text", "minor"),
    [
        ("jpy", "2500", 2500),
        ("jpy", "2500.00", 2500),
        ("isk", "500.00", 500),
        ("ugx", "500", 500),
        ("mga", "5", 500),
        ("kwd", "1.250", 1250),
        ("eur", "-0.01", -1),
    ],
)
def test_major_units_are_exact_by_stripes_table(files: Files, currency: str, text: str, minor: int) -> None:
    row = files.stripe_row(1, currency=currency, gross=text, fee="0", net=text)
    [line], _ = files.read("stripe", files.stripe(row))
    assert line.gross_minor == minor


@pytest.mark.parametrize("text", ["25.001", "25,00", "1e3", "", " 25.00", "NaN", "25.00EUR", "٢٥", "9" * 30])
def test_an_amount_that_is_not_exact_is_refused(files: Files, text: str) -> None:
    assert files.damage("stripe", files.stripe(files.stripe_row(1, gross=text))) in ("amount", "columns")


def test_a_currency_that_is_not_in_the_table_is_refused(files: Files) -> None:
    for currency in ("xau", "", "euro", "anga", "zzz"):
        assert files.damage("stripe", files.stripe(files.stripe_row(1, currency=currency))) == "currency"


def test_a_time_is_read_as_the_layout_has_it_or_not_at_all(files: Files) -> None:
    """A time with a zone of its own is as long, and means another instant."""
    assert files.damage("stripe", files.stripe(files.stripe_row(1, created_utc="2026-11-27 23:59+05"))) == "date"
    assert files.damage("adyen", files.adyen(files.adyen_row(1) | {"Creation Date": "2026-11-27 23:59+05"})) == "date"


def test_what_strangers_wrote_as_our_reference_is_no_damage(files: Files) -> None:
    row = files.stripe_row(1) | {"payment_metadata[order_id]": "\u202eordnung"}
    [line], _ = files.read("stripe", files.stripe(row))
    assert line.order_reference is None


def test_a_category_that_we_do_not_know_is_other(files: Files) -> None:
    [line], _ = files.read("stripe", files.stripe(files.stripe_row(1, "issuing_transaction")))
    assert line.category == "other"


# --- integrity -------------------------------------------------------------------------------------------------------


def test_a_manifest_is_held_against_the_lines(files: Files) -> None:
    raw = files.stripe(files.stripe_row(1), files.stripe_row(2))
    whole = Manifest(
        "EUR", lines=2, gross_minor=5000, fee_minor=122, net_minor=4878, opening_minor=1, closing_minor=4879
    )
    _, [part] = files.read("stripe", raw, whole)
    assert part.closing_minor == 4879
    for wrong, damage in (
        ({"lines": 3}, "count"),
        ({"gross_minor": 5001}, "sums"),
        ({"fee_minor": 121}, "sums"),
        ({"net_minor": 4879}, "sums"),
        ({"closing_minor": 4880}, "balance"),
        ({"currency": "USD"}, "currency"),
    ):
        told = {name: getattr(whole, name) for name in whole.__struct_fields__} | wrong
        assert files.damage("stripe", raw, Manifest(**told)) == damage


def test_a_damaged_file_says_why_and_where(files: Files) -> None:
    good = files.stripe(files.stripe_row(1), files.stripe_row(2))
    for raw, damage in (
        (b"", "empty"),
        (good[:-1], "syntax"),
        (good[: good.rindex(b",")] + b"\n", "columns"),
        (good.replace(b"fee", b"fees"), "columns"),
        (good.replace(b"txn_2", b"\xff\xfe"), "encoding"),
        (good.decode().encode("utf-16"), "syntax"),
        (b"\xef\xbb\xbf" + good, "columns"),
        (good.replace(b"24.39", b"24.38", 1), "net"),
        (good.replace(b",eur,", b",usd,", 1), "currency"),
        (good.replace(b"2026-11-27 10", b"2026-11-31 10", 1), "date"),
        (good.replace(b"2026-11-27 10", b"2026-11-27T10", 1), "date"),
        (good.replace(b"txn_2", b"x" * 300), "field"),
        (good.replace(b"txn_2", b""), "field"),
        (good.replace(b"txn_2", b'"' + b"x" * 200_000), "size"),
    ):
        assert files.damage("stripe", raw) == damage


# --- Adyen's ---------------------------------------------------------------------------------------------------------


def test_a_report_of_adyens_layout(files: Files) -> None:
    [line], _ = files.read("adyen", files.adyen(files.adyen_row(1)))
    assert (line.category, line.gross_minor, line.fee_minor, line.net_minor) == ("charge", 2500, 50, 2450)
    assert (line.payment, line.source, line.order_reference, line.payout) == ("881611", "881621", "ord_1", "7")


def test_adyens_direction_is_the_column(files: Files) -> None:
    """A refund stands in the debit columns, without a sign."""
    row = files.adyen_row(1, "Refunded") | {
        "Gross Credit (GC)": "",
        "Gross Debit (GC)": "25",
        "Net Credit (NC)": "",
        "Net Debit (NC)": "25.5",
    }
    [line], _ = files.read("adyen", files.adyen(row))
    assert (line.category, line.gross_minor, line.fee_minor, line.net_minor) == ("refund", -2500, 50, -2550)
    assert files.damage("adyen", files.adyen(row | {"Gross Credit (GC)": "25"})) == "amount"


@pytest.mark.parametrize(("zone", "hour"), [("CET", 9), ("CEST", 8), ("UTC", 10), ("PST", 18), ("SGT", 2), ("EDT", 14)])
def test_adyens_rows_have_a_time_zone_each(files: Files, zone: str, hour: int) -> None:
    [line, other], _ = files.read("adyen", files.adyen(files.adyen_row(1, TimeZone=zone), files.adyen_row(2)))
    assert (line.created_at.hour, other.created_at.hour) == (hour, 9)


def test_a_time_zone_that_nobody_knows_is_refused(files: Files) -> None:
    assert files.damage("adyen", files.adyen(files.adyen_row(1, TimeZone="XYZ"))) == "time_zone"
    assert files.damage("adyen", files.adyen(files.adyen_row(1, TimeZone=""))) == "time_zone"


@pytest.mark.parametrize(
    ("currency", "text", "minor"),
    [("CLP", "12.00", 12), ("IDR", "12", 1200), ("ISK", "500.00", 500), ("KWD", "1.25", 1250)],
)
def test_adyens_major_units_are_exact_by_its_own_table(files: Files, currency: str, text: str, minor: int) -> None:
    row = files.adyen_row(1) | {
        "Gross Currency": currency,
        "Net Currency": currency,
        "Gross Credit (GC)": text,
        "Net Credit (NC)": text,
        "Commission (NC)": "",
        "Markup (NC)": "",
    }
    [line], _ = files.read("adyen", files.adyen(row))
    assert line.gross_minor == minor


def test_what_is_no_whole_number_of_our_units_is_refused(files: Files) -> None:
    row = files.adyen_row(1) | {"Gross Currency": "CLP", "Net Currency": "CLP", "Gross Credit (GC)": "12.50"}
    assert files.damage("adyen", files.adyen(row)) == "amount"
    row = files.adyen_row(1) | {"Gross Currency": "IDR", "Net Currency": "IDR", "Gross Credit (GC)": "12.50"}
    assert files.damage("adyen", files.adyen(row)) == "amount"


def test_we_do_not_convert(files: Files) -> None:
    assert files.damage("adyen", files.adyen(files.adyen_row(1) | {"Gross Currency": "USD"})) == "currency"


def test_a_batch_that_was_paid_out_sums_to_zero(files: Files) -> None:
    payout = {
        "Merchant Account": "NorthwindBooks",
        "Creation Date": "2026-11-27 18:00:00",
        "TimeZone": "CET",
        "Type": "MerchantPayout",
        "Modification Reference": "P7",
        "Net Currency": "EUR",
        "Net Debit (NC)": "49",
        "Batch Number": "7",
    }
    rows = [files.adyen_row(1), files.adyen_row(2)]
    *_, line = files.read("adyen", files.adyen(*rows, payout))[0]
    assert (line.category, line.gross_minor, line.net_minor, line.payment) == ("payout", -4900, -4900, None)
    assert files.damage("adyen", files.adyen(rows[0], payout)) == "batch"
    open_batch = files.adyen_row(3) | {"Batch Number": "8"}
    assert len(files.read("adyen", files.adyen(*rows, payout, open_batch))[0]) == 4


def test_journal_types_that_nobody_knows_are_for_a_person(files: Files) -> None:
    kinds = ("Settled", "Chargeback", "ChargebackReversed", "RefundedReversed", "Fee", "SomethingNew")
    lines, _ = files.read("adyen", files.adyen(*(files.adyen_row(n, kind) for n, kind in enumerate(kinds))))
    assert [line.category for line in lines] == [
        "charge",
        "dispute",
        "dispute_reversal",
        "refund_failure",
        "fee",
        "other",
    ]


def test_a_file_is_of_one_account(files: Files) -> None:
    other = files.adyen_row(2) | {"Merchant Account": "Another"}
    assert files.damage("adyen", files.adyen(files.adyen_row(1), other)) == "account"


def test_rows_without_an_id_get_one_that_tells_them_apart(files: Files) -> None:
    fee = files.adyen_row(1, "Fee") | {"Psp Reference": "", "Modification Reference": ""}
    lines, _ = files.read("adyen", files.adyen(fee, fee, files.adyen_row(1)))
    assert len({line.line_id for line in lines}) == 3


# --- camt.053 --------------------------------------------------------------------------------------------------------


def test_a_statement(files: Files) -> None:
    raw = files.camt(files.statement(files.entry("25.00", details=files.detail(None, "po_1")), closing="125.00"))
    [line], [part] = files.read("camt053", raw)
    assert (line.category, line.gross_minor, line.currency, line.order_reference) == ("payout", 2500, "EUR", "po_1")
    assert (part.account, part.sequence, part.day) == ("DE00TEST", 42, date(2026, 11, 27))
    assert (part.opening_minor, part.closing_minor) == (10_000, 12_500)


def test_the_direction_is_an_indicator_and_a_detail_may_leave_it_to_its_entry(files: Files) -> None:
    details = files.detail("30.00", "a") + files.detail("5.00", "b", side="CRDT")
    entries = files.entry("25.00", "DBIT", details)
    lines, _ = files.read("camt053", files.camt(files.statement(entries, closing="75.00")))
    assert [line.gross_minor for line in lines] == [-3000, 500]


def test_a_reversal_is_not_turned_twice(files: Files) -> None:
    """CdtDbtInd of a reversal is the way that the money goes now."""
    entries = files.entry("25.00", "DBIT", more="<RvslInd>true</RvslInd>")
    [line], _ = files.read("camt053", files.camt(files.statement(entries, closing="75.00")))
    assert (line.gross_minor, line.category) == (-2500, "payout_failure")


def test_a_batch_entry_is_its_payments(files: Files) -> None:
    details = files.detail("10.00", "a") + files.detail("15.00", "b")
    lines, _ = files.read(
        "camt053", files.camt(files.statement(files.entry("25.00", details=details), closing="125.00"))
    )
    assert [(line.order_reference, line.gross_minor) for line in lines] == [("a", 1000), ("b", 1500)]
    assert len({line.line_id for line in lines}) == 2


def test_a_batch_that_does_not_sum_to_its_entry_is_refused(files: Files) -> None:
    details = files.detail("10.00", "a") + files.detail("14.99", "b")
    raw = files.camt(files.statement(files.entry("25.00", details=details), closing="125.00"))
    assert files.damage("camt053", raw) == "batch"


def test_a_batch_that_is_told_as_one_number_is_one_line(files: Files) -> None:
    details = "<Btch><PmtInfId>PI-9</PmtInfId><NbOfTxs>2</NbOfTxs></Btch>" + files.detail(None, "NOTPROVIDED") * 2
    [line], _ = files.read(
        "camt053", files.camt(files.statement(files.entry("25.00", details=details), closing="125.00"))
    )
    assert (line.payout, line.order_reference, line.gross_minor) == ("PI-9", None, 2500)


def test_balances_hold_the_statement_together(files: Files) -> None:
    raw = files.camt(files.statement(files.entry("25.00"), closing="125.01"))
    assert files.damage("camt053", raw) == "balance"
    overdrawn = files.camt(files.statement(files.entry("25.00", "DBIT"), opening="10.00", closing="-15.00"))
    assert files.read("camt053", overdrawn)[1][0].closing_minor == -1500
    assert files.damage("camt053", raw.replace(b"CLBD", b"CLAV")) == "balance"


def test_every_amount_has_the_accounts_currency(files: Files) -> None:
    raw = files.camt(files.statement(files.entry("25.00", currency="USD"), closing="125.00"))
    assert files.damage("camt053", raw) == "currency"
    yen = files.statement(files.entry("25", currency="JPY"), opening="100", closing="125", currency="JPY")
    assert files.read("camt053", files.camt(yen))[0][0].gross_minor == 25


def test_a_file_may_hold_several_statements(files: Files) -> None:
    statements = [
        files.statement(files.entry("25.00"), closing="125.00"),
        files.statement("", opening="7", closing="7", id="S2", currency="JPY"),
        files.statement(files.entry("1.00"), closing="101.00", id="S3"),
    ]
    lines, parts = files.read("camt053", files.camt(*statements))
    assert [(part.currency, part.lines) for part in parts] == [("EUR", 1), ("JPY", 0), ("EUR", 1)]
    assert [line.line_id.split("/")[0] for line in lines] == ["S1", "S3"]


def test_what_is_not_booked_does_not_count(files: Files) -> None:
    pending = files.entry("99.00").replace("BOOK", "PDNG")
    lines, _ = files.read("camt053", files.camt(files.statement(pending + files.entry("25.00"), closing="125.00")))
    assert [line.gross_minor for line in lines] == [2500]


def test_the_number_of_entries_is_held_against_the_summary(files: Files) -> None:
    summary = "<TxsSummry><TtlNtries><NbOfNtries>2</NbOfNtries></TtlNtries></TxsSummry>"
    raw = files.camt(files.statement(summary + files.entry("25.00"), closing="125.00"))
    assert files.damage("camt053", raw) == "count"


def test_the_older_version_tells_status_and_amounts_elsewhere(files: Files) -> None:
    details = "<TxDtls><AmtDtls><TxAmt><Amt Ccy='EUR'>10.00</Amt></TxAmt></AmtDtls></TxDtls>" * 2
    raw = files.camt(files.statement(files.entry("20.00", details=details), closing="120.00"))
    raw = raw.replace(b"001.08", b"001.02").replace(b"<Sts><Cd>BOOK</Cd></Sts>", b"<Sts>BOOK</Sts>")
    assert [line.gross_minor for line in files.read("camt053", raw)[0]] == [1000, 1000]


def test_the_banks_own_charges_are_fees(files: Files) -> None:
    code = "<BkTxCd><Domn><Cd>ACMT</Cd><Fmly><Cd>MDOP</Cd><SubFmlyCd>CHRG</SubFmlyCd></Fmly></Domn></BkTxCd>"
    [line], _ = files.read(
        "camt053", files.camt(files.statement(files.entry("2.00", "DBIT", more=code), closing="98.00"))
    )
    assert line.category == "fee"


def test_neither_document_types_nor_entities_are_taken(files: Files) -> None:
    """Neither a file nor an address is read, and nothing blows up."""
    raw = files.camt(files.statement(files.entry("25.00"), closing="125.00"))
    head, body = raw.split(b"\n", 1)
    for subset in (
        b'<!DOCTYPE Document SYSTEM "http://192.0.2.1/x.dtd">',
        b'<!DOCTYPE Document [<!ENTITY x SYSTEM "file:///etc/hostname">]>',
        b'<!DOCTYPE Document [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>',
    ):
        assert files.damage("camt053", head + b"\n" + subset + body) == "syntax"
    assert files.damage("camt053", raw.replace(b"<MsgId>M1", b"<MsgId>&x;")) == "syntax"


def test_other_documents_and_endless_ones_are_refused(files: Files) -> None:
    assert files.damage("camt053", b"<html></html>") == "syntax"
    assert files.damage("camt053", b"") == "empty"
    raw = files.camt(files.statement(files.entry("25.00"), closing="125.00"))
    assert files.damage("camt053", raw[:-5]) == "syntax"
    assert files.damage("camt053", raw.replace(b"camt.053", b"pain.001")) == "syntax"
    deep = files.camt("<a>" * 100 + "</a>" * 100)
    assert files.damage("camt053", deep) == "size"
    assert files.damage("camt053", raw.replace(b"M1", b"x" * 20_000)) == "size"
