"""The proof of RULES §11: every kind of mismatch planted at random in a day of 100,000 orders; all of them are found and
nothing else, and every automatic repair leads to the state that the truth demands.
"""
# ruff: noqa: E501 - SQL reads best in lines of its own

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tallystick.ports.database import Statement

Books = Any
Files = Any

ORDERS = 100_000
PLANTED_MAX = 20  # of each kind: less than the breaker takes
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
FEE = "0.60"

FILL = """
WITH n AS (SELECT n, 'ord_' || $2::text || lpad(n::text, 25, '0') AS order_id, timestamptz '2026-11-26T06:00:00Z' + n * interval '100 ms' AS at
             FROM generate_series(1, $4::int) AS n WHERE NOT n = ANY($5::int[])),
made AS (
    INSERT INTO orders (merchant_id, order_id, connection_id, amount_minor, currency, ui_mode, ttl_s, declines_max, state, fulfilment, keeper,
                        attempt_newest, amount_captured_minor, facts, created_at, expires_at, updated_at, paid_at)
    SELECT $1::text, n.order_id, $3::text, 2500, 'EUR', 'hosted', 1800, 3, 'PAID', 'allowed', 1, 1, 2500,
           format('{"attempts": {"1": {"state": "succeeded", "session": "cs_%s", "intent": "pi_%s", "authorised": [["EUR", 2500]],
                    "captured": {"EUR": 2500}}}, "keeper": 1, "decision": "allowed"}', n.n, n.n)::jsonb, n.at, n.at, n.at, n.at
      FROM n)
INSERT INTO attempt (merchant_id, order_id, number, connection_id, state, open_key, gateway_expires_at, payment_intent, created_at, due_at)
SELECT $1::text, n.order_id, 1, $3::text, 'succeeded', 'k', n.at, 'pi_' || n.n, n.at, NULL FROM n
"""


class Truth:
    """What was planted: what must be found, and how the orders must stand in the end."""

    def __init__(self, books: Books, files: Files, chance: random.Random) -> None:
        self.books, self.files, self.chance = books, files, chance
        self.found: set[tuple[str, str, str]] = set()  # code, subject, state
        self.codes: dict[str, str] = {}
        self.states: dict[str, str] = {}
        self.refunded: dict[str, int] = {}
        self.disputed: dict[str, str] = {}
        self.overpaid: set[str] = set()
        self.lines: list[dict[str, str]] = []
        self.numbers = iter(chance.sample(range(1, ORDERS + 1), 4_000))
        self.used: list[int] = []
        self._line = 0

    def number(self) -> int:
        number = next(self.numbers)
        self.used.append(number)
        return number

    def line(
        self, number: int, order_id: str, category: str = "charge", gross: str = "25.00", fee: str = FEE, **more: str
    ) -> str:
        """A line of the report; its id."""
        self._line += 1
        minor = round(float(gross) * 100) - round(float(fee) * 100)
        net = f"{'-' if minor < 0 else ''}{abs(minor) // 100}.{abs(minor) % 100:02}"
        row = self.files.stripe_row(number, category, gross=gross, fee=fee, net=net, created_utc="2026-11-26 12:00:00")
        row |= {"balance_transaction_id": f"txn_planted_{self._line}", "payment_metadata[order_id]": order_id} | more
        self.lines.append(row)
        return str(row["balance_transaction_id"])

    def expect(self, code: str, subject: str, state: str, *lines: str) -> None:
        self.found.add((code, subject, state))
        self.codes |= dict.fromkeys(lines, code)


async def captured_but_pending(t: Truth) -> None:
    n = t.number()
    order_id = await t.books.order(n, t.chance.choice(["PENDING", "FAILED"]))
    t.books.gateway.captured(n, order_id)
    t.expect("captured_but_pending", f"pi_{n}", "resolved", t.line(n, order_id))
    t.states[order_id] = "PAID"


async def captured_but_closed(t: Truth) -> None:
    n = t.number()
    order_id = await t.books.order(n, t.chance.choice(["EXPIRED", "CANCELED"]))
    t.books.gateway.captured(n, order_id)
    t.expect("captured_but_closed", f"pi_{n}", "resolved", t.line(n, order_id))
    t.states[order_id] = "PAID"


async def unknown_payment(t: Truth) -> None:
    n = t.number() + 10 * ORDERS
    t.expect("unknown_payment", f"pi_{n}", "case", t.line(n, t.chance.choice(["", "ord_of_another_shop"])))


async def paid_but_missing(t: Truth) -> None:
    n = t.number()
    t.states[await t.books.order(n, paid_at=NOON)] = "PAID"
    t.expect("paid_but_missing", f"pi_{n}", "waiting")


async def paid_at_the_days_end(t: Truth) -> None:
    n = t.number()
    await t.books.order(n, paid_at=NOON + timedelta(hours=11, minutes=30))
    t.expect("cut_off", f"pi_{n}", "waiting")


async def amount_differs(t: Truth) -> None:
    n = t.number()
    order_id = await t.books.order(n, paid_at=NOON)
    t.expect(
        "amount_differs",
        f"pi_{n}",
        "case",
        t.line(n, order_id, gross=t.chance.choice(["24.99", "25.01", "2.50", "250.00"])),
    )


async def currency_differs(t: Truth) -> None:
    n = t.number()
    order_id = await t.books.order(n, paid_at=NOON)
    await t.books.database.execute(
        Statement("x", "UPDATE orders SET currency = 'USD' WHERE order_id = $1::text"), order_id
    )
    t.expect("currency_differs", f"pi_{n}", "case", t.line(n, order_id))


async def refund_unknown(t: Truth) -> None:
    n = t.number()
    order_id = await t.books.order(n, paid_at=NOON)
    t.books.gateway.captured(n, order_id)
    t.books.gateway.refunded(n)
    t.line(n, order_id)
    t.expect(
        "refund_unknown", f"re_{n}", "resolved", t.line(n, order_id, "refund", "-7.00", "0.00", source_id=f"re_{n}")
    )
    t.refunded[order_id] = 700


async def refund_missing(t: Truth) -> None:
    n = t.number()
    refunds = {f"re_{n}": {"status": "succeeded", "amount_minor": 700, "currency": "EUR"}}
    t.line(n, await t.books.order(n, paid_at=NOON, refunds=refunds))
    t.expect("refund_missing", f"re_{n}", "waiting")


async def refund_amount_differs(t: Truth) -> None:
    n = t.number()
    refunds = {f"re_{n}": {"status": "succeeded", "amount_minor": 700, "currency": "EUR"}}
    order_id = await t.books.order(n, paid_at=NOON, refunds=refunds)
    t.line(n, order_id)
    t.expect(
        "refund_amount_differs", f"re_{n}", "case", t.line(n, order_id, "refund", "-7.01", "0.00", source_id=f"re_{n}")
    )


async def refunded_as_known(t: Truth) -> None:
    """No mismatch at all."""
    n = t.number()
    refunds = {f"re_{n}": {"status": "succeeded", "amount_minor": 700, "currency": "EUR"}}
    order_id = await t.books.order(n, paid_at=NOON, refunds=refunds)
    t.line(n, order_id)
    t.line(n, order_id, "refund", "-7.00", "0.00", source_id=f"re_{n}")


async def captured_and_returned(t: Truth) -> None:
    n = t.number()
    order_id = await t.books.order(n, "EXPIRED")
    lines = (t.line(n, order_id, fee="0.00"), t.line(n, order_id, "refund", "-25.00", "0.00"))
    t.expect("captured_and_returned", f"pi_{n}", "noted", *lines)
    t.states[order_id] = "EXPIRED"


async def settled_twice(t: Truth) -> None:
    n = t.number()
    order_id = await t.books.order(n, paid_at=NOON)
    t.expect("settled_twice", f"pi_{n}", "case", t.line(n, order_id), t.line(n, order_id))


async def captured_twice(t: Truth) -> None:
    """Attempt 2 was paid too, and nobody told us."""
    n, other = t.number(), t.number() + 20 * ORDERS
    order_id = await t.books.order(n, paid_at=NOON)
    second = "UPDATE orders SET attempt_newest = 2, facts = jsonb_set(facts, '{attempts,2}', '{\"session\": \"cs_b\"}') WHERE order_id = $1::text"
    await t.books.database.execute(Statement("x", second), order_id)
    copy = """INSERT INTO attempt (merchant_id, order_id, number, connection_id, state, open_key, gateway_expires_at, created_at, due_at)
              SELECT merchant_id, order_id, 2, connection_id, 'open', 'k2', gateway_expires_at, created_at, NULL FROM attempt WHERE order_id = $1::text"""
    await t.books.database.execute(Statement("x", copy), order_id)
    t.books.gateway.captured(other, order_id, attempt=2)
    t.line(n, order_id)
    t.expect("captured_twice", f"pi_{other}", "resolved", t.line(other, order_id))
    t.overpaid.add(order_id)
    t.states[order_id] = "PAID"


async def charged_twice(t: Truth) -> None:
    """Two charges of one payment, and the gateway has both."""
    n = t.number()
    order_id = await t.books.order(n, paid_at=NOON)
    t.books.gateway.captured(n, order_id)
    for charge in (f"ch_{n}", f"ch_again_{n}"):
        t.books.gateway.charged(n, charge)
    again = {"source_id": f"ch_again_{n}", "charge_id": f"ch_again_{n}"}
    t.expect("captured_twice", f"pi_{n}", "resolved", t.line(n, order_id), t.line(n, order_id, **again))
    t.overpaid.add(order_id)
    t.states[order_id] = "PAID"


async def fee_differs(t: Truth) -> None:
    n = t.number()
    fee, state = t.chance.choice([("0.61", "noted"), ("0.59", "noted"), ("0.66", "case"), ("0.00", "case")])
    id = t.line(n, await t.books.order(n, paid_at=NOON), fee=fee)
    t.expect("fee_differs", id, state, id)


async def dispute_unknown(t: Truth) -> None:
    n = t.number()
    order_id = await t.books.order(n, paid_at=NOON)
    t.books.gateway.captured(n, order_id)
    t.books.gateway.disputes.append(a_dispute(n, "needs_response"))
    t.line(n, order_id)
    t.expect(
        "dispute_unknown", f"dp_{n}", "resolved", t.line(n, order_id, "dispute", "-25.00", "15.00", source_id=f"dp_{n}")
    )
    t.disputed[order_id] = "needs_response"


async def dispute_reversal(t: Truth) -> None:
    n = t.number()
    order_id = await t.books.order(
        n, paid_at=NOON, disputes={f"dp_{n}": {"status": "needs_response", "currency": "EUR"}}
    )
    t.books.gateway.captured(n, order_id)
    t.books.gateway.disputes.append(a_dispute(n, "won"))
    t.line(n, order_id)
    t.line(n, order_id, "dispute", "-25.00", "15.00", source_id=f"dp_{n}")
    won = t.line(n, order_id, "dispute_reversal", "25.00", "-15.00", source_id=f"dp_{n}")
    t.expect("dispute_reversal", f"dp_{n}", "resolved", won)
    t.disputed[order_id] = "closed"


def a_dispute(n: int, status: str) -> dict[str, Any]:
    return {
        "id": f"dp_{n}",
        "object": "dispute",
        "amount": 2500,
        "currency": "eur",
        "status": status,
        "payment_intent": f"pi_{n}",
    }


async def refund_failure(t: Truth) -> None:
    n = t.number()
    refunds = {f"re_{n}": {"status": "succeeded", "amount_minor": 700, "currency": "EUR"}}
    order_id = await t.books.order(n, paid_at=NOON, refunds=refunds)
    t.books.gateway.captured(n, order_id)
    t.books.gateway.refunded(n, status="failed")
    t.line(n, order_id)
    t.line(n, order_id, "refund", "-7.00", "0.00", source_id=f"re_{n}")
    t.expect(
        "refund_failure",
        f"re_{n}",
        "resolved",
        t.line(n, order_id, "refund_failure", "7.00", "0.00", source_id=f"re_{n}"),
    )
    t.refunded[order_id] = 0


async def of_another_day(t: Truth) -> None:
    n = t.number()
    id = t.line(n, await t.books.order(n, paid_at=NOON), created_utc="2026-11-25 23:59:59")
    t.expect("cut_off", id, "noted", id)


async def unexplained_line(t: Truth) -> None:
    alone = {"payment_intent_id": "", "charge_id": ""}
    id = t.line(0, "", t.chance.choice(["contribution", "topup"]), "1.00", "0.00", **alone)
    t.expect("unexplained_line", id, "case", id)


async def money_only(t: Truth) -> None:
    """No mismatch: each is what it is."""
    category, code = t.chance.choice(
        [
            ("payout", "payout"),
            ("payout_reversal", "payout_failure"),
            ("fee", "fee"),
            ("other_adjustment", "adjustment"),
        ]
    )
    t.codes[t.line(0, "", category, "-3.00", "0.00", payment_intent_id="", charge_id="")] = code


PLANTERS = (
    captured_but_pending, captured_but_closed, unknown_payment, paid_but_missing, paid_at_the_days_end, amount_differs, currency_differs,
    refund_unknown, refund_missing, refund_amount_differs, refunded_as_known, captured_and_returned, settled_twice, captured_twice, charged_twice,
    fee_differs, dispute_unknown, dispute_reversal, refund_failure, of_another_day, unexplained_line, money_only,
)  # fmt: skip


async def plant(books: Books, files: Files, seed: int, orders: int) -> Truth:
    """A day with mismatches of every kind, in a random order."""
    chance = random.Random(seed)
    truth = Truth(books, files, chance)
    planted = [planter for planter in PLANTERS for _ in range(chance.randint(1, PLANTED_MAX))]
    chance.shuffle(planted)
    for planter in planted:
        await planter(truth)
    owner = books.merchant_id[4:]
    await books.database.execute(
        Statement("x", FILL), books.merchant_id, owner, books.connection_id, orders, truth.used
    )
    used = set(truth.used)
    for n in range(1, orders + 1):
        if n not in used:
            truth.line(n, f"ord_{owner}{n:025}")
    chance.shuffle(truth.lines)
    books.gateway.lines = truth.lines
    contract = "INSERT INTO fee_contract VALUES ($1::text, $2::text, 'EUR', 140, 25)"
    await books.database.execute(Statement("x", contract), books.merchant_id, books.connection_id)
    return truth


async def check(books: Books, truth: Truth) -> None:
    """All that was planted was found and nothing else, and what was repaired is as the truth demands."""
    [run] = await books.rows("SELECT state, stopped, lines_read FROM reconciliation")
    assert (run["state"], run["stopped"], run["lines_read"]) == ("done", None, len(truth.lines))
    found = {
        (row["code"], row["subject"], row["state"])
        for row in await books.rows("SELECT code, subject, state FROM mismatch")
    }
    assert found - truth.found == set(), "precision"
    assert truth.found - found == set(), "recall"
    codes = await books.rows("SELECT line_id, code FROM settlement_line WHERE code <> 'matched'")
    assert {row["line_id"]: row["code"] for row in codes} == truth.codes
    orders = {
        row["order_id"]: row
        for row in await books.rows(
            "SELECT order_id, state, overpaid, amount_refunded_minor, facts::text AS facts FROM orders WHERE version > 0 OR state <> 'PAID'"
        )
    }
    for order_id, state in truth.states.items():
        assert orders.get(order_id, {"state": "PAID"})["state"] == state, order_id
    for order_id, amount in truth.refunded.items():
        assert orders[order_id]["amount_refunded_minor"] == amount, order_id
    for order_id, status in truth.disputed.items():
        assert f'"status": "{status}"' in orders[order_id]["facts"], order_id
    errands = "SELECT order_id FROM errand WHERE (kind, attempt) IN (('return', 2), ('return_charges', 1))"
    returned = {row["order_id"] for row in await books.rows(errands)}
    assert returned == truth.overpaid
    changed = set(truth.states) | set(truth.refunded) | set(truth.disputed)
    assert {id for id, row in orders.items() if row["state"] == "PAID"} <= changed, "no other order was touched"


@pytest.mark.parametrize("seed", range(3))
async def test_a_small_planted_day(books: Books, files: Files, seed: int) -> None:
    truth = await plant(books, files, seed, 3_000)
    books.gateway.sequence = 7
    await unstopped(books)
    await check(books, truth)


@pytest.mark.proof
async def test_a_planted_day_of_a_hundred_thousand_orders(books: Books, files: Files) -> None:
    truth = await plant(books, files, 1, ORDERS)
    assert len({code for code, *_ in truth.found}) >= 18, "every kind is there"
    await books.run()
    await check(books, truth)


async def unstopped(books: Books) -> None:
    """Of a small day the planted ones are more than a hundredth: the breaker is looked at elsewhere."""
    from tallystick.merchant.reconciliation import limits

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(limits, "SHARE_FROM_LINES", 10**9)
        await books.run()
