"""The telemetry port: structured logs, with a scrubber as the last line of defence (RULES §12).

Every line of both services, and of the libraries they use, goes through one chain: context, traceback, scrubber, JSON.
What looks like a card number (13 to 19 digits that begin as a brand's numbers do and pass the Luhn check) never leaves.

A line bears the ids of what it is about under the same names in both services (`IDS`), so that all lines about one
payment are found by its id, and where it was written during a step of a trace, which.
"""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import structlog

from tallystick.ports.clock import Clock
from tallystick.ports.metrics import LOG_LINES, SCRUBBED
from tallystick.ports.tracing import current

REMOVED = "[card number removed]"
MASKED = "[secret removed]"
IDS = ("order_id", "payment_intent", "charge_id", "event_id", "delivery_id", "endpoint_id", "request_id")
"""Under which names lines tell what they are about."""
TEXT_CHARACTERS_MAX = 32_768  # of one value in a log line: a traceback fits, a body does not

_RUN = re.compile(r"[0-9](?:[ -]?[0-9]){12,}")  # digits, perhaps in groups
_GROUP = re.compile(r"[0-9]+")
_BRANDS = tuple("23456")  # first digits of card numbers
_SECRET = re.compile(
    r"\b(?:sk|opk|tsk|whsec|rk)_[0-9A-Za-z_+/=]{8,}"  # ours and Stripe's
    r"|\b(?:hv)?[sbr]\.[0-9A-Za-z_-]{20,}"  # Vault's tokens
    r"|(?<=://)[^\s/@:]+:[^\s/@]+(?=@)"  # user and password in an address, such as a DSN
)
_SECRETS = frozenset(  # names of values
    "authorization cookie secret password api_key secret_key secret_id token jwt dsn database_dsn cvc number".split()
)


class Scrubber:
    """A structlog processor that removes card numbers and secrets from all it is given, and counts card numbers."""

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {self.scrub(str(key)): self._value(key, value) for key, value in event.items()}

    def scrub(self, text: str) -> str:
        """The text without card numbers and secrets."""
        text = text if len(text) <= TEXT_CHARACTERS_MAX else text[:TEXT_CHARACTERS_MAX] + "…"
        return _SECRET.sub(MASKED, _RUN.sub(self._run, text))

    def _value(self, key: object, value: Any) -> Any:
        if isinstance(key, str) and key.lower() in _SECRETS:
            return MASKED
        if value is None or isinstance(value, bool | float):
            return value
        if isinstance(value, int):
            scrubbed = self.scrub(str(value))
            return value if scrubbed == str(value) else scrubbed
        if isinstance(value, Mapping):
            return {self.scrub(str(inner)): self._value(inner, item) for inner, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._value(None, item) for item in value]
        return self.scrub(value if isinstance(value, str) else repr(value))

    def _run(self, match: re.Match[str]) -> str:
        """The run of digits without the card numbers in it: any neighbouring groups of it may make one."""
        run = match[0]
        groups = list(_GROUP.finditer(run))
        kept, at, first = "", 0, 0
        while first < len(groups):
            last = _card_from(groups, first)
            if last is not None:
                SCRUBBED.inc()
                kept += run[at : groups[first].start()] + REMOVED
                at, first = groups[last].end(), last
            first += 1
        return kept + run[at:]


def _card_from(groups: list[re.Match[str]], first: int) -> int | None:
    """The last group of a card number that begins with group `first`, or None."""
    digits = ""
    for place in range(first, len(groups)):
        digits += groups[place][0]
        if len(digits) > 19 or not digits.startswith(_BRANDS):
            return None
        if len(digits) >= 13 and passes_luhn(digits):
            return place
    return None


def passes_luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others."""
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def _join_trace(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Behind the scrubber: an id of a trace is random, and now and then it would look like a card number."""
    context = current()
    if context is not None:
        event["trace_id"], event["span_id"] = context.trace_id, context.span_id
    return event


def configure_logging(service: str, clock: Clock, *, level: str = "info", stream: TextIO | None = None) -> None:
    """Send every log line of this process, also those of libraries, as JSON to `stream` (stderr), scrubbed."""

    def stamp(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["at"] = clock.now().isoformat()
        event["service"] = service
        return event

    def count(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        LOG_LINES.labels(event["level"]).inc()
        return event

    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        count,
        stamp,
        structlog.processors.format_exc_info,
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.ExtraAdder(IDS), *shared],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            Scrubber(),
            _join_trace,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio", "litestar"):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)  # addresses of pages are bearer secrets of shoppers
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of each part of itself that it reads
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
