"""The set-based comparison finds what the pure one finds, and nothing else (RULES §11)."""

# ruff: noqa: E501 - SQL reads best in lines of its own
import io
import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest

from tallystick.merchant.orders.facts import AttemptFacts, Dispute, Facts, Refund
from tallystick.merchant.orders.state import Owed, standing
from tallystick.merchant.reconciliation.comparing import Compared, RunKey, compare, copy_lines, decide_page
from tallystick.merchant.reconciliation.findings import Contract, Day, Decided, Settled, SoldOrder
from tallystick.merchant.reconciliation.lines import FileDamaged, SettlementLine
from tallystick.merchant.reconciliation.matching import decide
from tallystick.merchant.reconciliation.reading import Reading
from tallystick.ports.database import ConstraintViolated, Database, Statement

Files = Any

DAY = Day(date(2026, 11, 26), {"EUR": Contract(140, 25)})
NOON = DAY.begins_at + timedelta(hours=12)
RUN = Compared(RunKey("mer_1", "rec_1"), "con_1", DAY)

INSERT_RUN = """
INSERT INTO reconciliation (merchant_id, reconciliation_id, connection_id, business_date, source, requested_by, due_at, created_at)
VALUES ('mer_1', 'rec_1', 'con_1', '2026-11-26', 'gateway', 'test', $1::timestamptz, $1::timestamptz)
"""
INSERT_CONTRACT = """
INSERT INTO fee_contract (merchant_id, connection_id, currency, basis_points, fixed_minor, valid_from)
VALUES ('mer_1', 'con_1', 'EUR', 140, 25, '2026-11-01'), ('mer_1', 'con_1', 'EUR', 500, 0, '2026-11-27'),
       ('mer_1', 'con_1', 'EUR', 900, 0, '1970-01-01')
"""
INSERT_ORDERS = """
INSERT INTO orders (merchant_id, order_id, connection_id, amount_minor, currency, ui_mode, ttl_s, declines_max, state, fulfilment,
                    keeper, attempt_newest, amount_captured_minor, amount_refunded_minor, overpaid, facts, created_at, expires_at,
                    updated_at, paid_at)
SELECT 'mer_1', o.order_id, 'con_1', 2500, 'EUR', 'hosted', 1800, 3, o.state, CASE WHEN o.state = 'PAID' THEN 'allowed' ELSE 'none' END,
       o.keeper, 1, o.captured, o.refunded, false, o.facts, $1::timestamptz, $1::timestamptz, $1::timestamptz, o.paid_at
  FROM json_to_recordset($2::json) AS o(order_id text, state text, keeper int, captured bigint, refunded bigint, facts jsonb, paid_at timestamptz)
"""
INSERT_ATTEMPTS = """
INSERT INTO attempt (merchant_id, order_id, number, connection_id, state, open_key, gateway_expires_at, payment_intent, created_at)
SELECT 'mer_1', o.order_id, 1, 'con_1', o.state, 'k', $1::timestamptz, o.intent, $1::timestamptz
  FROM json_to_recordset($2::json) AS o(order_id text, state text, intent text)
"""
INSERT_SEEN = """
INSERT INTO timeline (merchant_id, order_id, number, at, source, attempt, fact, state_before, state_after)
SELECT 'mer_1', o.order_id, 1, o.at, 'webhook', 1, jsonb_build_object('fact', 'refund_seen', 'refund', o.refund), 'PAID', 'PAID'
  FROM json_to_recordset($1::json) AS o(order_id text, refund text, at timestamptz)
"""


@pytest.fixture
async def database(merchant_database: Database) -> Database:
    """A database with a run that is to be compared, and a contract."""
    await merchant_database.execute(Statement("x", INSERT_RUN), NOON)
    await merchant_database.execute(Statement("x", INSERT_CONTRACT))
    return merchant_database


class Case:
    """A payment: what we know and what the file says."""

    def __init__(self, number: int, chance: random.Random) -> None:
        self.number = number
        self.payment, self.order_id = f"pi_{number}", f"ord_{number:05}"
        self.rows: list[dict[str, str]] = []
        self.made = 0
        self.seen: dict[str, datetime] = {}
        self.known = AttemptFacts("succeeded", intent=self.payment, authorised=(("EUR", 2500),), captured={"EUR": 2500})
        self.paid_at: datetime | None = NOON + timedelta(minutes=number % 300)
        if chance.random() < 0.9:
            self.add("charge", "25.00", fee=chance.choice(["0.60"] * 9 + ["0.61", "0.70"]), source=f"ch_{number}")
        for happening in range(15):
            if chance.random() < 0.06:
                self.happen(happening, chance)
        self.state = "PAID" if self.known.state == "succeeded" else chance.choice(["PENDING", "EXPIRED", "FAILED"])
        if self.state != "PAID":
            self.paid_at = None
        self.told_by = self.payment if self.known.intent else None

    def add(self, category: str, gross: str, fee: str = "0.00", source: str = "", **more: str) -> None:
        self.made += 1
        minor = int(gross.replace(".", "")) - int(fee.replace(".", ""))
        net = f"{'-' if minor < 0 else ''}{abs(minor) // 100}.{abs(minor) % 100:02}"
        self.rows.append(
            {
                "balance_transaction_id": f"txn_{self.number}_{self.made}",
                "created_utc": "2026-11-26 12:00:00",
                "currency": "eur",
                "gross": gross,
                "fee": fee,
                "net": net,
                "reporting_category": category,
                "source_id": source,
                "payment_intent_id": self.payment,
                "charge_id": source if source.startswith("ch_") else f"ch_{self.number}",
                "payment_metadata[order_id]": self.order_id,
            }
            | more
        )

    def happen(self, happening: int, chance: random.Random) -> None:
        n = self.number
        match happening:
            case 0:
                self.add("charge", "25.00", "0.60", source=chance.choice([f"ch_{n}", f"ch_{n}_b"]))
            case 1:
                self.add("refund", "-7.00", source=f"re_{n}")
            case 2:
                self.know(refunds={**self.known.refunds, f"re_{n}": Refund("succeeded", 700, "EUR")})
                self.seen[f"re_{n}"] = NOON
            case 3:
                self.add("refund", "-7.00", source=f"re_{n}")
                self.know(refunds={**self.known.refunds, f"re_{n}": Refund("succeeded", 700, "EUR")})
            case 4:
                self.known = AttemptFacts("open", intent=chance.choice([None, self.payment]))
            case 5:
                self.add("dispute", "-25.00", source=f"dp_{n}")
            case 6:
                self.know(disputes={f"dp_{n}": Dispute("needs_response", "EUR")})
            case 7:
                self.add("charge", "1.00", "0.26", source=f"ch_{n}")
            case 8:
                self.add("charge", "25.00", "0.60", source=f"ch_{n}", created_utc="2026-11-25 23:59:59")
            case 9:
                self.paid_at = chance.choice([DAY.ends_at - timedelta(minutes=1), DAY.ends_at, DAY.begins_at])
            case 10:
                self.add("something_new", "1.00", source="x")
            case 11:
                self.add("refund", "-25.00", source=f"ch_{n}")
            case 12 if self.rows:
                self.rows.pop(0)
                self.add("charge", "10.00", "0.30", source=f"ch_{n}")
                self.add("charge", "15.00", "0.30", source=f"ch_{n}")
            case 13:
                self.add("refund", "-7.00", source=f"re_{n}_b")
                self.know(refunds={**self.known.refunds, f"re_{n}": Refund("succeeded", 700, "EUR")})
            case 14:
                self.add("refund", "-7.00")
                self.know(refunds={**self.known.refunds, f"re_{n}": Refund("succeeded", 700, "EUR")})

    def know(self, **more: Any) -> None:
        self.known = msgspec.structs.replace(self.known, **more)

    @property
    def facts(self) -> Facts:
        return Facts({1: self.known}, keeper=1 if self.state == "PAID" else 0)

    def order(self) -> SoldOrder:
        """What the order is to the pure side: by the payment, or by our reference alone."""
        by_payment = self.known.intent is not None
        return SoldOrder(
            self.order_id,
            self.state,  # type: ignore[arg-type]
            Owed(2500, "EUR"),
            1 if by_payment else None,
            self.known if by_payment else AttemptFacts(),
            1 if self.state == "PAID" else None,
            self.paid_at,
            self.seen,
        )


async def store(database: Database, cases: list[Case]) -> None:
    """The orders of these cases."""
    orders = [
        {
            "order_id": case.order_id,
            "state": case.state,
            "keeper": 1 if case.state == "PAID" else None,
            "captured": 2500 if case.state == "PAID" else 0,
            "refunded": standing(case.facts, Owed(2500, "EUR")).amount_refunded_minor,
            "facts": case.facts,
            "paid_at": case.paid_at,
        }
        for case in cases
    ]
    attempts = [{"order_id": case.order_id, "state": case.known.state, "intent": case.known.intent} for case in cases]
    seen = [{"order_id": c.order_id, "refund": id, "at": at} for c in cases for id, at in c.seen.items()]
    await database.execute(Statement("x", INSERT_ORDERS), NOON, msgspec.json.encode(orders).decode())
    await database.execute(Statement("x", INSERT_ATTEMPTS), NOON, msgspec.json.encode(attempts).decode())
    await database.execute(Statement("x", INSERT_SEEN), msgspec.json.encode(seen).decode())


def expected(cases: list[Case], lines: list[SettlementLine]) -> list[Decided]:
    """What the pure side finds, over all payments together."""
    mine: dict[str | None, list[SettlementLine]] = {}
    for line in lines:
        mine.setdefault(line.payment, []).append(line)
    return [
        decide(Settled(case.payment, tuple(mine.get(case.payment, ()))), case.order(), DAY)
        for case in cases
        if mine.get(case.payment) or case.known.intent
    ]


@pytest.mark.parametrize("seed", range(6))
async def test_the_sets_find_what_the_pure_function_finds(database: Database, files: Files, seed: int) -> None:
    chance = random.Random(seed)
    cases = [Case(number, chance) for number in range(400)]
    raw = files.stripe(*(row for case in cases for row in case.rows))
    lines, _ = files.read("stripe", raw)
    await store(database, cases)
    async with database.transaction(bulk=True) as tx:
        assert await copy_lines(tx, RUN.key, Reading("stripe", io.BytesIO(raw))) == len(lines)
        await compare(tx, RUN, ["EUR"])
    [looked_at] = await database.rows(Statement("x", "SELECT count(*)::int AS n FROM settlement_difference"))
    while await decide_page(database, RUN, NOON):
        pass

    pure = expected(cases, lines)
    assert any(not each.findings for each in pure)
    assert looked_at["n"] < len(cases), "what fits is not looked at one by one"
    codes = await database.rows(Statement("x", "SELECT line_id, code FROM settlement_line ORDER BY line_id"))
    assert {row["line_id"]: row["code"] for row in codes} == {
        id: code for each in pure for id, code in each.codes.items()
    }
    found = await database.rows(
        Statement("x", "SELECT code, subject, resolution, order_id, amount_minor, wait_until FROM mismatch")
    )
    assert {tuple(row.values()) for row in found} == {
        (f.code, f.subject, f.resolution, f.order_id, f.amount_minor, f.wait_until) for d in pure for f in d.findings
    }
    assert len({row["code"] for row in found}) > 8, "many kinds were tried"


async def test_a_line_that_is_there_twice_is_seen_by_the_key(database: Database, files: Files) -> None:
    row = files.stripe_row(1)
    raw = files.stripe(row, row)
    with pytest.raises(ConstraintViolated):
        async with database.transaction(bulk=True) as tx:
            await copy_lines(tx, RUN.key, Reading("stripe", io.BytesIO(raw)))


async def test_a_damaged_file_leaves_nothing_behind(database: Database, files: Files) -> None:
    raw = files.stripe(*(files.stripe_row(n) for n in range(5000)))[:-40] + b"\n"
    with pytest.raises(FileDamaged):
        async with database.transaction(bulk=True) as tx:
            await copy_lines(tx, RUN.key, Reading("stripe", io.BytesIO(raw)))
    [row] = await database.rows(Statement("x", "SELECT count(*)::int AS n FROM settlement_line"))
    assert row["n"] == 0


async def test_what_is_special_to_copy_arrives_as_it_was(database: Database, files: Files) -> None:
    odd = {"source_id": "a\\b\\N", "charge_id": "\\N", "payment_metadata[order_id]": "\\."}
    raw = files.stripe(files.stripe_row(1) | odd)
    async with database.transaction(bulk=True) as tx:
        await copy_lines(tx, RUN.key, Reading("stripe", io.BytesIO(raw)))
    [row] = await database.rows(
        Statement("x", "SELECT source, charge, order_reference, created_at FROM settlement_line")
    )
    assert tuple(row.values()) == ("a\\b\\N", "\\N", "\\.", datetime(2026, 11, 27, 10, tzinfo=UTC))
