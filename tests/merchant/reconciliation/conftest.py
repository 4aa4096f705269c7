"""Files of every layout, as their makers would write them."""

# ruff: noqa: E501 - SQL reads best in lines of its own
import asyncio
import hashlib
import io
import zlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from aiohttp import web

from tallystick.merchant.accounts.commands import add_connection, create_merchant
from tallystick.merchant.accounts.directory import Directory
from tallystick.merchant.gateways.stripe_reports import StripeReports
from tallystick.merchant.orders.outbox import Outbox
from tallystick.merchant.reconciliation.holding import KEEP_EVERY_S
from tallystick.merchant.reconciliation.job import Reconciler
from tallystick.merchant.reconciliation.lines import FileDamaged, Manifest, SettlementLine
from tallystick.merchant.reconciliation.reading import Layout, Reading
from tallystick.merchant.reconciliation.resolving import Resolver
from tallystick.merchant.reconciliation.salvaging import Salvager
from tallystick.merchant.reconciliation.taking import Taker
from tallystick.ports.aiohttp_http import AiohttpClient
from tallystick.ports.database import Database, Statement
from tallystick.ports.entropy import SystemEntropy

STRIPE_COLUMNS = (
    "balance_transaction_id created_utc available_on_utc currency gross fee net reporting_category source_id "
    "payment_intent_id charge_id payment_metadata[order_id] automatic_payout_id"
).split()
ADYEN_COLUMNS = (
    "Company Account,Merchant Account,Psp Reference,Merchant Reference,Payment Method,Creation Date,TimeZone,Type,"
    "Modification Reference,Gross Currency,Gross Debit (GC),Gross Credit (GC),Exchange Rate,Net Currency,"
    "Net Debit (NC),Net Credit (NC),Commission (NC),Markup (NC),Scheme Fees (NC),Interchange (NC),Batch Number"
).split(",")


def csv_of(columns: Sequence[str], rows: Sequence[dict[str, str]]) -> bytes:
    """A CSV file; what a row does not say is empty."""
    lines = [",".join(columns), *(",".join(row.get(name, "") for name in columns) for row in rows)]
    return ("\n".join(lines) + "\n").encode()


def stripe_row(number: int, category: str = "charge", **fields: str) -> dict[str, str]:
    """A line of a report of ours: 25.00 less 0.61."""
    return {
        "balance_transaction_id": f"txn_{number}",
        "created_utc": "2026-11-27 10:00:00",
        "available_on_utc": "2026-11-29 00:00:00",
        "currency": "eur",
        "gross": "25.00",
        "fee": "0.61",
        "net": "24.39",
        "reporting_category": category,
        "source_id": f"ch_{number}",
        "payment_intent_id": f"pi_{number}",
        "charge_id": f"ch_{number}",
        "payment_metadata[order_id]": f"ord_{number}",
    } | fields


def adyen_row(number: int, kind: str = "Settled", **fields: str) -> dict[str, str]:
    """A journal entry: 25.00 less 0.50."""
    return {
        "Company Account": "Northwind",
        "Merchant Account": "NorthwindBooks",
        "Psp Reference": f"88161{number}",
        "Merchant Reference": f"ord_{number}",
        "Creation Date": "2026-11-27 10:00:00",
        "TimeZone": "CET",
        "Type": kind,
        "Modification Reference": f"88162{number}",
        "Gross Currency": "EUR",
        "Gross Credit (GC)": "25",
        "Net Currency": "EUR",
        "Net Credit (NC)": "24.5",
        "Commission (NC)": "0.2",
        "Markup (NC)": "0.3",
        "Batch Number": "7",
    } | fields


def camt(*statements: str) -> bytes:
    """A camt.053 document."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08">'
        f"<BkToCstmrStmt><GrpHdr><MsgId>M1</MsgId></GrpHdr>{''.join(statements)}</BkToCstmrStmt></Document>"
    ).encode()


def statement(entries: str, *, opening: str = "100.00", closing: str, id: str = "S1", currency: str = "EUR") -> str:
    """A statement of one account with its balances."""

    def balance(kind: str, amount: str) -> str:
        side = "DBIT" if amount.startswith("-") else "CRDT"
        return (
            f"<Bal><Tp><CdOrPrtry><Cd>{kind}</Cd></CdOrPrtry></Tp><Amt Ccy='{currency}'>{amount.lstrip('-')}</Amt>"
            f"<CdtDbtInd>{side}</CdtDbtInd><Dt><Dt>2026-11-27</Dt></Dt></Bal>"
        )

    return (
        f"<Stmt><Id>{id}</Id><ElctrncSeqNb>42</ElctrncSeqNb><Acct><Id><IBAN>DE00TEST</IBAN></Id><Ccy>{currency}</Ccy>"
        f"</Acct>{balance('OPBD', opening)}{balance('CLBD', closing)}{entries}</Stmt>"
    )


def entry(amount: str, side: str = "CRDT", details: str = "", *, currency: str = "EUR", more: str = "") -> str:
    """An entry of a statement."""
    reference = zlib.crc32(repr((amount, side, details, more)).encode())
    return (
        f"<Ntry><NtryRef>{reference}</NtryRef><Amt Ccy='{currency}'>{amount}</Amt>"
        f"<CdtDbtInd>{side}</CdtDbtInd>{more}<Sts><Cd>BOOK</Cd></Sts>"
        f"<BookgDt><Dt>2026-11-27</Dt></BookgDt>{f'<NtryDtls>{details}</NtryDtls>' if details else ''}</Ntry>"
    )


def detail(amount: str | None, reference: str, *, currency: str = "EUR", side: str = "") -> str:
    """One payment of an entry."""
    told = f"<Amt Ccy='{currency}'>{amount}</Amt>" if amount else ""
    direction = f"<CdtDbtInd>{side}</CdtDbtInd>" if side else ""
    return f"<TxDtls><Refs><EndToEndId>{reference}</EndToEndId></Refs>{told}{direction}</TxDtls>"


class Files:
    """Writes files and reads them."""

    stripe_columns = STRIPE_COLUMNS
    adyen_columns = ADYEN_COLUMNS
    stripe_row = staticmethod(stripe_row)
    adyen_row = staticmethod(adyen_row)
    camt = staticmethod(camt)
    statement = staticmethod(statement)
    entry = staticmethod(entry)
    detail = staticmethod(detail)

    @staticmethod
    def stripe(*rows: dict[str, str]) -> bytes:
        return csv_of(STRIPE_COLUMNS, rows)

    @staticmethod
    def adyen(*rows: dict[str, str]) -> bytes:
        return csv_of(ADYEN_COLUMNS, rows)

    @staticmethod
    def read(
        layout: Layout, raw: bytes, manifest: Manifest | None = None
    ) -> tuple[list[SettlementLine], list[Manifest]]:
        """Read a file to its end."""
        watched = Reading(layout, io.BytesIO(raw), manifest)
        return [line for block in watched.blocks(1_000) for line in block], watched.parts

    def damage(self, layout: Layout, raw: bytes, manifest: Manifest | None = None) -> str:
        """Why a file is refused."""
        with pytest.raises(FileDamaged) as refused:
            self.read(layout, raw, manifest)
        return refused.value.damage


@pytest.fixture
def files() -> Files:
    """Files of every layout."""
    return Files()


class SettlingGateway:
    """The other side of the wire as reconciliation sees it, over real HTTP: payments that are the truth, and a report.

    `lines` are rows of the report; `payments` answers of `GET /v1/payment_intents/{id}`, `refunds` and `disputes` lists.
    `manifest` replaces members of the manifest, None leaves it out (Stripe has none); `trouble` is a status that the next
    calls are answered with.
    """

    def __init__(self) -> None:
        self.url = ""
        self.lines: list[dict[str, str]] = []
        self.raw: bytes | None = None
        self.manifest: dict[str, Any] | None = {}
        self.payments: dict[str, dict[str, Any]] = {}
        self.refunds: list[dict[str, Any]] = []
        self.disputes: list[dict[str, Any]] = []
        self.charges: list[dict[str, Any]] = []
        self.by_key: dict[str, dict[str, Any]] = {}
        self.refusal = ""
        self.sequence, self.opening = 1, 0
        self.calls: list[tuple[str, str]] = []
        self.keys: list[str] = []
        self.trouble: list[int] = []
        self.asked_for: object = "eur"
        self.day = date(2026, 11, 26)
        self.days: dict[date, SettlingGateway] = {}  # of earlier days: lines, raw, manifest, sequence, opening
        self.revision = 1
        self.of_day = self
        self.reported: list[date] = []  # days whose reports were asked for, in their order

    def file(self) -> bytes:
        return self.raw if self.raw is not None else csv_of(STRIPE_COLUMNS, self.lines)

    def nothing(self, currency: str) -> dict[str, Any]:
        """The manifest of a currency in which no money ever moved."""
        sums = dict.fromkeys(("gross", "fee", "net", "opening", "closing"), "0.00")
        digest = hashlib.sha256(csv_of(STRIPE_COLUMNS, ())).hexdigest()
        return {"currency": currency, "date": self.day.isoformat(), "sequence": 0, "lines": 0, "sha256": digest, **sums}

    def told(self) -> dict[str, Any]:
        """The manifest of what the lines were before anything happened to the file."""
        raw = csv_of(STRIPE_COLUMNS, self.lines)
        sums = {name: sum(Decimal(row[name]) for row in self.lines) for name in ("gross", "fee", "net")}
        opening = Decimal(self.opening) / 100
        return {
            "account": "acct_1",
            "currency": "eur",
            "date": self.day.isoformat(),
            "sequence": self.sequence,
            "revision": self.revision,
            "lines": len(self.lines),
            **{name: f"{amount:.2f}" for name, amount in sums.items()},
            "opening": f"{opening:.2f}",
            "closing": f"{opening + sums['net']:.2f}",
            "sha256": hashlib.sha256(raw).hexdigest(),
        } | (self.manifest or {})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.calls.append((request.method, request.path))
        self.keys.append(request.headers.get("Idempotency-Key", ""))
        if self.trouble:
            return web.json_response({"error": {"type": "api_error", "message": "No."}}, status=self.trouble.pop(0))
        path = request.path
        if path == "/v1/balance":
            return web.json_response({"object": "balance", "available": [{"amount": 1, "currency": "eur"}]})
        if path.startswith("/v1/reporting/report_runs"):
            status = "pending" if request.method == "POST" else "succeeded"
            if request.method == "POST":
                asked = await request.post()
                self.asked_for = asked["parameters[currency]"]
                begins = datetime.fromtimestamp(int(str(asked["parameters[interval_start]"])), UTC).date()
                self.of_day = self.days.get(begins, self)
                if self.keys[-1].startswith("report:"):
                    self.reported.append(begins)
            currency = str(self.asked_for)
            manifest = self.of_day.told() if currency == "eur" else self.nothing(currency)
            file: dict[str, Any] = {"id": f"file_{currency}", "object": "file"}
            file |= {"manifest": manifest} if self.manifest is not None else {}
            result = file if status == "succeeded" else None
            return web.json_response(
                {"id": "frr_1", "object": "reporting.report_run", "status": status, "result": result}
            )
        if path.startswith("/v1/files/"):
            body = self.of_day.file() if path.startswith("/v1/files/file_eur/") else csv_of(STRIPE_COLUMNS, ())
            return web.Response(body=body, content_type="text/csv")
        if path.startswith("/v1/payment_intents/"):
            payment = self.payments.get(path.rpartition("/")[2])
            missing = {"error": {"type": "invalid_request_error", "code": "resource_missing", "message": "No such."}}
            return web.json_response(payment or missing, status=200 if payment else 404)
        if request.method == "POST":
            return self.refund(await request.post(), self.keys[-1])
        listed = {"/v1/refunds": self.refunds, "/v1/charges": self.charges}.get(path, self.disputes)
        data = [each for each in listed if each["payment_intent"] == request.query["payment_intent"]]
        return web.json_response({"object": "list", "data": data, "has_more": False})

    def refund(self, asked: Any, key: str) -> web.Response:
        """`POST /v1/refunds` of one charge: all that is left of it, once for a key."""
        [charge] = [each for each in self.charges if each["id"] == asked["charge"]]
        left = charge["amount_captured"] - charge["amount_refunded"]
        if key not in self.by_key and (self.refusal or not left):
            code = self.refusal or "charge_already_refunded"
            error = {"type": "invalid_request_error", "code": code, "message": "No."}
            return web.json_response({"error": error}, status=400)
        if key not in self.by_key:
            made = {"id": f"re_of_{charge['id']}", "object": "refund", "amount": left, "currency": "eur"}
            made |= {"status": "succeeded", "payment_intent": charge["payment_intent"]}
            made |= {"metadata": {"reference": asked["metadata[reference]"]}}
            self.refunds.append(made)
            self.by_key[key] = made
            charge["amount_refunded"] += left
        return web.json_response(self.by_key[key])

    def charged(self, number: int, id: str, amount: int = 2500) -> dict[str, Any]:
        """The gateway captured a charge of a payment."""
        charge = {"id": id, "object": "charge", "status": "succeeded", "captured": True, "currency": "eur"}
        charge |= {"amount_captured": amount, "amount_refunded": 0, "payment_intent": f"pi_{number}"}
        self.charges.append(charge)
        return charge

    def captured(self, number: int, order_id: str, attempt: int = 1, amount: int = 2500) -> dict[str, Any]:
        """The gateway captured a payment."""
        self.payments[f"pi_{number}"] = {
            "id": f"pi_{number}",
            "object": "payment_intent",
            "status": "succeeded",
            "amount": amount,
            "amount_received": amount,
            "currency": "eur",
            "metadata": {"order_id": order_id, "attempt": str(attempt)},
            "latest_charge": {
                "id": f"ch_{number}",
                "object": "charge",
                "amount_captured": amount,
                "amount_refunded": 0,
            },
        }
        return self.payments[f"pi_{number}"]

    def refunded(self, number: int, amount: int = 700, status: str = "succeeded", id: str = "") -> None:
        """The gateway gave money back."""
        self.refunds.append(
            {
                "id": id or f"re_{number}",
                "object": "refund",
                "amount": amount,
                "currency": "eur",
                "status": status,
                "payment_intent": f"pi_{number}",
            }
        )


@pytest.fixture
async def settling() -> AsyncIterator[SettlingGateway]:
    """A gateway that settles."""
    gateway = SettlingGateway()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", gateway.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    gateway.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield gateway
    await runner.cleanup()


class MovedClock:
    """The system's clock at a time that the test names; sleeping takes none, but for a moment in which a lease is
    kept."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 27, 3, tzinfo=UTC)
        self.seconds = 0.0

    def now(self) -> datetime:
        return self.at

    def monotonic_s(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        if seconds == KEEP_EVERY_S:
            await asyncio.sleep(0.02)
        else:
            self.seconds += seconds


class Told:
    """Alerts that were told."""

    def __init__(self) -> None:
        self.titles: list[str] = []

    async def tell(self, title: str, text: str) -> bool:
        self.titles.append(title)
        return True


class Keys:
    """The secret of the connection."""

    async def read(self, reference: str) -> str:
        return "sk_test_of_no_value"


class Books:
    """A merchant whose day is to be reconciled: orders as they stand, and the job."""

    def __init__(self, database: Database, gateway: SettlingGateway) -> None:
        self.database, self.gateway = database, gateway
        self.clock, self.alerts = MovedClock(), Told()
        self.merchant_id = self.connection_id = ""
        self.http = AiohttpClient()

    async def open(self) -> None:
        entropy = SystemEntropy()
        made = await create_merchant(self.database, self.clock, entropy, name="Tea & Sons")
        self.merchant_id = made.merchant_id
        self.clock.at = datetime(2026, 11, 26, tzinfo=UTC)
        self.connection_id = await add_connection(
            self.database,
            self.clock,
            entropy,
            merchant_id=made.merchant_id,
            url=self.gateway.url,
            secret_key_ref="env:KEY",
            webhook_secret_refs=["env:HOOK"],
        )
        self.clock.at = datetime(2026, 11, 27, 3, tzinfo=UTC)

    def worker(self) -> Reconciler:
        """A worker of its own, as another process would have one."""
        entropy = SystemEntropy()
        reports = StripeReports(self.http, Keys(), self.clock, entropy)
        outbox = Outbox(self.clock, entropy)
        return Reconciler(
            self.database,
            Directory(self.database, self.clock),
            Taker(self.database, reports, Salvager(self.database, reports, self.clock, outbox), self.clock, entropy),
            Resolver(self.database, reports, self.clock, entropy, outbox),
            self.clock,
            entropy,
            self.alerts,
        )

    async def run(self) -> None:
        """Until nothing is due."""
        worker = self.worker()
        while await worker.run_once():
            pass

    async def next_day(self, **changes: Any) -> None:
        """A day goes by; the gateway's report follows the one before."""
        then = SettlingGateway()
        for name in ("lines", "raw", "manifest", "sequence", "opening", "day", "revision"):
            setattr(then, name, getattr(self.gateway, name))
        self.gateway.days[then.day] = then
        self.gateway.revision = 1
        self.gateway.opening += sum(int(Decimal(row["net"]) * 100) for row in self.gateway.lines)
        self.gateway.sequence += 1
        self.gateway.day += timedelta(days=1)
        self.gateway.lines, self.gateway.raw = [], None
        self.clock.at += timedelta(days=1)
        self.clock.seconds += 86_400

    async def order(self, number: int, state: str = "PAID", *, paid_at: datetime | None = None, **facts: Any) -> str:
        """An order of 25.00 with one attempt, whose payment is `pi_{number}` where it is PAID."""
        order_id = f"ord_{self.merchant_id[4:]}{number:025}"
        attempt: dict[str, Any] = {"session": f"cs_{number}"}
        if state == "PAID":
            attempt |= {
                "state": "succeeded",
                "intent": f"pi_{number}",
                "authorised": [["EUR", 2500]],
                "captured": {"EUR": 2500},
                "charges": {f"ch_{number}": {"status": "succeeded"}},
            }
        elif state != "PENDING":
            reason = {"EXPIRED": "expired", "CANCELED": "canceled", "FAILED": "declined_out"}[state]
            attempt |= {"state": "closed", "close_told": reason}
        attempt |= facts
        whole: dict[str, Any] = {"attempts": {"1": attempt}} | ({"keeper": 1} if state == "PAID" else {})
        whole |= {"released": 1} if state not in ("PAID", "PENDING") else {}
        whole |= {"decision": "allowed"} if state == "PAID" else {}
        refunded = sum(one["amount_minor"] for one in facts.get("refunds", {}).values() if one["status"] != "failed")
        at = paid_at or datetime(2026, 11, 26, 10, tzinfo=UTC)
        await self.database.execute(
            Statement("x", INSERT_ORDER),
            self.merchant_id,
            order_id,
            self.connection_id,
            state,
            msgspec.json.encode(whole).decode(),
            at,
            attempt.get("intent"),
            attempt.get("state", "open"),
            refunded,
        )
        for refund in facts.get("refunds", {}):
            await self.database.execute(Statement("x", INSERT_SEEN), self.merchant_id, order_id, at, refund)
        return order_id

    async def rows(self, text: str) -> list[dict[str, Any]]:
        return [dict(row) for row in await self.database.rows(Statement("x", text))]

    async def found(self) -> set[tuple[str, str]]:
        """Code and state of every mismatch."""
        return {(row["code"], row["state"]) for row in await self.rows("SELECT code, state FROM mismatch")}

    async def state(self, order_id: str) -> str:
        rows = await self.database.rows(Statement("x", "SELECT state FROM orders WHERE order_id = $1::text"), order_id)
        state: str = rows[0]["state"]
        return state

    async def cases(self) -> list[str]:
        return [row["kind"] for row in await self.rows("SELECT kind FROM cases ORDER BY kind")]


INSERT_ORDER = """
WITH made AS (
    INSERT INTO orders (merchant_id, order_id, connection_id, amount_minor, currency, ui_mode, ttl_s, declines_max, state, fulfilment,
                        keeper, released, attempt_newest, amount_captured_minor, amount_refunded_minor, facts, created_at, expires_at,
                        updated_at, paid_at)
    VALUES ($1::text, $2::text, $3::text, 2500, 'EUR', 'hosted', 1800, 3, $4::text,
            CASE WHEN $4::text = 'PAID' THEN 'allowed' ELSE 'none' END, CASE WHEN $4::text = 'PAID' THEN 1 END,
            CASE WHEN $4::text NOT IN ('PAID', 'PENDING') THEN 1 END, 1, CASE WHEN $4::text = 'PAID' THEN 2500 ELSE 0 END, $9::bigint,
            $5::jsonb, $6::timestamptz, $6::timestamptz, $6::timestamptz, CASE WHEN $4::text = 'PAID' THEN $6::timestamptz END)
    RETURNING merchant_id, order_id)
INSERT INTO attempt (merchant_id, order_id, number, connection_id, state, open_key, gateway_expires_at, payment_intent, created_at,
                     due_at)
SELECT m.merchant_id, m.order_id, 1, $3::text, $8::text, 'k', $6::timestamptz, $7::text, $6::timestamptz, NULL FROM made m
"""
INSERT_SEEN = """
INSERT INTO timeline (merchant_id, order_id, number, at, source, attempt, fact, state_before, state_after)
VALUES ($1::text, $2::text, 1000000, $3::timestamptz, 'webhook', 1, jsonb_build_object('fact', 'refund_seen', 'refund', $4::text), 'PAID', 'PAID')
"""


@pytest.fixture
async def books(merchant_database: Database, settling: SettlingGateway) -> AsyncIterator[Books]:
    """A merchant whose gateway settles."""
    found = Books(merchant_database, settling)
    await found.open()
    yield found
    await found.http.close()
