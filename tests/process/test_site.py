"""The documentation as a site: it is built without a network, and what a reader's browser loads comes from it alone."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILD_S = 180
LOADED = {
    "script": "src",
    "link": "href",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "object": "data",
    "use": "href",
}
ONLY_NAMED = {"canonical", "author", "license", "search", "index", "next", "prev"}  # links that no browser follows


class Loads(HTMLParser):
    """What a page has a browser load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if tag == "link" and (given.get("rel") or "") in ONLY_NAMED:
            return
        self.found += [given[name] or "" for name in (LOADED.get(tag, ""), "srcset", "poster") if given.get(name)]
        self.found += re.findall(r"url\(([^)]*)\)", given.get("style") or "")


def from_elsewhere(address: str) -> bool:
    address = address.strip("\"' ")
    return bool(re.match(r"([a-z][a-z0-9+.-]*:)?//", address, re.IGNORECASE))


@pytest.mark.proof
def test_it_is_built_without_a_network_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    """A page that is in no list, a link that leads nowhere and a reference that is not there are faults."""
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    command = (sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", "docs", str(tmp_path))
    built = subprocess.run(command, cwd=ROOT, env=os.environ | nowhere, capture_output=True, text=True, timeout=BUILD_S)
    assert built.returncode == 0, built.stdout + built.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 20
    loaded = []
    for page in pages:
        reader = Loads()
        reader.feed(page.read_text(encoding="utf-8"))
        loaded += [(page.name, address) for address in reader.found]
    styles = [*tmp_path.rglob("*.css"), *tmp_path.rglob("*.svg")]
    for style in styles:
        text = style.read_text(encoding="utf-8")
        loaded += [(style.name, address) for address in re.findall(r"url\(([^)]*)\)|@import\s+[\"']([^\"']+)", text)]
    assert len(loaded) > len(pages)
    assert [(page, address) for page, address in loaded if from_elsewhere("".join(address))] == []


def test_what_comes_from_elsewhere_is_noticed() -> None:
    reader = Loads()
    reader.feed('<script src="//cdn.example/a.js"></script><link rel="stylesheet" href="https://fonts.example/f.css">')
    reader.feed('<img src="a.svg"><div style="background: url(https://x.example/b.png)"></div>')
    assert [from_elsewhere(address) for address in reader.found] == [True, True, False, True]
