"""Making merchants, API keys and connections: what the command line calls. Raises AccountRefused for what cannot be."""

import base64
import hashlib
from collections.abc import Sequence
from typing import get_args
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct

from tallystick.kernel.addresses import UrlRefused, check_own_url, check_url, is_this_machine
from tallystick.kernel.identifiers import new_owner_id, new_secret, owned_id
from tallystick.kernel.origins import origin_of
from tallystick.merchant.gateways.port import SignatureScheme
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Statements, Transaction
from tallystick.ports.entropy import Entropy
from tallystick.ports.secrets import SCHEMES

SQL = Statements.beside(__file__)

MERCHANT_PREFIX = "mer"
CONNECTION_PREFIX = "con"
API_KEY_PREFIX = "tsk"
NAME_CHARACTERS_MAX = 200
WEBHOOK_SECRETS_MAX = 4  # two during a rotation; more only make every verification slower
GATEWAYS = ("stripe",)
LATE_POLICIES = ("accept", "accept_if_available", "refund")
SIGNATURE_SCHEMES: tuple[str, ...] = get_args(SignatureScheme)


class AccountRefused(ValueError):
    """The merchant, key or connection cannot be made so; the text says why."""


class NewMerchant(Struct, frozen=True):
    """A merchant that was just made. The key is shown once and stored as a hash."""

    merchant_id: str
    api_key: str

    def __repr__(self) -> str:
        return f"NewMerchant({self.merchant_id!r})"


def hash_api_key(api_key: str) -> bytes:
    """What is stored of an API key, and looked up. The key has 128 random bits, so a plain SHA-256 cannot be
    reversed.
    """
    return hashlib.sha256(api_key.encode()).digest()


async def create_merchant(
    database: Database, clock: Clock, entropy: Entropy, *, name: str, return_origins: Sequence[str] = ()
) -> NewMerchant:
    """Make a merchant with its first API key. `return_origins` are where its shoppers may be sent back to."""
    if not 0 < len(name) <= NAME_CHARACTERS_MAX or not name.isprintable():
        raise AccountRefused(f"a name has 1 to {NAME_CHARACTERS_MAX} printable characters")
    origins = [check_origin(origin) for origin in return_origins]
    merchant_id = new_owner_id(MERCHANT_PREFIX, entropy)
    api_key = new_secret(API_KEY_PREFIX, entropy)
    at = clock.now()
    async with database.transaction() as tx:
        await tx.execute(SQL.insert_merchant, merchant_id, name, origins, at)
        await tx.execute(SQL.insert_api_key, merchant_id, hash_api_key(api_key), api_key[-4:], at)
    return NewMerchant(merchant_id, api_key)


async def set_return_origins(database: Database, *, merchant_id: str, return_origins: Sequence[str]) -> None:
    """Replace the origins to which a merchant's shoppers may be sent back."""
    if not await database.execute(
        SQL.set_return_origins, merchant_id, [check_origin(origin) for origin in return_origins]
    ):
        raise AccountRefused(f"there is no merchant {merchant_id}")


async def add_connection(
    database: Database,
    clock: Clock,
    entropy: Entropy,
    *,
    merchant_id: str,
    url: str,
    secret_key_ref: str,
    webhook_secret_refs: Sequence[str],
    gateway: str = "stripe",
    signature_scheme: str = "stripe",
) -> str:
    """Connect a merchant to its account at a gateway; the connection's id, which stands in its webhook address.

    Secrets are references (`env:NAME`, `file:/path`, `vault:path#field`). They are not read here: the gateway makes the
    webhook secret only once it is told the address, so that one may still be missing.
    """
    if gateway not in GATEWAYS:
        raise AccountRefused(f"gateway must be one of: {', '.join(GATEWAYS)}")
    if signature_scheme not in SIGNATURE_SCHEMES:
        raise AccountRefused(f"signature scheme must be one of: {', '.join(SIGNATURE_SCHEMES)}")
    _check_secrets(webhook_secret_refs)
    _check_reference(secret_key_ref)
    at = clock.now()
    connection_id = owned_id(CONNECTION_PREFIX, merchant_id, at, entropy)
    inserted = await database.execute(
        SQL.insert_connection,
        merchant_id,
        connection_id,
        gateway,
        check_gateway_url(url),
        secret_key_ref,
        signature_scheme,
        list(webhook_secret_refs),
        at,
    )
    if not inserted:
        raise AccountRefused(f"there is no merchant {merchant_id}")
    return connection_id


async def set_late_policy(database: Database, *, merchant_id: str, policy: str) -> None:
    """What is done with money that came late: RULES §4, fulfilment."""
    if policy not in LATE_POLICIES:
        raise AccountRefused(f"late policy must be one of: {', '.join(LATE_POLICIES)}")
    if not await database.execute(SQL.set_late_policy, merchant_id, policy):
        raise AccountRefused(f"there is no merchant {merchant_id}")


async def set_stock_hook(
    database: Database, entropy: Entropy, *, merchant_id: str, url: str | None, loopback: bool = False
) -> str | None:
    """Where the shop's stock is asked and told, with a new secret that signs it, shown once; None for no hook.

    It is a stranger's address; `loopback` is the development setting that lets it stand on this machine.
    """
    secret = new_webhook_secret(entropy) if url is not None else None
    if url is not None:
        check_shop_url(url, loopback=loopback)
    if not await database.execute(SQL.set_stock_hook, merchant_id, url, secret):
        raise AccountRefused(f"there is no merchant {merchant_id}")
    return secret


def new_webhook_secret(entropy: Entropy) -> str:
    """A signing secret as Standard Webhooks has them: `whsec_` and base64 of 32 random bytes."""
    return f"whsec_{base64.b64encode(entropy.token_bytes(32)).decode()}"


async def list_merchants(database: Database, *, after: str = "", rows_max: int) -> list[str]:
    """The ids of merchants, in their order, beginning behind `after`."""
    return [row["merchant_id"] for row in await database.rows(SQL.list_merchants, after, rows_max)]


async def set_connection_url(database: Database, *, merchant_id: str, connection_id: str, url: str) -> None:
    """Tell a connection the new address of its gateway."""
    if not await database.execute(SQL.set_connection_url, merchant_id, connection_id, check_gateway_url(url)):
        raise AccountRefused(f"there is no connection {connection_id}")


async def set_webhook_secrets(
    database: Database | Transaction, *, merchant_id: str, connection_id: str, webhook_secret_refs: Sequence[str]
) -> None:
    """Replace the references of a connection's live webhook secrets: two of them during a rotation (RULES §7)."""
    _check_secrets(webhook_secret_refs)
    if not await database.execute(SQL.set_webhook_secrets, merchant_id, connection_id, list(webhook_secret_refs)):
        raise AccountRefused(f"there is no connection {connection_id}")


async def set_secret_key(
    database: Database | Transaction, *, merchant_id: str, connection_id: str, secret_key_ref: str
) -> None:
    """Say where the key lies with which a connection calls its gateway: another file, or Vault instead of a file."""
    _check_reference(secret_key_ref)
    if not await database.execute(SQL.set_secret_key, merchant_id, connection_id, secret_key_ref):
        raise AccountRefused(f"there is no connection {connection_id}")


def _check_secrets(webhook_secret_refs: Sequence[str]) -> None:
    if not 1 <= len(webhook_secret_refs) <= WEBHOOK_SECRETS_MAX:
        raise AccountRefused(f"a connection has 1 to {WEBHOOK_SECRETS_MAX} webhook secrets")
    for reference in webhook_secret_refs:
        _check_reference(reference)


def _check_reference(reference: str) -> None:
    scheme, _, place = reference.partition(":")
    if scheme not in SCHEMES or not place:
        raise AccountRefused("a secret is named as env:NAME, file:/path or vault:path#field, never given itself")


def webhook_address(public_url: str, connection_id: str) -> str:
    """Where a connection's gateway must send its webhooks."""
    return f"{public_url.rstrip('/')}/webhooks/{connection_id}"


def check_origin(origin: str) -> str:
    """The origin (`https://shop.example`, `http://127.0.0.1:8480`) in its one spelling; plain HTTP on loopback only."""
    try:
        parts, found = _split(origin), return_origin(origin)
    except AccountRefused as refused:
        raise AccountRefused(f"{origin!r} is not an origin such as https://shop.example: {refused}") from None
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise AccountRefused(f"{origin!r} is not an origin such as https://shop.example: it has more than a host")
    return found


def check_gateway_url(url: str) -> str:
    """A gateway's base address, as the operator names it. RULES §12."""
    try:
        check_own_url(url)
    except UrlRefused as refused:
        raise AccountRefused(f"the gateway's address: {refused}") from None
    return url.rstrip("/")


def check_shop_url(url: str, *, loopback: bool) -> str:
    """An address of a shop's that we are to call: a stranger's. RULES §12."""
    try:
        check_url(url, loopback=loopback)
    except UrlRefused as refused:
        raise AccountRefused(f"the shop's address: {refused}") from None
    return url


def return_origin(url: str) -> str:
    """The origin of an address to which shoppers are sent back. Raises AccountRefused."""
    _split(url)
    origin = origin_of(url)
    if origin is None:
        raise AccountRefused("its host is not one that a browser would go to")
    return origin


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise AccountRefused("this is no address") from None
    if parts.scheme not in ("https", "http") or not parts.hostname or port == 0:
        raise AccountRefused("an address begins with https:// and names a host")
    if parts.username is not None or parts.password is not None:
        raise AccountRefused("an address holds no user and no password")
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise AccountRefused("an address holds printable ASCII characters without blanks only")
    if parts.scheme == "http" and not is_this_machine(parts.hostname):
        raise AccountRefused("plain HTTP is accepted on loopback only; use https://")
    return parts
