"""A run's files taken in: fetched or handed in, held against what came before, whole or not at all (RULES §11).

Each file is a transaction of its own, so that one that is refused does not touch the others. What was taken is skipped
when the run is begun again.
"""

import tempfile
from collections.abc import AsyncIterator, Sequence
from datetime import date, datetime
from functools import partial
from typing import IO, Final, Protocol

import msgspec
from msgspec import Struct

from tallystick.kernel.outcomes import Done, NotSent, Refused, Unknown
from tallystick.merchant.cases.cases import Found, open_cases
from tallystick.merchant.gateways.port import CapturedCharge, Connection
from tallystick.merchant.gateways.stripe_reports import PaymentFound, Report
from tallystick.merchant.reconciliation.comparing import RunKey, copy_lines
from tallystick.merchant.reconciliation.lines import FileDamaged, Manifest
from tallystick.merchant.reconciliation.reading import Layout, Reading
from tallystick.ports.clock import Clock
from tallystick.ports.database import ConstraintViolated, Database, Record, Statements, Transaction
from tallystick.ports.entropy import Entropy

SQL = Statements.beside(__file__, "runs.sql")

SPOOL_BYTES: Final = 8 * 1024 * 1024  # of a file are kept in memory; what is longer goes to disk
LINES_KEY: Final = "settlement_line_pkey"
CORRECTED_DAYS_MAX: Final = 31  # a correction of an older day is to be asked for


class Reports(Protocol):
    """What reconciliation asks of a gateway."""

    async def currencies(self, connection: Connection) -> Done[tuple[str, ...]] | Refused | NotSent | Unknown: ...

    async def report(
        self, connection: Connection, day: date, currency: str, key: str
    ) -> Done[Report] | Refused | NotSent | Unknown: ...

    async def download(
        self, connection: Connection, file_id: str, into: IO[bytes]
    ) -> Done[str] | Refused | NotSent | Unknown: ...

    async def payment(
        self, connection: Connection, intent: str
    ) -> Done[PaymentFound] | Refused | NotSent | Unknown: ...

    async def captured_charges(
        self, connection: Connection, intent: str
    ) -> Done[tuple[CapturedCharge, ...]] | Refused | NotSent | Unknown: ...


class Salvages(Protocol):
    """Makes the best of a file that was refused."""

    async def salvage(self, run: "Held", connection: Connection, file: IO[bytes]) -> None: ...


class NotYet(Exception):
    """A file cannot be had now: the run is put off."""


class Held(Struct, frozen=True):
    """A run that this worker holds."""

    key: RunKey
    connection_id: str
    business_date: date
    source: str
    dry_run: bool
    state: str
    generation: int
    tries: int
    number: int

    @property
    def subject(self) -> str:
        """What a case about the whole run is about: another comparison of the same day is another subject."""
        day = f"{self.connection_id}:{self.business_date}:{self.source}"
        return f"{day}:{self.number}" if self.number > 1 else day


class Taker:
    """Takes in the files of runs."""

    def __init__(
        self, database: Database, reports: Reports, salvager: Salvages, clock: Clock, entropy: Entropy
    ) -> None:
        self._database = database
        self._reports = reports
        self._salvager = salvager
        self._clock = clock
        self._entropy = entropy

    async def take(self, run: Held, connection: Connection, at: datetime) -> None:
        """Take in every file of the run that is not there yet. Raises NotYet."""
        known = {row["number"] for row in await self._database.rows(SQL.list_files, *run.key)}
        if run.source != "gateway":
            if not known:
                with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as file:
                    async for piece in _pieces(self._database, run.key):
                        file.write(piece)
                    await self._take_in(run, connection, 1, file, None, at)
            return
        for number, currency in enumerate(await self._currencies(run, connection), start=1):
            if number in known:
                continue
            with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as file:
                told = Manifest(currency=currency)
                try:
                    told, digest = await self._fetch(run, connection, currency, file)
                    manifest = _checked(told, digest, run, currency)
                except FileDamaged as damaged:
                    refused = Manifest(currency=currency, revision=told.revision)
                    await self._refuse(run, connection, number, refused, file, damaged, at)
                    continue
                await self._take_in(run, connection, number, file, manifest, at, currency)

    async def corrected(self, run: Held, connection: Connection) -> date | None:
        """The first of the days before this run's whose report was corrected since it was compared; None where there is
        none. A correction rewrites all reports from its day on, so the day before tells whether there was one. Raises
        NotYet.
        """
        rows = await self._database.rows(
            SQL.files_compared, run.key.merchant_id, run.connection_id, run.business_date, CORRECTED_DAYS_MAX
        )
        first: date | None = None
        for currency in sorted({row["currency"] for row in rows}):
            for row in (row for row in rows if row["currency"] == currency):
                day = row["business_date"]
                key = f"revision:{run.key.reconciliation_id}:{currency}:{day}:{run.generation}"
                try:
                    report = await self._reports.report(connection, day, currency, key)
                except FileDamaged:
                    break  # what cannot be read tells of no correction
                if not isinstance(report, Done):
                    raise NotYet(_why(f"the report of {currency}", report))
                manifest = report.value.manifest
                if manifest is None or (manifest.revision or 0) <= row["revision"]:
                    break
                first = min(first or day, day)
        return first

    async def _currencies(self, run: Held, connection: Connection) -> list[str]:
        """In which there may be a report: those of the account, and those in which we sold. Raises NotYet."""
        answer = await self._reports.currencies(connection)
        if not isinstance(answer, Done):
            raise NotYet(_why("the balance", answer))
        sold = await self._database.rows(SQL.currencies_sold, run.key.merchant_id, run.connection_id)
        return sorted({*answer.value, *(row["currency"] for row in sold)})

    async def _fetch(self, run: Held, connection: Connection, currency: str, file: IO[bytes]) -> tuple[Manifest, str]:
        """The report of a currency, in `file`: what it says of itself, and its SHA-256. Raises NotYet, FileDamaged."""
        key = f"report:{run.key.reconciliation_id}:{currency}:{run.generation}"
        report = await self._reports.report(connection, run.business_date, currency, key)
        if not isinstance(report, Done):
            raise NotYet(_why(f"the report of {currency}", report))
        digest = await self._reports.download(connection, report.value.file, file)
        if not isinstance(digest, Done):
            raise NotYet(_why(f"the file of {currency}", digest))
        return report.value.manifest or Manifest(currency=currency), digest.value

    async def _take_in(
        self,
        run: Held,
        connection: Connection,
        number: int,
        file: IO[bytes],
        manifest: Manifest | None,
        at: datetime,
        currency: str | None = None,
    ) -> None:
        layout: Layout = "stripe" if run.source == "gateway" else run.source  # type: ignore[assignment]
        file.seek(0)
        reading = Reading(layout, file, manifest)  # type: ignore[arg-type]  # a spooled file is one
        try:
            async with self._database.transaction(bulk=True) as tx:
                await copy_lines(tx, run.key, reading, partial(self._tell, run))
                for place, part in enumerate(reading.parts):
                    await self._check_chain(tx, run, part, reading.parts[:place])
                    await _insert_file(tx, run, number + place, part, None)
                if run.source != "gateway":
                    await tx.execute(SQL.delete_pieces, *run.key)
        except FileDamaged as damaged:
            await self._refuse(run, connection, number, manifest or Manifest(currency=currency), file, damaged, at)
        except ConstraintViolated as violated:
            if violated.constraint != LINES_KEY:
                raise
            damage = FileDamaged("duplicate_line")
            await self._refuse(run, connection, number, manifest or Manifest(currency=currency), file, damage, at)

    async def _tell(self, run: Held, lines: int) -> None:
        """Show how far it is: by another connection, while the lines are still being copied."""
        await self._database.execute(SQL.tell_lines, *run.key, run.generation, lines)

    async def _check_chain(self, tx: Transaction, run: Held, part: Manifest, parts_before: Sequence[Manifest]) -> None:
        """Sequence and opening balance beside the part of the same account before it: of this file, or of an earlier
        day's. Days whose file was refused may be missing between the two; for one that is still to be taken this one
        waits. Raises FileDamaged and NotYet.
        """
        if part.sequence is None or part.currency is None or not part.sequence:
            return
        refused = 0
        beside = [one for one in parts_before if (one.currency, one.account) == (part.currency, part.account)]
        if beside:
            sequence, closing_minor = beside[-1].sequence, beside[-1].closing_minor
        else:
            account = (run.connection_id, part.currency, part.account)
            rows = await tx.rows(SQL.file_before, run.key.merchant_id, *account, run.business_date, run.source)
            if not rows:
                return
            sequence, closing_minor, refused = (rows[0][name] for name in ("sequence", "closing_minor", "refused"))
            if part.sequence > sequence + 1 and rows[0]["between_due"]:
                raise NotYet("the file of an earlier day is not there yet")
        if sequence is None:
            return
        gap = part.sequence - sequence
        if gap < 1 or gap > 1 + refused:
            raise FileDamaged("sequence", detail=f"{part.sequence} after {sequence}")
        if gap == 1 and None not in (part.opening_minor, closing_minor) and part.opening_minor != closing_minor:
            raise FileDamaged("opening")

    async def _refuse(
        self,
        run: Held,
        connection: Connection,
        number: int,
        told: Manifest,
        file: IO[bytes],
        damaged: FileDamaged,
        at: datetime,
    ) -> None:
        """Note that a file was refused, and why; a person must see it. What it names is retrieved all the same, before
        that is noted, so that whoever takes over does it again.
        """
        if not run.dry_run and run.source in ("gateway", "stripe"):
            await self._salvager.salvage(run, connection, file)
        async with self._database.transaction() as tx:
            await _insert_file(tx, run, number, told, damaged)
            if run.source != "gateway":
                await tx.execute(SQL.delete_pieces, *run.key)
            if run.dry_run:
                return
            found = Found(
                merchant_id=run.key.merchant_id,
                kind="settlement_file_refused",
                subject=f"{run.subject}:{told.currency or number}",
                details={"reason": str(damaged), "damage": damaged.damage, "reconciliation": run.key.reconciliation_id},
            )
            await open_cases(tx, [found], at, self._entropy)


def _checked(manifest: Manifest, sha256: str, run: Held, currency: str) -> Manifest:
    """The manifest, if it is that of the file, of the day and of the currency. Raises FileDamaged."""
    if manifest.sha256 is not None and manifest.sha256.lower() != sha256:
        raise FileDamaged("hash")
    if manifest.currency != currency:
        raise FileDamaged("currency")
    if manifest.day is not None and manifest.day != run.business_date:
        raise FileDamaged("date")
    return msgspec.structs.replace(manifest, sha256=sha256)


async def _pieces(database: Database, key: RunKey) -> AsyncIterator[bytes]:
    number = 1
    while rows := await database.rows(SQL.read_piece, *key, number):
        yield bytes(rows[0]["bytes"])
        number += 1


async def _insert_file(tx: Transaction, run: Held, number: int, part: Manifest, damaged: FileDamaged | None) -> None:
    await tx.execute(
        SQL.insert_file,
        *run.key,
        number,
        run.connection_id,
        "accepted" if damaged is None else "refused",
        part.currency,
        part.account,
        part.sequence,
        part.revision,
        part.lines,
        part.gross_minor,
        part.fee_minor,
        part.net_minor,
        part.opening_minor,
        part.closing_minor,
        part.sha256,
        damaged.damage if damaged else None,
        str(damaged) if damaged else None,
    )


def held(row: Record) -> Held:
    """A run as `take_run` gives it."""
    return Held(
        RunKey(row["merchant_id"], row["reconciliation_id"]),
        row["connection_id"],
        row["business_date"],
        row["source"],
        row["dry_run"],
        row["state"],
        row["generation"],
        row["tries"],
        row["number"],
    )


def _why(what: str, answer: Refused | NotSent | Unknown) -> str:
    said = f"{answer.code}: {answer.message}" if isinstance(answer, Refused) else answer.reason
    return f"{what} cannot be had: {said}"[:500]
