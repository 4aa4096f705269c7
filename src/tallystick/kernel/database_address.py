"""How the connection to a database is protected, as its DSN says. Pure. RULES §12.

A database on another machine is spoken to by TLS, and its certificate is verified: `sslmode=verify-full`. PostgreSQL's
own default, `prefer`, goes on in plain text with whoever says that he cannot do better.
"""

from typing import Final
from urllib.parse import SplitResult, parse_qs, urlsplit

from tallystick.kernel.addresses import is_this_machine

VERIFIED: Final = "verify-full"
MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", VERIFIED)


def refusal_of(dsn: str) -> str | None:
    """Why a database may not be reached like this, as a sentence that repeats nothing of the DSN; None where it may.

    A weaker mode than `verify-full` is the operator's to choose, and has to be written down. Another form than an
    address (`host=…`) is refused: of the drivers libpq alone takes it, and it would go unseen where it leads.
    """
    if dsn and _address(dsn) is None:
        return "it must be an address such as postgresql://role@host/database"
    if leaves_the_machine(dsn) and _mode(dsn) not in MODES:
        return (
            "it leads to another machine and does not say how the connection is protected: add sslmode=verify-full "
            "and sslrootcert=/path/of/the/authority.pem (docs/tls.md)"
        )
    return None


def is_verified(dsn: str) -> bool:
    """Whether nobody on the way can read the connection or pretend to be the database."""
    return not leaves_the_machine(dsn) or _mode(dsn) == VERIFIED


def leaves_the_machine(dsn: str) -> bool:
    """Whether the DSN names a host that is neither a socket of this machine nor its loopback, by its spelling alone."""
    address = _address(dsn)
    if address is None:
        return False
    query = parse_qs(address.query)
    written = [*(query.get("host") or [address.netloc.rpartition("@")[2]]), *query.get("hostaddr", [])]
    return not all(_is_here(host) for one in written for host in one.split(","))


def _address(dsn: str) -> SplitResult | None:
    try:
        parts = urlsplit(dsn)
    except ValueError:
        return None
    return parts if parts.scheme in ("postgresql", "postgres") else None


def _is_here(host: str) -> bool:
    if host.startswith("/"):
        return True
    name = host.partition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]
    return name == "" or is_this_machine(name)


def _mode(dsn: str) -> str:
    return (parse_qs(urlsplit(dsn).query).get("sslmode") or [""])[-1]
