"""A report run as it stands in the database, and the manifest beside its file. Pure."""

from collections.abc import Sequence
from datetime import date, datetime

from msgspec import Struct

from tallystick.gateway.settlement.report import Report, Tally
from tallystick.kernel.money import format_decimal


class Run(Struct, frozen=True, kw_only=True):
    """A report that was asked for. `parameters` and `manifest` are JSON texts; `reports` the settlement reports that it
    is made of, in their order."""

    account_id: str
    livemode: bool
    id: str
    report_type: str
    parameters: str
    currency: str
    columns: Sequence[str]
    reports: Sequence[str]
    last_day: date
    status: str
    created_at: datetime
    file: str | None = None
    size_bytes: int | None = None
    manifest: str | None = None
    succeeded_at: datetime | None = None


class Manifest(Struct, frozen=True, kw_only=True):
    """What a file adds up to, beside it. Amounts are decimal major units, like the file's."""

    account: str
    currency: str
    date: str
    sequence: int
    revision: int
    lines: int
    gross: str
    fee: str
    net: str
    opening: str
    closing: str
    sha256: str


def manifest_of(run: Run, reports: Sequence[Report], tally: Tally, decimals: int) -> Manifest:
    """The manifest of a run's file: that of its one report, or of several that follow one another."""
    last = reports[-1] if reports else None

    def major(amount: int) -> str:
        return format_decimal(amount, decimals)

    return Manifest(
        account=run.account_id,
        currency=run.currency.lower(),
        date=(last.day if last else run.last_day).isoformat(),
        sequence=last.sequence if last else 0,
        revision=last.revision if last else 0,
        lines=tally.lines,
        gross=major(tally.gross),
        fee=major(tally.fee),
        net=major(tally.net),
        opening=major(reports[0].opening if reports else 0),
        closing=major(last.closing if last else 0),
        sha256=tally.sha256,
    )
