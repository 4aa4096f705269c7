"""What the commands of an installation do: accounts, merchants, connections. `tallystick demo` calls the same."""

import os
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from tallystick.cli.endpoints import EndpointNotCreated, create_endpoint
from tallystick.cli.failures import CommandRefused
from tallystick.cli.opening import opened
from tallystick.gateway.accounts import accounts as gateway_accounts
from tallystick.gateway.settings import Settings as GatewaySettings
from tallystick.kernel.identifiers import is_owner_id, owner_of
from tallystick.merchant.accounts import commands as merchants
from tallystick.merchant.notifications import endpoints as shop_endpoints
from tallystick.merchant.settings import Settings as MerchantSettings
from tallystick.ports.aiohttp_http import AiohttpClient
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Database
from tallystick.ports.entropy import SystemEntropy
from tallystick.ports.secrets import SecretMissing, read_local


class SecretFiles(Struct, frozen=True):
    """Where a connection's secrets lie. The merchant service reads them there; only the paths are stored."""

    secret_key: Path
    webhook_secret: Path


class SecretReferences(Struct, frozen=True):
    """Where a connection's secrets lie, as the secrets port reads them: `env:NAME`, `vault:path#field`."""

    secret_key: str
    webhook_secret: str


class Added(Struct, frozen=True):
    """A connection that was just added. `endpoint` is the webhook endpoint at the gateway, where one was created."""

    connection_id: str
    webhook_url: str
    endpoint: str | None = None
    endpoint_error: EndpointNotCreated | None = None


async def create_gateway_account(
    settings: GatewaySettings, name: str, origins: Sequence[str], *, live: bool = False
) -> tuple[gateway_accounts.Account, list[gateway_accounts.KeyPair]]:
    """A new account at the gateway and its keys. Raises AccountRefused, OriginInvalid, DatabaseUnavailable."""
    async with opened(settings.database_dsn, "accounts create", name) as database:
        return await gateway_accounts.create_account(
            database,
            name,
            origins=origins,
            live=live,
            live_allowed=settings.live_allowed,
            at=SystemClock().now(),
            entropy=SystemEntropy(),
        )


async def create_account_keys(
    settings: GatewaySettings, account_id: str, *, live: bool = False
) -> gateway_accounts.KeyPair:
    """One more key pair of an account. Raises AccountRefused, DatabaseUnavailable."""
    async with opened(settings.database_dsn, "keys create", account_id) as database:
        at, entropy, allowed = SystemClock().now(), SystemEntropy(), settings.live_allowed
        return await gateway_accounts.create_keys(
            database, account_id, livemode=live, live_allowed=allowed, at=at, entropy=entropy
        )


async def list_account_keys(settings: GatewaySettings, account_id: str) -> list[gateway_accounts.ListedKey]:
    """The keys of an account. Raises DatabaseUnavailable."""
    async with opened(settings.database_dsn) as database:
        return await gateway_accounts.list_keys(database, account_id)


async def revoke_account_key(settings: GatewaySettings, account_id: str, key_id: str) -> None:
    """End the life of a key. Raises AccountRefused, DatabaseUnavailable."""
    async with opened(settings.database_dsn, "keys revoke", f"{account_id} {key_id}") as database:
        await gateway_accounts.revoke_key(database, account_id, key_id, at=SystemClock().now())


async def set_account_origins(settings: GatewaySettings, account_id: str, origins: Sequence[str]) -> None:
    """Replace an account's origins. Raises AccountRefused, OriginInvalid, DatabaseUnavailable."""
    async with opened(settings.database_dsn, "accounts origins", account_id) as database:
        await gateway_accounts.set_origins(database, account_id, origins)


async def set_account_captures(settings: GatewaySettings, account_id: str, several: bool) -> None:
    """Whether an account may capture a charge in parts. Raises AccountRefused, DatabaseUnavailable."""
    async with opened(settings.database_dsn, "accounts captures", account_id) as database:
        await gateway_accounts.set_several_captures(database, account_id, several)


async def set_account_fees(
    settings: GatewaySettings, account_id: str, currency: str, *, livemode: bool, **fees: int
) -> None:
    """What an account is charged in a currency. Raises AccountRefused, DatabaseUnavailable."""
    async with opened(settings.database_dsn, "accounts fees", account_id) as database:
        await gateway_accounts.set_fees(database, account_id, currency, livemode=livemode, **fees)


async def set_account_days(
    settings: GatewaySettings, account_id: str, *, offset_minutes: int, available_days: int, manual: bool
) -> None:
    """An account's business day, when money is available and paid out. Raises AccountRefused, DatabaseUnavailable."""
    async with opened(settings.database_dsn, "accounts days", account_id) as database:
        await gateway_accounts.set_days(
            database,
            account_id,
            offset_minutes=offset_minutes,
            available_days=available_days,
            payouts="manual" if manual else "daily",
        )


async def create_merchant_account(
    settings: MerchantSettings, name: str, return_origins: Sequence[str]
) -> merchants.NewMerchant:
    """A new merchant and its API key. Raises AccountRefused, DatabaseUnavailable."""
    async with opened(settings.database_dsn, "accounts create", name) as database:
        return await merchants.create_merchant(
            database, SystemClock(), SystemEntropy(), name=name, return_origins=return_origins
        )


async def set_merchant_origins(settings: MerchantSettings, merchant_id: str, return_origins: Sequence[str]) -> None:
    """Replace a merchant's return origins. Raises AccountRefused, DatabaseUnavailable."""
    async with opened(settings.database_dsn, "accounts origins", merchant_id) as database:
        await merchants.set_return_origins(database, merchant_id=merchant_id, return_origins=return_origins)


async def set_merchant_late_policy(settings: MerchantSettings, merchant_id: str, policy: str) -> None:
    """What is done with a merchant's late money. Raises AccountRefused, DatabaseUnavailable."""
    async with opened(settings.database_dsn, "accounts late-policy", merchant_id) as database:
        await merchants.set_late_policy(database, merchant_id=merchant_id, policy=policy)


async def set_merchant_stock_hook(settings: MerchantSettings, merchant_id: str, url: str | None) -> str | None:
    """Where a merchant's stock is asked; the new secret that signs it. Raises AccountRefused, DatabaseUnavailable."""
    async with opened(settings.database_dsn, "accounts stock-hook", merchant_id) as database:
        return await merchants.set_stock_hook(
            database, SystemEntropy(), merchant_id=merchant_id, url=url, loopback=settings.shops_on_loopback
        )


async def add_gateway_connection(
    settings: MerchantSettings,
    merchant_id: str | None,
    gateway: str,
    url: str,
    secrets: SecretFiles | SecretReferences,
    *,
    with_endpoint: bool = False,
) -> Added:
    """Connect a merchant (the only one, where None) to a gateway; `with_endpoint` creates the webhook endpoint too.

    Raises AccountRefused, CommandRefused, DatabaseUnavailable. That the endpoint could not be created is told in the
    result: the connection is there all the same.
    """
    files = secrets if isinstance(secrets, SecretFiles) else None
    if files is not None and not files.secret_key.exists():
        raise CommandRefused(f"{files.secret_key} does not exist: put the account's secret key (sk_…) there first")
    if files is None and with_endpoint:
        raise CommandRefused("--create-endpoint writes the webhook secret to a file: name both secrets as files for it")
    scheme = "file:" if files is not None else ""
    async with opened(settings.database_dsn, "connections add", merchant_id or "") as database:
        connection_id = await merchants.add_connection(
            database,
            SystemClock(),
            SystemEntropy(),
            merchant_id=await _merchant(database, merchant_id),
            gateway=gateway,
            url=url,
            secret_key_ref=f"{scheme}{secrets.secret_key}",
            webhook_secret_refs=[f"{scheme}{secrets.webhook_secret}"],
        )
    webhook_url = merchants.webhook_address(settings.origin, connection_id)
    if not with_endpoint or files is None:
        return Added(connection_id, webhook_url)
    try:
        endpoint = await subscribe(settings, url, files, webhook_url)
    except EndpointNotCreated as error:
        return Added(connection_id, webhook_url, endpoint_error=error)
    return Added(connection_id, webhook_url, endpoint)


async def subscribe(settings: MerchantSettings, url: str, files: SecretFiles, webhook_url: str) -> str:
    """Create the webhook endpoint at the gateway and write its secret to its file. Raises EndpointNotCreated."""
    http = AiohttpClient(ca_file=settings.ca_file or None)
    try:
        secret_key = read_local(f"file:{files.secret_key}")
        endpoint = await create_endpoint(http, url, secret_key, webhook_url)
    except SecretMissing as missing:
        raise EndpointNotCreated(str(missing)) from None
    finally:
        await http.close()
    try:
        write_secret(files.webhook_secret, endpoint.secret)
    except OSError as error:
        raise EndpointNotCreated(
            f"{endpoint.id} is there, but {files.webhook_secret} cannot be written ({error.strerror}), and its secret "
            "was shown once: roll it at the gateway, and put the new one there"
        ) from None
    return endpoint.id


async def move_gateway_connection(settings: MerchantSettings, connection_id: str, url: str) -> None:
    """Tell a connection its gateway's new address. Raises AccountRefused, DatabaseUnavailable."""
    merchant_id = _merchant_of(connection_id)
    async with opened(settings.database_dsn, "connections move", connection_id) as database:
        await merchants.set_connection_url(database, merchant_id=merchant_id, connection_id=connection_id, url=url)


async def add_shop_endpoint(
    settings: MerchantSettings, merchant_id: str | None, url: str, events: Sequence[str]
) -> shop_endpoints.NewEndpoint:
    """An endpoint of a merchant's shop. Raises AccountRefused, CommandRefused, DatabaseUnavailable."""
    async with opened(settings.database_dsn, "endpoints add", merchant_id or "") as database:
        return await shop_endpoints.add_endpoint(
            database,
            SystemClock(),
            SystemEntropy(),
            merchant_id=await _merchant(database, merchant_id),
            url=url,
            events=events,
            loopback=settings.shops_on_loopback,
        )


async def list_shop_endpoints(
    settings: MerchantSettings, merchant_id: str | None
) -> list[shop_endpoints.ListedEndpoint]:
    """A merchant's endpoints. Raises CommandRefused, DatabaseUnavailable."""
    async with opened(settings.database_dsn) as database:
        return await shop_endpoints.list_endpoints(database, await _merchant(database, merchant_id))


async def move_shop_endpoint(settings: MerchantSettings, endpoint_id: str, url: str) -> None:
    """Tell a shop's endpoint its new address. Raises AccountRefused, DatabaseUnavailable."""
    merchant_id = _merchant_of(endpoint_id)
    async with opened(settings.database_dsn, "endpoints move", endpoint_id) as database:
        await shop_endpoints.move_endpoint(
            database, merchant_id=merchant_id, endpoint_id=endpoint_id, url=url, loopback=settings.shops_on_loopback
        )


async def roll_shop_secret(settings: MerchantSettings, endpoint_id: str) -> str:
    """A new secret of a shop's endpoint. Raises AccountRefused, CommandRefused, DatabaseUnavailable."""
    merchant_id = _merchant_of(endpoint_id)
    async with opened(settings.database_dsn, "endpoints roll-secret", endpoint_id) as database:
        return await shop_endpoints.roll_secret(
            database, SystemEntropy(), merchant_id=merchant_id, endpoint_id=endpoint_id
        )


async def switch_shop_endpoint(settings: MerchantSettings, endpoint_id: str, enabled: bool) -> None:
    """Enable or disable a shop's endpoint. Raises AccountRefused, CommandRefused, DatabaseUnavailable."""
    merchant_id = _merchant_of(endpoint_id)
    async with opened(
        settings.database_dsn, "endpoints enable" if enabled else "endpoints disable", endpoint_id
    ) as database:
        await shop_endpoints.switch_endpoint(
            database, SystemClock(), merchant_id=merchant_id, endpoint_id=endpoint_id, enabled=enabled
        )


async def remove_shop_endpoint(settings: MerchantSettings, endpoint_id: str) -> None:
    """Delete a shop's endpoint. Raises AccountRefused, CommandRefused, DatabaseUnavailable."""
    merchant_id = _merchant_of(endpoint_id)
    async with opened(settings.database_dsn, "endpoints remove", endpoint_id) as database:
        await shop_endpoints.remove_endpoint(database, SystemClock(), merchant_id=merchant_id, endpoint_id=endpoint_id)


async def set_connection_secrets(
    settings: MerchantSettings, connection_id: str, secret_key: Path | str | None, webhook_secrets: Sequence[Path | str]
) -> None:
    """Name other places, files or references, of a connection's secret key, of its live webhook secrets, or of both;
    what is not named stays. Raises AccountRefused, CommandRefused, DatabaseUnavailable."""
    for place in [*([secret_key] if secret_key else []), *webhook_secrets]:
        if isinstance(place, Path) and not place.exists():
            raise CommandRefused(f"{place} does not exist: put the secret there first")
    merchant_id = _merchant_of(connection_id)
    whose = {"merchant_id": merchant_id, "connection_id": connection_id}
    named = [_reference(place) for place in webhook_secrets]
    noted = opened(settings.database_dsn, "connections secrets", connection_id)
    async with noted as database, database.transaction() as tx:
        if secret_key:
            await merchants.set_secret_key(tx, **whose, secret_key_ref=_reference(secret_key))
        if named:
            await merchants.set_webhook_secrets(tx, **whose, webhook_secret_refs=named)


def _reference(place: Path | str) -> str:
    return f"file:{place}" if isinstance(place, Path) else place


def _merchant_of(id: str) -> str:
    """The merchant whose connection or endpoint this is. Raises CommandRefused."""
    merchant_id = owner_of(id, merchants.MERCHANT_PREFIX)
    if merchant_id is None:
        raise CommandRefused(f"{id} is no id of a connection (con_…) or an endpoint (ep_…)")
    return merchant_id


def write_secret(path: Path, secret: str) -> None:
    """Write a file that only its owner may read; a reader sees the old content or the new, never a part."""
    unfinished = path.with_name(f".{path.name}.new")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(secret + "\n")
    unfinished.replace(path)


async def _merchant(database: Database, named: str | None) -> str:
    """The merchant that is named, and the only one where none is. Raises CommandRefused."""
    if named is not None:
        if not is_owner_id(merchants.MERCHANT_PREFIX, named):
            raise CommandRefused(f"there is no merchant {named}: `tallystick merchant accounts create` prints the id")
        return named
    found = await merchants.list_merchants(database, rows_max=2)
    if len(found) != 1:
        why = "there is none yet: `tallystick merchant accounts create`" if not found else "there are several"
        raise CommandRefused(f"name the merchant with --merchant mer_…; {why}")
    return found[0]
