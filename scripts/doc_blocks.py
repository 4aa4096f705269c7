"""Code blocks of the documentation: finds them, says what each is, checks those that cannot be run, runs the others.

A fence's first word is its language; what follows are attributes:

    ```sh                             run by bash, in the order of the page; must end with 0
    ```sh exits=1                     must end with that status
    ```sh not-run="why not"           not run, but parsed; the reason stands here, and a test counts them
    ```python, ```js, ```sql          run likewise: by one interpreter of the page, by Node, by psql in `database=…`
    ```toml file=rules.toml           kept under that name in the page's folder; json, toml and yaml are loaded anyway
    ```text output                    what the block before it prints; `…` stands for anything: within a word for the
                                      rest of it, by itself for words, in a line of its own for lines
    ```text                           a drawing or a form of words, nothing to run

Every page has a folder, a shell and a Python interpreter of its own, so that what one block exports the next one has.
`tests/test_docs.py` parses every page, `tests/process/test_documentation.py` runs them against a running demo.
"""

import base64
import configparser
import json
import os
import re
import selectors
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path

import yaml
from markdown_it import MarkdownIt
from msgspec import Struct

BLOCK_S = 120.0  # against one that hangs; on a machine that does nothing else none takes a quarter of it

RUN = frozenset({"sh", "python", "js", "sql"})
LOADED = frozenset({"json", "toml", "yaml", "ini"})
SHOWN = frozenset({"text", "mermaid", "html"})
ATTRIBUTES = frozenset({"not-run", "exits", "file", "output", "database"})


class Block(Struct, frozen=True):
    """A fenced block. `line` is that of its fence, counted from 1; `shown` is the output that the page shows for it."""

    language: str
    attributes: dict[str, str]
    text: str
    line: int
    shown: str | None = None

    @property
    def not_run(self) -> str | None:
        """Why it is not run, None where it is."""
        return self.attributes.get("not-run")


class PageFaulty(Exception):
    """A page whose blocks cannot be told, or one that does not do what the page says."""


def blocks_of(page: Path) -> list[Block]:
    """The page's blocks in their order; an output belongs to the block before it. Raises PageFaulty."""
    found: list[Block] = []
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        line = token.map[0] + 1 if token.map else 0
        if token.type == "code_block":
            raise PageFaulty(f"{page.name}:{line}: code by indentation says no language: use a fence")
        if token.type != "fence":
            continue
        words = shlex.split(token.info)
        if words and words[0].startswith("{"):  # the site builder's, such as its lists of pages
            continue
        if not words or words[0] not in RUN | LOADED | SHOWN:
            raise PageFaulty(f"{page.name}:{line}: a fence begins with one of {sorted(RUN | LOADED | SHOWN)}")
        attributes = dict(word.partition("=")[::2] for word in words[1:])
        if attributes.keys() - ATTRIBUTES:
            raise PageFaulty(f"{page.name}:{line}: {sorted(attributes.keys() - ATTRIBUTES)} says nothing")
        if attributes.get("not-run") == "":
            raise PageFaulty(f"{page.name}:{line}: not-run needs its reason")
        if "output" in attributes:
            if not found or found[-1].language not in RUN or found[-1].shown is not None:
                raise PageFaulty(f"{page.name}:{line}: an output follows the block that prints it")
            before = found[-1]
            found[-1] = Block(before.language, before.attributes, before.text, before.line, token.content)
            continue
        found.append(Block(words[0], attributes, token.content, line))
    return found


def check(block: Block) -> None:
    """Load or parse a block without running it. Raises what its parser raises, or PageFaulty; SQL is for a server."""
    match block.language:
        case "json":
            json.loads(block.text)
        case "toml":
            tomllib.loads(block.text)
        case "yaml":
            list(yaml.safe_load_all(block.text))
        case "ini":
            configparser.ConfigParser(strict=False, interpolation=None).read_string(block.text)
        case "python":
            compile(block.text, "block", "exec")
        case "sh":
            _parsed(("bash", "-n"), block.text, ".sh")
        case "js":
            _parsed(("node", "--check"), block.text, ".mjs")
        case _:
            pass


def _parsed(command: tuple[str, ...], text: str, suffix: str) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=suffix, encoding="utf-8") as file:
        file.write(text)
        file.flush()
        ran = subprocess.run((*command, file.name), capture_output=True, text=True, timeout=BLOCK_S)
    if ran.returncode:
        raise PageFaulty(ran.stderr.strip())


def syntax_of_sql(text: str) -> str:
    """A statement that has PostgreSQL parse all of `text` and does none of it: what follows RETURN is compiled only."""
    return f"DO $page$ BEGIN RETURN; {text} END $page$"


def fits(shown: str, said: str) -> bool:
    """Whether a program said what the page shows: line by line, `…` stands for anything, many lines where it is one."""
    pattern = "".join(r"(?:.*\n)*?" if line == "…" else r"[ \t]+".join(_words(line)) + r"\n" for line in _lines(shown))
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in _lines(said))) is not None


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().splitlines() if line.strip()]


def _words(line: str) -> list[str]:
    return [".*" if word == "…" else r"\S*".join(map(re.escape, word.split("…"))) for word in line.split()]


class Runner:
    """Runs one page's blocks, in order. `close` it in every case.

    `folder` is the page's own; `environment` is all that its programs know; `instead` are texts that are others in this
    run, such as ports."""

    def __init__(self, folder: Path, environment: Mapping[str, str], instead: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = {**environment, "PWD": str(folder)}
        self._instead = instead
        self._shell: Conversation | None = None
        self._python: Conversation | None = None
        self._count = 0

    def run(self, block: Block) -> str:
        """Run a block and give what it printed on stdout and stderr. Raises PageFaulty where it is not as shown."""
        text = block.text
        for old, new in self._instead.items():
            text = text.replace(old, new)
        if "file" in block.attributes:
            (self._folder / block.attributes["file"]).write_text(text, encoding="utf-8")
        if block.language not in RUN:
            return ""
        self._count += 1
        path = self._folder / f".block-{self._count}.{'mjs' if block.language == 'js' else block.language}"
        path.write_text(text, encoding="utf-8")
        status, said = self._carried_out(block, path)
        for old, new in self._instead.items():
            said = said.replace(new, old)
        if status != int(block.attributes.get("exits", "0")):
            raise PageFaulty(f"ended with {status}:\n{block.text}\n{said}")
        if block.shown is not None and not fits(block.shown, said):
            raise PageFaulty(f"the page shows\n{block.shown}\nbut it was\n{said}")
        return said

    def close(self) -> None:
        """End what the page's blocks have started and left."""
        for conversation in (self._shell, self._python):
            if conversation is not None:
                conversation.close()

    def _carried_out(self, block: Block, path: Path) -> tuple[int, str]:
        if block.language == "python":
            if self._python is None:
                command = (sys.executable, "-u", "-c", _PYTHON)
                self._python = Conversation(command, self._folder, self._exported())
            return self._python.ask(str(path))
        if self._shell is None:
            self._shell = Conversation(("bash", "-c", _BASH), self._folder, self._environment)
        if "exits" in block.attributes:  # apart, so that the shell of the page goes on
            return self._shell.ask(f"set +e; (set -e; source {shlex.quote(str(path))}); status=$?")
        if block.language == "sh":
            return self._shell.ask(f"source {shlex.quote(str(path))}")
        if block.language == "js":
            return self._shell.ask(f"node {shlex.quote(str(path))}")
        database = block.attributes.get("database", "gateway")
        return self._shell.ask(f'psql -X -q -v ON_ERROR_STOP=1 -f {shlex.quote(str(path))} "$DOCS_{database.upper()}"')

    def _exported(self) -> dict[str, str]:
        """What the page's shell has exported so far: a reader's Python would know it too."""
        if self._shell is None:
            return dict(self._environment)
        _, said = self._shell.ask("env -0 | base64 -w 0")
        pairs = base64.b64decode(said.strip()).decode().split("\0")
        return dict(pair.partition("=")[::2] for pair in pairs if pair)


# Each says what became of a request by a line of its own: a mark, and the status.
_MARK = "\x1e"
_BASH = rf"""
shopt -s expand_aliases
while IFS= read -r request; do
    status=0
    set -eo pipefail
    trap 'printf "\n{_MARK}%s\n" "$?"' EXIT
    eval "$request" 2>&1 </dev/null
    set +e; trap - EXIT
    printf "\n{_MARK}%s\n" "$status"
done
"""
_PYTHON = rf"""
import sys, traceback
names = {{"__name__": "__main__"}}
for line in sys.stdin:
    status = 0
    try:
        exec(compile(open(line.strip(), encoding="utf-8").read(), "block", "exec"), names)
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if ended.code is not None and not isinstance(ended.code, int):
            print(ended.code)
    except BaseException:
        traceback.print_exc(file=sys.stdout)
        status = 1
    print("\n{_MARK}%d" % status, flush=True)
"""


class Conversation:
    """A program that carries out what it is told, line by line, in a process group of its own."""

    def __init__(self, command: tuple[str, ...], folder: Path, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._selector = selectors.DefaultSelector()
        assert self._process.stdout is not None
        self._selector.register(self._process.stdout, selectors.EVENT_READ)

    def ask(self, request: str) -> tuple[int, str]:
        """The status and what was said. Raises PageFaulty where it takes too long, or the program is gone."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{request}\n".encode())
        self._process.stdin.flush()
        said, ends_s = b"", time.monotonic() + BLOCK_S
        while (ended := re.search(rb"\n\x1e(\d+)\n", said)) is None:
            left_s = ends_s - time.monotonic()
            if left_s <= 0 or not self._selector.select(left_s):
                raise PageFaulty(f"not done after {BLOCK_S:.0f} s; it said:\n{said.decode(errors='replace')}")
            assert self._process.stdout is not None
            part = os.read(self._process.stdout.fileno(), 65536)
            if not part:
                raise PageFaulty(f"it ended; it said:\n{said.decode(errors='replace')}")
            said += part
        return int(ended[1]), said[: ended.start()].decode(errors="replace")

    def close(self) -> None:
        """End it and everything that it started."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()
        self._selector.close()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
