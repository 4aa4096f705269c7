"""The metrics that a process counts while it works, all of them, in one place (RULES §13).

What can be counted in the database is read there (kernel/monitoring), so that it is the same whoever is asked and
outlives every process. Here stands what only the process knows: how long something took, what it answered, what it
saw go by. Labels have few values, known beforehand: never an order, an account, an address.
"""

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

PREFIX: Final = "tallystick_"

WEBHOOK_SLO_S: Final = 0.25
"""Within which 99 of 100 webhooks are meant to be committed and answered; an edge of the histogram."""

disable_created_metrics()  # type: ignore[no-untyped-call]  # when a series began says nothing that its first sample does not

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, WEBHOOK_SLO_S, 0.5, 1.0, 2.5, 5.0, 15.0)

REGISTRY: Final = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

REQUESTS: Final = Counter(
    "tallystick_http_requests",
    "Requests answered, by what they asked (wire, api, operator, pages) and the answer's class.",
    ["area", "status"],
    registry=REGISTRY,
)
WEBHOOKS: Final = Counter(
    "tallystick_webhooks_received",
    "Webhooks that came in, by what became of them.",
    ["result"],
    registry=REGISTRY,
)
WEBHOOK_SECONDS: Final = Histogram(
    "tallystick_webhook_processing_seconds",
    "From a webhook's arrival to its answer, which follows the commit; of those that were stored.",
    buckets=_SECONDS,
    registry=REGISTRY,
)
PAYMENTS_FOUND: Final = Counter(
    "tallystick_payments_found",
    "Payments of orders that a look at the gateway told of before any webhook did.",
    registry=REGISTRY,
)
PAID_AFTER_SECONDS: Final = Histogram(
    "tallystick_paid_after_seconds",
    "From the gateway's success to the order being PAID here.",
    buckets=(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 3600.0),
    registry=REGISTRY,
)
CHARGES: Final = Counter(
    "tallystick_charges",
    "Charges that an acquirer was asked for, by its answer.",
    ["outcome"],
    registry=REGISTRY,
)
DELIVERIES: Final = Counter(
    "tallystick_deliveries",
    "Tries to deliver, by what the delivery became of it.",
    ["result"],
    registry=REGISTRY,
)
DELIVERY_SECONDS: Final = Histogram(
    "tallystick_delivery_seconds",
    "How long a receiver took to answer, or we to give up.",
    buckets=_SECONDS,
    registry=REGISTRY,
)
DEAD_LETTERS: Final = Counter(
    "tallystick_dead_letters",
    "Deliveries whose tries are exhausted, by whose fault it is: that of the endpoint, or ours.",
    ["fault"],
    registry=REGISTRY,
)
LOG_LINES: Final = Counter(
    "tallystick_log_lines",
    "Lines logged, by level.",
    ["level"],
    registry=REGISTRY,
)
SCRUBBED: Final = Counter(
    "tallystick_scrubber_hits",
    "Card numbers that were kept out of a log line at the last moment: each is a fault of ours.",
    registry=REGISTRY,
)
ALERTS_TOLD: Final = Counter(
    "tallystick_alerts_told",
    "Alerts that people were told of where the service judges itself: told, or failed and tried again.",
    ["result"],
    registry=REGISTRY,
)
SPANS: Final = Counter(
    "tallystick_spans",
    "Steps of traces that were exported, or dropped: the queue was full, the collector refused them, or was not there.",
    ["result"],
    registry=REGISTRY,
)
VAULT_ERRORS: Final = Counter(
    "tallystick_vault_errors",
    "Calls to Vault that brought no answer, by reason.",
    ["reason"],
    registry=REGISTRY,
)
SECRETS_STALE_S: Final = Gauge(
    "tallystick_secrets_stale_seconds",
    "How long Vault could not be asked whether the secrets in use are still the newest; 0 while it can.",
    registry=REGISTRY,
)
INVARIANTS_VIOLATED: Final = Gauge(
    "tallystick_invariant_violations",
    "What the last round of checks found that must never be, by rule.",
    ["rule"],
    registry=REGISTRY,
)


def exposition() -> bytes:
    """What this process counted, as Prometheus reads it."""
    return generate_latest(REGISTRY)


class Sample(NamedTuple):
    """A number that this process counted: its name without what all of ours begin with, its labels, its value."""

    name: str
    labels: Mapping[str, str]
    value: float


def samples(names: Collection[str]) -> list[Sample]:
    """What this process counted under these names."""
    wanted = {f"{PREFIX}{name}" for name in names}
    return [
        Sample(sample.name.removeprefix(PREFIX), sample.labels, sample.value)
        for family in REGISTRY.restricted_registry(wanted).collect()
        for sample in family.samples
        if sample.name in wanted
    ]


def status_class(status: int) -> str:
    """2xx, 3xx, 4xx or 5xx."""
    return f"{status // 100}xx"


for _fault in ("endpoint", "ours"):  # a series that is there from the start shows its first increase
    DEAD_LETTERS.labels(_fault)
for _outcome in ("approved", "declined", "unknown", "not_sent"):
    CHARGES.labels(_outcome)
for _result in ("delivered", "failed", "dead"):
    DELIVERIES.labels(_result)
for _level in ("error", "critical"):
    LOG_LINES.labels(_level)
for _result in ("exported", "dropped_queue_full", "dropped_refused", "dropped_unreachable"):
    SPANS.labels(_result)
