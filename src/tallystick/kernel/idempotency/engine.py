"""Claim a key, do the work once, keep its answer. RULES §5.

    claim ──► Claim      the caller holds the key: it executes, or resumes at `recovery`
          ├─► Replay     finished before: the same status and the same bytes
          ├─► InUse      someone else is at it right now
          └─► Mismatch   the key was used for something else

A claim is committed first, in a short statement of its own, so that a second caller is answered at once. The answer is
kept by `finish` in the transaction that saves the result. A holder has a lease and a generation: once another took
over, its finish fails.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from tallystick.ports.database import Database, Record, Statements, Transaction

SQL = Statements.beside(__file__)

LEASE_S = 60.0  # longer than any outside call under a key: their deadlines end below 30 s
KEPT_S = 72 * 3600  # published as 24 h; the rest is margin for clocks and late retries
REAPED_MAX = 5_000  # keys per reaping statement: short locks


class Scope(Struct, frozen=True, order=True):
    """Whose key it is: two owners or two modes with the same key have nothing to do with each other."""

    owner_id: str
    mode: str
    key: str


class ClaimRequest(Struct, frozen=True):
    """A call that wants to execute under its key. `also`: fingerprints that the same call has under another key of the
    fingerprints, or had in the version before."""

    scope: Scope
    fingerprint: bytes
    also: tuple[bytes, ...] = ()

    def is_of(self, fingerprint: bytes | None) -> bool:
        """Whether this fingerprint is of the same call."""
        return fingerprint == self.fingerprint or fingerprint in self.also


class Claim(Struct, frozen=True):
    """The caller holds the key. `recovery` is what an earlier holder recorded before it called outside, or None."""

    scope: Scope
    generation: int
    recovery: str | None = None


class Replay(Struct, frozen=True):
    """The call was finished before; this was its answer."""

    status: int
    body: bytes


class InUse(Struct, frozen=True):
    """The call is being executed by someone else; ask again after `retry_after_s`."""

    retry_after_s: int


class Mismatch(Struct, frozen=True):
    """The key belongs to another call: other fields, or another route."""


class Running(Struct, frozen=True):
    """A call that has not ended: whether somebody is at it, the lease says."""

    scope: Scope
    generation: int
    lease_until: datetime
    created_at: datetime


ClaimOutcome = Claim | Replay | InUse | Mismatch


class LeaseLost(Exception):
    """Another holder took the key over; what this one did must be rolled back."""


class Idempotency:
    """The engine over one service's `idempotency_key` table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, requests: Sequence[ClaimRequest], at: datetime) -> list[ClaimOutcome]:
        """Claim the keys of concurrent calls; one outcome for each, in order. Of several calls with one key the
        first may win."""
        first: dict[Scope, ClaimRequest] = {}
        for request in requests:
            first.setdefault(request.scope, request)
        lease_until = at + timedelta(seconds=LEASE_S)
        generation = first_generation(at)
        inserted = await self._database.rows(
            SQL.claim_new,
            *_scopes(first),
            [request.fingerprint for request in first.values()],
            at,
            lease_until,
            generation,
        )
        won = {_scope(row): Claim(_scope(row), generation) for row in inserted}
        others = {
            request.scope
            for request in requests
            if won.get(request.scope) is None or first[request.scope] is not request
        }
        known = await self._known(others, first, at, lease_until) if others else {}
        return [
            won[request.scope]
            if request.scope in won and first[request.scope] is request
            else known[request.scope].outcome_for(request)
            for request in requests
        ]

    async def _known(
        self,
        scopes: set[Scope],
        first: dict[Scope, ClaimRequest],
        at: datetime,
        lease_until: datetime,
    ) -> dict[Scope, "_Known"]:
        """What the table says of keys that exist, after taking over those whose holder is gone."""
        found = {
            _scope(row): _Known(row, at) for row in await self._database.rows(SQL.find_keys, *_scopes(sorted(scopes)))
        }
        abandoned = [
            scope for scope in sorted(found) if found[scope].abandoned and first[scope].is_of(found[scope].fingerprint)
        ]
        if abandoned:
            generations = [found[scope].generation for scope in abandoned]
            taken = await self._database.rows(SQL.take_over, *_scopes(abandoned), generations, at, lease_until)
            for row in taken:
                found[_scope(row)].taken_by(
                    first[_scope(row)],
                    Claim(_scope(row), row["generation"], row["recovery"]),
                )
        # A key can vanish between the two statements when its holder released it: whoever asked may ask again.
        return {scope: found.get(scope) or _Known(None, at) for scope in scopes}

    async def record(self, tx: Transaction, recoveries: Sequence[tuple[Claim, str]]) -> None:
        """Keep what each holder is about to do outside. Raises LeaseLost."""
        if not recoveries:
            return
        claims = [claim for claim, _ in recoveries]
        touched = await tx.execute(
            SQL.record_recovery,
            *_held(claims),
            [recovery for _, recovery in recoveries],
        )
        if touched != len(recoveries):
            raise LeaseLost

    async def finish(self, tx: Transaction, answers: Sequence[tuple[Claim | None, int, bytes]]) -> None:
        """Keep the answers (status, body) in the transaction that saves the results; calls without a key are passed
        over. Raises LeaseLost: the whole transaction must be rolled back."""
        kept = [(claim, status, body) for claim, status, body in answers if claim is not None]
        if not kept:
            return
        touched = await tx.execute(
            SQL.finish,
            *_held([claim for claim, _, _ in kept]),
            [status for _, status, _ in kept],
            [body for _, _, body in kept],
        )
        if touched != len(kept):
            raise LeaseLost

    async def release(self, claims: Sequence[Claim]) -> None:
        """The calls were refused before they did anything (bad parameters, rate limit): their keys are free again."""
        if claims:
            await self._database.execute(SQL.release, *_held(claims))

    async def suspend(self, claims: Sequence[Claim], at: datetime) -> None:
        """The calls broke off with an error of ours: the next one with the same key resumes them at once."""
        if claims:
            await self._database.execute(SQL.suspend, *_held(claims), at)

    async def oldest_at(self) -> datetime | None:
        """When the oldest key was claimed; None where there is none."""
        [row] = await self._database.rows(SQL.oldest_key)
        oldest_at: datetime | None = row["created_at"]
        return oldest_at

    async def running(
        self, since: datetime, until: datetime, keys_max: int, *, after: Scope | None = None
    ) -> tuple[list[Running], Running | None]:
        """Of the next `keys_max` keys that were claimed from `since` on (of that instant: those `after` one) and before
        `until`: the calls that have not ended, oldest first. And the last of these keys, or None where they were all.
        """
        place = (after.owner_id, after.mode, after.key) if after is not None else ("", "", "")
        rows = await self._database.rows(SQL.running_keys, since, *place, until, keys_max)
        last = _running(rows[-1]) if rows and rows[-1]["is_last"] else None
        return [_running(row) for row in rows if row["is_running"]], last

    async def take_over(self, seen: Sequence[Running], at: datetime) -> list[Claim]:
        """Become the holder of those whose lease has ended and that nobody else took; in the order of their scopes."""
        ordered = sorted(seen, key=lambda one: one.scope)
        taken = await self._database.rows(
            SQL.take_over,
            *_scopes([one.scope for one in ordered]),
            [one.generation for one in ordered],
            at,
            at + timedelta(seconds=LEASE_S),
        )
        claims = [Claim(_scope(row), row["generation"], row["recovery"]) for row in taken]
        return sorted(claims, key=lambda claim: claim.scope)

    async def reap(self, at: datetime) -> int:
        """Drop finished keys past their time, at most REAPED_MAX; how many there were."""
        return await self._database.execute(SQL.reap, at - timedelta(seconds=KEPT_S), REAPED_MAX)


def first_generation(at: datetime) -> int:
    """The generation with which a key begins: one that was free for a while begins above all that it has had, so that
    a holder who slept through that time still has lost it."""
    return int((at - _FIRST_DAY).total_seconds()) if at > _FIRST_DAY else 1


_FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)


class _Known:
    """An existing key, and how it answers the calls that came with it."""

    def __init__(self, row: Record | None, at: datetime) -> None:
        self._row = row
        self._at = at
        self._taken: tuple[ClaimRequest, Claim] | None = None
        self.fingerprint: bytes | None = row["fingerprint"] if row else None
        self.generation: int = row["generation"] if row else 0
        self.abandoned: bool = row is not None and row["state"] == "running" and row["lease_until"] <= at

    def taken_by(self, request: ClaimRequest, claim: Claim) -> None:
        self._taken = (request, claim)

    def outcome_for(self, request: ClaimRequest) -> ClaimOutcome:
        if self._row is None:
            return InUse(1)
        if self._taken is not None and self._taken[0] is request:
            return self._taken[1]
        if not request.is_of(self.fingerprint):
            return Mismatch()
        if self._row["state"] == "done":
            return Replay(self._row["status"], self._row["body"])
        return InUse(max(1, min(5, int((self._row["lease_until"] - self._at).total_seconds()))))


def _running(row: Record) -> Running:
    return Running(_scope(row), row["generation"], row["lease_until"], row["created_at"])


def _scope(row: Record) -> Scope:
    return Scope(row["owner_id"], row["mode"], row["key"])


def _scopes(
    scopes: Sequence[Scope] | dict[Scope, ClaimRequest],
) -> tuple[list[str], list[str], list[str]]:
    return (
        [scope.owner_id for scope in scopes],
        [scope.mode for scope in scopes],
        [scope.key for scope in scopes],
    )


def _held(claims: Sequence[Claim]) -> tuple[list[str], list[str], list[str], list[int]]:
    return (
        *_scopes([claim.scope for claim in claims]),
        [claim.generation for claim in claims],
    )
