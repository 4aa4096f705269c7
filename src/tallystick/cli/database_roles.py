"""The roles of the embedded server: made at its start, each with a random password, and their DSNs kept as files beside
the server that only its user may read. RULES §12.

    data_dir/dsn/gateway, merchant                  what the services connect as
    data_dir/dsn/vault, pii, gateway-pii            who reads stored cards, and personal data in either database
    data_dir/dsn/gateway-owner, merchant-owner      who migrates
    data_dir/dsn/gateway-reader, merchant-reader    who looks
"""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tallystick.cli.installing import write_secret
from tallystick.kernel.grants import GATEWAY, GATEWAY_PII, MERCHANT, OWNER, PII, READER, VAULT
from tallystick.ports.entropy import Entropy
from tallystick.ports.postgres import EmbeddedPostgres
from tallystick.ports.postgres_roles import give_database, make_roles

PASSWORD_BYTES = 24

# Each file with its role and the service whose database it connects to.
DSN_FILES: Mapping[str, tuple[str, str]] = {
    "gateway": (GATEWAY, "gateway"),
    "merchant": (MERCHANT, "merchant"),
    "vault": (VAULT, "gateway"),
    "pii": (PII, "merchant"),
    "gateway-pii": (GATEWAY_PII, "gateway"),
    "gateway-owner": (OWNER, "gateway"),
    "merchant-owner": (OWNER, "merchant"),
    "gateway-reader": (READER, "gateway"),
    "merchant-reader": (READER, "merchant"),
}


def dsn_file(server: EmbeddedPostgres, name: str) -> Path:
    """Where the DSN of this name is kept."""
    return server.data_dir / "dsn" / name


def give_roles(server: EmbeddedPostgres, databases: Mapping[str, str], entropy: Entropy) -> dict[str, str]:
    """The DSNs by the names of their files. Makes the roles and files that are missing, and gives the databases, with
    what an earlier version made in them, to the owner. `databases` are names by service; the server runs."""
    passwords: dict[str, str] = {}
    for name, (role, _) in DSN_FILES.items():
        passwords[role] = passwords.get(role) or _kept_password(dsn_file(server, name))
    passwords = {role: kept or entropy.token_bytes(PASSWORD_BYTES).hex() for role, kept in passwords.items()}
    make_roles(server.dsn(), passwords)
    for database in databases.values():
        give_database(server.dsn(database), OWNER)
    dsns = {name: server.dsn(databases[service], role, passwords[role]) for name, (role, service) in DSN_FILES.items()}
    for name, dsn in dsns.items():
        write_secret(dsn_file(server, name), dsn)
    return dsns


def _kept_password(path: Path) -> str:
    """The password in a DSN file; empty where there is none."""
    try:
        return unquote(urlsplit(path.read_text(encoding="utf-8").strip()).password or "")
    except (FileNotFoundError, ValueError):
        return ""
