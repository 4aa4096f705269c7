"""RULES §3, §14: a bank that approves another amount than it was asked for has approved nothing that anybody wanted."""

from datetime import timedelta
from typing import Any

import pytest

from tallystick.gateway.acquirers import port
from tallystick.gateway.stripe_wire import errors
from tallystick.kernel.outcomes import Unknown

Core = Any
CARD = "pm_card_approvedOtherAmount"


async def money(core: Core) -> dict[str, int]:
    rows = await core.rows(
        "SELECT leg.account, sum(leg.amount)::bigint AS sum FROM ledger_transaction t, "
        "unnest(t.accounts, t.amounts) AS leg(account, amount) GROUP BY 1"
    )
    return {row["account"]: row["sum"] for row in rows}


@pytest.mark.parametrize("capture_method", ["automatic", "manual"])
async def test_it_is_given_back_and_another_card_is_asked_for(core: Core, capture_method: str) -> None:
    with pytest.raises(errors.CardDeclined):
        await core.create(confirm=True, payment_method=CARD, capture_method=capture_method)
    (charge,) = await core.rows("SELECT * FROM charge")
    assert (charge["state"], charge["amount"], charge["amount_authorised"]) == ("reversed", 1000, 1100)
    intent = await core.intent(charge["payment_intent"])
    assert (intent["status"], intent["amount_received"]) == ("requires_payment_method", 0)
    assert set((await money(core)).values()) <= {0}
    assert "payment_intent.succeeded" not in await core.events()
    paid = await core.confirm(intent["id"], payment_method="pm_card_visa")
    assert paid["status"] == ("succeeded" if capture_method == "automatic" else "requires_capture")


async def test_an_inquiry_learns_it_too(core: Core) -> None:
    """The answer was lost on its way: what the bank says when it is asked is judged the same."""
    core.bank.answers.append(Unknown("the answer was lost"))
    intent = await core.create(confirm=True, payment_method=CARD)
    assert intent["status"] == "processing"
    core.clock.ahead += timedelta(seconds=11)
    await core.inquirer.look()
    assert (await core.intent(intent["id"]))["status"] == "requires_payment_method"
    assert set((await money(core)).values()) <= {0}


async def test_what_the_bank_tells_by_itself_is_judged_the_same(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    core.bank.answers.append(Unknown("the answer was lost"))
    intent = await core.create(confirm=True, payment_method="pm_card_visa")
    (charge,) = await core.rows("SELECT acquirer_key FROM charge")
    notice = port.Notice(core.account_id, charge["acquirer_key"], "approved", "simch_1", amount=1100)
    left = [notice]

    async def notices(*_: Any) -> list[port.Notice]:
        told, left[:] = list(left), []
        return told

    monkeypatch.setattr(core.bank, "notices", notices)
    await core.inquirer.look()
    assert (await core.intent(intent["id"]))["status"] == "requires_payment_method"
    assert set((await money(core)).values()) <= {0}
