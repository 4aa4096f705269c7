"""The objects of the wire that speak of the merchant's money: balance and balance transactions. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from tallystick.gateway.balance.transactions import BalanceTransaction
from tallystick.gateway.stripe_wire.objects import Json, unix


def balance_transaction(transaction: BalanceTransaction, at: datetime) -> Json:
    """A balance transaction as it stands at `at`: from its day on it is available."""
    fee = {"amount": transaction.fee, "application": None, "currency": transaction.currency.lower()}
    return {
        "id": transaction.id,
        "object": "balance_transaction",
        "amount": transaction.gross,
        "available_on": unix(transaction.available_at),
        "balance_type": "payments",
        "created": unix(transaction.created_at),
        "currency": transaction.currency.lower(),
        "description": None,
        "exchange_rate": None,
        "fee": transaction.fee,
        "fee_details": [{**fee, "description": "Tallystick fees", "type": "stripe_fee"}] if transaction.fee else [],
        "net": transaction.net,
        "reporting_category": transaction.reporting_category,
        "source": transaction.source,
        "status": "available" if transaction.available_at <= at else "pending",
        "type": transaction.type,
    }


def balance(rows: Iterable[Mapping[str, Any]], *, livemode: bool) -> Json:
    """What an account has, currency by currency."""
    by_currency = [(row["currency"].lower(), row["available"], row["pending"]) for row in rows]
    return {
        "object": "balance",
        "available": [_amount(currency, available) for currency, available, _ in by_currency],
        "livemode": livemode,
        "pending": [_amount(currency, pending) for currency, _, pending in by_currency],
        "refund_and_dispute_prefunding": {"available": [], "pending": []},
    }


def _amount(currency: str, amount: int) -> Json:
    return {"amount": amount, "currency": currency, "source_types": {"card": amount}}
