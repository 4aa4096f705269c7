"""The events of Stripe's wire that the merchant service learns from: the one table of their types. Pure.

What a connection's webhook endpoint is subscribed to, at our gateway as at Stripe. Other types would only be stored and
ignored; the facts are read from the object inside (stripe_objects), whatever the type.
"""

from typing import Final

LEARNT_FROM: Final = (
    "charge.dispute.closed",
    "charge.dispute.created",
    "charge.dispute.funds_reinstated",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.updated",
    "checkout.session.completed",
    "checkout.session.expired",
    "payment_intent.amount_capturable_updated",
    "payment_intent.canceled",
    "payment_intent.payment_failed",
    "payment_intent.processing",
    "payment_intent.succeeded",
    "refund.created",
    "refund.failed",
    "refund.updated",
)
