"""Whom we may be made to call (RULES §12, SSRF)."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.kernel.addresses import Target, UrlRefused, address_allowed, check_url

# fmt: off
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.215.14", "172.15.0.1", "172.32.0.1", "100.63.255.255", "100.128.0.1",
          "192.0.1.1", "198.17.255.255", "198.20.0.0", "223.255.255.255", "2606:4700:4700::1111",
          "2a00:1450:4001:82a::200e", "2001:4860:4860::8888", "2600::1", "3ffe::1"]

REFUSED = {
    "loopback": ["127.0.0.1", "127.0.0.2", "127.255.255.254", "::1"],
    "unspecified": ["0.0.0.0", "0.1.2.3", "::"],
    "private": ["10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "fc00::1", "fdff::1"],
    "link-local": ["169.254.0.1", "169.254.255.255", "fe80::1", "fe80::1%eth0", "febf::1"],
    "carrier-grade NAT": ["100.64.0.1", "100.127.255.255"],
    "metadata": ["169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "168.63.129.16",
                 "fd00:ec2::254", "fe80::a9fe:a9fe"],
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"],
    "reserved": ["240.0.0.1", "255.255.255.255", "192.0.0.1", "198.18.0.1", "198.19.255.255", "100::1", "5f00::1"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1", "3fff:fff:ffff::1"],
    "relays": ["192.88.99.1", "192.31.196.1", "192.52.193.1", "192.175.48.1", "2620:4f:8000::1"],
    "v4-mapped": ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:8.8.8.8", "::ffff:7f00:1"],
    "v4-compatible": ["::127.0.0.1", "::10.0.0.1", "::8.8.8.8"],
    "v4-translated": ["::ffff:0:127.0.0.1"],
    "6to4": ["2002:7f00:1::", "2002:a00:1::1", "2002:808:808::1"],
    "Teredo": ["2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"],
    "NAT64": ["64:ff9b::7f00:1", "64:ff9b::8.8.8.8", "64:ff9b:1::1"],
    "site-local": ["fec0::1", "feff::1"],
    "ORCHID, benchmarks": ["2001:10::1", "2001:20::1", "2001:2::1"],
    "not canonical": ["", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.0.0.1 ", "[::1]",
                      "8.8.8.8:443", "8.8.8.8/32", "1.1.1", "٨.8.8.8", "fe80::1%", "2606:4700::1%eth0"],
}
# fmt: on


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_dialled(address: str) -> None:
    assert address_allowed(address)
    assert address_allowed(address, loopback=True)


@pytest.mark.parametrize("address", [address for group in REFUSED.values() for address in group])
def test_addresses_inside_may_not_be_dialled(address: str) -> None:
    """RULES §12: each range of the list; `ipaddress.is_global` alone is not enough."""
    assert not address_allowed(address)


def test_development_lets_loopback_through_and_nothing_else() -> None:
    """RULES §12: only by an explicit development setting."""
    for address in ("127.0.0.1", "127.0.0.2", "::1"):
        assert address_allowed(address, loopback=True)
    others = [address for kind, group in REFUSED.items() if kind != "loopback" for address in group]
    assert not [address for address in others if address_allowed(address, loopback=True)]


@given(st.integers(0, 2**32 - 1))
def test_no_ipv4_address_hides_in_an_ipv6_address(number: int) -> None:
    """Whatever IPv4 address stands in it: mapped, compatible, 6to4 and NAT64 forms are refused."""
    for form in (0xFFFF << 32, 0, 0x2002 << 112 | 1, 0x64FF9B << 96, 0xFFFF << 48):
        shift = 80 if form >> 112 == 0x2002 else 0
        assert not address_allowed(str(IPv6Address(form | number << shift)))


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_no_address_that_python_knows_as_special_is_allowed(address: IPv4Address) -> None:
    """Ours refuses all that `ipaddress` refuses, and more."""
    assert address.is_global or not address_allowed(str(address))


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://shop.example.com/hook", Target("shop.example.com", 443, False)),
        ("https://shop.example.com", Target("shop.example.com", 443, False)),
        ("HTTPS://Shop.Example.COM:8443/a/b?c=d&e=%20", Target("shop.example.com", 8443, False)),
        ("https://shop.example.com./hook", Target("shop.example.com", 443, False)),
        ("https://xn--bcher-kva.example.com/", Target("xn--bcher-kva.example.com", 443, False)),
        ("https://a_b.example.com/", Target("a_b.example.com", 443, False)),
        ("https://1.1.1.1/hook", Target("1.1.1.1", 443, True)),
        ("https://[2606:4700:4700::1111]:443/", Target("2606:4700:4700::1111", 443, True)),
        ("https://1.example.com/", Target("1.example.com", 443, False)),
        ("https://shop.example.com?x", Target("shop.example.com", 443, False)),
    ],
)
def test_public_urls_may_be_registered(url: str, target: Target) -> None:
    assert check_url(url) == target


# fmt: off
REFUSED_URLS = {
    "scheme": ["http://shop.example.com/", "ftp://shop.example.com/", "file:///etc/passwd", "gopher://x.example.com/",
               "shop.example.com", "//shop.example.com/", "https:shop.example.com", "https:/shop.example.com",
               "javascript:alert(1)", "", "https://"],
    "loopback": ["https://127.0.0.1/", "https://127.0.0.1:443/", "https://[::1]/", "https://localhost/", "https://localhost./",
                 "https://LOCALHOST/", "https://a.localhost/", "http://127.0.0.1/"],
    "numbers in other forms": ["https://2130706433/", "https://0x7f000001/", "https://0x7f.0.0.1/", "https://0177.0.0.1/",
                               "https://017700000001/", "https://127.1/", "https://127.0.1/", "https://0/", "https://1/",
                               "https://127.0.0.1./", "https://127.0.0.01/", "https://1.2.3.4.5/", "https://256.1.1.1/",
                               "https://0x/", "https://shop.example.0x7f/", "https://shop.123/", "https://8.8.8/"],
    "inside": ["https://10.0.0.1/", "https://192.168.1.1/", "https://169.254.169.254/latest/meta-data/",
               "https://[fd00:ec2::254]/", "https://[::ffff:10.0.0.1]/", "https://[64:ff9b::7f00:1]/", "https://[fe80::1]/",
               "https://[fe80::1%25eth0]/", "https://metadata/", "https://intranet/", "https://metadata.google.internal/",
               "https://printer.local/", "https://nas.lan/", "https://router.home.arpa/", "https://[::]/", "https://0.0.0.0/"],
    "userinfo": ["https://user@shop.example.com/", "https://user:secret@shop.example.com/", "https://@shop.example.com/",
                 "https://8.8.8.8@127.0.0.1/", "https://127.0.0.1#@shop.example.com/", "https://shop.example.com:443@10.0.0.1/"],
    "ports": ["https://shop.example.com:80/", "https://shop.example.com:22/", "https://shop.example.com:6379/",
              "https://shop.example.com:0/", "https://shop.example.com:65536/", "https://shop.example.com:/",
              "https://shop.example.com:443:443/", "https://shop.example.com:0443/", "https://shop.example.com:+443/",
              "https://shop.example.com:443a/"],
    "characters": ["https://shop.example.com/a b", "https://shop.example.com/\n", "https://shop.example.com\\@10.0.0.1/",
                   "https://shop.example.com/\x00", "https://b\u00fccher.example.com/", "https://\uff11\uff12\uff17.0.0.1/",
                   "https://127\u30020\u30020\u30021/", "https://shop.example.com/\u202e", "\thttps://shop.example.com/",
                   " https://shop.example.com/", "https://shop.example.com/<x>"],
    "fragment": ["https://shop.example.com/#x", "https://shop.example.com#"],
    "names": ["https://.example.com/", "https://shop..example.com/", "https://-a.example.com/", "https://a-.example.com/",
              "https://%31%32%37.0.0.1/", "https://shop.example.com../", "https://[shop.example.com]/", "https://[::1/",
              "https://::1/", "https://[]/", "https://" + "a" * 64 + ".example.com/",
              "https://" + ".".join(["a" * 60] * 5) + ".com/"],
    "length": ["https://shop.example.com/" + "a" * 2048],
}
# fmt: on


@pytest.mark.parametrize("url", [url for group in REFUSED_URLS.values() for url in group])
def test_other_urls_are_refused_at_registration(url: str) -> None:
    """RULES §12: the sentence for whoever sent it repeats nothing of the URL."""
    with pytest.raises(UrlRefused) as refused:
        check_url(url)
    assert "example" not in str(refused.value)
    assert "127" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/hook",
        "https://127.0.0.2:1/",
        "http://[::1]:9/",
        "http://localhost/",
        "https://localhost:80/",
    ],
)
def test_development_lets_loopback_through_by_http_and_on_every_port(url: str) -> None:
    check_url(url, loopback=True)


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example.com/",
        "http://10.0.0.1/",
        "https://10.0.0.1/",
        "https://shop.example.com:8000/",
        "ftp://127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://[::ffff:127.0.0.1]/",
        "http://0.0.0.0/",
        "http://u@127.0.0.1/",
    ],
)
def test_development_lets_nothing_else_through(url: str) -> None:
    with pytest.raises(UrlRefused):
        check_url(url, loopback=True)


@given(st.text(max_size=60) | st.text(alphabet="htps:/@[]#?.0127xfa%-\\", max_size=40).map("https://{}".format))
def test_no_text_gives_anything_but_an_answer(url: str) -> None:
    """And what passes is public in the eyes of the guard too, where it is an address."""
    try:
        target = check_url(url)
    except UrlRefused:
        return
    assert not target.literal or address_allowed(target.host)
