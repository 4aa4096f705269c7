"""What the documentation names exists: links lead somewhere, the map of the architecture page is the folder tree."""

import re
import runpy
from pathlib import Path

import pytest

from tallystick.gateway.settings import Settings as GatewaySettings
from tallystick.kernel.settings import describe
from tallystick.kernel.vault import VaultSettings
from tallystick.merchant.settings import Settings as MerchantSettings

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
NOT_ROOMS = {"__pycache__", "static", "templates"}


def rooms_on_the_map(text: str) -> set[str]:
    """The folders between the map marks, as paths below src/tallystick; indentation says what lies in what."""
    drawn = text.split("<!-- map -->")[1].split("<!-- /map -->")[0]
    above: dict[int, str] = {}
    rooms = set()
    for line in drawn.splitlines():
        match = re.match(r"^( +)([a-z_/]+)/(?: |$)", line)
        if match is None:
            continue
        depth = len(match[1])
        above = {indent: path for indent, path in above.items() if indent < depth}
        path = "/".join([*above.values(), match[2]])
        above[depth] = match[2]
        rooms.add(path.removeprefix("src/tallystick").removeprefix("/"))
    return rooms - {""}


def rooms_in_the_tree() -> set[str]:
    source = ROOT / "src" / "tallystick"
    rooms = set()
    for service in sorted(path for path in source.iterdir() if path.is_dir() and path.name not in NOT_ROOMS):
        rooms.add(service.name)
        if service.name in ("merchant", "gateway"):
            rooms |= {f"{service.name}/{room.name}" for room in service.iterdir() if room.is_dir()} - {
                f"{service.name}/{name}" for name in NOT_ROOMS
            }
    return rooms


def test_the_map_is_the_folder_tree() -> None:
    drawn = rooms_on_the_map((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))
    assert drawn == rooms_in_the_tree()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    dead = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert dead == []


def test_the_settings_page_lists_every_setting_as_it_is() -> None:
    written = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert written == runpy.run_path(str(ROOT / "scripts" / "settings_page.py"))["page"]()


@pytest.mark.parametrize("kind", [GatewaySettings, MerchantSettings, VaultSettings])
def test_every_setting_that_is_called_a_secret_is_treated_as_one(kind: type) -> None:
    """The doctor looks where those lie that are marked."""
    settings = describe(kind, "")
    assert [each.field for each in settings if each.secret] == [
        each.field for each in settings if "A secret." in each.sentence
    ]
