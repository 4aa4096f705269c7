"""Runs and mismatches as the API shows them."""

from datetime import date, datetime
from typing import Any

import msgspec
from msgspec import Struct

from tallystick.ports.database import Record


class FileView(Struct, frozen=True):
    """A file of a run: what was counted in it, or why it was refused. Amounts are minor units."""

    number: int
    state: str
    currency: str | None
    account: str | None
    sequence: int | None
    revision: int | None
    lines: int | None
    gross_minor: int | None
    fee_minor: int | None
    net_minor: int | None
    opening_minor: int | None
    closing_minor: int | None
    sha256: str | None
    damage: str | None
    reason: str | None


class LinesOfCode(Struct, frozen=True):
    """How many lines ended in a code, and their money in minor units."""

    code: str
    currency: str
    lines: int
    gross_minor: int
    fee_minor: int
    net_minor: int


class MismatchesOfCode(Struct, frozen=True):
    """How many mismatches of a code there are, and what became of them."""

    code: str
    resolution: str
    state: str
    found: int
    amount_minor: int


class Summary(Struct, frozen=True):
    """What a run came to; empty until it is done."""

    lines: tuple[LinesOfCode, ...] = ()
    mismatches: tuple[MismatchesOfCode, ...] = ()


class RunView(Struct, frozen=True):
    """One comparison of a connection and a day, the `number`th: another one is made of a report that was corrected, and
    takes the place of those before."""

    id: str
    connection: str
    date: date
    source: str
    dry_run: bool
    number: int
    superseded: bool
    state: str
    stopped: str | None
    lines_read: int
    error: str | None
    requested_by: str
    created_at: datetime
    finished_at: datetime | None
    summary: Summary
    files: tuple[FileView, ...] = ()


class RunPage(Struct, frozen=True):
    """A page of runs, the newest first. `next_cursor` is null on the last page."""

    data: tuple[RunView, ...]
    next_cursor: str | None


class MismatchView(Struct, frozen=True):
    """Something that did not fit, and what became of it. `lines` names the lines that it is about."""

    reconciliation: str
    code: str
    subject: str
    payment: str | None
    order: str | None
    attempt: int | None
    currency: str | None
    amount_minor: int | None
    lines: tuple[str, ...]
    resolution: str
    state: str
    wait_until: date | None
    details: dict[str, Any]
    found_at: datetime
    resolved_at: datetime | None


class MismatchPage(Struct, frozen=True):
    """A page of mismatches. `next_cursor` is null on the last page."""

    data: tuple[MismatchView, ...]
    next_cursor: str | None


def run_view(row: Record, files: tuple[FileView, ...] = ()) -> RunView:
    """A run, with its files where they were read too."""
    return RunView(
        id=row["reconciliation_id"],
        connection=row["connection_id"],
        date=row["business_date"],
        source=row["source"],
        dry_run=row["dry_run"],
        number=row["number"],
        superseded=row["superseded"],
        state=row["state"],
        stopped=row["stopped"],
        lines_read=row["lines_read"],
        error=row["error"],
        requested_by=row["requested_by"],
        created_at=row["created_at"],
        finished_at=row["finished_at"],
        summary=msgspec.json.decode(row["summary"], type=Summary),
        files=files,
    )


def file_view(row: Record) -> FileView:
    """A file of a run."""
    return FileView(*(row[name] for name in FileView.__struct_fields__))


def mismatch_view(row: Record) -> MismatchView:
    """A mismatch."""
    return MismatchView(
        reconciliation=row["reconciliation_id"],
        code=row["code"],
        subject=row["subject"],
        payment=row["payment"],
        order=row["order_id"],
        attempt=row["attempt"],
        currency=row["currency"],
        amount_minor=row["amount_minor"],
        lines=tuple(row["lines"]),
        resolution=row["resolution"],
        state=row["state"],
        wait_until=row["wait_until"],
        details=msgspec.json.decode(row["details"]),
        found_at=row["found_at"],
        resolved_at=row["resolved_at"],
    )
