"""The events that the gateway tells of: one table, by Stripe's names. Pure.

`charge.reversing` and `charge.reversed` are ours: Stripe has no word for an approval that came too late.
"""

from collections.abc import Mapping
from types import MappingProxyType

EVENT_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "payment_intent.created": "a payment begins",
        "payment_intent.requires_action": "the shopper must go to the bank (3-D Secure)",
        "payment_intent.processing": "the bank has not answered; it is being asked",
        "payment_intent.amount_capturable_updated": "an amount is authorised, or less of it is left to capture",
        "payment_intent.succeeded": "the money is captured",
        "payment_intent.payment_failed": "the payment failed; another card may be tried",
        "payment_intent.canceled": "the payment is given up",
        "checkout.session.completed": "the shopper has done his part",
        "checkout.session.expired": "the session's time is over, or it was closed",
        "charge.succeeded": "the bank approved",
        "charge.failed": "the bank declined, or never made the charge",
        "charge.captured": "an authorised amount was taken",
        "charge.expired": "nobody captured in time; the authorisation is released",
        "charge.refunded": "an amount was given back",
        "charge.reversing": "the bank approved too late; the amount is being given back",
        "charge.reversed": "what was approved too late is given back",
        "charge.dispute.created": "the cardholder's bank takes a charge back",
        "charge.dispute.updated": "evidence was added or sent, or metadata changed",
        "charge.dispute.closed": "a dispute is won or lost",
        "charge.dispute.funds_withdrawn": "the amount and the fee of a dispute are withheld",
        "charge.dispute.funds_reinstated": "a dispute was won: amount and fee are given back",
        "payment_method.attached": "a card was saved for a customer",
        "payment_method.detached": "a card is no longer saved; its number is shredded",
        "payout.canceled": "a payout was called off before it left: the amount is available again",
        "payout.created": "what is available goes to the merchant's bank",
        "payout.paid": "a payout has arrived",
        "payout.failed": "a payout came back: the amount is in the balance again",
        "refund.created": "a refund is asked for",
        "refund.updated": "the status of a refund changed",
        "refund.failed": "a refund was refused, or sent back by the cardholder's bank",
        "reporting.report_run.succeeded": "a report that was asked for is written",
    }
)
"""Type → what has happened."""
