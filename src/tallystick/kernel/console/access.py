"""The pages for operators that both services have, and which roles they are for (RULES §12). Pure."""

from typing import Final

from tallystick.kernel.operators.roles import EVERYBODY, Access, readers

ROOT: Final = "/console"
LOGIN: Final = f"{ROOT}/login"
ACCOUNT: Final = f"{ROOT}/account"
AUDIT: Final = f"{ROOT}/audit"

PAGES: Final[Access] = {
    "GET /console": EVERYBODY,
    f"POST {ROOT}/logout": EVERYBODY,
    f"GET {ACCOUNT}": EVERYBODY,
    f"POST {ACCOUNT}/logout-everywhere": EVERYBODY,
    f"POST {ACCOUNT}/password": EVERYBODY,
    f"POST {ACCOUNT}/second-factor": EVERYBODY,
    f"POST {ACCOUNT}/second-factor/confirm": EVERYBODY,
    f"POST {ACCOUNT}/second-factor/remove": EVERYBODY,
    f"GET {AUDIT}": readers(),
}
"""Which roles the pages are for that both services have."""

ENROLMENT: Final = frozenset(
    {
        f"POST {ROOT}/logout",
        f"GET {ACCOUNT}",
        f"POST {ACCOUNT}/logout-everywhere",
        f"POST {ACCOUNT}/second-factor",
        f"POST {ACCOUNT}/second-factor/confirm",
    }
)
"""What is open to people whose role needs a second factor, and who have none yet."""
