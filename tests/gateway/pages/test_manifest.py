"""The manifest of the pages fits the files and headers that the code has (RULES §9; PCI DSS 6.4.3, 11.6.1).

tests/browser/test_page_manifest.py holds it against what Chromium receives. Here, without a browser and in no time, it
is told to whoever changes a script or style that its new hash is to be written there.
"""

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest

from tallystick.gateway.pages.assets import STATIC, read_assets
from tallystick.kernel.assets import STATIC as COMMON
from tallystick.kernel.console.views import HERE, ConsoleViews
from tallystick.kernel.page_headers import page_headers

MANIFEST = json.loads((files("tallystick.gateway.pages") / "manifest.json").read_text(encoding="utf-8"))
NONCE = "bm9uY2U="
SHOP = "https://shop.example"


def listed() -> Iterator[dict[str, Any]]:
    """Every script, style and icon in the manifest."""
    yield MANIFEST["icon"]
    yield MANIFEST["for_merchants_pages"]
    for page in MANIFEST["pages"].values():
        yield from (*page["scripts"], *page["styles"])


def test_every_file_stands_in_the_manifest_as_it_is_and_nothing_else_does() -> None:
    """Who changes one writes its address and hash into the manifest by hand, and so says that it was looked at."""
    console = ConsoleViews("gateway")
    assets = [*read_assets().hashed, read_assets().embed, console.style, console.script]
    assert {each["path"]: each["integrity"] for each in listed()} == {each.path: each.integrity for each in assets}
    ground = (COMMON / "ground.css").read_bytes()
    assert all(ground in style.body for style in (read_assets().style, console.style))
    found = [*STATIC.iterdir(), *(HERE / "static").iterdir(), *COMMON.iterdir()]
    assert len(found) == len(assets) + 1, "the ground is no file of its own, but a part of both styles"
    assert console.icon.body == read_assets().icon.body


@pytest.mark.parametrize("name", MANIFEST["pages"])
def test_every_pages_headers_stand_in_the_manifest_as_they_are_sent(name: str) -> None:
    """A page that has a script of the console may ask its own origin, and no other page may ask anybody."""
    told = json.dumps(MANIFEST["pages"][name]["headers"])
    framed = "{origins}" in told
    wanted = json.loads(told.replace("{nonce}", NONCE).replace("{origins}", SHOP))
    fetches = any("/console/" in each["path"] for each in MANIFEST["pages"][name]["scripts"])
    sent = page_headers(NONCE, ancestors=[SHOP] if framed else (), https=True, fetches=fetches)
    assert wanted.pop("content-type") == "text/html; charset=utf-8"
    assert wanted == {name.lower(): value for name, value in sent.items()}
