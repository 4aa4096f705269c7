"""Cases: opened in the commit that finds them, once for each thing that they are about."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

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

WORDS: Final[Mapping[str, str]] = {
    "amount_mismatch": "The gateway authorised another amount or currency than the order's.",
    "webhook_unmatched": "A webhook tells of a payment that belongs to no order here.",
    "close_stuck": "An attempt could not be closed at the gateway for a day.",
    "refund_returned": "A refund failed or came back: the money is with the gateway, and the shopper waits for it.",
    "return_refused": "The gateway refuses to give back money that is not the order's.",
    "disputed": "The cardholder's bank takes the money back. Send evidence in time; the goods are held.",
    "settlement_file_refused": "A settlement file is damaged, and was refused whole.",
    "reconciliation_stopped": "Too many automatic actions at once: none was taken.",
    "recon_captured_but_pending": "The file tells of a captured payment, and the gateway does not confirm it.",
    "recon_captured_but_closed": "The file tells of a captured payment, and the gateway does not confirm it.",
    "recon_unknown_payment": "The gateway captured a payment that belongs to no order here.",
    "recon_paid_but_missing": "An order is paid, and no settlement file tells of it. The goods are held.",
    "recon_amount_differs": "The gateway settled another amount than was captured.",
    "recon_currency_differs": "The gateway settled in another currency than the order's.",
    "recon_refund_unknown": "The file tells of a refund, and the gateway does not confirm it.",
    "recon_refund_missing": "A refund was made, and no settlement file tells of it.",
    "recon_refund_amount_differs": "The gateway settled another amount than was given back.",
    "recon_settled_twice": "One charge stands in the settlement twice.",
    "recon_captured_twice": "Two charges were captured for one order.",
    "recon_fee_differs": "The gateway's fee is not the one that was agreed.",
    "recon_dispute_unknown": "The file tells of a dispute, and the gateway does not confirm it. The goods are held.",
    "recon_dispute_reversal": "The file tells that a dispute was won, and the gateway does not confirm it.",
    "recon_refund_failure": "The file tells of a refund that failed, and the gateway does not confirm it.",
    "recon_authorised_there": "We say captured, the gateway says authorised. The goods are held.",
    "recon_voided_there": "We say captured, the gateway says canceled. The goods are held.",
    "recon_unexplained_line": "A line of a settlement file that nobody can explain.",
}

TOLD: Final = frozenset({"amount_mismatch", "close_stuck", "disputed", "refund_returned", "return_refused"})
"""Of these people are told (RULES §8 asks it of what is stuck): somebody's money hangs on them. A payment of no order
here may be another shop's on the same account, many times a day; it waits in the list."""


class Found(Struct, frozen=True):
    """A reason for a case. Found again with the same `subject`, it is the same case."""

    merchant_id: str
    kind: str
    subject: str
    order_id: str | None = None
    attempt: int | None = None
    details: Mapping[str, Any] = {}


class Case(Struct, frozen=True):
    """A case as the API shows it."""

    id: str
    kind: str
    words: str
    state: CaseState
    order: str | None
    attempt: int | None
    subject: str
    details: dict[str, Any]
    opened_at: datetime
    closed_at: datetime | None


async def open_cases(tx: Transaction | Database, found: Sequence[Found], at: datetime, entropy: Entropy) -> None:
    """Open cases for what was found and has none yet."""
    if not found:
        return
    rows = [
        (
            each.merchant_id,
            new_id(PREFIX, at, entropy),
            each.kind,
            each.subject,
            each.order_id,
            each.attempt,
            msgspec.json.encode(each.details).decode(),
            at if each.kind in TOLD else None,
        )
        for each in found
    ]
    await tx.execute(SQL.insert_cases, at, *columns(8, rows))


def case_teller(database: Database, alerts: Alerts, clock: Clock) -> CaseTeller:
    """Tells people of the cases that are told of."""
    statements = (SQL.untold_cases, SQL.claim_telling, SQL.record_telling)
    return CaseTeller(database, alerts, clock, statements, WORDS, command="tallystick merchant cases list")


async def list_cases(
    database: Database, merchant_id: str, *, state: CaseState | None, before: str | None, rows_max: int
) -> list[Case]:
    """A merchant's cases, the newest first, those before the cursor."""
    rows = await database.rows(SQL.list_cases, merchant_id, state, before, rows_max)
    return [_case(row) for row in rows]


async def find_case(database: Database, merchant_id: str, case_id: str) -> Case | None:
    """One case."""
    rows = await database.rows(SQL.find_case, merchant_id, case_id)
    return _case(rows[0]) if rows else None


def _case(row: Record) -> Case:
    return Case(
        id=row["case_id"],
        kind=row["kind"],
        words=WORDS.get(row["kind"], ""),
        state=row["state"],
        order=row["order_id"],
        attempt=row["attempt"],
        subject=row["subject"],
        details=msgspec.json.decode(row["details"]),
        opened_at=row["opened_at"],
        closed_at=row["closed_at"],
    )
