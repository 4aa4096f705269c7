"""Who may do what at the gateway: every route of its operator API and of its console, with its roles (RULES §12).

This table is looked at in one place before any handler runs (`kernel/operators/api.py`, `kernel/console`). A route
that is not here is for nobody, and a service whose routes and table differ does not start to answer.
"""

from typing import Final

from tallystick.kernel.console.access import PAGES
from tallystick.kernel.operators.roles import EVERYBODY, Access, Role, readers, roles

OPERATORS: Final[Access] = {
    "GET /operator/v1": EVERYBODY,
    "GET /operator/v1/status": EVERYBODY,
    "GET /operator/v1/audit": readers(),
    "GET /operator/v1/timelines/{id}": readers(Role.SUPPORT, Role.FINANCE),
    "GET /operator/v1/dead-letters": readers(Role.SUPPORT),
    "GET /operator/v1/dead-letters/{delivery_id}": readers(Role.SUPPORT),
    "POST /operator/v1/redrives": roles(Role.SUPPORT),
    "GET /operator/v1/redrives": readers(Role.SUPPORT),
    "GET /operator/v1/redrives/{redrive_id}": readers(Role.SUPPORT),
    "POST /operator/v1/redrives/{redrive_id}/cancel": roles(Role.SUPPORT),
    "GET /operator/v1/endpoints": readers(Role.SUPPORT),
    "POST /operator/v1/endpoints/{endpoint_id}/roll-secret": roles(),
    "GET /operator/v1/faults": readers(Role.SUPPORT),
    "POST /operator/v1/faults": roles(),
    "DELETE /operator/v1/faults": roles(),
    "DELETE /operator/v1/faults/{fault_id}": roles(),
    "GET /operator/v1/settlements": readers(Role.FINANCE),
    "POST /operator/v1/settlements": roles(Role.FINANCE),
    "POST /operator/v1/settlements/correct": roles(Role.FINANCE),
    # The policy decides once more, by role and purpose, and whom it denies stands in the log (RULES §12).
    "GET /operator/v1/accounts/{account}/accesses": readers(),
    "GET /operator/v1/cases": readers(Role.FINANCE, Role.SUPPORT),
    "POST /operator/v1/cases/{case_id}/close": roles(Role.FINANCE),
    "GET /operator/v1/unknown-outcomes": readers(Role.FINANCE, Role.SUPPORT),
    "POST /operator/v1/unknown-outcomes/{object_id}/resolve": roles(Role.FINANCE),
    "GET /operator/v1/payments/{payment_id}": readers(Role.FINANCE, Role.SUPPORT),
    "POST /operator/v1/payments/{payment_id}/refund": roles(Role.FINANCE),
    "POST /operator/v1/payments/{payment_id}/cancel": roles(Role.FINANCE, Role.SUPPORT),
    "POST /operator/v1/payments/{payment_id}/inquire": roles(Role.FINANCE, Role.SUPPORT),
}

CONSOLE: Final[Access] = {
    **PAGES,
    "GET /console/overview": readers(Role.SUPPORT, Role.FINANCE),
    "GET /console/accounts": readers(Role.SUPPORT, Role.FINANCE),
    "GET /console/accounts/{account_id}": readers(Role.SUPPORT, Role.FINANCE),
    "GET /console/payments": readers(Role.SUPPORT, Role.FINANCE),
    "GET /console/payments/{payment_id}": readers(Role.SUPPORT, Role.FINANCE),
    "POST /console/payments/{payment_id}/refund": roles(Role.FINANCE),
    "POST /console/payments/{payment_id}/cancel": roles(Role.FINANCE, Role.SUPPORT),
    "POST /console/payments/{payment_id}/inquire": roles(Role.FINANCE, Role.SUPPORT),
    "GET /console/endpoints": readers(Role.SUPPORT),
    "GET /console/dead-letters": readers(Role.SUPPORT),
    "GET /console/dead-letters/{delivery_id}": readers(Role.SUPPORT),
    "POST /console/redrives": roles(Role.SUPPORT),
    "GET /console/redrives": readers(Role.SUPPORT),
    "GET /console/redrives/{redrive_id}": readers(Role.SUPPORT),
    "POST /console/redrives/{redrive_id}/cancel": roles(Role.SUPPORT),
    "GET /console/unknown-outcomes": readers(Role.FINANCE, Role.SUPPORT),
    "POST /console/unknown-outcomes/{object_id}/resolve": roles(Role.FINANCE),
    "GET /console/cases": readers(Role.FINANCE, Role.SUPPORT),
    "POST /console/cases/{case_id}/close": roles(Role.FINANCE),
    "GET /console/disputes": readers(Role.FINANCE, Role.SUPPORT),
    "GET /console/settlements": readers(Role.FINANCE),
    "POST /console/settlements": roles(Role.FINANCE),
    "POST /console/settlements/correct": roles(Role.FINANCE),
    "GET /console/payouts": readers(Role.FINANCE),
    "GET /console/reports": readers(Role.FINANCE),
    "GET /console/balance": readers(Role.FINANCE),
    "GET /console/card-testing": readers(Role.SUPPORT),
    "GET /console/faults": readers(Role.SUPPORT),
    "POST /console/faults": roles(),
    "POST /console/faults/clear": roles(),
    "POST /console/faults/{fault_id}/clear": roles(),
}

CONSOLE_SANDBOX: Final[Access] = {
    "POST /console/clock": roles(),
}
"""What the console has only where operators may move the time."""

SANDBOX: Final[Access] = {
    "GET /operator/v1/clock": EVERYBODY,
    "POST /operator/v1/clock": roles(),
}
"""Routes that are there only where operators may move the time."""
