"""Writing and reading the audit trail. Each act is an entry, and an outcome once it has ended."""

import re
from datetime import datetime
from typing import Final, Literal

import msgspec
from msgspec import Struct

from tallystick.kernel.identifiers import first_id, new_id
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Record, Statements
from tallystick.ports.entropy import Entropy
from tallystick.ports.telemetry import Scrubber

SQL = Statements.beside(__file__)

PREFIX: Final = "aud"
NEWEST: Final = "aud_~"  # sorts after every id
OLDEST: Final = "aud_"
UNPRINTABLE: Final = "\ufffd"
TEXT_CHARACTERS_MAX: Final = 200  # of one value of what was asked
MEMBERS_MAX: Final = 30
NOT_KEPT: Final = frozenset(
    {"note", "evidence", "password", "new-password", "new-password-again", "code", "csrf"}
    | {"email", "phone", "name", "address", "sought"}
)
"""What people write stands with the case that it is about; secrets stand nowhere, and personal data in its own log."""
LEFT_OUT: Final = "…"

_WORD = re.compile(r"[0-9A-Za-z_.:/+*~-]*", re.ASCII)  # ids, dates, numbers, kinds: no sentences and no mail addresses

Via = Literal["api", "console", "command"]


class Act(Struct, frozen=True, kw_only=True):
    """Who is about to do what, on what, from where. `asked` is what else the request says."""

    operator: str
    role: str | None
    via: Via
    act: str
    subject: str = ""
    asked: dict[str, object] | None = None
    address: str = ""


class Entry(Struct, frozen=True, kw_only=True):
    """An act as readers see it. `outcome` is done, refused, failed; null: under way, or its process died."""

    id: str
    at: datetime
    operator: str
    role: str | None
    via: str
    act: str
    subject: str
    asked: dict[str, object] | None
    address: str
    outcome: str | None
    status: int | None
    ended_at: datetime | None


class Wanted(Struct, frozen=True, kw_only=True):
    """Which acts: all that fit everything that is given. `act` and `subject` need only be a part of it."""

    operator: str | None = None
    act: str | None = None
    subject: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class Trail:
    """The audit trail of one service."""

    def __init__(self, database: Database, clock: Clock, entropy: Entropy) -> None:
        self._database = database
        self._clock = clock
        self._entropy = entropy
        self._scrubber = Scrubber()

    async def begin(self, act: Act) -> str:
        """Note what is about to be done; gives the entry's id. Raises DatabaseError: then it must not be done."""
        at = self._clock.now()
        entry = new_id(PREFIX, at, self._entropy)
        asked = None if act.asked is None else msgspec.json.encode(self._kept(act.asked)).decode()
        await self._database.execute(
            SQL.insert_audit_entry,
            entry,
            at,
            _text(act.operator),
            act.role,
            act.via,
            act.act,
            self._scrubber.scrub(_text(act.subject)),
            asked,
            act.address,
        )
        return entry

    async def end(self, entry: str, status: int) -> None:
        """Note how it ended, as an HTTP status. Raises DatabaseError."""
        outcome = "done" if status < 400 else "refused" if status < 500 else "failed"
        await self._database.execute(SQL.insert_audit_outcome, entry, self._clock.now(), outcome, status)

    async def note(self, act: Act, status: int) -> None:
        """An act that has ended already: a refusal, a login."""
        await self.end(await self.begin(act), status)

    def _kept(self, asked: dict[str, object]) -> dict[str, object]:
        """What of a request is kept: short values that are words, and nothing that people write."""
        kept = [(name, value) for name, value in asked.items() if name not in NOT_KEPT][:MEMBERS_MAX]
        return {self._word(name): self._value(value) for name, value in kept}

    def _value(self, value: object) -> object:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float) and self._scrubber.scrub(str(value)) == str(value):
            return value
        return self._word(value) if isinstance(value, str) else LEFT_OUT

    def _word(self, text: str) -> str:
        text = self._scrubber.scrub(_text(text))
        return text if _WORD.fullmatch(text) else LEFT_OUT

    async def page(self, wanted: Wanted, *, before: str | None = None, rows_max: int) -> list[Entry]:
        """Acts, the newest first."""
        newest = NEWEST if wanted.until is None else first_id(PREFIX, wanted.until)
        oldest = OLDEST if wanted.since is None else first_id(PREFIX, wanted.since)
        behind = min(newest, before) if before is not None else newest
        found = await self._database.rows(
            SQL.page_of_audit_entries, behind, oldest, wanted.operator, wanted.act, wanted.subject, rows_max
        )
        return [_entry(row) for row in found]


def _text(text: str) -> str:
    """One line that shows what it is: an operator chose it, and neither breaks lines nor commands the terminal of who
    reads the trail."""
    text = text.replace("\x00", "")[:TEXT_CHARACTERS_MAX]
    return text if text.isprintable() else "".join([each if each.isprintable() else UNPRINTABLE for each in text])


def _entry(row: Record) -> Entry:
    fields = {name: row[name] for name in Entry.__struct_fields__ if name != "asked"}
    return Entry(asked=None if row["asked"] is None else msgspec.json.decode(row["asked"]), **fields)
