"""The words of a delivery: its states, and the reasons of our own that stand in its rows. RULES §6."""

from typing import Final

DUE: Final = "due"
"""To be sent at `due_at`; while its lease runs, somebody is sending it."""
DELIVERED: Final = "delivered"
"""Answered 2xx."""
DEAD: Final = "dead"
"""A dead letter: its tries are exhausted, or its endpoint is no more."""
HELD: Final = "held"
"""Its endpoint is disabled, or has more waiting than it takes; it is released when that is over."""

ENDPOINT_DISABLED: Final = "endpoint_disabled"
ENDPOINT_GONE: Final = "endpoint_gone"
"""The endpoint answered 410: it asked to be left alone, and was disabled."""
ENDPOINT_DELETED: Final = "endpoint_deleted"
ENDPOINT_BUSY: Final = "endpoint_busy"
"""Its endpoint takes less than there is for it; what is due to it later is kept out of the way of others."""
ENDPOINT_FAILING: Final = "endpoint_failing"
"""A try that was not sent, because its endpoint had failed again and again (kernel/delivery/health)."""

MESSAGE_MISSING: Final = "message_missing"
UNSIGNABLE: Final = "unsignable"
"""A secret of the endpoint is none, so nothing could be signed."""
BROKEN: Final = "broken"
"""Our own code failed on this delivery; the log says where."""
OUR_FAULTS: Final = frozenset({MESSAGE_MISSING, UNSIGNABLE, BROKEN})
"""Reasons that are no fault of the endpoint: kept apart from those that are. RULES §6."""
