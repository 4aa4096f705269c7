"""DESIGN §8: the same statements through psycopg, which the simulation uses: a payment's whole life, step by step."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from tallystick.gateway.checkout.results import Challenge, Declined, Paid
from tallystick.gateway.stripe_wire import errors
from tallystick.ports.database import Database
from tallystick.ports.synchronous import SynchronousDatabase

Core = Any


@pytest.fixture
def synchronous(gateway_dsn: str) -> Iterator[Database]:
    """The gateway's database through psycopg, in the loop's own thread."""
    database = SynchronousDatabase(gateway_dsn)
    yield database
    database._connection.close()


async def test_a_payments_life_through_psycopg(core_over: Callable[[Database], Core], synchronous: Database) -> None:
    core = await core_over(synchronous)
    intent = await core.create(metadata={"a": "ö"}, payment_method="pm_card_visa", expand=["payment_method"])
    assert (await core.update(intent["id"], metadata={"b": "2"}))["metadata"] == {"a": "ö", "b": "2"}
    with pytest.raises(errors.CardDeclined):
        await core.confirm(intent["id"], payment_method="pm_card_chargeDeclined")
    assert (await core.confirm(intent["id"], payment_method="pm_card_visa"))["status"] == "succeeded"

    held = await core.create(confirm=True, payment_method="pm_card_visa", capture_method="manual")
    assert (await core.capture(held["id"], amount_to_capture=400))["amount_received"] == 400
    held = await core.create(confirm=True, payment_method="pm_card_visa", capture_method="manual")
    assert (await core.cancel(held["id"], cancellation_reason="duplicate"))["status"] == "canceled"

    session = await core.open_session()
    assert isinstance(await core.pay(session["id"], "4000000000000002"), Declined)
    challenge = await core.pay(session["id"], "4000002760003184")
    assert isinstance(challenge, Challenge)
    await core.checkout.answer_challenge(challenge.url.rpartition("/")[2], "failed")
    assert await core.pay(session["id"]) == Paid()

    due = await core.open_session(expires_at=int(core.clock.now().timestamp()) + 60)
    late = await core.create(confirm=True, payment_method="pm_card_visa", capture_method="manual")
    core.clock.ahead += timedelta(days=8)
    assert await core.expiry.expire_sessions() == 1
    assert await core.expiry.void_uncaptured() == 1
    assert (await core.session(due["id"]))["status"] == "expired"
    assert (await core.intent(late["id"]))["status"] == "canceled"

    claim = await core.claim("k")
    assert claim.generation >= 1
    assert len(await core.rows("SELECT id FROM ledger_transaction")) == 3
