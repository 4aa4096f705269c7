"""Asking for reports. Which settlement reports a run is made of is fixed when it is asked for: what is corrected later
is in a later run."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from tallystick.gateway.ledger.terms import Terms
from tallystick.gateway.reporting.parameters import CreateRun
from tallystick.gateway.reporting.run import Run
from tallystick.gateway.settlement.lines import COLUMNS
from tallystick.gateway.stripe_wire import errors, report_objects
from tallystick.gateway.stripe_wire.call import Call, Caller, Reply
from tallystick.gateway.stripe_wire.errors import WireError
from tallystick.kernel.idempotency import Idempotency
from tallystick.kernel.identifiers import new_id
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Record, Statements
from tallystick.ports.entropy import Entropy

SQL = Statements.beside(__file__)


class Reports:
    """The commands of report runs."""

    def __init__(
        self, database: Database, idempotency: Idempotency, clock: Clock, entropy: Entropy, *, pages_url: str
    ) -> None:
        self._database = database
        self._idempotency = idempotency
        self._clock = clock
        self._entropy = entropy
        self._pages_url = pages_url

    async def create(self, items: Sequence[tuple[Call, CreateRun]]) -> list[Reply | WireError]:
        """Ask for reports; a worker writes them."""
        return [await self._create(call, sent) for call, sent in items]

    async def _create(self, call: Call, sent: CreateRun) -> Reply | WireError:
        at = self._clock.now()
        try:
            run = await self._run(call.caller, sent, at)
        except WireError as refused:
            return refused
        reply = Reply(200, msgspec.json.encode(report_objects.report_run(run, self._pages_url)))
        async with self._database.transaction() as tx:
            await tx.execute(
                SQL.insert_run,
                run.account_id,
                run.livemode,
                run.id,
                run.report_type,
                run.parameters,
                run.currency,
                list(run.columns),
                list(run.reports),
                run.last_day,
                run.status,
                run.created_at,
            )
            await self._idempotency.finish(tx, [(call.claim, reply.status, reply.body)])
        return reply

    async def _run(self, caller: Caller, sent: CreateRun, at: datetime) -> Run:
        asked = sent.parameters
        owner = (caller.account_id, caller.livemode)
        days = await self._database.rows(SQL.open_days, *owner)
        currency = _currency(asked.currency, [row["currency"] for row in days if row["currency"]])
        begins, ends = (datetime.fromtimestamp(second, UTC) for second in (asked.interval_start, asked.interval_end))
        if ends > available_until([row for row in days if row["currency"] in (currency, None)], at):
            raise errors.invalid(
                "parameters[interval_end]",
                "The data of this interval is not available yet: a day of it is not closed.",
            )
        rows = await self._database.rows(SQL.reports_between, *owner, currency, begins, ends)
        return Run(
            account_id=caller.account_id,
            livemode=caller.livemode,
            id=new_id("frr", at, self._entropy),
            report_type=sent.report_type,
            parameters=msgspec.json.encode(
                {name: value for name, value in msgspec.structs.asdict(asked).items() if value is not None}
            ).decode(),
            currency=currency,
            columns=asked.columns or list(COLUMNS),
            reports=[row["id"] for row in rows],
            last_day=(ends - timedelta(seconds=1)).date(),
            status="pending",
            created_at=at,
        )


def available_until(days: Sequence[Record], at: datetime) -> datetime:
    """Until when reports are written, by the open days of an account's currencies; without any money, until today."""
    begins = [
        Terms(day_offset_minutes=row["day_offset_minutes"]).begin_of(
            row["next_day"] or Terms(day_offset_minutes=row["day_offset_minutes"]).day_of(at)
        )
        for row in days
    ]
    return min(begins) if begins else Terms().begin_of(at.date())


def _currency(asked: str | None, known: Sequence[str]) -> str:
    """The currency that is meant: the account's only one where none is named."""
    if asked is not None:
        return asked.upper()
    if len(known) != 1:
        raise errors.missing("parameters[currency]")
    return known[0]
