"""The words of a timeline: one table for everything that either half can tell. Pure.

A kind is told by (tone, who said so, sentence). What stands in braces is a figure or a code of our own or of the
gateway's; no text that a person has written gets here. `{amount}` is made of `amount_minor` and `currency`.
"""

from collections.abc import Mapping
from typing import Final

from tallystick.kernel.timeline.entries import Half, Tone

BANK: Final = "the bank"
CALLER: Final = "a call of the API"
GATEWAY: Final = "the gateway"
MERCHANT: Final = "the merchant service"
HALF: Final = ""
"""Whose timeline it is; or whom the happening names."""
SHOP: Final = "the shop"
SHOPPER: Final = "the shopper"
RECEIVER: Final = "the receiver"

Words = tuple[Tone, str, str]

CALLS: Final[Mapping[str, Words]] = {
    "call.done": ("plain", CALLER, "A call with the idempotency key {key} was answered {status}"),
    "call.running": ("waiting", CALLER, "A call with the idempotency key {key} began, and is not answered yet"),
}
"""Of both services, as are deliveries and what operators did."""

DELIVERIES: Final[Mapping[str, Words]] = {
    "delivery.made": ("plain", HALF, "Webhook {type} to {endpoint} is to be sent"),
    "delivery.held": ("waiting", HALF, "Webhook {type} to {endpoint} is held back: {reason}"),
    "delivery.dead": ("bad", HALF, "Webhook {type} to {endpoint} is a dead letter after {tries} tries: {reason}"),
    "try.delivered": ("good", RECEIVER, "Webhook {type} was taken ({status}), try {number}"),
    "try.refused": ("bad", RECEIVER, "Webhook {type} was answered {status}, try {number}"),
    "try.failed": ("bad", HALF, "Webhook {type} could not be sent: {reason}, try {number}"),
    "tries.failed": ("bad", HALF, "{count} more tries of webhook {type} failed, the last one now"),
}

ACTS: Final[Mapping[str, Words]] = {
    "act.done": ("plain", HALF, "An operator did: {act}"),
    "act.refused": ("plain", HALF, "An operator was refused: {act}"),
    "act.failed": ("bad", HALF, "What an operator asked failed: {act}"),
    "act.begun": ("waiting", HALF, "An operator began, and how it ended is not known: {act}"),
}

EVENTS: Final[Mapping[str, Words]] = {
    "event.payment_intent.created": ("plain", CALLER, "A payment of {amount} begins"),
    "event.payment_intent.requires_action": ("waiting", BANK, "The shopper must go to the bank (3-D Secure)"),
    "event.payment_intent.processing": ("waiting", BANK, "The bank has not answered; it is being asked"),
    "event.payment_intent.amount_capturable_updated": ("plain", BANK, "What is left to capture of {amount} changed"),
    "event.payment_intent.succeeded": ("good", GATEWAY, "{amount} is paid"),
    "event.payment_intent.payment_failed": ("bad", GATEWAY, "The payment failed ({code}); another card may be tried"),
    "event.payment_intent.canceled": ("bad", GATEWAY, "The payment is given up: {code}"),
    "event.checkout.session.completed": ("good", SHOPPER, "The shopper has done the checkout"),
    "event.checkout.session.expired": ("bad", GATEWAY, "The checkout session is over"),
    "event.charge.succeeded": ("good", BANK, "The bank approved {amount}"),
    "event.charge.failed": ("bad", BANK, "The bank declined {amount}: {code}"),
    "event.charge.captured": ("good", BANK, "{amount} was captured"),
    "event.charge.expired": ("bad", GATEWAY, "Nobody captured in time; {amount} is released"),
    "event.charge.refunded": ("plain", GATEWAY, "{amount} of the charge is given back by now"),
    "event.charge.reversing": ("bad", BANK, "The bank approved too late; {amount} is being given back"),
    "event.charge.reversed": ("plain", BANK, "{amount}, approved too late, is given back"),
    "event.charge.dispute.created": ("bad", BANK, "The cardholder's bank takes {amount} back: {code}"),
    "event.charge.dispute.updated": ("plain", SHOP, "The dispute about {amount} was worked on"),
    "event.charge.dispute.closed": ("plain", BANK, "The dispute about {amount} is over"),
    "event.charge.dispute.funds_withdrawn": ("bad", GATEWAY, "{amount} and the fee of the dispute are withheld"),
    "event.charge.dispute.funds_reinstated": ("good", GATEWAY, "The dispute was won: {amount} and its fee come back"),
    "event.refund.created": ("plain", CALLER, "A refund of {amount} is asked for"),
    "event.refund.updated": ("plain", BANK, "The refund of {amount} moves on"),
    "event.refund.failed": ("bad", BANK, "The refund of {amount} failed: {code}"),
}

GATEWAY_ROWS: Final[Mapping[str, Words]] = {
    "session.opened": ("plain", CALLER, "A checkout session for {amount} opens"),
    "charge.authenticating": ("waiting", SHOPPER, "{amount} is to be paid by {brand} …{last4}; the bank asks who pays"),
    "charge.made": ("plain", SHOPPER, "{amount} is to be paid by {brand} …{last4}; the bank is asked"),
    "charge.unknown": (
        "bad",
        GATEWAY,
        "{amount} by {brand} …{last4}: the bank does not answer, asked {inquiries} times",
    ),
    "charge.abandoned": ("bad", SHOPPER, "{amount} by {brand} …{last4}: the shopper did not pass the bank's check"),
    "charge.voided": ("plain", BANK, "The authorisation of {amount} is released"),
    "charge.case": ("bad", GATEWAY, "Nobody knows how the charge ended: a person must look"),
    "request.capture": ("plain", GATEWAY, "The bank is asked to capture {amount}: {state}"),
    "request.void": ("plain", GATEWAY, "The bank is asked to release {amount}: {state}"),
    "request.refund": ("plain", GATEWAY, "The bank is asked to give {amount} back: {state}"),
    "request.case": ("bad", GATEWAY, "Nobody knows how a request to the bank ended: a person must look"),
    "outcome.resolved": ("plain", HALF, "An operator found out how it ended at the bank: {outcome}"),
    "case.opened": ("bad", GATEWAY, "A case was opened: {case}"),
    "case.closed": ("plain", HALF, "The case was closed: {case}"),
    "ledger.charge": ("plain", GATEWAY, "Booked: charge of {amount}, fee {fee}"),
    "ledger.capture": ("plain", GATEWAY, "Booked: capture of {amount}, fee {fee}"),
    "ledger.void": ("plain", GATEWAY, "Booked: {amount} taken back from the merchant"),
    "ledger.refund": ("plain", GATEWAY, "Booked: {amount} set aside for a refund"),
    "ledger.refund_paid": ("plain", GATEWAY, "Booked: refund of {amount} paid"),
    "ledger.refund_failure": ("bad", GATEWAY, "Booked: refund of {amount} came back"),
    "ledger.dispute": ("bad", GATEWAY, "Booked: {amount} withheld for a dispute, fee {fee}"),
    "ledger.dispute_reversal": ("good", GATEWAY, "Booked: {amount} of a dispute given back"),
    "ledger.dispute_lost": ("bad", GATEWAY, "Booked: {amount} of a dispute lost"),
    "settled": ("plain", GATEWAY, "On the settlement report of {day}, line {number}: {entry} of {amount}, fee {fee}"),
    "payout.made": ("plain", GATEWAY, "It is part of payout {payout}"),
    "payout.paid": ("good", GATEWAY, "Payout {payout} arrived"),
    "payout.failed": ("bad", GATEWAY, "Payout {payout} failed: the amount is in the balance again"),
}

FACTS: Final[Mapping[str, Words]] = {
    "fact.attempted": ("plain", MERCHANT, "Attempt {attempt} begins"),
    "fact.session_opened": ("plain", GATEWAY, "The gateway opened a checkout session for attempt {attempt}"),
    "fact.session_refused": ("bad", GATEWAY, "The gateway refused to open a session: {code}"),
    "fact.charge_seen.pending": ("waiting", GATEWAY, "A charge is under way"),
    "fact.charge_seen.failed": ("bad", GATEWAY, "A card was declined: {code}"),
    "fact.charge_seen.succeeded": ("good", GATEWAY, "A charge succeeded"),
    "fact.authorised": ("plain", GATEWAY, "{amount} is authorised"),
    "fact.succeeded": ("good", GATEWAY, "{amount} is paid"),
    "fact.surplus_seen": ("bad", GATEWAY, "A second charge of the same payment took {amount}"),
    "fact.charge_returned": ("plain", MERCHANT, "The second charge of attempt {attempt} has gone back"),
    "fact.closed": ("plain", GATEWAY, "The gateway closed attempt {attempt}"),
    "fact.close_requested": ("plain", MERCHANT, "We decided to close attempt {attempt}: {reason}"),
    "fact.refund_seen": ("plain", GATEWAY, "Refund of {amount}: {status}"),
    "fact.returned": ("plain", MERCHANT, "We gave the money of attempt {attempt} back"),
    "fact.released": ("plain", MERCHANT, "The goods were let go"),
    "fact.kept": ("plain", MERCHANT, "The payment of attempt {attempt} is the order's"),
    "fact.fulfilment_decided.allowed": ("good", MERCHANT, "The goods may leave"),
    "fact.fulfilment_decided.refused": ("bad", MERCHANT, "The goods will not leave: the money is given back"),
    "fact.dispute_seen": ("bad", GATEWAY, "The payment is disputed: {status}"),
    "fact.dispute_seen.won": ("good", GATEWAY, "The dispute is won"),
    "fact.dispute_seen.lost": ("bad", GATEWAY, "The dispute is lost"),
    "fact.held": ("bad", MERCHANT, "The goods are held: {reason}"),
    "fact.hold_lifted": ("good", MERCHANT, "The goods may leave: {reason} was settled"),
}

MERCHANT_ROWS: Final[Mapping[str, Words]] = {
    "order.placed": ("plain", SHOP, "An order of {amount} was placed"),
    "webhook.applied": ("plain", GATEWAY, "Webhook {type} came, and was taken in"),
    "webhook.ignored": ("plain", GATEWAY, "Webhook {type} came, and tells nothing of an order"),
    "webhook.parked": ("waiting", GATEWAY, "Webhook {type} came, and waits for its order ({tries} tries)"),
    "webhook.failed": ("bad", GATEWAY, "Webhook {type} came, and could not be taken in: {error} ({tries} tries)"),
    "refund.asked": ("plain", SHOP, "A refund of {amount} was asked for: {state}"),
    "errand.decide": ("plain", MERCHANT, "Late money of attempt {attempt}: the policy is asked"),
    "errand.return": ("plain", MERCHANT, "The money of attempt {attempt} is to be given back"),
    "errand.return_charges": ("plain", MERCHANT, "A second charge of attempt {attempt} is to be given back"),
    "errand.release": ("plain", MERCHANT, "The shop's stock is to be told that the goods are let go"),
    "recon.case": ("bad", MERCHANT, "A case was opened: {case}"),
    "recon.case_closed": ("plain", MERCHANT, "The case was closed: {case}"),
    "case.proposed": ("plain", HALF, "It was proposed about the case: {action}"),
    "case.executed": ("plain", HALF, "Another person approved it, and it was done: {action}"),
    "case.stale": ("plain", HALF, "It was approved, but the case had changed: {action} was not done"),
    "case.rejected": ("plain", HALF, "Another person rejected it: {action}"),
    "recon.line": ("plain", GATEWAY, "The settlement of {day} lists it: {entry} of {amount}, fee {fee}: {code}"),
    "recon.mismatch": ("bad", MERCHANT, "The settlement of {day} does not fit: {code}"),
    "recon.resolved": ("good", MERCHANT, "What did not fit on {day} is settled: {code}"),
}

DUE: Final[Mapping[str, str]] = {
    "due.try": "Webhook {type} to {endpoint} is sent again (try {number})",
    "due.charge": "The bank is asked how the charge ended",
    "due.request": "The bank is asked how the {request} ended",
    "due.session": "The checkout session expires",
    "due.capture": "The authorisation lapses unless it is captured",
    "due.evidence": "Evidence for the dispute must be sent by then",
    "due.contest": "The bank is given the evidence",
    "due.available": "{amount} becomes available to the merchant",
    "due.payout": "Payout {payout} arrives",
    "due.order": "The order expires",
    "due.attempt": "Attempt {attempt} is looked at: how it stands, or that it is over",
    "due.errand": "{errand}, try {number}",
    "due.webhook": "Webhook {type} is matched again",
    "due.mismatch": "{code} waits for the other half until then",
}
"""What is next."""

ERRANDS: Final[Mapping[str, str]] = {
    "decide": "Late money is decided about",
    "return": "Money is given back",
    "return_charges": "A second charge is given back",
    "release": "The shop's stock is told",
}

REASONS: Final[Mapping[str, str]] = {
    "expired": "its time ran out",
    "declined_out": "too many cards were declined",
    "canceled": "it was canceled",
    "endpoint_disabled": "the endpoint is disabled",
    "endpoint_busy": "the endpoint has more waiting than it takes",
}
"""Codes that have better words than themselves; all others are told as they are."""

NOUNS: Final[Mapping[Half, str]] = {"gateway": GATEWAY, "merchant": MERCHANT}

SOURCES: Final[Mapping[str, str]] = {
    "merchant": MERCHANT,
    "api": "the gateway's answer",
    "webhook": "a webhook",
    "return": "the shopper's return",
    "poll": "a look at the gateway",
    "expiry": "the final check",
    "settlement": "a settlement line",
}
"""The sources of facts (RULES §4), as who said so."""

WORDS: Final[Mapping[str, Words]] = {
    **CALLS,
    **DELIVERIES,
    **ACTS,
    **EVENTS,
    **GATEWAY_ROWS,
    **FACTS,
    **MERCHANT_ROWS,
}
