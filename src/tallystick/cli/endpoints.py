"""Webhook endpoints at a gateway, through Stripe's API. Told an address, it makes the secret that it signs with."""

from collections.abc import Sequence
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from tallystick.merchant.gateways.stripe_events import LEARNT_FROM
from tallystick.ports.http import Answered, Http, HttpRequest

DEADLINE_S = 20.0


class EndpointNotCreated(Exception):
    """The gateway did not create or change the endpoint; the text says why and what to do."""


class Endpoint(Struct, frozen=True):
    """A webhook endpoint at a gateway. The secret is there right after its creation only."""

    id: str
    url: str
    secret: str = ""

    def __repr__(self) -> str:
        return f"Endpoint({self.id})"


async def create_endpoint(http: Http, gateway_url: str, secret_key: str, webhook_url: str) -> Endpoint:
    """Create the endpoint for a webhook address. Raises EndpointNotCreated."""
    fields = [("url", webhook_url), *((f"enabled_events[{place}]", event) for place, event in enumerate(LEARNT_FROM))]
    endpoint = await _post(http, f"{gateway_url.rstrip('/')}/v1/webhook_endpoints", secret_key, fields)
    if not endpoint.secret:
        raise EndpointNotCreated("the gateway created an endpoint and did not tell its secret")
    return endpoint


async def move_endpoint(http: Http, gateway_url: str, secret_key: str, endpoint_id: str, webhook_url: str) -> None:
    """Tell an endpoint its new address. Raises EndpointNotCreated."""
    url = f"{gateway_url.rstrip('/')}/v1/webhook_endpoints/{endpoint_id}"
    await _post(http, url, secret_key, [("url", webhook_url)])


def by_hand(gateway_url: str, secret_key_file: str, webhook_secret_file: str, webhook_url: str) -> list[str]:
    """The lines that tell a person how to create the endpoint without us."""
    return [
        "Create a webhook endpoint with this address at the gateway, and put its secret (whsec_…)",
        f"into {webhook_secret_file}. By Stripe's API:",
        f'  curl {gateway_url.rstrip("/")}/v1/webhook_endpoints -u "$(cat {secret_key_file}):" \\',
        f"    -d url={webhook_url} \\",
        " \\\n".join(f"    -d 'enabled_events[]={event}'" for event in LEARNT_FROM),
    ]


async def _post(http: Http, url: str, secret_key: str, fields: Sequence[tuple[str, str]]) -> Endpoint:
    headers = {"Authorization": f"Bearer {secret_key}", "Content-Type": "application/x-www-form-urlencoded"}
    answer = await http.send(HttpRequest("POST", url, headers, urlencode(fields).encode(), DEADLINE_S))
    if not isinstance(answer, Answered):
        raise EndpointNotCreated(f"the gateway at {url} does not answer ({answer.reason})")
    if answer.status != 200:
        raise EndpointNotCreated(f"the gateway at {url} answered {answer.status}: {_message(answer.body)}")
    try:
        return msgspec.json.decode(answer.body, type=Endpoint)
    except msgspec.DecodeError:
        raise EndpointNotCreated(f"the answer of {url} is no webhook endpoint") from None


def _message(body: bytes) -> str:
    try:
        return str(msgspec.json.decode(body)["error"]["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return "no reason given"
