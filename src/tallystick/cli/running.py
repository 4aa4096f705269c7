"""A running installation, as commands find it: by its address and an operator's key, or by a demo's data folder.

TALLYSTICK_GATEWAY_URL, TALLYSTICK_GATEWAY_OPERATOR_KEY (or …_FILE)      the merchant service's likewise
TALLYSTICK_CA_FILE                                                       the authority to trust, if not a public one
--data-dir DIR                                                           a demo's folder, instead of all these
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from tallystick.cli.failures import CommandRefused
from tallystick.cli.service_api import ServiceApi

DataDir = Annotated[Path | None, typer.Option(help="Ask the demo that keeps its data here.")]
Result = TypeVar("Result")

NOUNS = {"gateway": "the gateway", "merchant": "the merchant service"}
AddressAndKey = tuple[str, str, str | None]


def ask(service: str, data_dir: Path | None, work: Callable[[ServiceApi], Awaitable[Result]]) -> Result:
    """What `work` gives, with the operator API of the running `service`: "gateway" or "merchant".

    Raises CommandRefused, SecretMissing, ServiceApiError.
    """
    url, key, ca_file = _of_demo(service, data_dir) if data_dir else _of_environment(service)
    return asyncio.run(_call(service, url, key, ca_file, work))


def ask_both(service: str, data_dir: Path | None, work: Callable[[dict[str, ServiceApi]], Awaitable[Result]]) -> Result:
    """What `work` gives, with the operator APIs by name of the running `service` and, where its address is known too,
    of the other one. Raises as `ask`."""
    known = {service: _of_demo(service, data_dir) if data_dir else _of_environment(service)}
    [other] = NOUNS.keys() - {service}
    try:
        known[other] = _of_demo(other, data_dir) if data_dir else _of_environment(other)
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
            known[service] = _of_demo(service, data_dir) if data_dir else _of_environment(service)
        except CommandRefused as refused:
            unknown[service] = str(refused)
    if not known:
        raise CommandRefused("; ".join(dict.fromkeys(unknown.values())))
    return asyncio.run(_call_all(known, work)), unknown


async def _call_all(
    known: dict[str, AddressAndKey], work: Callable[[dict[str, ServiceApi]], Awaitable[Result]]
) -> Result:
    from tallystick.ports.http import AiohttpClient

    async with AsyncExitStack() as opened:
        apis = {}
        for service, (url, key, ca_file) in known.items():
            http = AiohttpClient(ca_file=ca_file)
            opened.push_async_callback(http.close)
            apis[service] = ServiceApi(http, NOUNS[service], url, key)
        return await work(apis)


async def _call(
    service: str, url: str, key: str, ca_file: str | None, work: Callable[[ServiceApi], Awaitable[Result]]
) -> Result:
    from tallystick.ports.http import AiohttpClient

    http = AiohttpClient(ca_file=ca_file)
    try:
        return await work(ServiceApi(http, NOUNS[service], url, key))
    finally:
        await http.close()


def _of_environment(service: str) -> AddressAndKey:
    from tallystick.ports.secrets import read_local

    prefix = f"TALLYSTICK_{service.upper()}_"
    url = os.environ.get(f"{prefix}URL")
    key, key_file = (os.environ.get(f"{prefix}OPERATOR_KEY{suffix}") for suffix in ("", "_FILE"))
    if not url or not (key or key_file):
        raise CommandRefused(f"set {prefix}URL and {prefix}OPERATOR_KEY, or name a demo's folder with --data-dir")
    reference = f"file:{key_file}" if key_file else f"env:{prefix}OPERATOR_KEY"
    return url, read_local(reference), os.environ.get("TALLYSTICK_CA_FILE") or None


def _of_demo(service: str, data_dir: Path) -> AddressAndKey:
    from tallystick.demo.folder import Folder

    known = Folder(data_dir).read()
    if known is None:
        raise CommandRefused(f"there is no demo in {data_dir}; `tallystick demo --data-dir {data_dir}` makes one")
    key = known.operator_keys.get(service)
    if key is None:
        raise CommandRefused(f"the demo in {data_dir} has no operator key yet: start it once with this version")
    return getattr(known.addresses, service), key, known.ca_file
