"""Every alert of Tallystick, one table (RULES §13): what must be true, for how long, and how much it matters.

Both ways of looking go by it. `monitoring/prometheus/rules.yml` is written from it (kernel/monitoring/prometheus), and
where no Prometheus runs the services judge by it themselves (kernel/monitoring/watching). docs/alerts.md says of each
what to do. Pure.

A service has not all the metrics that are named here; what it has not is never true of it.
"""

from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from tallystick.kernel.monitoring.conditions import (
    UP,
    Above,
    Burns,
    Condition,
    Fell,
    Grown,
    Of,
    Share,
    Slow,
    Without,
    Zero,
)

Severity = Literal["page", "ticket"]
"""page: somebody gets up; ticket: somebody looks at it today."""

MINUTE: Final = 60
HOUR: Final = 3_600
DAY: Final = 86_400
KEPT_S: Final = 2 * MINUTE
"""For how long what swings around its threshold stays an alert after it was last true: one alert, not ten."""


class Rule(Struct, frozen=True):
    """An alert: true when `condition` was, without a break, for `for_s`; over when it has not been for `keep_s`."""

    group: str
    name: str
    condition: Condition
    severity: Severity
    summary: str
    """A sentence; `{rule}` is the value of that label."""
    for_s: int = 0
    keep_s: int = 0
    why: str = ""
    follows: str = ""
    """Another rule: where that is true too, this one follows from it, and nobody is told twice."""

    @property
    def runbook(self) -> str:
        """Where it is said what to do."""
        return f"docs/alerts.md#{self.name.lower()}"


ANSWERED: Final = Of("charges_total", "outcome", "approved|declined|unknown")
NOT_STORED: Final = Of("webhooks_received_total", "result", "failed|unavailable")
STORABLE: Final = Of("webhooks_received_total", "result", "stored|failed|unavailable")
DROPPED: Final = Of("spans_total", "result", "dropped_queue_full|dropped_refused|dropped_unreachable")
REFUSED: Final = Of("webhooks_received_total", "result", "refused")
STORED: Final = Of("webhooks_received_total", "result", "stored")
FOUND: Final = Of("payments_found_total")
OUR_ERRORS: Final = Of("http_requests_total", "status", "5xx")
REQUESTS: Final = Of("http_requests_total")
ALLOWED: Final = 0.001
"""Of a thousand answers one may be our fault: technical success 99.9 %."""

DATABASE_DOWN: Final = Rule(
    "service",
    "DatabaseDown",
    Zero(Of("database_up"), by=("job",)),
    "page",
    "The database does not answer.",
    for_s=30,
)

RULES: Final = (
    Rule(
        "money",
        "AuthorizationsDropped",
        Fell(Of("charges_total", "outcome", "approved"), ANSWERED, 10 * MINUTE, DAY, below=0.7, least=20),
        "page",
        "Banks approve much less than usual.",
        for_s=5 * MINUTE,
        keep_s=KEPT_S,
        why="Of the charges that the bank answered within ten minutes, against what a day makes usual.",
    ),
    Rule(
        "money",
        "OutcomeUnknownLong",
        Above(Of("unknown_outcome_oldest_seconds"), 15 * MINUTE),
        "page",
        "For a quarter of an hour nobody knows whether a bank took money.",
        for_s=MINUTE,
    ),
    Rule(
        "money",
        "InvariantViolated",
        Above(Of("invariant_violations"), 0, by=("rule",), fold="sum"),
        "page",
        "Something is stored that must never be: {rule}.",
    ),
    Rule(
        "money",
        "CardNumberInLog",
        Grown(Of("scrubber_hits_total"), 10 * MINUTE, 0, by=("job",)),
        "page",
        "A card number was on its way into a log and was taken out at the last moment.",
    ),
    Rule(
        "money",
        "ReconciliationStale",
        Above(Of("reconciliation_age_seconds"), 36 * HOUR),
        "ticket",
        "A connection's settlement has not been compared for a day and a half.",
        for_s=10 * MINUTE,
    ),
    Rule(
        "money",
        "MoneyUnmatched",
        Above(Of("unmatched_amount_minor"), 0, by=("currency",), fold="sum"),
        "ticket",
        "Differences of settlement in {currency} are open for a day.",
        for_s=DAY,
    ),
    Rule(
        "webhooks",
        "WebhooksSlow",
        Slow("webhook_processing_seconds", edge_s=0.25, share=0.01, window_s=5 * MINUTE, least=20),
        "ticket",
        "One webhook in a hundred takes longer than a quarter of a second to be stored.",
        for_s=2 * MINUTE,
        keep_s=KEPT_S,
    ),
    Rule(
        "webhooks",
        "WebhooksNotStored",
        Share(NOT_STORED, STORABLE, 5 * MINUTE, above=0.05, least=5),
        "page",
        "Webhooks that came in could not be stored.",
        for_s=MINUTE,
        keep_s=KEPT_S,
        why="What could not be stored is sent again; for a while. Refused ones are left out: strangers could hide it.",
    ),
    Rule(
        "webhooks",
        "WebhooksRefused",
        Without(((REFUSED, 10), (FOUND, 3)), STORED, 30 * MINUTE),
        "page",
        "The gateway's webhooks are refused: payments are found by looking, and no webhook is stored.",
        for_s=5 * MINUTE,
        keep_s=KEPT_S,
        why="Strangers can have as many refused as they like, which says nothing by itself. They cannot keep those "
        "from being stored that tell of payments; a secret that was changed on one side only does.",
    ),
    Rule(
        "webhooks",
        "InboundDeadLetters",
        Above(Of("inbound_unapplied", "state", "failed"), 0, fold="sum"),
        "ticket",
        "Webhooks were stored that could not be applied.",
        for_s=5 * MINUTE,
    ),
    Rule(
        "webhooks",
        "DeliveriesFailing",
        Share(Of("deliveries_total", "result", "failed|dead"), Of("deliveries_total"), 10 * MINUTE, 0.5, 20, ("job",)),
        "ticket",
        "Most webhooks that we send are not taken.",
        for_s=5 * MINUTE,
        keep_s=KEPT_S,
        why="They are tried again for days; one of many receivers that is away is its owner's to see.",
    ),
    Rule(
        "webhooks",
        "DeadLetters",
        Grown(Of("dead_letters_total"), 10 * MINUTE, 0, by=("job", "fault")),
        "ticket",
        "Deliveries were given up; the fault is on the side of: {fault}.",
    ),
    Rule(
        "webhooks",
        "DeliveriesLate",
        Above(Of("delivery_due_oldest_seconds"), 5 * MINUTE, by=("job",)),
        "page",
        "A delivery that is due waits for more than five minutes.",
        for_s=2 * MINUTE,
        keep_s=KEPT_S,
    ),
    Rule(
        "work",
        "WorkersDead",
        Above(Of("workers_silent_seconds"), 40, by=("job", "kind")),
        "page",
        "No process of the kind that did runs the workers of this service: {kind}.",
        for_s=20,
        why="Whoever shows metrics runs workers: one that ran them alone is missed by what its kind last wrote. After "
        "the database was away a kind is silent for long, and says in a moment that it lives.",
        follows="ProcessDown",
    ),
    Rule(
        "work",
        "WorkOverdue",
        Above(Of("work_overdue_seconds"), 5 * MINUTE, by=("job", "work")),
        "page",
        "Work that is due is not done: {work}.",
        for_s=2 * MINUTE,
        keep_s=KEPT_S,
    ),
    Rule(
        "work",
        "OrderPendingLong",
        Above(Of("order_overdue_seconds"), 30 * MINUTE),
        "page",
        "An order is PENDING half an hour after its end.",
        for_s=2 * MINUTE,
        keep_s=KEPT_S,
    ),
    Rule(
        "work",
        "ErrorsLogged",
        Grown(Of("log_lines_total", "level", "error|critical"), 5 * MINUTE, 10, by=("job",)),
        "ticket",
        "More errors are logged than a quiet service has.",
        for_s=MINUTE,
        keep_s=KEPT_S,
    ),
    Rule(
        "service",
        "ProcessDown",
        Zero(Of(UP, "job", "tallystick.*"), by=("job", "instance")),
        "page",
        "A process does not answer: {instance}.",
        for_s=MINUTE,
    ),
    DATABASE_DOWN,
    Rule(
        "service",
        "SpansDropped",
        Share(DROPPED, Of("spans_total"), 10 * MINUTE, above=0.05, least=20, by=("job",)),
        "ticket",
        "Steps of traces are lost.",
        for_s=5 * MINUTE,
        keep_s=KEPT_S,
        why="No payment waits for them; whoever looks for one will not find it.",
    ),
    Rule(
        "service",
        "ErrorBudgetBurns",
        Burns(OUR_ERRORS, REQUESTS, ALLOWED, ((HOUR, 5 * MINUTE, 14.4), (6 * HOUR, 30 * MINUTE, 6)), least=10),
        "page",
        "Too many requests fail by our own fault.",
        keep_s=KEPT_S,
        why="14.4 times: a fiftieth of a month's allowance in an hour. 6 times: a twentieth in six hours. Both "
        "windows, so that it ends soon after.",
    ),
    Rule(
        "service",
        "ErrorBudgetDrains",
        Burns(OUR_ERRORS, REQUESTS, ALLOWED, ((3 * DAY, 6 * HOUR, 1),), least=10),
        "ticket",
        "Requests fail by our own fault, slowly and steadily more than allowed.",
        for_s=HOUR,
        keep_s=KEPT_S,
        why="A tenth of a month's allowance in three days.",
    ),
)


def shortened(rules: tuple[Rule, ...], times: int) -> tuple[Rule, ...]:
    """The same rules with every window and every wait so many times shorter: for trials, which cannot wait for an hour.
    Thresholds and numbers stay as they are, those in seconds too: they are what is judged."""
    return tuple(
        replace(
            rule,
            condition=_shorter(rule.condition, times),
            for_s=-(-rule.for_s // times),
            keep_s=-(-rule.keep_s // times),
        )
        for rule in rules
    )


def _shorter(condition: Condition, times: int) -> Condition:
    match condition:
        case Burns():
            pairs = tuple((long_s // times, short_s // times, burning) for long_s, short_s, burning in condition.pairs)
            return replace(condition, pairs=pairs)
        case Fell():
            return replace(condition, window_s=condition.window_s // times, usual_s=condition.usual_s // times)
        case Grown() | Share() | Without() | Slow():
            return replace(condition, window_s=condition.window_s // times)
        case _:
            return condition
