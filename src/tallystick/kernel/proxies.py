"""From which address a request comes: the peer's, unless the peer is a proxy of ours that says for whom. Pure.

`X-Forwarded-For` is a header that anybody can send. It is believed as far as our own proxies wrote it: from its end,
one address for each trusted hop, up to the first one that is not a proxy of ours.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final

UNKNOWN: Final = "unknown"
REMEMBERED_MAX: Final = 4096  # addresses whose forms are remembered: to read one takes as long as to answer a webhook
HOPS_MAX: Final = 20  # of a header that is longer only the end is read
NETWORK_BITS_V6: Final = 64  # one household or server has all addresses of such a network
SHOWN_BITS: Final = {4: 24, 6: 48}  # of an address where people see it: the network of many

_SEPARATED = re.compile(r"[,\s]+")


class ProxiesInvalid(ValueError):
    """What stands in the setting is no address or network."""


class Proxies:
    """The proxies that are believed."""

    def __init__(self, networks: str = "") -> None:
        """`networks`: addresses and networks, `10.0.0.0/8, ::1`. Raises ProxiesInvalid."""
        self._networks: list[IPv4Network | IPv6Network] = []
        for text in filter(None, _SEPARATED.split(networks)):
            try:
                self._networks.append(ip_network(text))
            except ValueError:
                raise ProxiesInvalid(f"{text[:50]!r} is no address and no network") from None

    def client(self, scope: Mapping[str, Any]) -> str:
        """The address of whoever sent the request of this ASGI scope; `unknown` where the server cannot say."""
        peer = scope.get("client")
        address = _plain(peer[0]) if peer else UNKNOWN
        if not self._networks or not self._trusted(address):
            return address
        sent = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
        for hop in reversed(sent.decode("latin-1").split(",")[-HOPS_MAX:]):
            told = _plain(hop.strip())
            if told == UNKNOWN:
                return address  # whoever wrote this wrote no address: the last one that is known sent it
            address = told
            if not self._trusted(address):
                return address
        return address

    def _trusted(self, address: str) -> bool:
        if address == UNKNOWN:
            return False
        parsed = ip_address(address)
        return any(parsed in network for network in self._networks if network.version == parsed.version)


@lru_cache(maxsize=REMEMBERED_MAX)
def crowd(address: str) -> str | None:
    """What limits are counted by: the address, of IPv6 its network of 64 bits. None for this machine itself and where
    nothing is known: there sits a proxy that was not declared, and everybody would share one limit."""
    if address == UNKNOWN:
        return None
    parsed = ip_address(address)
    if parsed.is_loopback:
        return None
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed, NETWORK_BITS_V6), strict=False))
    return address


def without_its_end(place: str) -> str:
    """A crowd's address as people may see it: which network it is, and not whose place in it."""
    network = ip_network(place, strict=False)
    bits = min(network.prefixlen, SHOWN_BITS[network.version])
    return str(ip_network((network.network_address, bits), strict=False))


@lru_cache(maxsize=REMEMBERED_MAX)
def _plain(text: str) -> str:
    """An address in its one form; v4-mapped ones as IPv4, a port behind an IPv4 address or behind brackets is left
    out."""
    host, _, _port = text.partition(":")
    if text.startswith("["):
        bare = text[1:].partition("]")[0]
    else:
        bare = host if text.count(":") == 1 else text
    try:
        parsed = ip_address(bare.partition("%")[0])
    except ValueError:
        return UNKNOWN
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return str(mapped or parsed)
