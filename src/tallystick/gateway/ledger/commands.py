"""Posting to the ledger, in the transaction of the change that moved the money; and finding again what was posted."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from tallystick.gateway.ledger.postings import Entry
from tallystick.gateway.ledger.terms import Terms, charged
from tallystick.kernel.columns import columns
from tallystick.kernel.identifiers import new_id
from tallystick.ports.database import Database, Statements, Transaction
from tallystick.ports.entropy import Entropy

SQL = Statements.beside(__file__)

TERMS_KNOWN_FOR = timedelta(seconds=3)  # a contract that was changed is charged by after that long, at the latest
TERMS_MAX = 10_000  # accounts and currencies; about 5 MB

Purse = tuple[str, bool, str]
"""Account, livemode, currency."""

Cause = tuple[str, bool, str]
"""Account, livemode, and what was posted: a ledger reference such as `refund:re_…`."""


class Books:
    """Where entries are posted. Remembers for a moment what accounts are charged."""

    def __init__(self) -> None:
        self._known: dict[Purse, tuple[Terms, datetime]] = {}

    async def post(
        self, tx: Transaction, entries: Sequence[Entry], *, at: datetime, entropy: Entropy
    ) -> dict[Cause, str]:
        """Write `entries`, with their fees, in the caller's transaction: their ids by what caused them.

        A cause that was posted before raises ConstraintViolated.
        """
        if not entries:
            return {}
        terms = await self.terms_of(tx, [_purse(entry) for entry in entries], at)
        returned = await _fees_to_return(tx, entries, terms)
        entries = [charged(one, terms[_purse(one)], returned.get(one.reference, 0)) for one in entries]
        # Ids of the same millisecond are ordered at random; sorted, they tell the story in its order.
        ids = sorted(new_id("txn", at, entropy) for _ in entries)
        rows = [
            (
                entry.cause.account_id,
                entry.cause.livemode,
                id,
                entry.kind,
                entry.reference,
                entry.cause.payment_intent,
                entry.cause.charge,
                entry.cause.currency,
                _array(account for account, _ in entry.legs),
                _array(amount for _, amount in entry.legs),
                entry.effective_at,
                terms[_purse(entry)].available_at(entry.effective_at) if entry.waits else None,
            )
            for id, entry in zip(ids, entries, strict=True)
        ]
        await tx.execute(SQL.post, at, *columns(12, rows))
        return {
            (entry.cause.account_id, entry.cause.livemode, entry.reference): id
            for id, entry in zip(ids, entries, strict=True)
        }

    async def terms_of(self, tx: Transaction, purses: Sequence[Purse], at: datetime) -> Mapping[Purse, Terms]:
        """The terms of accounts. Of those whose first money moves now, the first business day begins."""
        found = {purse: known for purse in purses if (known := self._remembered(purse, at)) is not None}
        wanted = sorted({purse for purse in purses if purse not in found})
        if not wanted:
            return found
        rows = await tx.rows(SQL.terms_of, *columns(3, wanted))
        for row in rows:
            purse = (row["account_id"], row["livemode"], row["currency"])
            found[purse] = Terms(**{field: row[field] for field in Terms.__struct_fields__})
            if row["begun"]:  # what only this transaction has written, nobody may rely on yet
                self._remember(purse, found[purse], at)
        new = [(row["account_id"], row["livemode"], row["currency"]) for row in rows if not row["begun"]]
        days = {purse: found[purse].day_of(at) for purse in new}
        if new:
            begun = [(*purse, days[purse], found[purse].close_at(days[purse])) for purse in new]
            await tx.execute(SQL.begin, *columns(5, begun))
        return found

    def _remembered(self, purse: Purse, at: datetime) -> Terms | None:
        terms, since = self._known.get(purse, (None, at))
        return terms if terms is not None and abs(at - since) < TERMS_KNOWN_FOR else None

    def _remember(self, purse: Purse, terms: Terms, at: datetime) -> None:
        if len(self._known) >= TERMS_MAX:
            self._known.clear()
        self._known[purse] = (terms, at)


async def transactions_of(reader: Database | Transaction, causes: Iterable[Cause]) -> dict[Cause, str]:
    """The ids of what these causes posted; of a charge that was captured later, its first capture's."""
    wanted = sorted(set(causes))
    if not wanted:
        return {}
    rows = await reader.rows(SQL.transactions_of, *columns(3, wanted))
    return {(row["account_id"], row["livemode"], row["reference"]): row["id"] for row in rows if row["id"]}


async def _fees_to_return(tx: Transaction, entries: Sequence[Entry], terms: Mapping[Purse, Terms]) -> dict[str, int]:
    """What was charged for the disputes that these entries give back, before or by one of them, by the reference of the
    entry."""
    returning = [entry for entry in entries if entry.fee == "dispute_returned"]
    if not returning:
        return {}
    opened = {entry.reference.replace("dispute_reversal:", "dispute:"): entry.reference for entry in returning}
    keys = [(one.cause.account_id, one.cause.livemode, opening) for one, opening in zip(returning, opened, strict=True)]
    known = {row["reference"]: row["fee"] for row in await tx.rows(SQL.fees_of, *columns(3, sorted(keys)))}
    known |= {one.reference: terms[_purse(one)].dispute_fee for one in entries if one.reference in opened}
    return {opened[reference]: fee for reference, fee in known.items()}


def _purse(entry: Entry) -> Purse:
    return entry.cause.account_id, entry.cause.livemode, entry.cause.currency


def _array(items: Iterable[str | int]) -> str:
    """An array of words or numbers as PostgreSQL reads it; `unnest` takes no arrays of arrays of different lengths."""
    return "{" + ",".join(str(item) for item in items) + "}"
