"""The routes of the balance and of balance transactions."""

from typing import Any

import msgspec

from tallystick.gateway.balance.parameters import (
    ListBalanceTransactions,
    RetrieveBalance,
)
from tallystick.gateway.balance.transactions import kinds_of, references_of
from tallystick.gateway.stripe_wire.balance_objects import balance
from tallystick.gateway.stripe_wire.call import Call, Reply
from tallystick.gateway.stripe_wire.parameters import Parameters
from tallystick.gateway.stripe_wire.reading import SQL as WIRE
from tallystick.gateway.stripe_wire.reads import Reads
from tallystick.gateway.stripe_wire.routing import Route
from tallystick.ports.database import Statement, Statements

SQL = Statements.beside(__file__)

TRANSACTION = "balance_transaction"
TRANSACTIONS = "/v1/balance_transactions"
BALANCE = "balance"


def routes(reads: Reads) -> list[Route]:
    """Retrieve the balance; retrieve and list balance transactions."""

    async def retrieve(call: Call, _id: str, _sent: Parameters) -> Reply:
        rows = await reads.database.rows(SQL.balances, call.caller.account_id, call.caller.livemode)
        return Reply(200, msgspec.json.encode(balance(rows, livemode=call.caller.livemode)))

    return [
        Route(method="GET", path="/v1/balance", parameters=RetrieveBalance, run=retrieve, kind=BALANCE),
        reads.page(TRANSACTIONS, TRANSACTION, ListBalanceTransactions, _statements, _filters),
        reads.one(f"{TRANSACTIONS}/{{id}}", TRANSACTION, noun="balance transaction"),
    ]


def _statements(paging: ListBalanceTransactions) -> tuple[Statement, Statement]:
    if paging.payout is not None:
        return WIRE.page_of_transactions_of_payout, WIRE.page_of_transactions_of_payout_backwards
    if paging.source is not None:
        return WIRE.page_of_transactions_of_source, WIRE.page_of_transactions_of_source_backwards
    return WIRE.page_of_transactions, WIRE.page_of_transactions_backwards


def _filters(paging: ListBalanceTransactions) -> tuple[Any, ...]:
    currency = paging.currency.upper() if paging.currency is not None else None
    filters = (kinds_of(paging.type), currency)
    if paging.payout is not None:
        return (*filters, paging.payout)
    return (*filters, paging.source, references_of(paging.source)) if paging.source is not None else filters
