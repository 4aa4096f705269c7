"""`/operator/v1/payments/{id}`: how a payment stands, and what may be done about it (RULES §12, §13)."""

from typing import Annotated

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import Meta, Struct

from tallystick.gateway.acts.commands import Acts, Asked, GivingBack
from tallystick.kernel.idempotency import KeyInvalid, parse_key
from tallystick.kernel.operators.api import Call, answer
from tallystick.kernel.problems import FieldError, FieldsRefused
from tallystick.kernel.requests import NoQuery, body, query

IDEMPOTENCY_KEY = "idempotency-key"

Word = Annotated[str, Meta(min_length=1, max_length=50, pattern="^[a-z_]+$")]


class Refund(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`POST /operator/v1/payments/{id}/refund`, in minor units: `refundable` as `GET` has shown it."""

    refundable: int
    amount: Annotated[int, Meta(ge=1)] | None = None
    reason: Word | None = None


class Cancel(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`POST /operator/v1/payments/{id}/cancel`."""

    reason: Word | None = None


class Inquired(Struct, frozen=True):
    """What the bank was asked, and whether it could tell."""

    payment: str
    asked: list[Asked]


def act_routes(acts: Acts) -> list[HTTPRouteHandler]:
    """Show a payment, give money back, give it up, ask the bank now."""

    @get("/payments/{payment_id:str}")
    async def show(request: Call, payment_id: FromPath[str]) -> Response[bytes]:
        query(request, NoQuery)
        return answer(await acts.standing(payment_id))

    @post("/payments/{payment_id:str}/refund")
    async def refund(request: Call, payment_id: FromPath[str]) -> Response[bytes]:
        key, wanted = _key(request), await body(request, Refund)
        giving = GivingBack(refundable=wanted.refundable, amount=wanted.amount, reason=wanted.reason)
        return answer(await acts.refund(await acts.standing(payment_id), giving, key))

    @post("/payments/{payment_id:str}/cancel")
    async def cancel(request: Call, payment_id: FromPath[str]) -> Response[bytes]:
        key, wanted = _key(request), await body(request, Cancel)
        return answer(await acts.cancel(await acts.standing(payment_id), wanted.reason, key))

    @post("/payments/{payment_id:str}/inquire")
    async def inquire(request: Call, payment_id: FromPath[str]) -> Response[bytes]:
        query(request, NoQuery)
        payment = await acts.standing(payment_id)
        return answer(Inquired(payment.id, await acts.inquire(payment)))

    return [show, refund, cancel, inquire]


def _key(request: Call) -> str:
    """The key under which an act is done once. Raises FieldsRefused where there is none."""
    query(request, NoQuery)
    sent = [value for name, value in request.scope["headers"] if name == IDEMPOTENCY_KEY.encode()]
    try:
        key = parse_key(sent)
    except KeyInvalid as error:
        raise _no_key(str(error)) from None
    if key is None:
        raise _no_key("send a key of your own with what is to be done once: repeated with it, it is done once")
    return key


def _no_key(why: str) -> FieldsRefused:
    return FieldsRefused("See errors.", errors=[FieldError("Idempotency-Key", why)])
