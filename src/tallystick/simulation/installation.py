"""What is installed in the simulated world: processes of both services over their databases, accounts, connections."""

import json
from typing import Final
from urllib.parse import urlencode

from msgspec import Struct
from msgspec.structs import replace

from tallystick.gateway import app as gateway_app
from tallystick.gateway.accounts.accounts import create_account, set_fees
from tallystick.gateway.settings import Settings as GatewaySettings
from tallystick.kernel.operators.keys import create_key
from tallystick.kernel.operators.roles import Role
from tallystick.kernel.people.opening import built_in
from tallystick.kernel.service import Service
from tallystick.merchant import app as merchant_app
from tallystick.merchant.accounts.commands import (
    add_connection,
    create_merchant,
    set_late_policy,
    set_stock_hook,
    webhook_address,
)
from tallystick.merchant.notifications.endpoints import add_endpoint
from tallystick.merchant.settings import Settings as MerchantSettings
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database
from tallystick.ports.http import Answered, HttpRequest
from tallystick.ports.key_encryption import HeldKeyEncryption
from tallystick.simulation.database import VirtualDatabase
from tallystick.simulation.network import VirtualHttp
from tallystick.simulation.nodes import Node
from tallystick.simulation.ports import KEYS, PublicNames, VaultDatabase
from tallystick.simulation.scenario import NARROW, Breadth
from tallystick.simulation.shop import HOOKS_HOST, HOOKS_URL, ShopServer
from tallystick.simulation.web import BuiltOnce
from tallystick.simulation.world import World

GATEWAY_URL: Final = "https://pay.tallystick.example"
MERCHANT_URL: Final = "https://orders.tallystick.example"
SHOP_URL: Final = "https://shop.tallystick.example"
GATEWAY_HOST, MERCHANT_HOST, SHOP_HOST = (url.removeprefix("https://") for url in (GATEWAY_URL, MERCHANT_URL, SHOP_URL))

YET_PAID_SHARE: Final = 0.7  # of the sessions that a scenario's gateway only says it has closed
NO_DSN: Final = "postgresql:///nowhere"  # never opened: the simulation connects by itself
WEB: Final = BuiltOnce()
INDEX_KEY: Final = "of no value, and the same for every seed"
POLICY: Final = built_in()  # knows nothing between two questions, so one serves all


class Shop(Struct, kw_only=True):
    """One merchant with its account at the gateway, and how they know each other. `hook_ref` is under which
    the merchant service finds the endpoint's signing secret."""

    merchant_id: str
    api_key: str
    connection_id: str
    account_id: str
    secret_key: str
    endpoint: str
    hook_ref: str
    notifications: str = ""
    notifications_path: str = ""


class Installation:
    """The processes of both services, so many of each, and of the shops."""

    def __init__(self, world: World, *, gateways: int, merchants: int, breadth: Breadth = NARROW) -> None:
        self.world = world
        self.breadth = breadth
        self.operator_keys = {"gateway": "", "merchant": ""}
        self.gateway_settings = GatewaySettings(
            database_dsn=NO_DSN, public_url=GATEWAY_URL, invariants_every_s=0, pii_index_key=INDEX_KEY
        )
        if breadth.webhook_schedule_s is not None:
            self.gateway_settings = replace(self.gateway_settings, webhook_schedule_s=breadth.webhook_schedule_s)
        self.merchant_settings = MerchantSettings(
            database_dsn=NO_DSN,
            public_url=MERCHANT_URL,
            invariants_every_s=0,
            pii_index_key=INDEX_KEY,
        )
        self.gateways = [world.add(f"gateway {n}", "gateway", self._gateway) for n in range(1, gateways + 1)]
        self.merchants = [world.add(f"merchant {n}", "merchant", self._merchant) for n in range(1, merchants + 1)]
        world.network.serve(GATEWAY_HOST, self.gateways)
        world.network.serve(MERCHANT_HOST, self.merchants)
        world.network.site(SHOP_HOST, _shop_page)
        self.shop_server = ShopServer(world)
        self.shops = world.add("shop", "shop", self.shop_server.build)
        world.network.serve(HOOKS_HOST, [self.shops])
        world.network.yet_paid_share = YET_PAID_SHARE if breadth.yet_paid else 0.0

    def start(self) -> None:
        for node in (*self.gateways, *self.merchants, *((self.shops,) if self.breadth.listens else ())):
            node.start()

    def _gateway(self, node: Node) -> Service:
        world = self.world
        database = VirtualDatabase(world.servers["gateway"], node)
        http = VirtualHttp(world.network, node)
        ports = gateway_app.Ports(
            database,
            http,
            PublicNames(),
            node.clock,
            world.entropy,
            encryption=HeldKeyEncryption(world.card_vault.keys),
            people_encryption=HeldKeyEncryption(lambda: KEYS),
            policy=POLICY,
            vault=self._card_vault(node) if self.breadth.people else None,
        )
        return gateway_app.build(self.gateway_settings, ports, web=WEB)

    def _card_vault(self, node: Node) -> Database:
        return VaultDatabase(self.world.card_vault, VirtualDatabase(self.world.servers["gateway"], node))

    def _merchant(self, node: Node) -> Service:
        world = self.world
        database = VirtualDatabase(world.servers["merchant"], node)
        http = VirtualHttp(world.network, node)
        ports = merchant_app.Ports(
            database,
            http,
            world.secrets,
            node.clock,
            world.entropy,
            key_encryption=HeldKeyEncryption(world.secrets.keys),
            policy=POLICY,
        )
        return merchant_app.build(self.merchant_settings, ports, web=WEB)

    async def open_shop(self, operator: Node, number: int) -> Shop:
        """A merchant, its account at the gateway, the connection between them and the webhook endpoint."""
        world, clock, entropy = self.world, operator.clock, self.world.entropy
        gateway = VirtualDatabase(world.servers["gateway"], operator)
        merchant = VirtualDatabase(world.servers["merchant"], operator)
        account, [keys] = await create_account(
            gateway, f"Shop {number}", origins=[MERCHANT_URL, SHOP_URL], at=clock.now(), entropy=entropy
        )
        await set_fees(gateway, account.account_id, "eur", basis_points=140, fixed=25, dispute=1500)
        made = await create_merchant(merchant, clock, entropy, name=f"Shop {number}", return_origins=[SHOP_URL])
        policy = world.chance.choice(("refund", "refund", "accept"))
        await set_late_policy(merchant, merchant_id=made.merchant_id, policy=policy)
        key_ref, hook_ref = f"env:KEY_{number}", f"env:HOOK_{number}"
        world.secrets.values[key_ref] = keys.secret_key
        connection_id = await add_connection(
            merchant,
            clock,
            entropy,
            merchant_id=made.merchant_id,
            url=GATEWAY_URL,
            secret_key_ref=key_ref,
            webhook_secret_refs=[hook_ref],
        )
        address = webhook_address(MERCHANT_URL, connection_id)
        answer = await world.network.exchange(operator, _endpoint_request(keys.secret_key, address))
        assert isinstance(answer, Answered), f"no endpoint: {answer}"
        endpoint = json.loads(answer.body)
        world.secrets.values[hook_ref] = endpoint["secret"]
        shop = Shop(
            merchant_id=made.merchant_id,
            api_key=made.api_key,
            connection_id=connection_id,
            account_id=account.account_id,
            secret_key=keys.secret_key,
            endpoint=endpoint["id"],
            hook_ref=hook_ref,
        )
        return await self._listening(shop, number, merchant, clock) if self.breadth.listens else shop

    async def _listening(self, shop: Shop, number: int, merchant: VirtualDatabase, clock: Clock) -> Shop:
        """The shop's own endpoint, and its stock."""
        world, path, stock = self.world, f"/notifications/{number}", f"/stock/{number}"
        made = await add_endpoint(
            merchant, clock, world.entropy, merchant_id=shop.merchant_id, url=f"{HOOKS_URL}{path}"
        )
        self.shop_server.secrets[path] = (made.secret,)
        if self.breadth.stock:
            policy = world.chance.choice(("accept_if_available", "accept_if_available", "refund", "accept"))
            await set_late_policy(merchant, merchant_id=shop.merchant_id, policy=policy)
            secret = await set_stock_hook(
                merchant, world.entropy, merchant_id=shop.merchant_id, url=f"{HOOKS_URL}{stock}"
            )
            assert secret is not None
            self.shop_server.secrets[stock] = (secret,)
        return replace(shop, notifications=made.endpoint_id, notifications_path=path)

    async def employ(self, operator: Node) -> None:
        """Somebody who may call the operators' API of both services."""
        world, at = self.world, operator.clock.now()
        for service in self.operator_keys:
            database = VirtualDatabase(world.servers[service], operator)
            made = await create_key(database, "operator", role=Role.ADMIN, at=at, entropy=world.entropy)
            self.operator_keys[service] = made.key


def _endpoint_request(secret_key: str, address: str) -> HttpRequest:
    body = urlencode([("url", address), ("enabled_events[]", "*")]).encode()
    headers = {"Authorization": f"Bearer {secret_key}", "Content-Type": "application/x-www-form-urlencoded"}
    return HttpRequest("POST", f"{GATEWAY_URL}/v1/webhook_endpoints", headers, body, 30.0)


def _shop_page(request: HttpRequest) -> Answered:
    """The shop's own pages: where shoppers end. The shop's server for notifications answers in `shop.py`."""
    return Answered(200, {"content-type": "text/html"}, b"<html><title>Shop</title><body>Thank you.</body></html>")
