"""The errors of the wire, shaped as Stripe's: status, type, code, param, message.

    WireError
      InvalidRequest        400 (404 for what does not exist)  invalid_request_error
        UnexpectedState     400  payment_intent_unexpected_state and the like: refused because of the object's state
      CardDeclined          402  card_error
      Unauthenticated       401  invalid_request_error
      NotPermitted          403  invalid_request_error
      KeyReused             400  idempotency_error: the key belongs to another request
      KeyInUse              409  idempotency_error: the same call is being executed
      TooLarge              413  invalid_request_error
      TooMany               429  invalid_request_error, rate_limit
      Unavailable           503  api_error: nothing was done
      Broken                500  api_error: a fault of ours

`final` says what becomes of the call's idempotency key (RULES §5): the answer of a final error is kept and replayed (a
decline, a refusal that depends on state); after any other error the corrected call executes under the same key.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from tallystick.gateway.stripe_wire.call import Reply
from tallystick.kernel.card_numbers import could_hold_one

MESSAGE_VALUE_CHARACTERS_MAX = 64  # of a sent value that a message repeats


class WireError(Exception):
    """Root of what a call can be refused with. `extra` stands beside the message: `payment_intent`, …"""

    status: int = 400
    type: ClassVar[str] = "invalid_request_error"
    final: ClassVar[bool] = False
    should_retry: ClassVar[bool | None] = None  # the header Stripe-Should-Retry, where it helps

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        status: int | None = None,
        extra: Mapping[str, Any] | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param
        self.retry_after_s = retry_after_s
        self.extra = extra or {}
        if status is not None:
            self.status = status

    def envelope(self) -> dict[str, Any]:
        """`{"error": {…}}` as Stripe sends it; members without a value are left out."""
        error: dict[str, Any] = {**self.extra}
        if self.code is not None:
            error["code"] = self.code
        error["message"] = self.message
        if self.param is not None:
            error["param"] = self.param
        error["type"] = self.type
        return {"error": error}

    def reply(self) -> Reply:
        """The answer to send, and to keep under the idempotency key when the error is final."""
        return Reply(self.status, msgspec.json.encode(self.envelope()))


class InvalidRequest(WireError):
    """The request is wrong; corrected it may be sent again under the same key."""


class UnexpectedState(InvalidRequest):
    """The object's state forbids it. Final: the same call is refused for ever, even if the state changes."""

    final = True


class OutOfTime(InvalidRequest):
    """The clock forbids it. Final, because time is a state too: a request that was delayed on its way must not be
    executed after its repetition was refused, by another process whose clock is behind."""

    final = True


class CardDeclined(WireError):
    """The acquirer declined the card."""

    status = 402
    type = "card_error"
    final = True


class Unauthenticated(WireError):
    status = 401


class NotPermitted(WireError):
    status = 403


class KeyReused(WireError):
    type = "idempotency_error"


class KeyInUse(WireError):
    status = 409
    type = "idempotency_error"
    should_retry = True


class TooLarge(WireError):
    status = 413


class TooMany(WireError):
    status = 429


class Unavailable(WireError):
    status = 503
    type = "api_error"
    should_retry = True


class Broken(WireError):
    status = 500
    type = "api_error"
    should_retry = True  # our 500 is never kept under the key: the retry resumes (RULES §5)


def missing(param: str) -> InvalidRequest:
    """A required parameter was not sent."""
    return InvalidRequest(f"Missing required param: {param}.", code="parameter_missing", param=param)


def unknown(param: str) -> InvalidRequest:
    """A parameter was sent that this call does not know."""
    return InvalidRequest(f"Received unknown parameter: {param}", code="parameter_unknown", param=param)


def empty(param: str) -> InvalidRequest:
    """An empty text was sent where nothing can be unset."""
    return InvalidRequest(
        f"You passed an empty string for '{param}'. We assume empty values are an attempt to unset a parameter; "
        f"however '{param}' cannot be unset. You should remove '{param}' from your request or supply a non-empty "
        "value.",
        code="parameter_invalid_empty",
        param=param,
    )


def invalid_integer(param: str, value: object = None) -> InvalidRequest:
    """Something else than an integer was sent."""
    sent = f": {shown(value)}" if isinstance(value, str | int | float) else ""
    return InvalidRequest(f"Invalid integer{sent}", code="parameter_invalid_integer", param=param)


def invalid(param: str, message: str, code: str | None = None) -> InvalidRequest:
    """Any other fault of one parameter."""
    return InvalidRequest(message, code=code, param=param)


def invalid_choice(param: str, choices: tuple[str, ...]) -> InvalidRequest:
    """A value outside the list of possible ones."""
    *others, last = choices
    listed = f"{', '.join(others)}, or {last}" if others else last
    return InvalidRequest(f"Invalid {param}: must be one of {listed}", param=param)


def exclusive(*params: str) -> InvalidRequest:
    """Parameters that may not stand together."""
    return InvalidRequest(
        f"Received both {' and '.join(params)} parameters. Please pass in only one.",
        code="parameters_exclusive",
        param=params[0],
    )


def no_such(kind: str, id: str, *, param: str = "id") -> InvalidRequest:
    """What the URL names does not exist for this account and mode. `kind` is Stripe's word: `payment_intent`."""
    return InvalidRequest(f"No such {kind}: '{shown(id)}'", code="resource_missing", param=param, status=404)


def no_such_reference(kind: str, id: str, *, param: str) -> InvalidRequest:
    """An object that a parameter names does not exist for this account and mode."""
    return InvalidRequest(f"No such {kind}: '{shown(id)}'", code="resource_missing", param=param)


def unrecognized_url(method: str, path: str) -> InvalidRequest:
    """There is nothing under this path for this method."""
    return InvalidRequest(
        f"Unrecognized request URL ({method}: {shown(path, 256)}). Please see https://docs.stripe.com/api for the API "
        "that this gateway speaks a part of.",
        status=404,
    )


def unexpected_state(
    message: str,
    *,
    code: str | None = "payment_intent_unexpected_state",
    intent: Mapping[str, Any] | None = None,
    param: str | None = None,
) -> UnexpectedState:
    """A command that the object's state forbids, with the intent inside. RULES §3."""
    return UnexpectedState(
        message, code=code, param=param, extra={"payment_intent": intent} if intent is not None else {}
    )


def card_declined(
    code: str,
    decline_code: str | None,
    message: str,
    *,
    intent: Mapping[str, Any] | None = None,
    charge: str | None = None,
    payment_method: Mapping[str, Any] | None = None,
) -> CardDeclined:
    """The acquirer said no. `code` is Stripe's word (`card_declined`, `expired_card`, …)."""
    extra: dict[str, Any] = {}
    if charge is not None:
        extra["charge"] = charge
    if decline_code is not None:
        extra["decline_code"] = decline_code
    if intent is not None:
        extra["payment_intent"] = intent
    if payment_method is not None:
        extra["payment_method"] = payment_method
    return CardDeclined(message, code=code, extra=extra)


def card_tried_too_often(retry_after_s: int) -> TooMany:
    """A card was tried or declined so often that no bank is asked any more (card testing)."""
    return TooMany(
        "This card has been tried too many times. Nothing was sent to its bank; try again later.",
        code="card_decline_rate_limit_exceeded",
        retry_after_s=retry_after_s,
    )


def too_many_requests(retry_after_s: int) -> TooMany:
    """An API key or an address calls too quickly."""
    return TooMany(
        "Too many requests came too quickly. Send them more slowly.", code="rate_limit", retry_after_s=retry_after_s
    )


def shown(value: object, characters_max: int = MESSAGE_VALUE_CHARACTERS_MAX) -> str:
    """A sent value as a message may repeat it: short, printable, never a run of digits that could be a card number."""
    text = str(value)
    if could_hold_one(text):
        return "…"
    return "".join(character if character.isprintable() else "?" for character in text[:characters_max])
