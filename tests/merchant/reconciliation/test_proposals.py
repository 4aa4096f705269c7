"""What two people decide about a payment: the gateway is asked, and its answer merged or nothing done (RULES §11)."""

from typing import Any

import pytest

from tallystick.merchant.accounts.directory import Directory
from tallystick.merchant.cases.proposals import ProposalRefused, Proposals
from tallystick.merchant.gateways.stripe_reports import StripeReports
from tallystick.merchant.orders.outbox import Outbox
from tallystick.ports.database import Statement
from tallystick.ports.entropy import SystemEntropy

Books = Any
Files = Any


def proposals_of(books: Books, secrets: Any) -> Proposals:
    entropy = SystemEntropy()
    return Proposals(
        books.database,
        Directory(books.database, books.clock),
        StripeReports(books.http, secrets, books.clock, entropy),
        books.clock,
        entropy,
        Outbox(books.clock, entropy),
    )


class Keys:
    """The secret of the connection; `asked` is awaited when it is read, in the middle of an approval."""

    asked: Any = None

    async def read(self, reference: str) -> str:
        if self.asked is not None:
            asked, self.asked = self.asked, None
            await asked()
        return "sk_test_of_no_value"


async def a_case(books: Books, files: Files, order_id: str) -> str:
    """A charge that the gateway did not confirm."""
    row = files.stripe_row(1, created_utc="2026-11-26 10:00:00") | {"payment_metadata[order_id]": order_id}
    books.gateway.lines = [row]
    await books.run()
    [case] = await books.rows("SELECT case_id FROM cases")
    case_id: str = case["case_id"]
    return case_id


async def test_what_the_gateway_answers_is_merged_once_two_people_say_so(books: Books, files: Files) -> None:
    order_id = await books.order(1, "PENDING")
    proposals, case = proposals_of(books, Keys()), await a_case(books, files, order_id)
    books.gateway.captured(1, order_id)
    await proposals.propose(books.merchant_id, case, "merge", "the gateway has found it", "Ada")
    assert await books.state(order_id) == "PENDING"
    assert (await proposals.approve(books.merchant_id, case, "Bob")).state == "executed"
    assert await books.state(order_id) == "PAID"
    assert await books.found() == {("captured_but_pending", "resolved")}


async def test_a_payment_of_an_order_that_there_is_not_is_merged_nowhere_and_its_case_stays(
    books: Books, files: Files
) -> None:
    """The gateway's word decides whose the payment is, and not the file's."""
    innocent = await books.order(2, "PENDING")
    proposals, case = proposals_of(books, Keys()), await a_case(books, files, "ord_nobody_knows")
    await books.database.execute(Statement("x", "UPDATE cases SET order_id = $1::text"), innocent)
    books.gateway.captured(1, "ord_nobody_knows")
    await proposals.propose(books.merchant_id, case, "merge", "x", "Ada")
    with pytest.raises(ProposalRefused, match="that there is not"):
        await proposals.approve(books.merchant_id, case, "Bob")
    assert await books.rows("SELECT state FROM cases") == [{"state": "open"}]
    assert await books.rows("SELECT state FROM case_proposal") == [{"state": "proposed"}]
    assert await books.state(innocent) == "PENDING"


async def test_what_was_proposed_in_the_place_of_what_is_approved_is_not_done(books: Books, files: Files) -> None:
    """While the gateway is asked, somebody rejects what was proposed, and something else is proposed."""
    order_id = await books.order(1, "PENDING")
    keys = Keys()
    proposals, case = proposals_of(books, keys), await a_case(books, files, order_id)
    books.gateway.captured(1, order_id)
    await proposals.propose(books.merchant_id, case, "merge", "x", "Ada")

    async def meanwhile() -> None:
        await proposals.reject(books.merchant_id, case, "Cid")
        await proposals.propose(books.merchant_id, case, "close", "y", "Ada")

    keys.asked = meanwhile
    with pytest.raises(ProposalRefused, match="look at it first"):
        await proposals.approve(books.merchant_id, case, "Bob")
    assert await books.state(order_id) == "PENDING"
    assert await books.rows("SELECT state FROM case_proposal ORDER BY number") == [
        {"state": "rejected"},
        {"state": "proposed"},
    ]
