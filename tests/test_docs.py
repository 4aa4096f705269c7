"""What the documentation names exists: links lead somewhere, the map of the architecture page is the folder tree, code
is code, drawings are drawn from what they show. What the code does is tried by process/test_documentation.py.
"""

import re
import runpy
import shutil
from pathlib import Path
from typing import get_args

import doc_blocks
import psycopg
import pytest

from tallystick.gateway.ledger.postings import Kind
from tallystick.gateway.payments.machine import STATUSES, TRANSITIONS
from tallystick.gateway.settings import Settings as GatewaySettings
from tallystick.kernel.settings import describe
from tallystick.kernel.vault_settings import VaultSettings
from tallystick.merchant.settings import Settings as MerchantSettings

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
REFERENCE = ROOT / "docs" / "reference"  # written when the site is built
NOT_RUN_MAX = 21  # code blocks that no test runs, each with its reason: lower it when there are fewer
NOT_ROOMS = {"__pycache__", "static", "templates"}


diagrams = runpy.run_path(str(ROOT / "scripts" / "diagrams.py"))


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


def anchors(page: Path) -> set[str]:
    """The places of a page that a link can lead to, as GitHub and the site name them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#{1,4} +(.+?) *$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def leads_somewhere(page: Path, link: str) -> bool:
    address, _, anchor = link.partition("#")
    target = (page.parent / address).resolve() if address else page
    if target.is_relative_to(REFERENCE):
        return target.name in {"cli.md", "merchant-api.md", "gateway-api.md", *(page.name for page in PAGES)}
    return target.exists() and (not anchor or target.suffix != ".md" or anchor in anchors(target))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not leads_somewhere(page, link)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_code_block_is_code_of_its_language(page: Path) -> None:
    """Also those that are not run. A block says its language; code by indentation, which cannot, is refused."""
    for block in doc_blocks.blocks_of(page):
        if block.language != "js" or shutil.which("node"):
            doc_blocks.check(block)


def test_sql_that_is_not_run_is_sql(empty_dsn: str) -> None:
    """PostgreSQL compiles it and does none of it."""
    blocks = [block for page in PAGES for block in doc_blocks.blocks_of(page)]
    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        for block in blocks:
            if block.language == "sql" and block.not_run:
                connection.execute(doc_blocks.syntax_of_sql(block.text))
        with pytest.raises(psycopg.errors.SyntaxError):
            connection.execute(doc_blocks.syntax_of_sql("CREATE TABEL t (a int);"))
        connection.execute(doc_blocks.syntax_of_sql("CREATE TABLE left_alone (a int);"))
        assert connection.execute("SELECT to_regclass('left_alone')").fetchone() == (None,)


def test_few_code_blocks_are_not_run() -> None:
    """A block that nobody runs is wrong one day. Rather make it one that can be run than raise this number."""
    kept = [f"{page.name}:{block.line}" for page in PAGES for block in doc_blocks.blocks_of(page) if block.not_run]
    assert len(kept) <= NOT_RUN_MAX, kept


@pytest.mark.parametrize(
    ("shown", "said", "fitting"),
    [
        ("a b\n", "  a    b\n\n", True),
        ("a … c", "a long b c", True),
        ("a\n…\nd\n", "a\nb\nc\nd\n", True),
        ("a\n…\nd\n", "a\nd\n", True),
        ("a\n", "a\nb\n", False),
        ("a …", "b", False),
        ("id_…", "id_17 x", False),
    ],
)
def test_what_a_page_shows_is_held_against_what_was_said(shown: str, said: str, fitting: bool) -> None:
    assert doc_blocks.fits(shown, said) is fitting


@pytest.mark.parametrize(
    "written",
    ["    code by indentation\n", "```\nno language\n```\n", '```sh not-run=""\nls\n```\n', "```sh slowly\nls\n```\n"],
)
def test_a_block_that_does_not_say_what_it_is_is_noticed(written: str, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(f"# A page\n\n{written}", encoding="utf-8")
    with pytest.raises(doc_blocks.PageFaulty):
        doc_blocks.blocks_of(tmp_path / "page.md")


def test_the_runner_notices_what_is_not_as_shown(tmp_path: Path) -> None:
    """What is exported stays; a wrong output, a wrong status and a command that is not there are faults."""
    runner = doc_blocks.Runner(tmp_path, {"PATH": "/usr/bin:/bin"}, {"old": "new"})
    try:
        runner.run(doc_blocks.Block("sh", {}, "export WORD=old", 1))
        assert runner.run(doc_blocks.Block("sh", {}, "echo $WORD; cat < /dev/null", 2)) == "old\n"
        assert runner.run(doc_blocks.Block("python", {}, "import os; print(os.environ['WORD'])", 3)).strip() == "old"
        runner.run(doc_blocks.Block("sh", {"exits": "3"}, "exit 3", 4))
        with pytest.raises(doc_blocks.PageFaulty, match="the page shows"):
            runner.run(doc_blocks.Block("sh", {}, "echo a", 5, "b"))
        with pytest.raises(doc_blocks.PageFaulty, match="ended with 1"):
            runner.run(doc_blocks.Block("sh", {}, "false; echo on", 6))
    finally:
        runner.close()


def test_drawings_are_as_they_are_described() -> None:
    """`make diagrams` draws them anew."""
    for name, diagram in diagrams["DIAGRAMS"].items():
        written = (ROOT / "docs" / "diagrams" / f"{name}.svg").read_text(encoding="utf-8")
        assert written == diagrams["drawn"](diagram), name


def test_the_drawing_of_a_payment_shows_what_the_machine_does() -> None:
    """Every status is there, and an arrow is called by a command or answer that the machine knows in that status."""
    drawing = diagrams["DIAGRAMS"]["intent"]
    assert set(drawing.places) == set(STATUSES)
    legal = {(status, command.__name__) for status, command in TRANSITIONS}
    assert {(arrow.source, arrow.label.split(",")[0]) for arrow in drawing.arrows} <= legal
    assert {arrow.source for arrow in drawing.arrows} == set(STATUSES) - drawing.ends


def test_the_drawing_of_the_ledger_names_its_entries() -> None:
    kinds = {word for arrow in diagrams["DIAGRAMS"]["ledger"].arrows for word in arrow.label.split(", ")}
    assert kinds - {"fee"} <= set(get_args(Kind))


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
