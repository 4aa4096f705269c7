"""The demo's data folder: what is made once and found again at the next start.

DIR/
  lock              held by the demo that runs here
  demo.json         accounts, keys and addresses (0600)
  environment       the same for a shell: `source` it, and commands and examples find the demo (0600)
  secrets/          the connection's secrets, as files that the merchant service reads (0600)
  tls/              the demo's own certificate authority, and the services' certificate
  postgres/         the database server (ports/postgres.py)
  logs/             what the services say
"""

import fcntl
import os
import shlex
import sys
from pathlib import Path

import msgspec
import trustme
from msgspec import Struct

from tallystick.cli.failures import CommandFailed
from tallystick.cli.installing import write_secret
from tallystick.cli.postgres import Dsns

HOSTS = ("127.0.0.1", "localhost", "::1")


class Addresses(Struct, frozen=True):
    """Where the three stand: origins without a slash at the end."""

    gateway: str
    merchant: str
    shop: str


class Known(Struct, frozen=True, kw_only=True):
    """What the demo has made so far. Secret: it is kept in a file that only its owner may read."""

    addresses: Addresses
    dsns: Dsns
    ca_file: str | None
    account_id: str
    secret_key: str
    publishable_key: str
    merchant_id: str
    merchant_api_key: str
    connection_id: str
    webhook_url: str
    endpoint_id: str | None = None
    operator_keys: dict[str, str] = {}  # by service
    shop_endpoint_id: str | None = None
    notification_secret: str = ""

    def __repr__(self) -> str:
        return f"Known({self.account_id!r}, {self.merchant_id!r})"


class Tls(Struct, frozen=True):
    """Files of the demo's authority and of the certificate that its services share."""

    ca_file: str
    cert_file: str
    key_file: str


class Folder:
    """A demo's data folder."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: int | None = None

    @property
    def secret_key_file(self) -> Path:
        return self.path / "secrets" / "secret-key"

    @property
    def webhook_secret_file(self) -> Path:
        return self.path / "secrets" / "webhook-secret"

    @property
    def vault_key_file(self) -> Path:
        return self.path / "secrets" / "vault.keys"

    @property
    def fingerprint_key_file(self) -> Path:
        return self.path / "secrets" / "fingerprint-key"

    def log_file(self, name: str) -> Path:
        """Where a program writes its log."""
        return self.path / "logs" / f"{name}.log"

    def take(self) -> None:
        """Make the folder where it is missing, and keep other demos out of it. Raises CommandFailed."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.give_up()
            raise CommandFailed(f"another one runs in {self.path}: stop it, or choose another --data-dir") from None

    def give_up(self) -> None:
        """Let other demos in again."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def read(self) -> Known | None:
        """What was made here before, None where nothing was. Raises CommandFailed when it cannot be read."""
        path = self.path / "demo.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=Known)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise CommandFailed(f"{path} cannot be read ({type(error).__name__}): choose another --data-dir") from None

    @property
    def environment_file(self) -> Path:
        return self.path / "environment"

    def write(self, known: Known) -> None:
        """Keep what was made."""
        write_secret(self.path / "demo.json", msgspec.json.encode(known).decode())
        commands = shlex.quote(str(Path(sys.executable).parent))  # so that a second terminal knows `tallystick`
        lines = [f'export PATH={commands}:"$PATH"']
        lines += [f"export {name}={shlex.quote(value)}" for name, value in _for_a_shell(known).items()]
        write_secret(self.environment_file, "\n".join(lines))

    def tls(self) -> Tls:
        """The certificates, made at the first call."""
        folder = self.path / "tls"
        files = Tls(str(folder / "ca.pem"), str(folder / "server.pem"), str(folder / "server-key.pem"))
        if not all(Path(file).exists() for file in (files.ca_file, files.cert_file, files.key_file)):
            authority = trustme.CA(organization_name="Tallystick demo")
            server = authority.issue_cert(*HOSTS, common_name="Tallystick demo")
            write_secret(Path(files.key_file), server.private_key_pem.bytes().decode())
            chain = b"".join(blob.bytes() for blob in server.cert_chain_pems)
            write_secret(Path(files.cert_file), chain.decode())
            write_secret(Path(files.ca_file), authority.cert_pem.bytes().decode())  # last: its presence means complete
        return files


def _for_a_shell(known: Known) -> dict[str, str]:
    """What `tallystick`'s commands, the Stripe SDKs and the documentation's examples go by."""
    variables = {
        "TALLYSTICK_GATEWAY_URL": known.addresses.gateway,
        "TALLYSTICK_MERCHANT_URL": known.addresses.merchant,
        "TALLYSTICK_MERCHANT_API_KEY": known.merchant_api_key,
        "TALLYSTICK_CA_FILE": known.ca_file or "",
        "STRIPE_API_BASE": known.addresses.gateway,
        "STRIPE_SECRET_KEY": known.secret_key,
        "STRIPE_PUBLISHABLE_KEY": known.publishable_key,
        "SHOP_URL": known.addresses.shop,
        "ACCOUNT": known.account_id,
        "MERCHANT": known.merchant_id,
        "CONNECTION": known.connection_id,
    }
    keys = {f"TALLYSTICK_{service.upper()}_OPERATOR_KEY": key for service, key in known.operator_keys.items()}
    return variables | keys
