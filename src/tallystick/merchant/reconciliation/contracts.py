"""What a connection's charges cost by contract: operators say it, reconciliation holds fees against it (RULES §2, §11).

A contract holds from a business day on, so a day that is compared again is compared with what held on it. Where there
is none, fees are not looked at.
"""

import datetime
from typing import Annotated, Any, Final

import msgspec
from litestar import Response, delete, get, post
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from tallystick.kernel.identifiers import new_id, owner_of
from tallystick.kernel.money import EXPONENTS
from tallystick.kernel.operators.api import Call, answer
from tallystick.kernel.operators.problems import NotFound
from tallystick.kernel.problems import FieldError, FieldsRefused
from tallystick.kernel.requests import NoQuery, body, query
from tallystick.merchant.cases.proposals import AUDIT_PREFIX
from tallystick.merchant.cases.proposals import SQL as AUDIT
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Statements, Transaction
from tallystick.ports.entropy import Entropy

SQL = Statements.beside(__file__, "contracts.sql")

FIXED_MINOR_MAX: Final = 999_999_999
Currency = Annotated[str, Meta(pattern="^[A-Za-z]{3}$")]


class SetContract(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /operator/v1/connections/{connection}/fees`: basis points of each charge, and a fixed amount in minor
    units; from today on where no day is named."""

    currency: Currency
    basis_points: Annotated[int, Meta(ge=0, le=10_000)] = 0
    fixed: Annotated[int, Meta(ge=0, le=FIXED_MINOR_MAX)] = 0
    valid_from: datetime.date | None = None


class DropContract(Struct, frozen=True, forbid_unknown_fields=True):
    """`DELETE /operator/v1/connections/{connection}/fees`: which one."""

    currency: Currency
    valid_from: datetime.date


class Shown(Struct, frozen=True):
    """A contract as it is shown; `fixed` in minor units."""

    currency: str
    valid_from: datetime.date
    basis_points: int
    fixed: int


class Page(Struct, frozen=True):
    """All contracts of a connection, the newest of each currency first."""

    connection: str
    data: list[Shown]


def contract_routes(database: Database, clock: Clock, entropy: Entropy) -> list[HTTPRouteHandler]:
    """Set, list and take back what was agreed."""
    path = "/connections/{connection:str}/fees"

    async def noted(tx: Transaction, key: tuple[str, str], who: str, what: str, details: Any) -> None:
        at = clock.now()
        encoded = msgspec.json.encode(details).decode()
        await tx.execute(AUDIT.insert_audit, key[0], new_id(AUDIT_PREFIX, at, entropy), at, who, what, key[1], encoded)

    async def page(key: tuple[str, str], status: int = 200) -> Response[bytes]:
        rows = await database.rows(SQL.list_contracts, *key)
        return answer(Page(key[1], [Shown(*row.values()) for row in rows]), status)

    @get(path)
    async def list_all(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        key = _named(request)
        if not await database.rows(SQL.connection_exists, *key):
            raise NotFound
        return await page(key)

    @post(path)
    async def agree(request: Call) -> Response[bytes]:
        query(request, NoQuery)
        key, wanted = _named(request), await body(request, SetContract)
        currency = _known(wanted.currency)
        since = wanted.valid_from or clock.now().date()
        async with database.transaction() as tx:
            if not await tx.execute(SQL.set_contract, *key, currency, since, wanted.basis_points, wanted.fixed):
                raise NotFound
            told = Shown(currency, since, wanted.basis_points, wanted.fixed)
            await noted(tx, key, request.auth.name, "fees.agreed", told)
        return await page(key, 201)

    @delete(path, status_code=200)
    async def take_back(request: Call) -> Response[bytes]:
        key, wanted = _named(request), query(request, DropContract)
        async with database.transaction() as tx:
            if not await tx.execute(SQL.drop_contract, *key, wanted.currency.upper(), wanted.valid_from):
                raise NotFound
            await noted(tx, key, request.auth.name, "fees.taken_back", wanted)
        return await page(key)

    return [list_all, agree, take_back]


def _named(request: Call) -> tuple[str, str]:
    """The merchant and the connection of the path. Raises NotFound for what can be none."""
    connection_id: str = request.path_params["connection"]
    merchant_id = owner_of(connection_id, "mer")
    if merchant_id is None or not connection_id.startswith("con_"):
        raise NotFound
    return merchant_id, connection_id


def _known(currency: str) -> str:
    """The currency in upper case. Raises FieldsRefused."""
    if currency.upper() not in EXPONENTS:
        raise FieldsRefused("See errors.", errors=[FieldError("currency", "is no currency that we know")])
    return currency.upper()
