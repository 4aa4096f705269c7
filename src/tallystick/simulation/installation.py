"""What is installed in the simulated world: processes of both services over their databases, accounts, connections."""

import json
from typing import Final
from urllib.parse import urlencode

from msgspec import Struct

from tallystick.gateway import app as gateway_app
from tallystick.gateway.accounts.accounts import create_account
from tallystick.gateway.settings import Settings as GatewaySettings
from tallystick.kernel.service import Service
from tallystick.merchant import app as merchant_app
from tallystick.merchant.accounts.commands import add_connection, create_merchant, set_late_policy, webhook_address
from tallystick.merchant.settings import Settings as MerchantSettings
from tallystick.ports.http import Answered, HttpRequest
from tallystick.simulation.database import VirtualDatabase
from tallystick.simulation.network import VirtualHttp
from tallystick.simulation.nodes import Node
from tallystick.simulation.ports import PublicNames
from tallystick.simulation.web import BuiltOnce
from tallystick.simulation.world import World

GATEWAY_URL: Final = "https://pay.tallystick.example"
MERCHANT_URL: Final = "https://orders.tallystick.example"
SHOP_URL: Final = "https://shop.tallystick.example"
GATEWAY_HOST, MERCHANT_HOST, SHOP_HOST = (url.removeprefix("https://") for url in (GATEWAY_URL, MERCHANT_URL, SHOP_URL))

NO_DSN: Final = "the simulation connects by itself"
WEB: Final = BuiltOnce()


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


class Installation:
    """The processes of both services, in `nodes` copies each."""

    def __init__(self, world: World, *, gateways: int, merchants: int) -> None:
        self.world = world
        self.gateway_settings = GatewaySettings(database_dsn=NO_DSN, public_url=GATEWAY_URL, invariants_every_s=0)
        self.merchant_settings = MerchantSettings(database_dsn=NO_DSN, public_url=MERCHANT_URL, invariants_every_s=0)
        self.gateways = [world.add(f"gateway {n}", "gateway", self._gateway) for n in range(1, gateways + 1)]
        self.merchants = [world.add(f"merchant {n}", "merchant", self._merchant) for n in range(1, merchants + 1)]
        world.network.serve(GATEWAY_HOST, self.gateways)
        world.network.serve(MERCHANT_HOST, self.merchants)
        world.network.site(SHOP_HOST, _shop_page)

    def start(self) -> None:
        for node in (*self.gateways, *self.merchants):
            node.start()

    def _gateway(self, node: Node) -> Service:
        world = self.world
        database = VirtualDatabase(world.servers["gateway"], node)
        http = VirtualHttp(world.network, node)
        ports = gateway_app.Ports(database, http, PublicNames(), node.clock, world.entropy)
        return gateway_app.build(self.gateway_settings, ports, web=WEB)

    def _merchant(self, node: Node) -> Service:
        world = self.world
        database = VirtualDatabase(world.servers["merchant"], node)
        http = VirtualHttp(world.network, node)
        ports = merchant_app.Ports(database, http, world.secrets, node.clock, world.entropy)
        return merchant_app.build(self.merchant_settings, ports, web=WEB)

    async def open_shop(self, operator: Node, number: int) -> Shop:
        """A merchant, its account at the gateway, the connection between them and the webhook endpoint."""
        world, clock, entropy = self.world, operator.clock, self.world.entropy
        gateway = VirtualDatabase(world.servers["gateway"], operator)
        merchant = VirtualDatabase(world.servers["merchant"], operator)
        account, [keys] = await create_account(
            gateway, f"Shop {number}", origins=[MERCHANT_URL, SHOP_URL], at=clock.now(), entropy=entropy
        )
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
        return Shop(
            merchant_id=made.merchant_id,
            api_key=made.api_key,
            connection_id=connection_id,
            account_id=account.account_id,
            secret_key=keys.secret_key,
            endpoint=endpoint["id"],
            hook_ref=hook_ref,
        )


def _endpoint_request(secret_key: str, address: str) -> HttpRequest:
    body = urlencode([("url", address), ("enabled_events[]", "*")]).encode()
    headers = {"Authorization": f"Bearer {secret_key}", "Content-Type": "application/x-www-form-urlencoded"}
    return HttpRequest("POST", f"{GATEWAY_URL}/v1/webhook_endpoints", headers, body, 30.0)


def _shop_page(request: HttpRequest) -> Answered:
    """The shop's own pages: where shoppers end. The shop's server for notifications answers in `shop.py`."""
    return Answered(200, {"content-type": "text/html"}, b"<html><title>Shop</title><body>Thank you.</body></html>")
