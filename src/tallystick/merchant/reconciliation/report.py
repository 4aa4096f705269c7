"""A day's report: a page that an accountant can read, and the same as CSV. Pure."""

import csv
import io
from collections.abc import Iterator, Sequence
from html import escape
from types import MappingProxyType
from typing import Final

from tallystick.kernel.money import exponent, format_decimal
from tallystick.kernel.page_headers import document_headers
from tallystick.merchant.reconciliation.view import MismatchView, RunView

WORDS: MappingProxyType[str, str] = MappingProxyType(
    {
        "matched": "Settled as sold",
        "captured_but_pending": "Captured at the gateway, not paid here",
        "captured_but_closed": "Captured at the gateway, the order had ended here",
        "unknown_payment": "Captured at the gateway, no order here",
        "paid_but_missing": "Paid here, not in the settlement",
        "amount_differs": "Settled with another amount",
        "currency_differs": "Settled in another currency",
        "refund_unknown": "Given back at the gateway, not known here",
        "refund_missing": "Given back here, not in the settlement",
        "refund_amount_differs": "Given back with another amount",
        "captured_and_returned": "Captured and returned, nothing remains",
        "settled_twice": "One charge settled twice",
        "captured_twice": "Two charges for one order",
        "fee_differs": "Another fee than agreed",
        "dispute_unknown": "Disputed, not known here",
        "dispute_reversal": "Dispute won",
        "refund_failure": "A refund came back",
        "authorised_there": "Captured here, only authorised at the gateway",
        "voided_there": "Captured here, canceled at the gateway",
        "payout": "Paid out to the bank",
        "payout_failure": "A payout that failed",
        "fee": "Fees of the gateway",
        "adjustment": "Adjustments",
        "cut_off": "Belongs to the neighbouring day",
        "unexplained_line": "A line that nobody can explain",
    }
)
STATES: MappingProxyType[str, str] = MappingProxyType(
    {
        "open": "to be resolved",
        "resolved": "resolved",
        "waiting": "waiting for the other half",
        "case": "a person decides",
        "noted": "noted",
        "stopped": "held back",
    }
)
CSV_COLUMNS: Final = (
    "date connection code state resolution payment order currency amount lines subject wait_until".split()
)
STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1b1b1b}"
    "table{border-collapse:collapse;width:100%;margin:.5rem 0 2rem}th,td{text-align:left;padding:.3rem .6rem;"
    "border-bottom:1px solid #ddd;vertical-align:top}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}"
    ".bad{color:#a11}"
)
HEADERS: Final = document_headers(STYLE)


def page(run: RunView, mismatches: Sequence[MismatchView], *, more: bool) -> str:
    """The report as HTML; `more` where there are more mismatches than are shown."""
    return "".join(_page(run, mismatches, more=more))


def _page(run: RunView, mismatches: Sequence[MismatchView], *, more: bool) -> Iterator[str]:
    title = f"Reconciliation of {run.date.isoformat()}"
    yield f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
    yield f"<style>{STYLE}</style></head><body><h1>{title}</h1>"
    dry = " This was a dry run: nothing was done." if run.dry_run else ""
    yield f"<p>Connection {escape(run.connection)}, {escape(run.source)}. The run is {escape(run.state)}.{dry}</p>"
    if run.stopped:
        yield f'<p class="bad">Automatic actions were stopped: {escape(run.stopped)}.</p>'
    yield "<h2>Files</h2><table><tr><th>Currency<th>State<th class=n>Lines<th class=n>Opening<th class=n>Gross"
    yield "<th class=n>Fees<th class=n>Net<th class=n>Closing</tr>"
    for file in run.files:
        sums = (file.opening_minor, file.gross_minor, file.fee_minor, file.net_minor, file.closing_minor)
        cells = "".join(f"<td class=n>{_money(each, file.currency)}" for each in sums)
        state = f'<span class="bad">refused: {escape(file.reason)}</span>' if file.reason else "taken"
        yield f"<tr><td>{escape(file.currency or '')}<td>{state}<td class=n>{file.lines or ''}{cells}</tr>"
    yield "</table><h2>Lines</h2><table><tr><th>What they are<th>Currency<th class=n>Lines<th class=n>Gross"
    yield "<th class=n>Fees<th class=n>Net</tr>"
    for each in run.summary.lines:
        cells = "".join(
            f"<td class=n>{_money(amount, each.currency)}"
            for amount in (each.gross_minor, each.fee_minor, each.net_minor)
        )
        yield f"<tr><td>{_words(each.code)}<td>{escape(each.currency)}<td class=n>{each.lines}{cells}</tr>"
    yield "</table><h2>What did not fit</h2>"
    if not mismatches:
        yield f"<p>{'Nothing was compared' if run.state == 'refused' else 'Everything fits'}.</p></body></html>"
        return
    yield "<table><tr><th>What<th>State<th>Payment<th>Order<th class=n>Amount<th>Until</tr>"
    for found in mismatches:
        yield (
            f"<tr><td>{_words(found.code)}<td>{escape(STATES.get(found.state, found.state))}"
            f"<td>{escape(found.payment or found.subject)}<td>{escape(found.order or '')}"
            f"<td class=n>{_money(found.amount_minor, found.currency)} {escape(found.currency or '')}"
            f"<td>{found.wait_until.isoformat() if found.wait_until else ''}</tr>"
        )
    yield "</table>"
    if more:
        yield "<p>There are more; the CSV and the API have all of them.</p>"
    yield "</body></html>"


def table(run: RunView, mismatches: Sequence[MismatchView], *, head: bool) -> str:
    """Mismatches as CSV, with the line of column names where `head` is true."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    if head:
        writer.writerow(CSV_COLUMNS)
    for each in mismatches:
        writer.writerow(
            [
                run.date.isoformat(),
                run.connection,
                each.code,
                each.state,
                each.resolution,
                _cell(each.payment),
                _cell(each.order),
                each.currency or "",
                _money(each.amount_minor, each.currency),
                _cell(" ".join(each.lines)),
                _cell(each.subject),
                each.wait_until.isoformat() if each.wait_until else "",
            ]
        )
    return text.getvalue()


def _cell(text: str | None) -> str:
    """A text that strangers may have written: no formula in anybody's spreadsheet."""
    return f"'{text}" if text and text[0] in "=+-@\t\r" else text or ""


def _words(code: str) -> str:
    return escape(WORDS.get(code, code))


def _money(amount_minor: int | None, currency: str | None) -> str:
    if amount_minor is None or currency is None:
        return ""
    return format_decimal(amount_minor, exponent(currency))
