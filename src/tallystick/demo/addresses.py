"""Which ports the demo listens on: the documented ones, and free ones where those are in use."""

import contextlib
import socket
from collections.abc import Callable

from tallystick.demo.folder import Addresses

NAMES = ("gateway", "merchant", "shop", "gateway's metrics", "merchant's metrics")
Ports = tuple[int, int, int, int, int]
HOST = "127.0.0.1"


def choose_ports(base: int, say: Callable[[str], None]) -> Ports:
    """Ports that nobody listens on: `base` and those after it, in the order of `NAMES`, or free ones instead."""
    with contextlib.ExitStack() as held:
        gateway, merchant, shop, *metrics = (_choose(held, name, base + place, say) for place, name in enumerate(NAMES))
        return gateway, merchant, shop, metrics[0], metrics[1]


def addresses_of(ports: Ports, *, https: bool) -> Addresses:
    """The origins. By number and not by name: a browser takes no HSTS from an address, so that no other program that
    this user runs on `localhost` is forced to HTTPS by the demo."""
    scheme = "https" if https else "http"
    return Addresses(*(f"{scheme}://{HOST}:{port}" for port in ports[:3]))


def origins_of_shop(addresses: Addresses) -> list[str]:
    """The shop's origins, as people type them."""
    return [addresses.shop, addresses.shop.replace(HOST, "localhost")]


def _choose(held: contextlib.ExitStack, name: str, wanted: int, say: Callable[[str], None]) -> int:
    for port in (wanted, 0):
        probe = held.enter_context(socket.socket())
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            continue
        found: int = probe.getsockname()[1]
        if found != wanted:
            say(f"Port {wanted} is in use: {name} on {found} instead.")
        return found
    raise OSError("no port is free")
