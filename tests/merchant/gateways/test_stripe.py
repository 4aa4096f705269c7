"""The adapter for Stripe's wire: what it sends, how often, and what it makes of every kind of answer (DESIGN §2.8)."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

import msgspec
import pytest
import stripe

from tallystick.kernel.outcomes import Done, NotSent, Refused, Unknown
from tallystick.merchant.gateways.port import AmountRefused, Connection, Item, Opening, Told
from tallystick.merchant.gateways.stripe import MISCONFIGURED, STRIPE_VERSION, TRIES_MAX, StripeGateway
from tallystick.merchant.orders.facts import Closed, SessionOpened, Succeeded
from tallystick.ports.http import Answered, Exchange, HttpRequest
from tallystick.ports.secrets import SecretMissing

CONNECTION = Connection("mer_1", "con_1", "stripe", "https://gateway.example/", "env:KEY", "stripe", ("env:HOOK",))
OPENING = Opening(
    order_id="ord_1",
    attempt=2,
    currency="EUR",
    items=(Item("Tea & cake", 1200, 2), Item("Delivery", 100, 1)),
    ui_mode="hosted",
    return_to="https://pay.example/return/ord_1",
    cancel_to="https://pay.example/return/ord_1?from=cancel",
    expires_at=datetime(2030, 1, 1, tzinfo=UTC),
)


def session(status: str = "open", **members: object) -> Answered:
    fields = {
        "id": "cs_1",
        "object": "checkout.session",
        "status": status,
        "payment_status": "unpaid",
        "url": "https://g/pay/cs_1",
    }
    return Answered(200, {}, msgspec.json.encode({**fields, **members}))


def refusal(status: int, code: str = "parameter_invalid_integer") -> Answered:
    return Answered(
        status, {}, msgspec.json.encode({"error": {"type": "invalid_request_error", "code": code, "message": "No."}})
    )


class Script:
    """The network, saying what it is told to say, and the clock that nobody waits for."""

    def __init__(self, answers: Sequence[Exchange]) -> None:
        self.answers = list(answers)
        self.sent: list[HttpRequest] = []
        self.slept_s: list[float] = []

    async def send(self, request: HttpRequest) -> Exchange:
        self.sent.append(request)
        return self.answers.pop(0)

    def now(self) -> datetime:
        return datetime(2029, 1, 1, tzinfo=UTC) + timedelta(seconds=sum(self.slept_s))

    def monotonic_s(self) -> float:
        return sum(self.slept_s)

    async def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)

    def token_bytes(self, count: int) -> bytes:
        return bytes(count)

    def uniform(self, low: float, high: float) -> float:
        return high

    async def read(self, reference: str) -> str:
        return "sk_test_secret"


def the_gateway(*answers: Exchange) -> tuple[StripeGateway, Script]:
    script = Script(answers)
    return StripeGateway(script, script, script, script), script


def test_the_version_is_that_of_the_pinned_package() -> None:
    assert stripe.api_version == STRIPE_VERSION


def test_a_plan_is_stripes_form_with_our_reference_everywhere() -> None:
    """RULES §7: our reference is on the session and on the payment intent; the plan is the same bytes every time."""
    gateway, _ = the_gateway()
    planned = gateway.plan_session(OPENING)
    assert planned == gateway.plan_session(OPENING)
    assert dict(parse_qsl(planned.decode())) == {
        "mode": "payment",
        "payment_method_types[0]": "card",
        "client_reference_id": "ord_1",
        "expires_at": "1893456000",
        "metadata[order_id]": "ord_1",
        "metadata[attempt]": "2",
        "payment_intent_data[metadata][order_id]": "ord_1",
        "payment_intent_data[metadata][attempt]": "2",
        "line_items[0][quantity]": "2",
        "line_items[0][price_data][currency]": "eur",
        "line_items[0][price_data][unit_amount]": "1200",
        "line_items[0][price_data][product_data][name]": "Tea & cake",
        "line_items[1][quantity]": "1",
        "line_items[1][price_data][currency]": "eur",
        "line_items[1][price_data][unit_amount]": "100",
        "line_items[1][price_data][product_data][name]": "Delivery",
        "ui_mode": "hosted_page",
        "success_url": "https://pay.example/return/ord_1",
        "cancel_url": "https://pay.example/return/ord_1?from=cancel",
    }


def test_an_embedded_plan_returns_by_one_address() -> None:
    gateway, _ = the_gateway()
    sent = dict(parse_qsl(gateway.plan_session(msgspec.structs.replace(OPENING, ui_mode="embedded")).decode()))
    assert sent["ui_mode"] == "embedded_page"
    assert sent["return_url"] == OPENING.return_to
    assert "success_url" not in sent


def test_an_amount_that_the_wire_cannot_carry_is_refused_before_anything_is_stored() -> None:
    gateway, _ = the_gateway()
    with pytest.raises(AmountRefused):
        gateway.plan_session(msgspec.structs.replace(OPENING, currency="MGA", items=(Item("Tea", 1250, 1),)))


async def test_opening_tells_the_session_and_the_way_to_it() -> None:
    gateway, network = the_gateway(session(payment_intent="pi_1", client_secret=None))
    answer = await gateway.open_session(CONNECTION, b"mode=payment", "order:ord_1:2")
    assert answer == Done(Told((SessionOpened("cs_1", "pi_1", "https://g/pay/cs_1"),)))
    (sent,) = network.sent
    assert (sent.method, sent.url, sent.body) == (
        "POST",
        "https://gateway.example/v1/checkout/sessions",
        b"mode=payment",
    )
    assert sent.headers["Idempotency-Key"] == "order:ord_1:2"
    assert sent.headers["Authorization"] == "Bearer sk_test_secret"
    assert sent.headers["Stripe-Version"] == STRIPE_VERSION


@pytest.mark.parametrize(
    "trouble",
    [NotSent("refused"), Unknown("cut"), Answered(500, {}, b""), Answered(503, {}, b"x"), refusal(409), refusal(429)],
)
async def test_trouble_is_repeated_under_the_same_key(trouble: Exchange) -> None:
    gateway, network = the_gateway(trouble, trouble, session())
    answer = await gateway.open_session(CONNECTION, b"a=b", "order:ord_1:1")
    assert isinstance(answer, Done)
    assert len(network.sent) == 3
    assert network.sent[0] == network.sent[1] == network.sent[2]
    assert network.slept_s[0] < network.slept_s[1]


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        ([NotSent("refused")], NotSent),
        ([refusal(429)], NotSent),
        ([Unknown("cut")], Unknown),
        ([Answered(502, {}, b"")], Unknown),
        ([refusal(409)], Unknown),
        ([Unknown("cut"), NotSent("refused"), NotSent("refused")], Unknown),
        ([Answered(200, {}, b"not json")], Unknown),
        ([Answered(400, {}, b'{"error": {"type": "idempotency_error"}}')], Unknown),
        ([Answered(200, {}, b'{"id": "x", "object": "list"}')], Unknown),
    ],
)
async def test_what_tries_do_not_mend_is_said_honestly(answers: list[Exchange], outcome: type) -> None:
    """DESIGN §2.8: unknown is an answer; one unknown try makes the whole call unknown."""
    answers = answers * TRIES_MAX if len(answers) == 1 else answers
    gateway, network = the_gateway(*answers)
    assert isinstance(await gateway.open_session(CONNECTION, b"", "k"), outcome)
    assert len(network.sent) == TRIES_MAX


async def test_a_refusal_is_final() -> None:
    gateway, network = the_gateway(refusal(400, "amount_too_small"))
    assert await gateway.open_session(CONNECTION, b"", "k") == Refused("amount_too_small", "No.", 400)
    assert len(network.sent) == 1


async def test_a_refusal_after_an_unknown_try_says_nothing_of_that_try() -> None:
    """RULES §8: what is made once may have been made by the try whose answer was lost. A close is looked up instead."""
    gateway, network = the_gateway(Unknown("cut"), refusal(400), Unknown("cut"), refusal(400))
    assert isinstance(await gateway.open_session(CONNECTION, b"", "k"), Unknown)
    assert isinstance(await gateway.refund(CONNECTION, b"", "k"), Unknown)
    assert len(network.sent) == 4
    gateway, _ = the_gateway(Unknown("cut"), refusal(400), session("expired", url=None))
    assert isinstance(await gateway.close_session(CONNECTION, "cs_1", "close:ord_1:1:1"), Done)
    gateway, _ = the_gateway(Unknown("cut"), Answered(401, {}, b""))
    answer = await gateway.open_session(CONNECTION, b"", "k")
    assert isinstance(answer, Refused)
    assert answer.code == MISCONFIGURED, "which is no end either"


async def test_what_a_box_on_the_way_refuses_may_have_been_done() -> None:
    """Only the gateway's own envelope is its word; found by the simulation."""
    gateway, _ = the_gateway(*[Answered(400, {}, b"the network says no")] * 3)
    assert isinstance(await gateway.open_session(CONNECTION, b"", "k"), Unknown)


@pytest.mark.parametrize("status", [301, 302, 401, 403, 404])
async def test_what_only_our_configuration_can_mend_is_named_so(status: int) -> None:
    gateway, _ = the_gateway(Answered(status, {}, b""))
    answer = await gateway.open_session(CONNECTION, b"", "k")
    assert isinstance(answer, Refused)
    assert answer.code == MISCONFIGURED


async def test_a_secret_that_cannot_be_read_sends_nothing() -> None:
    class NoSecrets:
        async def read(self, reference: str) -> str:
            raise SecretMissing(reference)

    _, network = the_gateway()
    answer = await StripeGateway(network, NoSecrets(), network, network).open_session(CONNECTION, b"", "k")
    assert isinstance(answer, Refused)
    assert (answer.code, network.sent) == (MISCONFIGURED, [])


async def test_closing_tells_that_it_is_closed() -> None:
    gateway, network = the_gateway(session("expired", url=None))
    answer = await gateway.close_session(CONNECTION, "cs_1", "close:ord_1:1:1")
    assert answer == Done(Told((SessionOpened("cs_1"), Closed("expired"))))
    assert network.sent[0].url.endswith("/v1/checkout/sessions/cs_1/expire")
    assert network.sent[0].headers["Idempotency-Key"] == "close:ord_1:1:1"


async def test_a_close_that_is_refused_tells_what_is_there_instead() -> None:
    """RULES §8: already paid → PAID; the adapter looks and tells the facts."""
    paid = session(
        "complete", payment_status="paid", amount_total=2500, currency="eur", payment_intent="pi_1", url=None
    )
    gateway, network = the_gateway(refusal(400), paid)
    answer = await gateway.close_session(CONNECTION, "cs_1", "close:ord_1:1:1")
    assert answer == Done(Told((SessionOpened("cs_1", "pi_1"), Succeeded(2500, None, "EUR", "pi_1"))))
    assert network.sent[1].method == "GET"
    assert "expand[]=payment_intent" in network.sent[1].url
    assert "Idempotency-Key" not in network.sent[1].headers
