"""Failed logins, counted in rows, so that it does not matter which process is asked or whether one was started anew.

A try is counted as failed *before* the password is looked at, and taken back when it was right: of a thousand at the
same time no more than the free ones get through. Names and addresses are stored as hashes only: people type passwords
into the field for the name.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from tallystick.kernel.logins.backoff import (
    NAME_AT_PLACE,
    NAME_FROM_ELSEWHERE,
    PLACE,
    STALE_S,
    Failures,
    Patience,
    counted,
    wait_s,
)
from tallystick.kernel.proxies import crowd
from tallystick.ports.database import Database, Statements, Transaction

SQL = Statements.beside(__file__)

HERE: Final = "here"  # this machine, or a proxy that was not declared


class Lockout:
    """Who must wait before the next try."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def admit(self, name: str, address: str, at: datetime) -> float:
        """Count a try; 0, or how many seconds one must wait: then nothing was counted, and nothing is to be tried."""
        try:
            async with self._database.transaction() as tx:
                await _count_all(tx, name, crowd(address), at)
        except _MustWait as wait:
            return wait.seconds
        return 0.0

    async def forgive(self, tx: Transaction, name: str, address: str, at: datetime) -> None:
        """It was right: the try is taken back, and the name is known at this place. Locks as who counts does."""
        place = crowd(address)
        here = _hash("place", place or HERE)
        names = sorted([_hash("name at place", name, place or HERE), _hash("name", name)])
        if place is not None:
            await tx.execute(SQL.take_back_failure, here, at)
        await tx.rows(SQL.lock_login_failures, names)
        await tx.execute(SQL.forgive_login, names)
        await tx.execute(SQL.note_operator_place, name, here, at)
        await tx.execute(SQL.forget_login_failures, at - timedelta(seconds=STALE_S))


class _MustWait(Exception):
    """Ends the transaction, so that nothing is counted."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


async def _count_all(tx: Transaction, name: str, place: str | None, at: datetime) -> None:
    """The place first: whoever must wait for it leaves no rows behind for the names tried. Raises _MustWait."""
    here = _hash("place", place or HERE)
    if place is not None:
        await _count(tx, {here: PLACE}, at)
    subjects = {_hash("name at place", name, place or HERE): NAME_AT_PLACE}
    if not await tx.rows(SQL.find_operator_place, name, here):
        subjects[_hash("name", name)] = NAME_FROM_ELSEWHERE
    await _count(tx, subjects, at)


async def _count(tx: Transaction, subjects: Mapping[bytes, Patience], at: datetime) -> None:
    """Count a failure of each. Raises _MustWait."""
    await tx.execute(SQL.open_login_failures, sorted(subjects), at)
    rows = await tx.rows(SQL.lock_login_failures, sorted(subjects))
    found = {bytes(row["subject"]): Failures(row["failures"], row["last_at"], row["free_at"]) for row in rows}
    wait = max(wait_s(failures, at) for failures in found.values())
    if wait:
        raise _MustWait(wait)
    after = [(subject, counted(failures, at, subjects[subject])) for subject, failures in found.items()]
    await tx.execute(
        SQL.save_login_failures,
        [subject for subject, _ in after],
        [failures.count for _, failures in after],
        at,
        [failures.free_at for _, failures in after],
    )


def _hash(*parts: str) -> bytes:
    return hashlib.sha256("\x00".join(parts).encode()).digest()
