"""The parameters of report runs, as Stripe names them."""

from typing import Final

from msgspec import Struct

from tallystick.gateway.settlement.lines import COLUMNS
from tallystick.gateway.stripe_wire import errors
from tallystick.gateway.stripe_wire.currencies import CURRENCIES
from tallystick.gateway.stripe_wire.parameters import (
    UNIX_SECONDS_MAX,
    CreatedPaging,
    Parameters,
    check_choice,
    check_currency,
)

REPORT_TYPES: Final = ("payout_reconciliation.itemized.5", "balance_change_from_activity.itemized.3")
TIMEZONES: Final = ("Etc/UTC",)


class RunParameters(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a report is to be of. Without columns it has all of them."""

    interval_start: int
    interval_end: int
    currency: str | None = None
    columns: list[str] | None = None
    timezone: str | None = None

    def __post_init__(self) -> None:
        for param in ("interval_start", "interval_end"):
            if not 0 <= getattr(self, param) <= UNIX_SECONDS_MAX:
                raise errors.invalid_integer(f"parameters[{param}]", getattr(self, param))
        if self.interval_start >= self.interval_end:
            raise errors.invalid("parameters[interval_end]", "The interval must end after it starts.")
        check_currency("parameters[currency]", self.currency)
        if self.currency is not None and self.currency.upper() not in CURRENCIES:
            raise errors.invalid("parameters[currency]", "Invalid currency. It is not supported.")
        check_choice("parameters[timezone]", self.timezone, TIMEZONES)
        for place, column in enumerate(self.columns or ()):
            if column not in COLUMNS:
                raise errors.invalid(f"parameters[columns][{place}]", f"Unknown column: {errors.shown(column)}")
        if self.columns is not None and (not self.columns or len(set(self.columns)) != len(self.columns)):
            raise errors.invalid("parameters[columns]", "Name at least one column, and each once.")


class CreateRun(Parameters, frozen=True, kw_only=True):
    """`POST /v1/reporting/report_runs`."""

    report_type: str
    parameters: RunParameters

    def __post_init__(self) -> None:
        check_choice("report_type", self.report_type, REPORT_TYPES)


class ListRuns(CreatedPaging, frozen=True, kw_only=True):
    """`GET /v1/reporting/report_runs`."""
