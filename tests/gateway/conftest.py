"""The gateway's core on a real PostgreSQL: an account, its commands, a bank that obeys, a movable clock."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from tallystick.cli.command import run
from tallystick.gateway.acquirers import port
from tallystick.gateway.acquirers.simulated import SimulatedAcquirer
from tallystick.gateway.card_testing.guard import CardTesting
from tallystick.gateway.card_testing.limits import Limits
from tallystick.gateway.cards.pan import CardEntry, Cvc, Pan
from tallystick.gateway.cards.typed import TypedCards
from tallystick.gateway.cards.worker import Purge
from tallystick.gateway.checkout.commands import Checkout
from tallystick.gateway.checkout.parameters import CreateSession, ExpireSession
from tallystick.gateway.checkout.worker import Expiry
from tallystick.gateway.disputes.commands import Disputes
from tallystick.gateway.disputes.parameters import CloseDispute, UpdateDispute
from tallystick.gateway.disputes.worker import Contests
from tallystick.gateway.faults.faults import Faults
from tallystick.gateway.payments.calling import Calling
from tallystick.gateway.payments.carrying import Carrying
from tallystick.gateway.payments.commands import Payments
from tallystick.gateway.payments.completing import Completion
from tallystick.gateway.payments.inquiring import Inquirer, Inquiries
from tallystick.gateway.payments.parameters import (
    CancelIntent,
    CaptureIntent,
    ConfirmIntent,
    CreateIntent,
    UpdateIntent,
)
from tallystick.gateway.payments.resolving import Resolving
from tallystick.gateway.payments.work import Commits
from tallystick.gateway.people.records import Records
from tallystick.gateway.refunds.commands import Refunds
from tallystick.gateway.refunds.parameters import CancelRefund, CreateRefund, UpdateRefund
from tallystick.gateway.reporting.commands import Reports
from tallystick.gateway.reporting.parameters import CreateRun, RunParameters
from tallystick.gateway.reporting.worker import ReportWriter
from tallystick.gateway.settlement.closing import Closing
from tallystick.gateway.settlement.manual_payouts import ManualPayouts
from tallystick.gateway.settlement.parameters import CancelPayout, CreatePayout
from tallystick.gateway.settlement.payouts import Arrivals
from tallystick.gateway.settlement.worker import Settlement
from tallystick.gateway.stripe_wire.call import Call, Caller, Reply
from tallystick.gateway.stripe_wire.reading import Reading
from tallystick.gateway.vault.vault import Vault
from tallystick.kernel.idempotency import Claim, ClaimRequest, Idempotency, Scope
from tallystick.kernel.idempotency.completer import Completer
from tallystick.kernel.identifiers import new_owner_id
from tallystick.kernel.people.opening import built_in
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Database, Statement
from tallystick.ports.entropy import SystemEntropy
from tallystick.ports.key_encryption import HeldKeyEncryption, KeyEncryptionUnavailable

PAGES_URL = "https://pay.example"


class MovableClock(SystemClock):
    """The machine's clock, and what a test adds to it."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


class Bank(SimulatedAcquirer):
    """The simulated acquirer, which a test can hold back and tell what to answer; it remembers what it was asked."""

    def __init__(self, *parameters: Any, **options: Any) -> None:
        super().__init__(*parameters, **options)
        self.answers: list[Any] = []
        self.asked: list[Any] = []
        self.inquiries: list[Any] = []
        self.reversals: list[Any] = []
        self.pending = False
        self.open = asyncio.Event()
        self.open.set()

    async def _instead(self, request: Any) -> Any:
        self.asked.append(request)
        await self.open.wait()
        return self.answers.pop(0) if self.answers else None

    async def charge(self, requests: Sequence[port.ChargeRequest]) -> list[port.ChargeOutcome]:
        instead = await self._instead(requests[0])
        return [instead] if instead is not None else await super().charge(requests)

    async def capture(self, requests: Sequence[port.CaptureRequest]) -> list[port.RequestOutcome]:
        instead = await self._instead(requests[0])
        return [instead] if instead is not None else await super().capture(requests)

    async def void(self, requests: Sequence[port.VoidRequest]) -> list[port.RequestOutcome]:
        instead = await self._instead(requests[0])
        return [instead] if instead is not None else await super().void(requests)

    async def refund(self, requests: Sequence[port.RefundRequest]) -> list[port.RequestOutcome]:
        instead = await self._instead(requests[0])
        return [instead] if instead is not None else await super().refund(requests)

    async def inquire_charges(self, requests: Sequence[port.ChargeRequest]) -> list[port.ChargeInquiry]:
        known = await super().inquire_charges(requests)
        return [port.Pending() if self.pending else self.inquiries.pop(0) if self.inquiries else one for one in known]

    async def inquire_requests(self, requests: Sequence[port.MoneyRequest]) -> list[port.RequestInquiry]:
        known = await super().inquire_requests(requests)
        return [port.Pending() if self.pending else self.inquiries.pop(0) if self.inquiries else one for one in known]

    async def reverse(self, reversals: Sequence[port.Reversal]) -> list[port.RequestOutcome]:
        return [self.reversals.pop(0)] if self.reversals else await super().reverse(reversals)

    async def begin_authentication(self, requests: Sequence[port.AuthenticationRequest]) -> list[port.ChallengeOutcome]:
        instead = await self._instead(requests[0])
        return [instead] if instead is not None else await super().begin_authentication(requests)


class Core:
    """One process of the gateway, without its wire. Two of them over one database are two processes."""

    def __init__(self, database: Database, account_id: str, clock: MovableClock) -> None:
        self.keys = {1: bytes(32)}
        self.vault_away = False
        self.database = database
        self.clock = clock
        self.account_id = account_id
        self.entropy = SystemEntropy()
        self.bank = Bank(database, clock, pages_url=PAGES_URL, fingerprint_key=bytes(32), delay_s=0, timeout_s=0)
        self.idempotency = Idempotency(database)
        self.woken = 0
        self.records = Records(
            database, built_in(), HeldKeyEncryption(self._held_keys), [b"i" * 32], clock, self.entropy
        )
        self.reading = Reading(PAGES_URL, clock, self.records)
        self.guard = CardTesting(database, clock, Limits())
        commits = Commits(
            database,
            self.idempotency,
            self.reading,
            clock,
            self.entropy,
            guard=self.guard,
            pages_url=PAGES_URL,
            woken=self._wake,
        )
        self.vault = Vault(database, HeldKeyEncryption(self._held_keys), self.entropy)
        typed = TypedCards(self.bank, self.vault, self.entropy)
        self.purge = Purge(self.vault, database, clock)
        calling = Calling(self.bank, clock, self.entropy, pages_url=PAGES_URL, vault=self.vault)
        self.carrying = Carrying(commits, calling, clock)
        inquiries = Inquiries(calling, database)
        self.payments = Payments(self.carrying, inquiries, self.bank, database, clock, self.entropy, self.guard)
        self.refunds = Refunds(self.carrying, inquiries, database, clock, self.entropy)
        self.resolving = Resolving(self.carrying, calling, database, clock, self.entropy)
        self.inquirer = Inquirer(self.carrying, calling, database, clock, self.entropy)
        completion = Completion(self.carrying, inquiries, self.idempotency, database, clock, self.entropy)
        self.completer = Completer(self.idempotency, completion.resume, clock)
        self.disputes = Disputes(self.carrying, database)
        self.contests = Contests(calling, database, clock)
        self.faults = Faults(database, clock, self.entropy)
        self.settlement = Settlement(
            Closing(database, clock, self.entropy),
            Arrivals(database, self.faults, clock, self.entropy, self._wake),
            self.faults,
            database,
            clock,
            self._wake,
        )
        self.payouts = ManualPayouts(database, self.idempotency, self.reading, clock, self.entropy, self._wake)
        self.reports = Reports(database, self.idempotency, clock, self.entropy, pages_url=PAGES_URL)
        self.writer = ReportWriter(database, clock, self.entropy, self._wake, pages_url=PAGES_URL)
        asked = (self.carrying, self.bank, database, clock, self.entropy)
        self.checkout = Checkout(*asked, pages_url=PAGES_URL, guard=self.guard, ttl_min_s=60, typed=typed)
        self.expiry = Expiry(self.carrying, database, clock, self.entropy)

    def _wake(self) -> None:
        self.woken += 1

    def _held_keys(self) -> dict[int, bytes]:
        if self.vault_away:
            raise KeyEncryptionUnavailable("away, for a test")
        return self.keys

    def call(self, claim: Claim | None = None, *, livemode: bool = False, origins: Sequence[str] = ()) -> Call:
        key = claim.scope.key if claim is not None else None
        return Call(Caller(self.account_id, livemode, "secret", tuple(origins)), "req_1", key, claim)

    async def claim(self, key: str) -> Any:
        """Claim an idempotency key as the wire does."""
        request = ClaimRequest(Scope(self.account_id, "test", key), b"f")
        (outcome,) = await self.idempotency.claim([request], self.clock.now())
        return outcome

    async def create(self, **fields: Any) -> Any:
        sent = CreateIntent(**{"amount": 1000, "currency": "eur", **fields})
        return shown((await self.payments.create([(self.call(), sent)]))[0])

    async def update(self, id: str, **fields: Any) -> Any:
        return shown((await self.payments.update([(self.call(), id, UpdateIntent(**fields))]))[0])

    async def confirm(self, id: str, **fields: Any) -> Any:
        return shown((await self.payments.confirm([(self.call(), id, ConfirmIntent(**fields))]))[0])

    async def capture(self, id: str, **fields: Any) -> Any:
        return shown((await self.payments.capture([(self.call(), id, CaptureIntent(**fields))]))[0])

    async def cancel(self, id: str, **fields: Any) -> Any:
        return shown((await self.payments.cancel([(self.call(), id, CancelIntent(**fields))]))[0])

    async def refund(self, **fields: Any) -> Any:
        return shown((await self.refunds.create([(self.call(), CreateRefund(**fields))]))[0])

    async def update_refund(self, id: str, **fields: Any) -> Any:
        return shown((await self.refunds.update([(self.call(), id, UpdateRefund(**fields))]))[0])

    async def cancel_refund(self, id: str) -> Any:
        return shown((await self.refunds.cancel([(self.call(), id, CancelRefund())]))[0])

    async def run_report(self, **parameters: Any) -> Any:
        sent = CreateRun(
            report_type="balance_change_from_activity.itemized.3",
            parameters=RunParameters(**{"currency": "eur", **parameters}),
        )
        return shown((await self.reports.create([(self.call(), sent)]))[0])

    async def pay_out(self, amount: int, currency: str = "eur", **fields: Any) -> Any:
        sent = CreatePayout(amount=amount, currency=currency, **fields)
        return shown((await self.payouts.create([(self.call(), sent)]))[0])

    async def cancel_payout(self, id: str) -> Any:
        return shown((await self.payouts.cancel([(self.call(), id, CancelPayout())]))[0])

    async def update_dispute(self, id: str, **fields: Any) -> Any:
        return shown((await self.disputes.update([(self.call(), id, UpdateDispute(**fields))]))[0])

    async def close_dispute(self, id: str) -> Any:
        return shown((await self.disputes.close([(self.call(), id, CloseDispute())]))[0])

    async def open_session(self, **fields: Any) -> Any:
        sent = CreateSession(
            **{"amount_total": 1000, "currency": "eur", "success_url": "https://shop.example/done", **fields}
        )
        return shown((await self.checkout.create([(self.call(), sent)]))[0])

    async def expire_session(self, id: str) -> Any:
        return shown((await self.checkout.expire([(self.call(), id, ExpireSession())]))[0])

    async def pay(
        self, session_id: str, number: str = "4242424242424242", code: str = "123", address: str | None = None
    ) -> Any:
        card = CardEntry(number=Pan(number), exp_month=12, exp_year=2040, code=Cvc(code))
        return await self.checkout.pay(session_id, card, address=address)

    async def rows(self, sql: str) -> list[dict[str, Any]]:
        return [dict(row) for row in await self.database.rows(Statement("of_a_test", sql))]

    async def events(self) -> list[str]:
        """Types of all events, in their order."""
        return [row["type"] for row in await self.rows("SELECT type FROM event ORDER BY id")]

    async def session(self, id: str) -> dict[str, Any]:
        return (await self.rows(f"SELECT * FROM checkout_session WHERE id = '{id}'"))[0]

    async def intent(self, id: str) -> dict[str, Any]:
        return (await self.rows(f"SELECT * FROM payment_intent WHERE id = '{id}'"))[0]


def shown(answer: Reply | Exception) -> Any:
    """The object in a reply; an error is raised."""
    if isinstance(answer, Exception):
        raise answer
    assert answer.status == 200
    return msgspec.json.decode(answer.body)


@pytest.fixture
def core_over() -> Callable[[Database], Awaitable[Core]]:
    """Makes a gateway with one account over a database."""

    async def make(database: Database) -> Core:
        account_id = new_owner_id("acct", SystemEntropy())
        statement = Statement(
            "of_a_test",
            "INSERT INTO account (account_id, name, created_at) VALUES ($1::text, 'Shop', '2026-01-01T00:00:00Z')",
        )
        await database.execute(statement, account_id)
        return Core(database, account_id, MovableClock())

    return make


@pytest.fixture
async def core(core_over: Callable[[Database], Awaitable[Core]], gateway_database: Database) -> Core:
    """A gateway with one account."""
    return await core_over(gateway_database)


@pytest.fixture
def another_process(core: Core) -> Callable[[], Core]:
    """A second process over the same database."""
    return lambda: Core(core.database, core.account_id, core.clock)


@pytest.fixture
def gateway(run_gateway: Callable[..., AbstractContextManager[Any]]) -> Iterator[Any]:
    """A gateway as the operators of it know it: by its addresses."""
    with run_gateway() as running:
        yield running


@pytest.fixture
def command(gateway: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs a command line as an admin called Ada would: `command("gateway cases list", "--account", id)`."""
    monkeypatch.setenv("TALLYSTICK_GATEWAY_DATABASE_DSN", gateway.dsn)
    monkeypatch.setenv("TALLYSTICK_GATEWAY_URL", gateway.url)

    def carry_out(line: str, *words: str, code: int = 0) -> Any:
        assert run([*line.split(), *words, "--json"]) == code
        told = capsys.readouterr().out
        return json.loads(told) if told else None

    key = carry_out("gateway operators create --name Ada --role admin")["operator_key"]
    monkeypatch.setenv("TALLYSTICK_GATEWAY_OPERATOR_KEY", key)
    return carry_out
