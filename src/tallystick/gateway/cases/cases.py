"""Cases: opened in the commit that finds them, once for each thing that they are about; a person closes them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from tallystick.gateway.cases.concerns import WORDS, CaseKind, Concern
from tallystick.kernel.case_telling import CaseTeller
from tallystick.kernel.columns import columns
from tallystick.kernel.identifiers import new_id
from tallystick.ports.alerts import Alerts
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Record, Statements, Transaction
from tallystick.ports.entropy import Entropy

SQL = Statements.beside(__file__)

PREFIX: Final = "cas"

CaseState = Literal["open", "closed"]


class Case(Struct, frozen=True, kw_only=True):
    """A case as operators see it."""

    account: str
    livemode: bool
    id: str
    kind: str
    words: str
    state: CaseState
    subject: str
    payment_intent: str
    charge: str
    amount: int
    currency: str
    details: dict[str, Any]
    opened_at: datetime
    closed_at: datetime | None
    note: str | None
    operator: str | None


async def open_cases(tx: Transaction | Database, found: Sequence[Concern], at: datetime, entropy: Entropy) -> None:
    """Open cases for what was found and has none yet, in the transaction that found it."""
    if not found:
        return
    rows = [
        (
            each.account_id,
            each.livemode,
            new_id(PREFIX, at, entropy),
            each.kind,
            each.subject,
            each.payment_intent,
            each.charge,
            each.amount,
            each.currency,
            msgspec.json.encode(each.details).decode(),
        )
        for each in found
    ]
    await tx.execute(SQL.insert_cases, at, *columns(10, rows))


async def close_case_about(
    database: Database, subject: tuple[str, bool, str], kind: CaseKind, *, at: datetime, note: str, operator: str
) -> None:
    """Close the case of this kind about an object (account, livemode, id), where there is an open one."""
    await database.execute(SQL.close_case_about, *subject, kind, at, note, operator)


class Cases:
    """Lists and closes cases."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def page(
        self, after: tuple[str, str], limit: int, *, account: str | None, state: CaseState | None
    ) -> list[Case]:
        """Up to `limit` cases behind an account and id; of one account, in one state, where asked for."""
        rows = await self._database.rows(SQL.list_cases, *after, account, state, limit)
        return [_case(row) for row in rows]

    async def close(self, account: str, livemode: bool, id: str, *, note: str, operator: str) -> bool:
        """A person has seen to it; whether it was open."""
        return bool(
            await self._database.execute(SQL.close_case, account, livemode, id, self._clock.now(), note, operator)
        )


def case_teller(database: Database, alerts: Alerts, clock: Clock) -> CaseTeller:
    """Tells people of every case: each is about money that nobody can account for."""
    statements = (SQL.untold_cases, SQL.claim_telling, SQL.record_telling)
    return CaseTeller(database, alerts, clock, statements, WORDS, command="tallystick gateway cases list")


def _case(row: Record) -> Case:
    return Case(
        account=row["account_id"],
        livemode=row["livemode"],
        id=row["id"],
        kind=row["kind"],
        words=WORDS.get(row["kind"], ""),
        state=row["state"],
        subject=row["subject"],
        payment_intent=row["payment_intent"],
        charge=row["charge"],
        amount=row["amount"],
        currency=row["currency"],
        details=msgspec.json.decode(row["details"]),
        opened_at=row["opened_at"],
        closed_at=row["closed_at"],
        note=row["note"],
        operator=row["operator"],
    )
