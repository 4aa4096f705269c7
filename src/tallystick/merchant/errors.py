"""The errors of the merchant's API: RFC 9457 problems, each with its status, its code and what the reader can do.

Problem                       kernel/problems.py, with what is wrong with a request's form
  IdempotencyKeyMissing     400  a call that moves money needs one
  IdempotencyKeyRefused     400  empty, too long, twice, or not ASCII
  Unauthenticated           401  no API key that we know
  AccessForbidden           403  the policy does not grant it; it is in the access log
  NotFound                  404  no such thing, or not yours
  KeyInUse                  409  the same call is being executed right now
  KeyUsedOtherwise          422  the key belongs to another call
  NotChargeable             422  the gateway's wire cannot carry this amount or currency
  TooMany                   429  one key calls too quickly, or an address shows keys that open nothing
  PersonalDataUnreadable    500  what is stored of a person cannot be opened
  Internal                  500  a fault of ours, with a reference for the logs
  PersonalDataUnavailable   503  no key for personal data can be had now; nothing was executed
  Overloaded                503  too much is waiting
  DatabaseDown              503  nothing was executed
  OrderProblem                   names the order that stays behind
    NotPayable              409  the order is paid, or can still be paid
    NotCancelable           409  the order has ended, or is paid
    NotRefundable           409  there is no money to give back, or not so much
    GatewayRefused          422  the gateway said no; the order is FAILED
    GatewayMisconfigured    502  the gateway refuses our credentials or address
    GatewayUnreachable      503  nothing happened there; the same call resumes
    OutcomeUnknown          503  something may have happened there; the same call resumes
"""

from typing import ClassVar

import msgspec

from tallystick.kernel import problems
from tallystick.kernel.problems import Problem


class ProblemBody(problems.ProblemBody, frozen=True, omit_defaults=True):
    """A problem as the caller reads it; `order` is the one that stays behind, where there is one."""

    order: str | None = None


class OrderProblem(Problem):
    """An error of a call about an order."""

    def __init__(self, detail: str = "", *, order: str | None = None, retry_after_s: int | None = None) -> None:
        super().__init__(detail, retry_after_s=retry_after_s)
        self.order = order

    def told(self) -> ProblemBody:
        """With the order that stays behind."""
        return ProblemBody(**msgspec.structs.asdict(super().told()), order=self.order)


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
    default_headers: ClassVar = {"WWW-Authenticate": "Bearer"}


class AccessForbidden(Problem):
    """The policy does not grant it."""

    status, code, title = 403, "access_denied", "This is not granted"
    default_detail = "Name a purpose, and ask for no more fields than it needs. What is denied is in the access log."


class NotFound(Problem):
    """No such thing, or not the caller's."""

    status, code, title = 404, "not_found", "There is no such thing here"
    default_detail = "Check the address and the id; what belongs to another merchant is not shown."


class KeyInUse(Problem):
    """The same call is being executed right now."""

    status, code, title = 409, "idempotency_key_in_use", "The same call is being executed right now"
    default_detail = "Wait as long as Retry-After says, then repeat the call with the same key."


class NotPayable(OrderProblem):
    """The order is paid, or can still be paid."""

    status, code, title = 409, "order_not_payable", "This order cannot be paid again as it stands"
    default_detail = "Only an order that is FAILED, EXPIRED or CANCELED can be tried again."


class NotCancelable(OrderProblem):
    """The order has ended, or is paid."""

    status, code, title = 409, "order_not_cancelable", "This order cannot be cancelled as it stands"
    default_detail = "Only an order that is PENDING can be cancelled; give back the money of one that is paid."


class NotRefundable(OrderProblem):
    """There is no money to give back, or not so much."""

    status, code, title = 409, "order_not_refundable", "So much of this order's money cannot be given back"


class TooMany(Problem):
    """One key calls too quickly, or an address shows keys that open nothing."""

    status, code, title = 429, "too_many", "Too many requests came too quickly"
    default_detail = "Nothing was executed. Wait as long as Retry-After says, then repeat the call."


class KeyUsedOtherwise(Problem):
    """The key belongs to another call."""

    status, code, title = 422, "idempotency_key_used_otherwise", "This Idempotency-Key belongs to another call"
    default_detail = "The key was used with other fields or at another address; use a new key for a new call."


class NotChargeable(Problem):
    """The gateway's wire cannot carry this amount or currency; `code` says why."""

    status, code, title = 422, "not_chargeable", "The gateway cannot take this amount"

    def __init__(self, detail: str, *, code: str) -> None:
        super().__init__(detail)
        self.code = code


class GatewayRefused(OrderProblem):
    """The gateway said no, for good; the order is FAILED."""

    status, code, title = 422, "gateway_refused", "The gateway refused to open a checkout"


class GatewayMisconfigured(OrderProblem):
    """The gateway refuses our credentials or address."""

    status, code, title = 502, "gateway_misconfigured", "The gateway does not accept our credentials or address"
    default_detail = (
        "Check the connection's address and secret key, then repeat the call with the same Idempotency-Key."
    )


class GatewayUnreachable(OrderProblem):
    """The call never left; nothing happened there."""

    status, code, title = 503, "gateway_unreachable", "The gateway cannot be reached"
    default_detail = "Nothing happened there. Repeat the call with the same Idempotency-Key."


class OutcomeUnknown(OrderProblem):
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
