"""What is done about a case: one person proposes, another approves, and only then it is done (RULES §11).

What is approved is what was proposed: if the case or its order changed meanwhile, the proposal is stale and nothing is
done. That the two are not one person is checked by the database. Everything is written to the audit trail in the same
commit.
"""

import hashlib
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from tallystick.kernel.identifiers import new_id
from tallystick.kernel.outcomes import Done
from tallystick.merchant.accounts.directory import Directory
from tallystick.merchant.orders.apply import apply_facts
from tallystick.merchant.orders.facts import HoldLifted, HoldReason
from tallystick.merchant.orders.learning import Learnt
from tallystick.merchant.orders.outbox import Outbox
from tallystick.merchant.reconciliation.retrieving import learnt_of
from tallystick.merchant.reconciliation.taking import SQL as RUNS
from tallystick.merchant.reconciliation.taking import Reports
from tallystick.ports.clock import Clock
from tallystick.ports.database import ConstraintViolated, Database, Record, Statements, Transaction
from tallystick.ports.entropy import Entropy

SQL = Statements.beside(__file__, "proposals.sql")

AUDIT_PREFIX: Final = "aud"
BY_ANOTHER: Final = "case_proposal_decided_by_another"
ONE_OPEN: Final = "case_proposal_one_open"

Action = Literal["close", "merge", "lift"]


class ProposalRefused(Exception):
    """It cannot be done; the text says why. `found` is false where there is no such case."""

    def __init__(self, message: str, *, found: bool = True) -> None:
        super().__init__(message)
        self.found = found


class Proposal(Struct, frozen=True):
    """A proposal as it is shown."""

    case: str
    number: int
    action: str
    note: str
    state: str
    proposed_by: str
    proposed_at: datetime
    decided_by: str | None
    decided_at: datetime | None


class Proposals:
    """Proposes, approves and executes."""

    def __init__(
        self,
        database: Database,
        directory: Directory,
        reports: Reports,
        clock: Clock,
        entropy: Entropy,
        outbox: Outbox,
    ) -> None:
        self._database = database
        self._directory = directory
        self._reports = reports
        self._clock = clock
        self._entropy = entropy
        self._outbox = outbox

    async def propose(self, merchant_id: str, case_id: str, action: Action, note: str, who: str) -> Proposal:
        """Propose what is to be done. Raises ProposalRefused."""
        at = self._clock.now()
        try:
            async with self._database.transaction() as tx:
                case = await _open_case(tx, merchant_id, case_id)
                if action == "merge" and _payment(case) is None:
                    raise ProposalRefused("the case names no payment that could be retrieved")
                if action == "lift" and _hold(case) is None:
                    raise ProposalRefused("the case holds no goods")
                number = case["proposals"] + 1
                await tx.execute(SQL.insert_proposal, merchant_id, case_id, number, action, note, _basis(case), who, at)
                await self._audit(tx, merchant_id, at, who, "case.proposed", case_id, {"action": action, "note": note})
        except ConstraintViolated as violated:
            if violated.constraint == ONE_OPEN:
                raise ProposalRefused("another proposal is open: approve or reject it first") from None
            raise
        return (await self.of(merchant_id, case_id))[-1]

    async def approve(self, merchant_id: str, case_id: str, who: str, number: int | None = None) -> Proposal:
        """Approve what another person proposed, and do it; `number`: only if it is this. Raises ProposalRefused."""
        seen, learnt = await self._retrieved(merchant_id, case_id)
        at = self._clock.now()
        try:
            async with self._database.transaction() as tx:
                case = await _open_case(tx, merchant_id, case_id)
                proposal = await _proposed(tx, merchant_id, case_id)
                if proposal["number"] != seen or number not in (None, seen):
                    raise ProposalRefused("something else is proposed by now: look at it first")
                fresh = bytes(proposal["basis"]) == _basis(case)
                state = "executed" if fresh else "stale"
                await tx.execute(SQL.decide_proposal, merchant_id, case_id, proposal["number"], state, who, at)
                details = {"action": proposal["action"], "proposed_by": proposal["proposed_by"]}
                await self._audit(tx, merchant_id, at, who, f"case.{state}", case_id, details)
                if fresh:
                    lifted = _lifted(case) if proposal["action"] == "lift" else []
                    applied = await apply_facts(tx, [*learnt, *lifted], at, self._outbox)
                    if applied.unknown:
                        raise ProposalRefused("the payment names an order or an attempt that there is not")
                    await tx.execute(SQL.close_case, merchant_id, case_id, at)
                    await tx.execute(RUNS.clear_decided, merchant_id, at)
        except ConstraintViolated as violated:
            if violated.constraint == BY_ANOTHER:
                raise ProposalRefused("who proposes does not approve: another person must") from None
            raise
        return (await self.of(merchant_id, case_id))[-1]

    async def reject(self, merchant_id: str, case_id: str, who: str) -> Proposal:
        """Say no to what another person proposed; the case stays open. Raises ProposalRefused."""
        at = self._clock.now()
        try:
            async with self._database.transaction() as tx:
                await _open_case(tx, merchant_id, case_id)
                proposal = await _proposed(tx, merchant_id, case_id)
                await tx.execute(SQL.decide_proposal, merchant_id, case_id, proposal["number"], "rejected", who, at)
                await self._audit(tx, merchant_id, at, who, "case.rejected", case_id, {"action": proposal["action"]})
        except ConstraintViolated as violated:
            if violated.constraint == BY_ANOTHER:
                raise ProposalRefused("who proposes does not decide: another person must") from None
            raise
        return (await self.of(merchant_id, case_id))[-1]

    async def of(self, merchant_id: str, case_id: str) -> list[Proposal]:
        """Everything that was proposed about a case."""
        rows = await self._database.rows(SQL.list_proposals, merchant_id, case_id)
        names = Proposal.__struct_fields__[1:]
        return [Proposal(case_id, *(row[name] for name in names)) for row in rows]

    async def _retrieved(self, merchant_id: str, case_id: str) -> tuple[int, tuple[Learnt, ...]]:
        """The number of what is proposed, and what the gateway says of the case's payment if that is to be merged;
        asked for outside of any transaction. Raises ProposalRefused.
        """
        async with self._database.transaction() as tx:
            case = await _open_case(tx, merchant_id, case_id)
            proposal = await _proposed(tx, merchant_id, case_id)
        payment = _payment(case)
        if proposal["action"] != "merge" or payment is None:
            return proposal["number"], ()
        connection_id = case["connection_id"] or case["subject"].partition(":")[0]
        connection = await self._directory.connection(merchant_id, connection_id)
        if connection is None:
            raise ProposalRefused("the case names no connection")
        answer = await self._reports.payment(connection, payment)
        if not isinstance(answer, Done):
            raise ProposalRefused("the gateway does not tell of the payment now")
        learnt = learnt_of(connection, answer.value, f"case:{case_id}", case["order_id"], case["attempt"])
        if not learnt:
            raise ProposalRefused("the payment names none of our orders")
        return proposal["number"], learnt

    async def _audit(
        self, tx: Transaction, merchant_id: str, at: datetime, who: str, what: str, subject: str, details: Any
    ) -> None:
        audit_id = new_id(AUDIT_PREFIX, at, self._entropy)
        encoded = msgspec.json.encode(details).decode()
        await tx.execute(SQL.insert_audit, merchant_id, audit_id, at, who, what, subject, encoded)


async def _open_case(tx: Transaction, merchant_id: str, case_id: str) -> Record:
    rows = await tx.rows(SQL.lock_case, merchant_id, case_id)
    if not rows:
        raise ProposalRefused("there is no such case", found=False)
    if rows[0]["state"] != "open":
        raise ProposalRefused("the case is closed")
    return rows[0]


async def _proposed(tx: Transaction, merchant_id: str, case_id: str) -> Record:
    rows = await tx.rows(SQL.open_proposal, merchant_id, case_id)
    if not rows:
        raise ProposalRefused("nothing is proposed for this case")
    return rows[0]


def _payment(case: Record) -> str | None:
    payment = msgspec.json.decode(case["details"]).get("payment")
    return payment if isinstance(payment, str) else None


def _hold(case: Record) -> tuple[HoldReason, str] | None:
    """The hold that the case is the reason of: why, and what it is about."""
    key = msgspec.json.decode(case["details"]).get("hold")
    if not isinstance(key, str) or case["order_id"] is None:
        return None
    reason, _, subject = key.partition(":")
    return reason, subject  # type: ignore[return-value]  # written by hold_key


def _lifted(case: Record) -> list[Learnt]:
    """The goods may leave, as far as this case is concerned."""
    hold = _hold(case)
    assert hold is not None, "checked when it was proposed, and the case is still what it was"
    key = (case["merchant_id"], case["order_id"], case["attempt"])
    return [Learnt(*key, HoldLifted(*hold), "merchant", f"case:{case['case_id']}")]


def _basis(case: Record) -> bytes:
    """What the decision is about: the case, and its order as it stood."""
    told = (case["kind"], case["subject"], case["details"], case["version"])
    return hashlib.sha256(msgspec.json.encode(told)).digest()
