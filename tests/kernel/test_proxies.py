"""From which address a request comes: `X-Forwarded-For` is believed as far as our own proxies wrote it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.kernel.proxies import UNKNOWN, Proxies, ProxiesInvalid, crowd

PROXY, PROXY_TOO, CLIENT = "10.0.0.1", "10.0.0.2", "203.0.113.9"


def scope(peer: str | None, *forwarded: str) -> dict[str, Any]:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    return {"client": None if peer is None else (peer, 1), "headers": headers}


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        (CLIENT, [], CLIENT),
        (CLIENT, ["198.51.100.1"], CLIENT),  # a stranger may write what it likes
        (PROXY, [], PROXY),
        (PROXY, [CLIENT], CLIENT),
        (PROXY, [f"1.2.3.4, {CLIENT}"], CLIENT),  # what the client wrote itself is left of what our proxy wrote
        (PROXY, [f"{CLIENT}, {PROXY_TOO}"], CLIENT),
        (PROXY, ["1.2.3.4", f"{CLIENT}, {PROXY_TOO}"], CLIENT),
        (PROXY, [f"{CLIENT}:4711"], CLIENT),
        (PROXY, ["[2001:db8::1]"], "2001:db8::1"),
        (PROXY, ["[2001:db8::1]:49152"], "2001:db8::1"),
        (PROXY, ["nonsense"], PROXY),
        (PROXY, [f"{CLIENT}, nonsense"], PROXY),
        (PROXY, ["\u00e9"], PROXY),
        (PROXY, [""], PROXY),
        (PROXY, [f"{PROXY_TOO}, {PROXY_TOO}"], PROXY_TOO),
        ("::ffff:10.0.0.1", [CLIENT], CLIENT),
        ("::1", [CLIENT], CLIENT),
        (None, [CLIENT], UNKNOWN),
    ],
)
def test_the_client_is_the_first_that_is_no_proxy_of_ours(peer: str | None, forwarded: list[str], client: str) -> None:
    assert Proxies("10.0.0.0/24, ::1").client(scope(peer, *forwarded)) == client


def test_without_proxies_nobody_is_believed() -> None:
    assert Proxies().client(scope("127.0.0.1", CLIENT)) == "127.0.0.1"


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=200))
def test_no_header_breaks_it(text: str) -> None:
    found = Proxies("10.0.0.0/24").client(scope(PROXY, text))
    crowd(found)


@pytest.mark.parametrize("networks", ["x", "10.0.0.0/33", "10.0.0.1/24", "10.0.0.1;10.0.0.2"])
def test_a_setting_that_is_none_is_refused(networks: str) -> None:
    with pytest.raises(ProxiesInvalid):
        Proxies(networks)


def test_limits_are_counted_by_address_and_by_network_of_ipv6() -> None:
    assert crowd(CLIENT) == CLIENT
    assert crowd("2001:db8:1:2:3::4") == crowd("2001:db8:1:2:ffff::1") == "2001:db8:1:2::/64"
    assert crowd("127.0.0.1") is crowd("::1") is crowd(UNKNOWN) is None, "there sits a proxy that was not declared"
