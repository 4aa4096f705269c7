"""The errors of the merchant's API: RFC 9457 problems, each with its status, its code and what the reader can do.

Problem
  Malformed                 400  not JSON, or not even readable
  IdempotencyKeyMissing     400  a call that moves money needs one
  IdempotencyKeyRefused     400  empty, too long, twice, or not ASCII
  Unauthenticated           401  no API key that we know
  AccessForbidden           403  the policy does not grant it; it is in the access log
  NotFound                  404  no such thing, or not yours
  MethodNotAllowed          405
  KeyInUse                  409  the same call is being executed right now
  NotPayable                409  the order is paid, or can still be paid
  NotCancelable             409  the order has ended, or is paid
  NotRefundable             409  there is no money to give back, or not so much
  TooLarge                  413
  MediaTypeRefused          415
  FieldsRefused             422  readable, and not what the route takes
  KeyUsedOtherwise          422  the key belongs to another call
  NotChargeable             422  the gateway's wire cannot carry this amount or currency
  GatewayRefused            422  the gateway said no; the order is FAILED
  PersonalDataUnreadable    500  what is stored of a person cannot be opened
  TooMany                   429  one key calls too quickly, or an address shows keys that open nothing
  Internal                  500  a fault of ours, with a reference for the logs
  GatewayMisconfigured      502  the gateway refuses our credentials or address
  GatewayUnreachable        503  nothing happened there; the same call resumes
  OutcomeUnknown            503  something may have happened there; the same call resumes
  PersonalDataUnavailable   503  no key for personal data can be had now; nothing was executed
  Overloaded                503  too much is waiting
  DatabaseDown              503  nothing was executed
"""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

PROBLEM_JSON = "application/problem+json"


class FieldError(Struct, frozen=True):
    """What is wrong with one field of the request."""

    field: str
    message: str


class ProblemBody(Struct, frozen=True, omit_defaults=True):
    """RFC 9457 problem details. `code` is the word to branch on."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: Sequence[FieldError] = ()
    order: str | None = None
    reference: str | None = None


class Problem(Exception):
    """An error that the caller is told. `order` names the order that stays behind, where there is one."""

    status = 500
    code = "internal"
    title = "Something went wrong on our side"
    default_detail = ""

    def __init__(
        self,
        detail: str = "",
        *,
        errors: Sequence[FieldError] = (),
        order: str | None = None,
        reference: str | None = None,
        retry_after_s: int | None = None,
        code: str | None = None,
        more_headers: Mapping[str, str] | None = None,
    ) -> None:
        self.detail = detail or self.default_detail
        super().__init__(self.detail)
        self.errors = errors
        self.order = order
        self.reference = reference
        self.retry_after_s = retry_after_s
        self.more_headers = more_headers or {}
        if code is not None:
            self.code = code

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers that belong to the answer beside its content type."""
        retry = {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}
        return {**self.more_headers, **retry}

    def body(self) -> bytes:
        """The problem as JSON."""
        return msgspec.json.encode(
            ProblemBody(
                type=f"urn:tallystick:problem:{self.code}",
                title=self.title,
                status=self.status,
                code=self.code,
                detail=self.detail,
                errors=self.errors,
                order=self.order,
                reference=self.reference,
            )
        )


class Malformed(Problem):
    """Not JSON, or not even readable."""

    status, code, title = 400, "malformed", "The request cannot be read"
    default_detail = "The body must be a JSON object in UTF-8."


class IdempotencyKeyMissing(Problem):
    """A call that moves money came without a key."""

    status, code, title = 400, "idempotency_key_missing", "An Idempotency-Key is needed"
    default_detail = "Send a header Idempotency-Key that is unique to what you mean to do, and the same on every retry."


class IdempotencyKeyRefused(Problem):
    """The key is empty, too long, sent twice, or not ASCII."""

    status, code, title = 400, "idempotency_key_refused", "This Idempotency-Key cannot be used"


class Unauthenticated(Problem):
    """No API key that we know."""

    status, code, title = 401, "unauthenticated", "An API key is needed"
    default_detail = "Send a header Authorization: Bearer tsk_… with an API key that has not been revoked."

    @property
    def headers(self) -> Mapping[str, str]:
        return {"WWW-Authenticate": "Bearer"}


class AccessForbidden(Problem):
    """The policy does not grant it."""

    status, code, title = 403, "access_denied", "This is not granted"
    default_detail = "Name a purpose, and ask for no more fields than it needs. What is denied is in the access log."


class NotFound(Problem):
    """No such thing, or not the caller's."""

    status, code, title = 404, "not_found", "There is no such thing here"
    default_detail = "Check the address and the id; what belongs to another merchant is not shown."


class MethodNotAllowed(Problem):
    """The address exists, the method does not."""

    status, code, title = 405, "method_not_allowed", "This address does not take this method"


class KeyInUse(Problem):
    """The same call is being executed right now."""

    status, code, title = 409, "idempotency_key_in_use", "The same call is being executed right now"
    default_detail = "Wait as long as Retry-After says, then repeat the call with the same key."


class NotPayable(Problem):
    """The order is paid, or can still be paid."""

    status, code, title = 409, "order_not_payable", "This order cannot be paid again as it stands"
    default_detail = "Only an order that is FAILED, EXPIRED or CANCELED can be tried again."


class NotCancelable(Problem):
    """The order has ended, or is paid."""

    status, code, title = 409, "order_not_cancelable", "This order cannot be cancelled as it stands"
    default_detail = "Only an order that is PENDING can be cancelled; give back the money of one that is paid."


class NotRefundable(Problem):
    """There is no money to give back, or not so much."""

    status, code, title = 409, "order_not_refundable", "So much of this order's money cannot be given back"


class TooLarge(Problem):
    """The body is larger than we read."""

    status, code, title = 413, "too_large", "The request is too large"


class MediaTypeRefused(Problem):
    """The body says that it is not JSON."""

    status, code, title = 415, "media_type_refused", "The body must be JSON"
    default_detail = "Send Content-Type: application/json."


class FieldsRefused(Problem):
    """Readable, and not what the route takes."""

    status, code, title = 422, "fields_refused", "The request is not what this address takes"


class TooMany(Problem):
    """One key calls too quickly, or an address shows keys that open nothing."""

    status, code, title = 429, "too_many", "Too many requests came too quickly"
    default_detail = "Nothing was executed. Wait as long as Retry-After says, then repeat the call."


class KeyUsedOtherwise(Problem):
    """The key belongs to another call."""

    status, code, title = 422, "idempotency_key_used_otherwise", "This Idempotency-Key belongs to another call"
    default_detail = "The key was used with other fields or at another address; use a new key for a new call."


class NotChargeable(Problem):
    """The gateway's wire cannot carry this amount or currency."""

    status, code, title = 422, "not_chargeable", "The gateway cannot take this amount"


class GatewayRefused(Problem):
    """The gateway said no, for good; the order is FAILED."""

    status, code, title = 422, "gateway_refused", "The gateway refused to open a checkout"


class GatewayMisconfigured(Problem):
    """The gateway refuses our credentials or address."""

    status, code, title = 502, "gateway_misconfigured", "The gateway does not accept our credentials or address"
    default_detail = (
        "Check the connection's address and secret key, then repeat the call with the same Idempotency-Key."
    )


class GatewayUnreachable(Problem):
    """The call never left; nothing happened there."""

    status, code, title = 503, "gateway_unreachable", "The gateway cannot be reached"
    default_detail = "Nothing happened there. Repeat the call with the same Idempotency-Key."


class OutcomeUnknown(Problem):
    """Something may have happened there; the same call resumes."""

    status, code, title = 503, "outcome_unknown", "The gateway did not answer clearly"
    default_detail = (
        "The order stays PENDING. Repeat the call with the same Idempotency-Key: it resumes and never opens two."
    )


class PersonalDataUnavailable(Problem):
    """No key for personal data can be had."""

    status, code, title = 503, "personal_data_unavailable", "Personal data cannot be stored or read now"
    default_detail = "The service has no key for them, or cannot reach it. Nothing was executed; repeat the call."


class Overloaded(Problem):
    """Too much is waiting."""

    status, code, title = 503, "overloaded", "Too much is waiting"
    default_detail = "Nothing was executed. Repeat the call in a moment."


class DatabaseDown(Problem):
    """The database is away; nothing was executed."""

    status, code, title = 503, "database_unavailable", "The database cannot be reached"
    default_detail = "Repeat the call with the same Idempotency-Key."


class PersonalDataUnreadable(Problem):
    """What is stored of a person cannot be opened."""

    status, code, title = 500, "personal_data_unreadable", "What is stored of this customer cannot be opened"
    default_detail = "It is damaged, or the key that wrapped its key is gone."


class Internal(Problem):
    """A fault of ours, with a reference for the logs."""

    default_detail = "The fault was logged under the reference. The same call with the same Idempotency-Key resumes."
