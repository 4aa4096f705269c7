"""The objects of the wire that speak of the merchant's money: balance and balance transactions. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Raw

from tallystick.gateway.balance.payout import Payout
from tallystick.gateway.balance.transactions import BalanceTransaction
from tallystick.gateway.payments.payment import Dispute
from tallystick.gateway.stripe_wire.objects import Json, unix

EVIDENCE = (
    "access_activity_log billing_address cancellation_policy cancellation_policy_disclosure cancellation_rebuttal "
    "customer_communication customer_email_address customer_name customer_purchase_ip customer_signature "
    "duplicate_charge_documentation duplicate_charge_explanation duplicate_charge_id product_description receipt "
    "refund_policy refund_policy_disclosure refund_refusal_explanation service_date service_documentation "
    "shipping_address shipping_carrier shipping_date shipping_documentation shipping_tracking_number "
    "uncategorized_file uncategorized_text"
).split()
"""What a merchant may say about a dispute. Files are named by id; this gateway takes none."""
_REASON_CODES = {"fraudulent": "10.4"}


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


def dispute(dispute: Dispute) -> Json:
    """A dispute; its balance transactions are filled in by `money_moved`."""
    evidence: Json = msgspec.json.decode(dispute.evidence)
    return {
        "id": dispute.id,
        "object": "dispute",
        "amount": dispute.amount,
        "balance_transactions": [],
        "charge": dispute.charge,
        "created": unix(dispute.created_at),
        "currency": dispute.currency.lower(),
        "enhanced_eligibility_types": [],
        "evidence": {**dict.fromkeys(EVIDENCE), "enhanced_evidence": {}, **evidence},
        "evidence_details": {
            "due_by": unix(dispute.evidence_due_at),
            "enhanced_eligibility": {},
            "has_evidence": bool(evidence),
            "past_due": False,  # of evidence that came too late; what is open past its day, the bank has decided
            "submission_count": dispute.submissions,
            "submission_method": "manual" if dispute.submissions else "not_submitted",
        },
        "is_charge_refundable": False,
        "livemode": dispute.livemode,
        "metadata": Raw(dispute.metadata.encode()),
        "payment_intent": dispute.payment_intent,
        "payment_method_details": {
            "card": {
                "brand": dispute.brand,
                "case_type": "chargeback",
                "network": dispute.brand,
                "network_reason_code": _REASON_CODES.get(dispute.reason),
            },
            "type": "card",
        },
        "reason": dispute.reason,
        "status": dispute.status,
    }


def payout(payout: Payout, balance_transaction: str | None, failure: str | None = None) -> Json:
    """A payout in the wire's shape; `failure` is the balance transaction by which one came back that failed or was
    canceled. Where the merchant's bank account is, nobody has told this gateway."""
    failed = payout.status == "failed"
    return {
        "id": payout.id,
        "object": "payout",
        "amount": payout.amount,
        "application_fee": None,
        "application_fee_amount": None,
        "arrival_date": unix(payout.arrival_at),
        "automatic": payout.automatic,
        "balance_transaction": balance_transaction,
        "created": unix(payout.created_at),
        "currency": payout.currency.lower(),
        "description": "Tallystick payout" if payout.automatic else payout.description,
        "destination": None,
        "failure_balance_transaction": failure,
        "failure_code": "could_not_process" if failed else None,
        "failure_message": "The bank could not process this payout." if failed else None,
        "livemode": payout.livemode,
        "metadata": Raw(payout.metadata.encode()),
        "method": "standard",
        "original_payout": None,
        "payout_method": None,
        "reconciliation_status": "completed" if payout.automatic else "not_applicable",
        "reversed_by": None,
        "source_type": "card",
        "statement_descriptor": payout.statement_descriptor,
        "status": payout.status,
        "trace_id": None,
        "type": "bank_account",
    }


def _amount(currency: str, amount: int) -> Json:
    return {"amount": amount, "currency": currency, "source_types": {"card": amount}}
