"""Which addresses and URLs may be called: the SSRF rules, in the one place. Pure tables and functions. RULES §12.

    check_url, address_allowed              strangers': webhook endpoints, shops' endpoints, shops' stock hooks
    check_own_url, own_address_allowed      the operator's: gateways, which may stand inside the network

The first of each looks at what is written, when it is registered, and gives people a clear answer. The second is the
guard: it looks at what a name turned out to mean, when a connection is made, since that may be something else at any
time; strangers' URLs are looked at once more as well (`url_allowed`). Return URLs are not in the list because nobody
fetches them: a shopper's browser is sent there.
"""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from msgspec import Struct

PORTS_ALLOWED: Final = frozenset({443, 8443})
"""Other ports belong to services that were not built to hear from strangers."""

URL_CHARACTERS_MAX: Final = 2048

_REFUSED_V4: Final = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",  # this network; 0.0.0.0 reaches loopback on Linux
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT; holds Alibaba's metadata service 100.100.100.200
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's platform service, public by number only
        "169.254.0.0/16",  # link-local; holds the metadata services 169.254.169.254 and 169.254.170.2
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; holds Oracle's metadata service 192.0.0.192
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # multicast tunnels (AMT)
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)

_GLOBAL_V6: Final = ip_network("2000::/3")
"""All of IPv6 that is routed. Outside lie unspecified and loopback (::/127), v4-compatible (::/96), v4-mapped
(::ffff:0:0/96), v4-translated (::ffff:0:0:0/96), NAT64 (64:ff9b::/96 and 64:ff9b:1::/48), discard (100::/64), segment
routing (5f00::/16), unique local (fc00::/7; AWS's metadata service fd00:ec2::254), link-local (fe80::/10), site-local
(fec0::/10) and multicast (ff00::/8)."""

_REFUSED_V6: Final = tuple(
    ip_network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID; they embed or stand for other addresses
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: carries an IPv4 address
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)

_NEVER_OURS: Final = tuple(
    ip_network(network)
    for network in (
        *("0.0.0.0/8", "100.100.100.200/32", "168.63.129.16/32", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24"),
        *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        "fd00:ec2::254/128",
    )
)
"""Where no server of an operator's stands either: metadata services, link-local, documentation, multicast, reserved."""

_OWN_V6: Final = ip_network("fc00::/7")

_LOOPBACK: Final = (ip_network("127.0.0.0/8"), ip_network("::1/128"))

_URL: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://"
    r"(?:(?P<userinfo>[^/?#]*)@)?"
    r"(?P<host>\[[^\]/?#@]*\]|[^:/?#@\[\]]*)"
    r"(?P<port>:[^/?#]*)?"
    r"(?P<path>/[^?#]*)?"
    r"(?P<query>\?[^#]*)?"
    r"(?P<fragment>#.*)?",
    re.ASCII,
)
_URL_CHARACTERS: Final = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]*", re.ASCII)
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMBER: Final = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)", re.ASCII)
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_INSIDE: Final = ("localhost", "local", "localdomain", "internal", "intranet", "lan", "home", "corp", "private", "arpa")
"""Last labels of names that mean something inside somebody's network only."""


class Target(Struct, frozen=True):
    """What a URL that passed `check_url` leads to; `host` is a name in lower case or an address."""

    host: str
    port: int
    literal: bool


class UrlRefused(Exception):
    """This URL may not be an endpoint. The text is a sentence for whoever sent it; it repeats nothing of the URL."""


def address_allowed(address: str, *, loopback: bool = False) -> bool:
    """Whether a connection to `address` (canonical text, as from a resolver) may be made.

    `loopback` is the explicit development setting that lets 127.0.0.0/8 and ::1 through, and nothing else.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if loopback and _is_loopback(parsed):
        return True
    if isinstance(parsed, IPv4Address):
        return not any(parsed in network for network in _REFUSED_V4)
    if parsed.scope_id is not None:
        return False
    return parsed in _GLOBAL_V6 and not any(parsed in network for network in _REFUSED_V6)


def check_url(url: str, *, loopback: bool = False) -> Target:
    """The target of `url`, or UrlRefused.

    https only, one of PORTS_ALLOWED, no user, no fragment, a public name or address in its plain form. With `loopback`,
    the development setting, loopback may also be called by http and on every port.
    """
    parts = _parts(url)
    target, is_loopback = _target(parts)
    if is_loopback and not loopback:
        raise UrlRefused("it leads to this machine, which a setting for development alone lets through")
    if parts["scheme"].lower() != "https" and not (is_loopback and parts["scheme"].lower() == "http"):
        raise UrlRefused("it must begin with https://")
    if not is_loopback:
        if target.literal and not address_allowed(target.host):
            raise UrlRefused("it leads to an address that is not public")
        if target.port not in PORTS_ALLOWED:
            raise UrlRefused(f"its port must be one of {', '.join(map(str, sorted(PORTS_ALLOWED)))}")
    return target


def url_allowed(url: str, *, loopback: bool = False) -> bool:
    """Whether `url` would still be registered: asked once more before it is called."""
    try:
        check_url(url, loopback=loopback)
    except UrlRefused:
        return False
    return True


def own_address_allowed(address: str) -> bool:
    """Whether a connection to a server that the operator named may be made: public, private or this machine's.

    Whoever got such a name to mean something else still does not reach a metadata service.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed.scope_id is not None:
        return False
    if any(parsed in network for network in _NEVER_OURS):
        return False
    return parsed.version == 4 or _is_loopback(parsed) or parsed in _OWN_V6 or address_allowed(address)


def check_own_url(url: str) -> Target:
    """The target of a URL that the operator names, or UrlRefused: https, or http on this machine; any port; names and
    addresses inside a network too, in their plain form. No user, no query, no fragment."""
    parts = _parts(url)
    if parts["query"]:
        raise UrlRefused("it carries a query")
    target, is_loopback = _target(parts, inside=True)
    if parts["scheme"].lower() != "https" and not (is_loopback and parts["scheme"].lower() == "http"):
        raise UrlRefused("it must begin with https://; plain HTTP is for this machine only")
    if target.literal and not own_address_allowed(target.host):
        raise UrlRefused("it leads to an address where no server stands")
    return target


def _parts(url: str) -> dict[str, str]:
    if len(url) > URL_CHARACTERS_MAX:
        raise UrlRefused(f"it is longer than {URL_CHARACTERS_MAX} characters")
    if not _URL_CHARACTERS.fullmatch(url):
        raise UrlRefused("it holds characters that do not stand in URLs (write international names as xn--…)")
    match = _URL.fullmatch(url)
    if match is None:
        raise UrlRefused("it is not a URL")
    if match["userinfo"] is not None:
        raise UrlRefused("it carries a user name")
    if match["fragment"] is not None:
        raise UrlRefused("it carries a fragment")
    return match.groupdict(default="")


def _target(parts: dict[str, str], *, inside: bool = False) -> tuple[Target, bool]:
    """The target and whether it is loopback; names that mean something inside a network only where `inside`."""
    port = _port(parts)
    host = parts["host"].lower()
    if host.startswith("["):
        address = _v6(host[1:-1])
        return Target(str(address), port, literal=True), _is_loopback(address)
    host = host.removesuffix(".")
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        # A name that ends in a number is an address to some parsers: only the plain form may pass (not 127.1, 0x7f.1,
        # 017700000001 or 2130706433), so that all of them agree on what it means.
        v4 = _v4(host)
        return Target(str(v4), port, literal=True), _is_loopback(v4)
    return _named(host, port, inside)


def is_this_machine(host: str) -> bool:
    """Whether a host is this machine, by its spelling alone: nothing is looked up."""
    if host == "localhost":
        return True
    try:
        return _is_loopback(ip_address(host.strip("[]")))
    except ValueError:
        return False


def _is_loopback(address: IPv4Address | IPv6Address) -> bool:
    """Not `address.is_loopback`: from Python 3.13 on it takes in v4-mapped addresses."""
    return any(address in network for network in _LOOPBACK)


def _named(host: str, port: int, inside: bool) -> tuple[Target, bool]:
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise UrlRefused("its host is not a name")
    if labels[-1] == "localhost":
        return Target(host, port, literal=False), True
    if not inside and (len(labels) == 1 or labels[-1] in _INSIDE):
        raise UrlRefused("its host is a name inside a network")
    return Target(host, port, literal=False), False


def _port(parts: dict[str, str]) -> int:
    if not parts["port"]:
        return 443 if parts["scheme"].lower() == "https" else 80
    digits = parts["port"][1:]
    if not _PORT.fullmatch(digits) or int(digits) > 65535:
        raise UrlRefused("its port is not a number between 1 and 65535")
    return int(digits)


def _v4(host: str) -> IPv4Address:
    try:
        return IPv4Address(host)
    except ValueError:
        raise UrlRefused("its host is neither a name nor an address of four decimal numbers") from None


def _v6(host: str) -> IPv6Address:
    try:
        address = IPv6Address(host)
    except ValueError:
        raise UrlRefused("its host is not an IPv6 address") from None
    if address.scope_id is not None:
        raise UrlRefused("its address names an interface of this machine")
    return address
