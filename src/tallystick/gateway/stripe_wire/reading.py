"""Reading the wire's objects: by id, by page, and in the place of an id (`expand[]`). Batch first.

Every lookup names account and mode, so that none sees another's objects (DESIGN §5).
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from msgspec import Struct

from tallystick.gateway.balance.payout import Payout
from tallystick.gateway.checkout.session import CheckoutSession
from tallystick.gateway.customers import known as customers
from tallystick.gateway.customers.customer import KIND as CUSTOMER
from tallystick.gateway.customers.customer import Customer
from tallystick.gateway.customers.customer import shaped as shaped_customer
from tallystick.gateway.payments.payment import Charge, Dispute, PaymentIntent, PaymentMethod, Refund
from tallystick.gateway.people.records import Records
from tallystick.gateway.reporting.run import Run
from tallystick.gateway.stripe_wire import (
    balance_objects,
    checkout_objects,
    errors,
    expanding,
    objects,
    report_objects,
    webhook_objects,
)
from tallystick.gateway.stripe_wire.call import Caller
from tallystick.gateway.stripe_wire.line_items import line_items
from tallystick.gateway.stripe_wire.money_moved import find_transactions, name_transactions
from tallystick.gateway.stripe_wire.objects import Json
from tallystick.gateway.stripe_wire.parameters import CreatedPaging, Paging
from tallystick.kernel.columns import columns
from tallystick.kernel.identifiers import first_id
from tallystick.ports.clock import Clock
from tallystick.ports.database import Database, Statement, Statements, Transaction

SQL = Statements.beside(__file__)

LINE_ITEMS_SHOWN = 10  # of a session with `expand[]=line_items`, as Stripe
FIRST_ID, LAST_ID = "", "~"  # sort before and after every id
FIRST_TIME = datetime(1970, 1, 1, tzinfo=UTC)
LAST_TIME = datetime(9999, 12, 31, tzinfo=UTC)
ID_MARGIN = timedelta(minutes=5)  # an id may be made a while before the commit that gives its row a time
ID_FORMS = {
    "payment_intent": ("pi", False),
    "charge": ("ch", True),
    "refund": ("re", False),
    "checkout.session": ("cs_{mode}", True),
    "event": ("evt", False),
    "customer": ("cus", False),
    "payment_method": ("pm", False),
    "webhook_endpoint": ("we", False),
    "balance_transaction": ("txn", False),
    "dispute": ("dp", False),
    "payout": ("po", False),
    "reporting.report_run": ("frr", False),
}
"""Kind of object → prefix of its ids, and whether they carry their owner."""
SOURCES = {"ch_": "charge", "re_": "refund", "dp_": "dispute", "po_": "payout"}
"""Prefix of what causes balance transactions → its kind."""

Key = tuple[str, bool, str]
"""Account, livemode, id."""

Reader = Database | Transaction

Row = TypeVar("Row", bound=Struct)


class Reading:
    """Finds objects and shapes them. `pages_url` is the gateway's own address. Without `records` nothing is shown of
    who customers are."""

    def __init__(self, pages_url: str, clock: Clock, records: Records | None = None) -> None:
        self._pages_url = pages_url
        self._records = records
        self._clock = clock
        self._finders: dict[str, Callable[[Reader, Sequence[Key]], Awaitable[dict[Key, Json]]]] = {
            "payment_intent": self._intents,
            "charge": self._charges,
            "refund": self._refunds,
            "payment_method": self._methods,
            "customer": self._customers,
            "checkout.session": self._sessions,
            "line_items": self._line_items,
            "event": self._events,
            "webhook_endpoint": self._endpoints,
            "balance_transaction": self._transactions,
            "dispute": self._disputes,
            "payout": self._payouts,
            "reporting.report_run": self._runs,
            "file": self._files,
            "source": self._sources,
        }

    async def find(self, reader: Reader, kind: str, keys: Iterable[Key]) -> dict[Key, Json]:
        """The objects of a kind that exist under these keys, shaped for the wire."""
        wanted = sorted(set(keys))
        return await self._finders[kind](reader, wanted) if wanted else {}

    async def exist(self, reader: Reader, kind: str, keys: Iterable[Key]) -> bool:
        """Whether there are objects of a kind under all of these keys; to know it of customers is to look at nobody."""
        wanted = sorted(set(keys))
        if kind == CUSTOMER:
            return len(await reader.rows(customers.SQL.known_customers, *columns(3, wanted))) == len(wanted)
        return len(await self.find(reader, kind, wanted)) == len(wanted)

    async def expand(self, reader: Reader, caller: Caller, shaped: Sequence[Json], paths: Sequence[str]) -> None:
        """Put the objects that `paths` name into `shaped`, in place, but for customers: answers are kept, and who they
        are is not (RULES §12). Raises InvalidRequest for an impossible path."""
        if paths and shaped:
            await self._fill(reader, caller, shaped, expanding.checked(shaped[0]["object"], paths))

    async def name_people(self, reader: Reader, caller: Caller, shaped: Sequence[Json], paths: Sequence[str]) -> None:
        """Put the customers that `paths` name into what `expand` has filled, as they are now. `reader` is no
        transaction: who they are may stand in another database."""
        if shaped and expanding.may_name(paths, CUSTOMER):
            await self._name(reader, caller, shaped, expanding.checked(shaped[0]["object"], paths))

    async def _name(self, reader: Reader, caller: Caller, shaped: Sequence[Json], tree: expanding.Tree) -> None:
        places = [place for one in shaped for place in expanding.places(one, tree, CUSTOMER)]
        keys = [(caller.account_id, caller.livemode, holder[name]) for holder, name in places]
        found = await self.find(reader, CUSTOMER, keys)
        for (holder, name), key in zip(places, keys, strict=True):
            if key in found:
                holder[name] = found[key]

    async def page(
        self,
        reader: Reader,
        caller: Caller,
        kind: str,
        paging: Paging,
        url: str,
        statements: tuple[Statement, Statement],
        filters: Sequence[Any] = (),
    ) -> Json:
        """One page of a list. `statements` give the ids, newest first and oldest first."""
        await self._check_cursors(reader, caller, kind, paging)
        ids, has_more = await _page_of_ids(reader, caller, kind, paging, statements, filters)
        found = await self.find(reader, kind, [(caller.account_id, caller.livemode, id) for id in ids])
        data = [found[key] for id in ids if (key := (caller.account_id, caller.livemode, id)) in found]
        if paging.expand and data:
            tree = expanding.checked(kind, paging.expand, listed=True)
            await self._fill(reader, caller, data, tree)
            await self._name(reader, caller, data, tree)
        return objects.listing(url, data, has_more)

    async def _check_cursors(self, reader: Reader, caller: Caller, kind: str, paging: Paging) -> None:
        for param in ("starting_after", "ending_before"):
            id = getattr(paging, param)
            if id is not None and not await self.exist(reader, kind, [(caller.account_id, caller.livemode, id)]):
                raise errors.no_such_reference(kind, id, param=param)

    async def _fill(self, reader: Reader, caller: Caller, shaped: Sequence[Json], tree: expanding.Tree) -> None:
        for name, below in tree.items():
            kind = expanding.EXPANDABLE[shaped[0]["object"]][name]
            assert kind is not None, "the tree holds only members that name an object"
            if kind == CUSTOMER:
                continue
            member = "id" if kind == "line_items" else name
            named = [
                (one, (caller.account_id, caller.livemode, one[member]))
                for one in shaped
                if isinstance(one[member], str)
            ]
            found = await self.find(reader, kind, [key for _, key in named])
            for one, key in named:
                if key in found:
                    one[name] = found[key]
            if below and found:
                await self._fill(reader, caller, list(found.values()), below)

    async def _intents(self, reader: Reader, keys: Sequence[Key]) -> dict[Key, Json]:
        return {
            _key(row): objects.payment_intent(row) for row in await _load(reader, SQL.find_intents, PaymentIntent, keys)
        }

    async def _methods(self, reader: Reader, keys: Sequence[Key]) -> dict[Key, Json]:
        return {
            _key(row): objects.payment_method(row) for row in await _load(reader, SQL.find_methods, PaymentMethod, keys)
        }

    async def _customers(self, reader: Reader, keys: Sequence[Key]) -> dict[Key, Json]:
        rows = await _load(reader, customers.SQL.find_customers, Customer, keys)
        known = await self._records.read([_key(row) for row in rows]) if self._records is not None and rows else {}
        return {_key(row): shaped_customer(row, known.get(_key(row), {})) for row in rows}

    async def _charges(self, reader: Reader, keys: Sequence[Key]) -> dict[Key, Json]:
        charges = await _load(reader, SQL.find_charges, Charge, keys)
        intents = await _of(reader, SQL.find_intents, PaymentIntent, charges, "payment_intent")
        methods = await _of(reader, SQL.find_methods, PaymentMethod, charges, "payment_method")
        shaped = {
            _key(charge): objects.charge(
                charge,
                methods[charge.account_id, charge.livemode, charge.payment_method],
                intents[charge.account_id, charge.livemode, charge.payment_intent],
            )
            for charge in charges
        }
        return await self._with_transactions(reader, shaped)

    async def _refunds(self, reader: Reader, keys: Sequence[Key]) -> dict[Key, Json]:
        shaped = {_key(row): objects.refund(row) for row in await _load(reader, SQL.find_refunds, Refund, keys)}
        return await self._with_transactions(reader, shaped)

    async def _transactions(self, reader: Reader, keys: Sequence[Key]) -> dict[Key, Json]:
        return await find_transactions(reader, keys, self._clock.now())

    async def _disputes(self, reader: Reader, keys: Sequence[Key]) -> dict[Key, Json]:
        rows = await _load(reader, SQL.find_disputes, Dispute, keys)
        return await self._with_transactions(reader, {_key(row): balance_objects.dispute(row) for row in rows})

    async def _payouts(self, reader: Reader, keys: Sequence[Key]) -> dict[Key, Json]:
        rows = await _load(reader, SQL.find_payouts, Payout, keys)
        return await self._with_transactions(reader, {_key(row): balance_objects.payout(row, None) for row in rows})

    async def _runs(self, reader: Reader, keys: Sequence[Key]) -> dict[Key, Json]:
        rows = await _load(reader, SQL.find_runs, Run, keys)
        return {_key(row): report_objects.report_run(row, self._pages_url) for row in rows}

    async def _files(self, reader: Reader, keys: Sequence[Key]) -> dict[Key, Json]:
        rows = await _load(reader, SQL.find_files, Run, keys)
        shaped = {(row.account_id, row.livemode, str(row.file)): row for row in rows}
        return {key: report_objects.file(row, self._pages_url) for key, row in shaped.items()}

    async def _with_transactions(self, reader: Reader, shaped: dict[Key, Json]) -> dict[Key, Json]:
        await name_transactions(reader, [(key[0], key[1], one) for key, one in shaped.items()], self._clock.now())
        return shaped

    async def _sources(self, reader: Reader, keys: Sequence[Key]) -> dict[Key, Json]:
        """What caused balance transactions: objects of several kinds, told by their prefix."""
        found: dict[Key, Json] = {}
        for prefix, kind in SOURCES.items():
            found |= await self.find(reader, kind, [key for key in keys if key[2].startswith(prefix)])
        return found

    async def _sessions(self, reader: Reader, keys: Sequence[Key]) -> dict[Key, Json]:
        sessions = await _load(reader, SQL.find_sessions, CheckoutSession, keys)
        return {_key(session): checkout_objects.checkout_session(session, self._pages_url) for session in sessions}

    async def _line_items(self, reader: Reader, keys: Sequence[Key]) -> dict[Key, Json]:
        shown: dict[Key, Json] = {}
        for session in await _load(reader, SQL.find_sessions, CheckoutSession, keys):
            items = line_items(session)
            url = f"/v1/checkout/sessions/{session.id}/line_items"
            shown[_key(session)] = objects.listing(url, items[:LINE_ITEMS_SHOWN], len(items) > LINE_ITEMS_SHOWN)
        return shown

    async def line_items(self, reader: Reader, key: Key, paging: Paging) -> Json | None:
        """One page of a session's positions, in their order; None where there is no such session."""
        sessions = await _load(reader, SQL.find_sessions, CheckoutSession, [key])
        if not sessions:
            return None
        items = line_items(sessions[0])
        ids = [item["id"] for item in items]
        for param, id in (("starting_after", paging.starting_after), ("ending_before", paging.ending_before)):
            if id is not None and id not in ids:
                raise errors.no_such_reference("item", id, param=param)
        url = f"/v1/checkout/sessions/{key[2]}/line_items"
        if paging.ending_before is not None:
            before = items[: ids.index(paging.ending_before)]
            return objects.listing(url, before[-paging.limit :], len(before) > paging.limit)
        after = items[ids.index(paging.starting_after) + 1 :] if paging.starting_after is not None else items
        return objects.listing(url, after[: paging.limit], len(after) > paging.limit)

    async def _events(self, reader: Reader, keys: Sequence[Key]) -> dict[Key, Json]:
        return {
            (row["account_id"], row["livemode"], row["id"]): webhook_objects.event(
                id=row["id"],
                livemode=row["livemode"],
                type=row["type"],
                object=row["object"],
                previous=row["previous"],
                request_id=row["request_id"],
                idempotency_key=row["idempotency_key"],
                pending_webhooks=row["pending_webhooks"],
                created_at=row["created_at"],
            )
            for row in await reader.rows(SQL.find_events, *_columns(keys))
        }

    async def _endpoints(self, reader: Reader, keys: Sequence[Key]) -> dict[Key, Json]:
        return {
            (row["account_id"], row["livemode"], row["id"]): webhook_objects.webhook_endpoint(
                id=row["id"],
                livemode=row["livemode"],
                url=row["url"],
                status=row["status"],
                enabled_events=row["enabled_events"],
                api_version=row["api_version"],
                description=row["description"],
                metadata=row["metadata"],
                created_at=row["created_at"],
            )
            for row in await reader.rows(SQL.find_endpoints, *_columns(keys))
        }


async def _load(reader: Reader, statement: Statement, type: type[Row], keys: Sequence[Key]) -> list[Row]:
    return [type(**row) for row in await reader.rows(statement, *_columns(keys))]


async def _of(
    reader: Reader, statement: Statement, type: type[Row], charges: Sequence[Charge], member: str
) -> dict[Key, Row]:
    """What the charges name by `member`."""
    keys = sorted({(charge.account_id, charge.livemode, getattr(charge, member)) for charge in charges})
    return {_key(row): row for row in await _load(reader, statement, type, keys)} if keys else {}


async def _page_of_ids(
    reader: Reader,
    caller: Caller,
    kind: str,
    paging: Paging,
    statements: tuple[Statement, Statement],
    filters: Sequence[Any],
) -> tuple[list[str], bool]:
    """The ids of one page, newest first, and whether there are more beyond it."""
    from_second, to_second = paging.bounds() if isinstance(paging, CreatedPaging) else (None, None)
    first, last = _time(from_second, FIRST_TIME), _time(to_second, LAST_TIME)
    backwards = paging.ending_before is not None
    rows = await reader.rows(
        statements[backwards],
        caller.account_id,
        caller.livemode,
        max(paging.ending_before or FIRST_ID, _id_near(kind, caller, first, -ID_MARGIN)),
        min(paging.starting_after or LAST_ID, _id_near(kind, caller, last, ID_MARGIN)),
        first,
        last,
        paging.limit + 1,
        *filters,
    )
    ids = [row["id"] for row in rows[: paging.limit]]
    return (ids[::-1] if backwards else ids), len(rows) > paging.limit


def _id_near(kind: str, caller: Caller, at: datetime, margin: timedelta) -> str:
    """A bound of ids for what was created from or until `at`: the index skips what lies far outside."""
    if at in (FIRST_TIME, LAST_TIME):
        return FIRST_ID if at == FIRST_TIME else LAST_ID
    prefix, owned = ID_FORMS[kind]
    mode = "live" if caller.livemode else "test"
    return first_id(prefix.format(mode=mode), max(at + margin, FIRST_TIME), caller.account_id if owned else "")


def _time(second: int | None, otherwise: datetime) -> datetime:
    if second is None or second >= LAST_TIME.timestamp():
        return otherwise if second is None else LAST_TIME
    return datetime.fromtimestamp(second, UTC)


def _key(row: Any) -> Key:
    return row.account_id, row.livemode, row.id


def _columns(keys: Sequence[Key]) -> tuple[list[str], list[bool], list[str]]:
    return [key[0] for key in keys], [key[1] for key in keys], [key[2] for key in keys]
