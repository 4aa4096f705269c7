"""Where a service keeps people: whose they are, and the statements over its tables.

Both services keep them alike, in the schema pii of their own database; a merchant's person belongs to the merchant, an
account's to the account in one of its modes. So the tables begin with different columns, and each service brings the
statements; what is done with them stands here once.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal

from msgspec import Struct

from tallystick.kernel.people.person import Field
from tallystick.ports.database import Record, Statement

MODES: Final = {False: "test", True: "live"}


class Owner(Struct, frozen=True, order=True):
    """Whose customers: the columns with which their rows begin."""

    columns: tuple[str | bool, ...]

    @property
    def text(self) -> str:
        """What seals and search hashes are bound to."""
        return "/".join(MODES[part] if isinstance(part, bool) else part for part in self.columns)


class Tables(Struct, frozen=True, kw_only=True):
    """The statements of a service. Each takes the owner's columns first: as arrays, with an array of customers' ids, in
    those that go by places (`load_people`, all of `erase`); one by one in `search_people` (then kind, hashes, how many)
    and `list_accesses` (then customer, before which entry, how many).

    `owner` names the columns of an owner; `fields` are those that are stored, `fields_before` those that the version
    before wrote in the clear. The first of `erase` waits for whoever is just carrying the person over, so that the rest
    find what that one wrote.
    """

    owner: Sequence[str]
    fields: tuple[Field, ...]
    fields_before: tuple[Field, ...]
    note_access: Statement
    list_accesses: Statement
    load_people: Statement
    search_people: Statement
    erase: tuple[Statement, ...]

    def owner_of(self, row: Record) -> Owner:
        """Whose a loaded person is."""
        found: list[Any] = [row[name] for name in self.owner]
        return Owner(tuple(found))


class Rewrapped(Struct, frozen=True, kw_only=True):
    """The statements by which people's keys are wrapped anew: those after a place, some at a time; and, by place, the
    old and the new text. `beginning` is the place before all."""

    beginning: tuple[Any, ...]
    look: Statement
    save: Statement


class Reindexed(Struct, frozen=True, kw_only=True):
    """The statements by which search hashes are made anew: people after a place, some at a time; then by place: lock
    them, by which kinds they are found, forget that, and (with kind and hash) by what they are found from now on."""

    beginning: tuple[Any, ...]
    look: Statement
    lock: Statement
    kinds: Statement
    forget: Statement
    insert: Statement


class Unfinished(Struct, frozen=True, kw_only=True):
    """The statements by which those are found who were stored for what then did not come to be. `look` takes the
    present time and how many, and gives places with `seen_at`. By these `settle` takes those who are there for good,
    and `claim` those whom this transaction forgets; it gives who was not changed since. `known` says, by place, who is
    named by what they were stored for: it is asked of the service's own tables, under its own role."""

    look: Statement
    settle: Statement
    claim: Statement
    known: Statement


class InTheClear(Struct, frozen=True, kw_only=True):
    """The statements that find what is in the clear, lock it, and put what is sealed in its place; `kinds` are the
    hashes by which these people are found. `seal` takes place, instant, wrapped key and what wrapped it, the sealed
    fields, the hashes."""

    look: Statement
    lock: Statement
    seal: Statement
    kinds: tuple[Literal["email", "phone", "shopper"], ...]
