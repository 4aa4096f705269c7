"""What the operator API answers when it does not do what was asked: RFC 9457 problems.

Problem
  Malformed           400  not JSON, or not even readable
  Unauthenticated     401  no operator key that lives
  NotAllowed          403  not with this role
  NotFound            404  no such thing
  MethodNotAllowed    405
  Conflict            409  not as things stand
  TooLarge            413
  MediaTypeRefused    415
  FieldsRefused       422  readable, and not what the route takes
  TooMany             429  keys that open nothing come too quickly
  Internal            500  a fault of ours, with a reference for the logs
  DatabaseDown        503  nothing was executed
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

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
    reference: str | None = None


class Problem(Exception):
    """An error that the caller is told."""

    status = 500
    code = "internal"
    title = "Something went wrong on our side"
    default_detail = ""
    default_headers: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self,
        detail: str = "",
        *,
        errors: Sequence[FieldError] = (),
        reference: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.detail = detail or self.default_detail
        super().__init__(self.detail)
        self.errors = errors
        self.reference = reference
        self.headers = self.default_headers if headers is None else headers

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
                reference=self.reference,
            )
        )


class Malformed(Problem):
    """Not JSON, or not even readable."""

    status, code, title = 400, "malformed", "The request cannot be read"
    default_detail = "The body must be a JSON object in UTF-8."


class Unauthenticated(Problem):
    """No operator key that lives."""

    status, code, title = 401, "unauthenticated", "An operator key is needed"
    default_detail = "Send one header Authorization: Bearer opk_… with a key that has not been revoked."
    default_headers: ClassVar = {"WWW-Authenticate": "Bearer"}


class NotAllowed(Problem):
    """Another role is needed."""

    status, code, title = 403, "not_allowed", "This operator's role does not allow that"
    default_detail = "Ask somebody whose role allows it; the table of roles is in docs/access.md."


class NotFound(Problem):
    """No such thing."""

    status, code, title = 404, "not_found", "There is no such thing here"
    default_detail = "Check the address and the id."


class MethodNotAllowed(Problem):
    """The address exists, the method does not."""

    status, code, title = 405, "method_not_allowed", "This address does not take this method"


class Conflict(Problem):
    """It cannot be done as things stand."""

    status, code, title = 409, "conflict", "That cannot be done as things stand"


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
    """Keys that open nothing come too quickly from one address."""

    status, code, title = 429, "too_many", "Too many keys that open nothing came from this address"
    default_detail = "Wait as long as Retry-After says."


class Internal(Problem):
    """A fault of ours, with a reference for the logs."""

    default_detail = "The fault was logged under the reference."


class DatabaseDown(Problem):
    """The database is away; nothing was executed."""

    status, code, title = 503, "database_unavailable", "The database cannot be reached"
    default_detail = "Repeat the call in a moment."
    default_headers: ClassVar = {"Retry-After": "2"}
