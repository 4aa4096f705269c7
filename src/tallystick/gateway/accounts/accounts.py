"""Accounts and their API keys: what an operator does with them (RULES §12).

A key is shown once, when it is made, and stored as its SHA-256. An account may have several living keys, so that one
can be replaced without a gap. Live keys need an acquirer other than the simulated one (DESIGN §5).
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from msgspec import Struct

from tallystick.gateway.accounts.origins import checked_origins
from tallystick.gateway.errors import AccountRefused
from tallystick.gateway.stripe_wire.call import KeyKind
from tallystick.gateway.stripe_wire.currencies import CURRENCIES
from tallystick.kernel.identifiers import new_owner_id, new_secret
from tallystick.kernel.money import BASIS_POINTS
from tallystick.ports.database import Database, Statements, Transaction
from tallystick.ports.entropy import Entropy

SQL = Statements.beside(__file__)

NAME_CHARACTERS_MAX = 200
FEE_MAX = 999_999_999  # minor units
AVAILABLE_DAYS_MAX = 30
KEYS_LIVING_MAX = 20  # per account, mode and kind; rotation needs two


class Account(Struct, frozen=True, kw_only=True):
    """Who takes payments."""

    account_id: str
    name: str
    origins: tuple[str, ...]


class KeyPair(Struct, frozen=True):
    """A new pair of keys, to be shown once. Its repr shows nothing secret."""

    livemode: bool
    publishable_key: str
    secret_key: str

    def __repr__(self) -> str:
        return f"KeyPair({self.publishable_key!r})"


class ListedKey(Struct, frozen=True, kw_only=True):
    """A key as a list may show it. `id` names it for revocation."""

    id: str
    account_id: str
    livemode: bool
    kind: KeyKind
    hint: str
    created_at: datetime
    revoked_at: datetime | None


async def create_account(
    database: Database,
    name: str,
    *,
    origins: Sequence[str] = (),
    live: bool = False,
    live_allowed: bool = False,
    at: datetime,
    entropy: Entropy,
) -> tuple[Account, list[KeyPair]]:
    """A new account with a test key pair and, where asked for, a live one. Raises AccountRefused, OriginInvalid."""
    name = name.strip()
    if not 0 < len(name) <= NAME_CHARACTERS_MAX or not name.isprintable():
        raise AccountRefused(f"the name must have 1 to {NAME_CHARACTERS_MAX} printable characters")
    account = Account(account_id=new_owner_id("acct", entropy), name=name, origins=tuple(checked_origins(origins)))
    async with database.transaction() as tx:
        await tx.execute(SQL.insert_account, account.account_id, account.name, list(account.origins), at)
        pairs = [await _create_pair(tx, account.account_id, False, at, entropy)]
        if live:
            _check_live(live_allowed)
            pairs.append(await _create_pair(tx, account.account_id, True, at, entropy))
    return account, pairs


async def create_keys(
    database: Database, account_id: str, *, livemode: bool, live_allowed: bool = False, at: datetime, entropy: Entropy
) -> KeyPair:
    """One more key pair of an account. Raises AccountRefused."""
    if livemode:
        _check_live(live_allowed)
    async with database.transaction() as tx:
        await _check_known(tx, account_id)
        living = [key for key in await list_keys(tx, account_id) if key.revoked_at is None and key.livemode == livemode]
        if len(living) >= 2 * KEYS_LIVING_MAX:
            raise AccountRefused(f"an account can have {KEYS_LIVING_MAX} living key pairs; revoke one first")
        return await _create_pair(tx, account_id, livemode, at, entropy)


async def list_keys(reader: Database | Transaction, account_id: str) -> list[ListedKey]:
    """The keys of an account, oldest first, revoked ones too."""
    return [
        ListedKey(
            id=_key_id(row["key_hash"]),
            account_id=row["account_id"],
            livemode=row["livemode"],
            kind=row["kind"],
            hint=row["hint"],
            created_at=row["created_at"],
            revoked_at=row["revoked_at"],
        )
        for row in await reader.rows(SQL.list_keys, account_id)
    ]


async def revoke_key(database: Database, account_id: str, key_id: str, *, at: datetime) -> None:
    """End the life of a key; calls with it are refused within seconds. Raises AccountRefused if no such key lives."""
    hashes = [row["key_hash"] for row in await database.rows(SQL.list_keys, account_id)]
    named = [key_hash for key_hash in hashes if _key_id(key_hash) == key_id]
    if not named or not await database.execute(SQL.revoke_key, account_id, named[0], at):
        raise AccountRefused(f"account {account_id[:40]} has no living key {key_id[:40]}")


async def set_origins(database: Database, account_id: str, origins: Sequence[str]) -> None:
    """Replace the registered origins of an account. Raises AccountRefused, OriginInvalid."""
    if not await database.execute(SQL.set_origins, account_id, checked_origins(origins)):
        raise AccountRefused(f"there is no account {account_id[:40]}")


async def set_several_captures(database: Database, account_id: str, allowed: bool) -> None:
    """Whether an account may capture a charge in parts, `final_capture=false` (RULES §3). Raises AccountRefused."""
    if not await database.execute(SQL.set_several_captures, account_id, allowed):
        raise AccountRefused(f"there is no account {account_id[:40]}")


async def set_fees(
    database: Database,
    account_id: str,
    currency: str,
    *,
    livemode: bool = False,
    basis_points: int = 0,
    fixed: int = 0,
    dispute: int = 0,
) -> None:
    """What an account is charged for its payments in a currency, and for a dispute; `fixed` and `dispute` in minor
    units (RULES §2). Known everywhere within seconds. Raises AccountRefused."""
    if currency.upper() not in CURRENCIES:
        raise AccountRefused(f"{currency[:10]} is no currency of the wire")
    if not 0 <= basis_points <= BASIS_POINTS or not all(0 <= fee <= FEE_MAX for fee in (fixed, dispute)):
        raise AccountRefused(f"basis points lie between 0 and {BASIS_POINTS}, fixed fees between 0 and {FEE_MAX}")
    await _check_known(database, account_id)
    await database.execute(SQL.set_fees, account_id, livemode, currency.upper(), basis_points, fixed, dispute)


async def set_days(
    database: Database,
    account_id: str,
    *,
    offset_minutes: int = 0,
    available_days: int = 2,
    payouts: Literal["daily", "manual"] = "daily",
) -> None:
    """When an account's business day begins, in minutes from midnight UTC, how many days after the day that earned it
    money is available, and whether it is paid out by itself then. Raises AccountRefused."""
    if not -720 <= offset_minutes <= 840 or not 0 <= available_days <= AVAILABLE_DAYS_MAX:
        raise AccountRefused(f"an offset lies between -720 and 840 minutes, a delay between 0 and {AVAILABLE_DAYS_MAX}")
    if not await database.execute(SQL.set_days, account_id, offset_minutes, available_days, payouts):
        raise AccountRefused(f"there is no account {account_id[:40]}")


def hash_of(key: str) -> bytes:
    """What is stored of a key. A plain hash will do: a key is 128 random bits, not a password."""
    return hashlib.sha256(key.encode()).digest()


async def _create_pair(tx: Transaction, account_id: str, livemode: bool, at: datetime, entropy: Entropy) -> KeyPair:
    mode = "live" if livemode else "test"
    pair = KeyPair(livemode, new_secret(f"pk_{mode}", entropy), new_secret(f"sk_{mode}", entropy))
    keys = [pair.publishable_key, pair.secret_key]
    await tx.execute(
        SQL.insert_keys,
        account_id,
        at,
        [hash_of(key) for key in keys],
        [livemode, livemode],
        ["publishable", "secret"],
        [f"{key[:8]}…{key[-4:]}" for key in keys],
    )
    return pair


async def _check_known(reader: Database | Transaction, account_id: str) -> None:
    if not await reader.rows(SQL.known_account, account_id):
        raise AccountRefused(f"there is no account {account_id[:40]}")


def _check_live(live_allowed: bool) -> None:
    if not live_allowed:
        raise AccountRefused("live keys cannot be made while the acquirer is the simulated one")


def _key_id(key_hash: bytes) -> str:
    return f"key_{key_hash.hex()[:16]}"
