"""The routes of customers and of the cards that they saved."""

import msgspec

from tallystick.gateway.cards.api import METHOD, METHODS
from tallystick.gateway.customers.commands import METHOD_NOUN, Customers
from tallystick.gateway.customers.customer import KIND
from tallystick.gateway.customers.known import SQL
from tallystick.gateway.customers.parameters import (
    AttachMethod,
    CreateCustomer,
    DetachMethod,
    ListCustomers,
    ListMethods,
    ListSaved,
    UpdateCustomer,
)
from tallystick.gateway.people.records import Records
from tallystick.gateway.stripe_wire import errors, writes
from tallystick.gateway.stripe_wire.call import Call, Reply
from tallystick.gateway.stripe_wire.parameters import Paging, Parameters, Retrieve
from tallystick.gateway.stripe_wire.reads import Reads
from tallystick.gateway.stripe_wire.routing import Route

CUSTOMERS = "/v1/customers"
SAVED = (SQL.page_of_saved, SQL.page_of_saved_backwards)


def routes(customers: Customers, reads: Reads, records: Records) -> list[Route]:
    """Create, retrieve, update, list and delete customers; list, attach and detach their cards."""

    async def of_an_email(call: Call, paging: ListCustomers) -> tuple[list[str] | None]:
        if paging.email is None:
            return (None,)
        return (await records.find(call.caller.account_id, paging.email, livemode=call.caller.livemode),)

    one, card = f"{CUSTOMERS}/{{id}}", f"{METHODS}/{{id}}"
    return [
        writes.create(CUSTOMERS, CreateCustomer, customers.create, kind=KIND, batched=True),
        reads.page(
            CUSTOMERS,
            KIND,
            ListCustomers,
            (SQL.page_of_customers, SQL.page_of_customers_backwards),
            filtered=of_an_email,
        ),
        reads.one(one, KIND),
        writes.change(one, UpdateCustomer, customers.update, kind=KIND, batched=True),
        writes.change(one, Retrieve, customers.delete, kind=KIND, method="DELETE"),
        reads.page(
            METHODS,
            METHOD,
            ListMethods,
            SAVED,
            lambda paging: (paging.customer,),
        ),
        _saved_of_one(reads),
        writes.change(f"{card}/attach", AttachMethod, customers.attach, kind=METHOD, noun=METHOD_NOUN),
        writes.change(f"{card}/detach", DetachMethod, customers.detach, kind=METHOD, noun=METHOD_NOUN),
    ]


def _saved_of_one(reads: Reads) -> Route:
    """The same list under the customer's own address."""

    async def run(call: Call, id: str, paging: Parameters) -> Reply:
        assert isinstance(paging, Paging)
        key = (call.caller.account_id, call.caller.livemode, id)
        if not await reads.reading.exist(reads.database, KIND, [key]):
            raise errors.no_such(KIND, id)
        path = f"{CUSTOMERS}/{id}/payment_methods"
        listing = await reads.reading.page(reads.database, call.caller, METHOD, paging, path, SAVED, (id,))
        return Reply(200, msgspec.json.encode(listing))

    path = f"{CUSTOMERS}/{{id}}/payment_methods"
    return Route(method="GET", path=path, parameters=ListSaved, run=run, kind=METHOD, listed=True)
