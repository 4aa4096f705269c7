"""Who may do what at the merchant service: every route of its operator API and console, with its roles (RULES §12).

This table is looked at in one place before any handler runs (`kernel/operators/api.py`, `kernel/console`). A route
that is not here is for nobody, and a service whose routes and table differ does not start to answer. The API under
`/v1` knows no roles: its key is a merchant's, and a merchant sees what is its own.
"""

from typing import Final

from tallystick.kernel.console.access import PAGES
from tallystick.kernel.operators.roles import EVERYBODY, Access, Role, readers, roles

_CASE: Final = "/operator/v1/merchants/{merchant}/cases/{case}"
_CUSTOMER: Final = "/operator/v1/merchants/{merchant}/customers/{customer}"
_CASE_PAGE: Final = "/console/merchants/{merchant}/cases/{case}"
_CUSTOMER_PAGE: Final = "/console/merchants/{merchant}/customers/{customer}"
_FEES: Final = "/operator/v1/connections/{connection}/fees"

OPERATORS: Final[Access] = {
    "GET /operator/v1": EVERYBODY,
    "GET /operator/v1/status": EVERYBODY,
    "GET /operator/v1/audit": readers(),
    "GET /operator/v1/timelines/{id}": readers(Role.SUPPORT, Role.FINANCE),
    f"GET {_CASE}": readers(Role.FINANCE, Role.SUPPORT),
    f"POST {_CASE}/proposals": roles(Role.FINANCE, Role.SUPPORT),
    f"POST {_CASE}/approve": roles(Role.FINANCE),
    f"POST {_CASE}/reject": roles(Role.FINANCE),
    # The policy decides once more, by role, purpose and fields, and whom it denies stands in the log (RULES §12).
    f"GET {_CUSTOMER}": roles(Role.SUPPORT, Role.FINANCE, Role.FULFILMENT),
    f"DELETE {_CUSTOMER}": roles(),
    "POST /operator/v1/merchants/{merchant}/customers/search": roles(Role.SUPPORT, Role.FINANCE),
    "GET /operator/v1/merchants/{merchant}/accesses": readers(),
    f"GET {_FEES}": readers(Role.FINANCE),
    f"POST {_FEES}": roles(Role.FINANCE),
    f"DELETE {_FEES}": roles(Role.FINANCE),
    "GET /operator/v1/inbox": readers(Role.SUPPORT),
    "GET /operator/v1/inbox/{connection_id}/{event_id}": readers(Role.SUPPORT),
    "POST /operator/v1/inbox/{connection_id}/{event_id}/run": roles(Role.SUPPORT),
    "POST /operator/v1/inbox/run": roles(Role.SUPPORT),
    "GET /operator/v1/connections/{connection_id}": readers(Role.SUPPORT),
    "POST /operator/v1/connections/{connection_id}/backfill": roles(Role.SUPPORT),
    "GET /operator/v1/dead-letters": readers(Role.SUPPORT, Role.FULFILMENT),
    "POST /operator/v1/redrives": roles(Role.SUPPORT, Role.FULFILMENT),
    "GET /operator/v1/redrives": readers(Role.SUPPORT, Role.FULFILMENT),
    "GET /operator/v1/redrives/{redrive_id}": readers(Role.SUPPORT, Role.FULFILMENT),
    "POST /operator/v1/redrives/{redrive_id}/cancel": roles(Role.SUPPORT, Role.FULFILMENT),
    "GET /operator/v1/endpoints": readers(Role.SUPPORT, Role.FULFILMENT),
}

CONSOLE: Final[Access] = {
    **PAGES,
    "GET /console/overview": EVERYBODY,
    "GET /console/orders": EVERYBODY,
    "GET /console/orders/{order}": EVERYBODY,
    # Leads somewhere; what it finds by an e-mail address or a phone number is for those of /console/customers/search.
    "POST /console/search": EVERYBODY,
    "POST /console/orders/{order}/cancel": roles(Role.SUPPORT),
    "POST /console/orders/{order}/pay-again": roles(Role.SUPPORT),
    "POST /console/orders/{order}/refund": roles(Role.FINANCE),
    "GET /console/inbox": readers(Role.SUPPORT),
    "POST /console/inbox/run": roles(Role.SUPPORT),
    "GET /console/dead-letters": readers(Role.SUPPORT, Role.FULFILMENT),
    "POST /console/redrives": roles(Role.SUPPORT, Role.FULFILMENT),
    "GET /console/redrives/{redrive}": readers(Role.SUPPORT, Role.FULFILMENT),
    "POST /console/redrives/{redrive}/cancel": roles(Role.SUPPORT, Role.FULFILMENT),
    "GET /console/reconciliations": readers(Role.FINANCE, Role.SUPPORT),
    "GET /console/merchants/{merchant}/reconciliations/{run}": readers(Role.FINANCE, Role.SUPPORT),
    "GET /console/cases": readers(Role.FINANCE, Role.SUPPORT),
    f"GET {_CASE_PAGE}": readers(Role.FINANCE, Role.SUPPORT),
    f"POST {_CASE_PAGE}/proposals": roles(Role.FINANCE, Role.SUPPORT),
    f"POST {_CASE_PAGE}/approve": roles(Role.FINANCE),
    f"POST {_CASE_PAGE}/reject": roles(Role.FINANCE),
    # As above, the policy decides once more.
    "GET /console/customers": roles(Role.SUPPORT, Role.FINANCE),
    "POST /console/customers/search": roles(Role.SUPPORT, Role.FINANCE),
    f"GET {_CUSTOMER_PAGE}": roles(Role.SUPPORT, Role.FINANCE, Role.FULFILMENT),
    f"POST {_CUSTOMER_PAGE}/erase": roles(),
    "GET /console/merchants/{merchant}/accesses": readers(),
}

SANDBOX: Final[Access] = {
    "GET /operator/v1/clock": EVERYBODY,
    "POST /operator/v1/clock": roles(),
}
"""Routes that are there only where operators may move the time."""
