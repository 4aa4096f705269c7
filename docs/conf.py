"""How the site is built from these pages: `make docs`. Nothing is loaded from elsewhere, while it is built or read."""

import os
import re
import runpy
from pathlib import Path
from typing import Any

from tallystick import __version__

HERE = Path(__file__).parent

# The reference is written by the code that it describes, just before the pages are read; it is not in the repository.
reference = runpy.run_path(str(HERE.parent / "scripts" / "reference_pages.py"))
reference["write"](HERE / "reference")
COPIED = reference["COPIED"]

project = "Tallystick"
author = "the Tallystick contributors"
release = __version__
language = "en"

extensions = ["myst_parser"]
myst_heading_anchors = 4
myst_enable_extensions = ["attrs_block"]
exclude_patterns = ["diagrams"]

html_theme = "furo"
html_title = "Tallystick"
html_show_copyright = False
html_show_sourcelink = False
html_copy_source = False
html_use_index = False
html_favicon = "images/icon.svg"
html_theme_options = {"source_view_link": "", "footer_icons": []}
pygments_style = "friendly"
pygments_dark_style = "monokai"


def lead_within_the_site(app: object, docname: str, source: list[str]) -> None:
    """In the repository a link may lead to a folder, or to a page above this folder; the site has files alone, and
    copies of those pages among the reference."""
    folder = (HERE / docname).parent

    def lead(link: re.Match[str]) -> str:
        words, address, anchor = link.groups("")
        target = (folder / address).resolve()
        if target.name in COPIED and target.parent == HERE.parent:
            return f"[{words}]({os.path.relpath(HERE / 'reference' / target.name, folder)}{anchor})"
        return words if target.is_dir() or target == HERE.parent / "README.md" else link[0]

    source[0] = re.sub(r"\[([^\]]+)\]\((\.\./[^)#\s]+)(#[^)\s]*)?\)", lead, source[0])


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", lead_within_the_site)
