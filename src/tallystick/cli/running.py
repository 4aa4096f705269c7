"""A running installation, as commands find it: by its address and an operator's key, or by a demo's data folder.

TALLYSTICK_GATEWAY_URL, TALLYSTICK_GATEWAY_OPERATOR_KEY (or …_FILE)      the merchant service's likewise
TALLYSTICK_CA_FILE                                                       the authority to trust, if not a public one
--data-dir DIR                                                           a demo's folder, instead of all these
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from tallystick.cli.failures import CommandRefused
from tallystick.cli.service_api import ServiceApi

if TYPE_CHECKING:
    from tallystick.demo.folder import Known

DataDir = Annotated[Path | None, typer.Option(help="Ask the demo that keeps its data here.")]
Result = TypeVar("Result")


class Service(StrEnum):
    """A service of the installation, with a database of its own."""

    GATEWAY = "gateway"
    MERCHANT = "merchant"


NOUNS = {"gateway": "the gateway", "merchant": "the merchant service"}
AddressAndKey = tuple[str, str, str | None]


def ask(service: str, data_dir: Path | None, work: Callable[[ServiceApi], Awaitable[Result]]) -> Result:
    """What `work` gives, with the operator API of the running `service`: "gateway" or "merchant".

    Raises CommandRefused, SecretMissing, ServiceApiError.
    """
    known = {service: _address_and_key(service, data_dir)}
    return asyncio.run(_call_all(known, lambda apis: work(apis[service])))


def ask_both(service: str, data_dir: Path | None, work: Callable[[dict[str, ServiceApi]], Awaitable[Result]]) -> Result:
    """What `work` gives, with the operator APIs by name of the running `service` and, where its address is known too,
    of the other one. Raises as `ask`."""
    known = {service: _address_and_key(service, data_dir)}
    [other] = NOUNS.keys() - {service}
    try:
        known[other] = _address_and_key(other, data_dir)
    except CommandRefused:
        pass  # one service alone is an installation too
    return asyncio.run(_call_all(known, work))


def ask_all(
    data_dir: Path | None, work: Callable[[dict[str, ServiceApi]], Awaitable[Result]]
) -> tuple[Result, dict[str, str]]:
    """What `work` gives, with the operator APIs by name of the services whose addresses are known; and why the others'
    are not. Raises CommandRefused where none is, SecretMissing, ServiceApiError."""
    known: dict[str, AddressAndKey] = {}
    unknown: dict[str, str] = {}
    for service in NOUNS:
        try:
            known[service] = _address_and_key(service, data_dir)
        except CommandRefused as refused:
            unknown[service] = str(refused)
    if not known:
        raise CommandRefused("; ".join(dict.fromkeys(unknown.values())))
    return asyncio.run(_call_all(known, work)), unknown


async def _call_all(
    known: dict[str, AddressAndKey], work: Callable[[dict[str, ServiceApi]], Awaitable[Result]]
) -> Result:
    from tallystick.ports.aiohttp_http import AiohttpClient

    async with AsyncExitStack() as opened:
        apis = {}
        for service, (url, key, ca_file) in known.items():
            http = AiohttpClient(ca_file=ca_file)
            opened.push_async_callback(http.close)
            apis[service] = ServiceApi(http, NOUNS[service], url, key)
        return await work(apis)


def _address_and_key(service: str, data_dir: Path | None) -> AddressAndKey:
    return _of_demo(service, data_dir) if data_dir else _of_environment(service)


def _of_environment(service: str) -> AddressAndKey:
    from tallystick.ports.secrets import read_local

    prefix = f"TALLYSTICK_{service.upper()}_"
    url = os.environ.get(f"{prefix}URL")
    key, key_file = (os.environ.get(f"{prefix}OPERATOR_KEY{suffix}") for suffix in ("", "_FILE"))
    if not url or not (key or key_file):
        raise CommandRefused(
            f"set {prefix}URL and {prefix}OPERATOR_KEY, which `tallystick {service} operators create` makes, or name a "
            "demo's folder with --data-dir"
        )
    reference = f"file:{key_file}" if key_file else f"env:{prefix}OPERATOR_KEY"
    return url, read_local(reference), os.environ.get("TALLYSTICK_CA_FILE") or None


def _of_demo(service: str, data_dir: Path) -> AddressAndKey:
    known = demo_in(data_dir)
    key = known.operator_keys.get(service)
    if key is None:
        raise CommandRefused(f"the demo in {data_dir} has no operator key yet: start it once with this version")
    return getattr(known.addresses, service), key, known.ca_file


def demo_in(data_dir: Path) -> "Known":
    """What the demo of this folder has made. Raises CommandRefused where there is none."""
    from tallystick.demo.folder import Folder

    known = Folder(data_dir).read()
    if known is None:
        raise CommandRefused(f"there is no demo in {data_dir}; `tallystick demo --data-dir {data_dir}` makes one")
    return known
