"""The demo's stack: database, gateway, merchant service and shop, made with the functions of the real installation."""

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from tallystick.cli.customers import keys_in
from tallystick.cli.endpoints import move_endpoint
from tallystick.cli.installing import (
    SecretFiles,
    add_gateway_connection,
    add_shop_endpoint,
    create_gateway_account,
    create_merchant_account,
    move_gateway_connection,
    move_shop_endpoint,
    set_account_origins,
    set_merchant_origins,
    subscribe,
    write_secret,
)
from tallystick.cli.postgres import Dsns, KeptPostgres, migrate_all
from tallystick.cli.staffing import create_operator_key
from tallystick.cli.supervisor import Program, Supervisor
from tallystick.demo.addresses import Ports, addresses_of, choose_ports, origins_of_shop
from tallystick.demo.folder import Addresses, Folder, Known, Tls
from tallystick.demo.hearing import PATH as NOTIFICATIONS_PATH
from tallystick.gateway.settings import Settings as GatewaySettings
from tallystick.gateway.settings import read as read_gateway
from tallystick.kernel.identifiers import new_secret
from tallystick.kernel.operators.roles import Role
from tallystick.merchant.accounts.commands import webhook_address
from tallystick.merchant.settings import Settings as MerchantSettings
from tallystick.merchant.settings import read as read_merchant
from tallystick.ports.aiohttp_http import AiohttpClient
from tallystick.ports.clock import SystemClock
from tallystick.ports.entropy import SystemEntropy
from tallystick.ports.key_encryption import make_key_file

SHOP_NAME = "Notch & Hazel"
OPERATOR = "demo"


class Stack:
    """Everything that the demo runs. `start`, then `stop` in every case. `say` is told, in sentences, what happens."""

    def __init__(
        self, folder: Folder, *, port_base: int, https: bool, dsns: Dsns | None, say: Callable[[str], None]
    ) -> None:
        self._folder = folder
        self._port_base = port_base
        self._https = https
        self._given_dsns = dsns
        self._say = say
        self._postgres: KeptPostgres | None = None
        self._supervisor: Supervisor | None = None
        self.http: AiohttpClient | None = None
        self.dsns: Dsns

    async def start(self) -> Known:
        """Start everything, return when it is ready. Raises what its parts raise; call `stop` all the same."""
        self._folder.take()
        ports = choose_ports(self._port_base, self._say)
        addresses = addresses_of(ports, https=self._https)
        tls = self._folder.tls() if self._https else None
        self.dsns = await self._database()
        migrate_all(self.dsns)
        self._make_card_keys()
        environment = _environment(self.dsns, ports, tls) | self._card_keys | keys_in(self._folder.path / "secrets")
        gateway, merchant = read_gateway(environment), read_merchant(environment)
        known = await self._installed(gateway, merchant, addresses, tls)
        self.http = AiohttpClient(ca_file=tls.ca_file if tls else None)
        self._supervisor = Supervisor(clock=SystemClock(), http=self.http, say=self._say)
        await self._supervisor.start(*self._programs(environment, known))
        return await self._subscribed(merchant, known)

    async def stop(self) -> None:
        """Stop everything: the services first, then the database."""
        if self._supervisor is not None:
            await self._supervisor.stop()
        if self.http is not None:
            await self.http.close()
        if self._postgres is not None:
            await self._postgres.stop()
        self._folder.give_up()

    def pid_of(self, name: str) -> int:
        """The process id of `gateway`, `merchant` or `shop`."""
        assert self._supervisor is not None, "started before"
        return self._supervisor.pid_of(name)

    async def _database(self) -> Dsns:
        if self._given_dsns is not None:
            return self._given_dsns
        self._postgres = KeptPostgres(self._folder.path / "postgres", SystemClock(), self._say)
        return await self._postgres.start()

    async def _installed(
        self, gateway: GatewaySettings, merchant: MerchantSettings, addresses: Addresses, tls: Tls | None
    ) -> Known:
        """The account, the merchant and the connection: made once, then told the addresses of this start."""
        origins = [*origins_of_shop(addresses), addresses.merchant]
        ca_file = tls.ca_file if tls else None
        known = self._folder.read()
        if (
            known is None or known.dsns.places() != self.dsns.places()
        ):  # another database knows nothing of these accounts
            known = await self._install(gateway, merchant, addresses, origins)
        elif known.addresses != addresses:
            await set_account_origins(gateway, known.account_id, origins)
            await set_merchant_origins(merchant, known.merchant_id, origins_of_shop(addresses))
            await move_gateway_connection(merchant, known.connection_id, addresses.gateway)
        keys = dict(known.operator_keys)
        for service, dsn in (("gateway", self.dsns.gateway), ("merchant", self.dsns.merchant)):
            if service not in keys:
                keys[service] = (await create_operator_key(dsn, OPERATOR, Role.ADMIN)).key
        known = msgspec.structs.replace(known, addresses=addresses, ca_file=ca_file, operator_keys=keys)
        known = await _heard(merchant, known)
        self._folder.write(known)
        return known

    async def _install(
        self, gateway: GatewaySettings, merchant: MerchantSettings, addresses: Addresses, origins: list[str]
    ) -> Known:
        account, pairs = await create_gateway_account(gateway, SHOP_NAME, origins)
        made = await create_merchant_account(merchant, SHOP_NAME, origins_of_shop(addresses))
        write_secret(self._folder.secret_key_file, pairs[0].secret_key)
        added = await add_gateway_connection(merchant, made.merchant_id, "stripe", addresses.gateway, self._files)
        return Known(
            addresses=addresses,
            dsns=self.dsns.places(),
            ca_file=None,
            account_id=account.account_id,
            secret_key=pairs[0].secret_key,
            publishable_key=pairs[0].publishable_key,
            merchant_id=made.merchant_id,
            merchant_api_key=made.api_key,
            connection_id=added.connection_id,
            webhook_url=added.webhook_url,
        )

    async def _subscribed(self, merchant: MerchantSettings, known: Known) -> Known:
        """The webhook endpoint at the gateway: created once, then told the address of this start."""
        gateway, address = known.addresses.gateway, webhook_address(merchant.origin, known.connection_id)
        endpoint_id = known.endpoint_id
        if endpoint_id is None:
            endpoint_id = await subscribe(merchant, gateway, self._files, address)
        elif known.webhook_url != address:
            assert self.http is not None, "opened before"
            await move_endpoint(self.http, gateway, known.secret_key, endpoint_id, address)
        known = msgspec.structs.replace(known, endpoint_id=endpoint_id, webhook_url=address)
        self._folder.write(known)
        return known

    def _make_card_keys(self) -> None:
        """The keys of the card vault and of card fingerprints: made once."""
        if not self._folder.vault_key_file.exists():
            self._folder.vault_key_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            make_key_file(self._folder.vault_key_file, SystemEntropy())
        if not self._folder.fingerprint_key_file.exists():
            write_secret(self._folder.fingerprint_key_file, new_secret("fingerprints", SystemEntropy()))

    @property
    def _card_keys(self) -> dict[str, str]:
        return {
            "TALLYSTICK_GATEWAY_VAULT_KEY_FILE": str(self._folder.vault_key_file),
            "TALLYSTICK_GATEWAY_CARD_FINGERPRINT_KEY_FILE": str(self._folder.fingerprint_key_file),
        }

    @property
    def _files(self) -> SecretFiles:
        return SecretFiles(self._folder.secret_key_file, self._folder.webhook_secret_file)

    def webhook_secret(self) -> str:
        """The secret that signs what the gateway delivers."""
        return self._folder.webhook_secret_file.read_text(encoding="utf-8").strip()

    def _programs(self, environment: Mapping[str, str], known: Known) -> list[Program]:
        commands = {
            "gateway": (known.addresses.gateway, ["tallystick", "gateway", "serve"]),
            "merchant": (known.addresses.merchant, ["tallystick", "merchant", "serve"]),
            "shop": (known.addresses.shop, ["tallystick.demo.app"]),
        }
        shop = {
            "TALLYSTICK_SHOP_URL": known.addresses.shop,
            "TALLYSTICK_SHOP_MERCHANT_URL": known.addresses.merchant,
            "TALLYSTICK_SHOP_API_KEY": known.merchant_api_key,
            "TALLYSTICK_SHOP_GATEWAY_URL": known.addresses.gateway,
            "TALLYSTICK_SHOP_PUBLISHABLE_KEY": known.publishable_key,
            "TALLYSTICK_SHOP_NOTIFICATION_SECRET": known.notification_secret,
        }
        return [
            Program(
                name,
                (sys.executable, "-m", *module_and_arguments),
                {**environment, **(shop if name == "shop" else {})},
                f"{origin}/readyz",
                self._folder.log_file(name),
            )
            for name, (origin, module_and_arguments) in commands.items()
        ]


async def _heard(merchant: MerchantSettings, known: Known) -> Known:
    """The shop's endpoint, at which it hears of its orders: made once, then told the address of this start."""
    url = f"{known.addresses.shop}{NOTIFICATIONS_PATH}"
    if known.shop_endpoint_id is not None:
        await move_shop_endpoint(merchant, known.shop_endpoint_id, url)
        return known
    made = await add_shop_endpoint(merchant, known.merchant_id, url, [])
    return msgspec.structs.replace(known, shop_endpoint_id=made.endpoint_id, notification_secret=made.secret)


def _environment(dsns: Dsns, ports: Ports, tls: Tls | None) -> dict[str, str]:
    """The settings of all three as environment variables, beside what is there of others' (PATH, …)."""
    settings: dict[str, Any] = {
        "GATEWAY_WEBHOOKS_TO_LOOPBACK": "true",
        "GATEWAY_SANDBOX_CLOCK": "true",
        "MERCHANT_SANDBOX_CLOCK": "true",
        "MERCHANT_SHOPS_ON_LOOPBACK": "true",
        "GATEWAY_METRICS_PORT": ports[3],
        "MERCHANT_METRICS_PORT": ports[4],
    }
    for name, port in zip(("GATEWAY", "MERCHANT", "SHOP"), ports[:3], strict=True):
        settings[f"{name}_PORT"] = port
        if tls is not None:
            settings[f"{name}_TLS_CERT_FILE"] = tls.cert_file
            settings[f"{name}_TLS_KEY_FILE"] = tls.key_file
            settings[f"{name}_CA_FILE"] = tls.ca_file
    others = {name: value for name, value in os.environ.items() if _is_for_the_demo(name)}
    return others | dsns.settings() | {f"TALLYSTICK_{name}": str(value) for name, value in settings.items()}


def ready_line(known: Known, stack: Stack) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "gateway": {
            "url": known.addresses.gateway,
            "secret_key": known.secret_key,
            "publishable_key": known.publishable_key,
            "operator_key": known.operator_keys["gateway"],
        },
        "merchant": {
            "url": known.addresses.merchant,
            "api_key": known.merchant_api_key,
            "webhook_url": known.webhook_url,
            "webhook_secret": stack.webhook_secret(),
            "operator_key": known.operator_keys["merchant"],
        },
        "shop": {"url": known.addresses.shop},
        "ca_file": known.ca_file,
        "database": {"merchant": stack.dsns.merchant, "gateway": stack.dsns.gateway},
    }


def _is_for_the_demo(name: str) -> bool:
    """Settings of an installation are not: it makes its own. But whoever has a collector may look at its traces."""
    return not name.startswith("TALLYSTICK_") or "_TRACES_" in name
