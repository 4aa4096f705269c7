"""What our JSON APIs answer when they do not do what was asked: RFC 9457 problems, and the kinds that all of them have.

Problem
  Malformed           400  not JSON, or not even readable
  MethodNotAllowed    405
  TooLarge            413
  MediaTypeRefused    415
  FieldsRefused       422  readable, and not what the route takes

The operators' API has more in `kernel/operators/problems.py`, the merchant's in `merchant/errors.py`.
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
        retry_after_s: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.detail = detail or self.default_detail
        super().__init__(self.detail)
        self.errors = errors
        self.reference = reference
        retry = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
        self.headers = {**self.default_headers, **(headers or {}), **retry}

    def told(self) -> ProblemBody:
        """The problem as the caller reads it."""
        return ProblemBody(
            type=f"urn:tallystick:problem:{self.code}",
            title=self.title,
            status=self.status,
            code=self.code,
            detail=self.detail,
            errors=self.errors,
            reference=self.reference,
        )

    def body(self) -> bytes:
        """The same as JSON."""
        return msgspec.json.encode(self.told())


class Malformed(Problem):
    """Not JSON, or not even readable."""

    status, code, title = 400, "malformed", "The request cannot be read"
    default_detail = "The body must be a JSON object in UTF-8."


class MethodNotAllowed(Problem):
    """The address exists, the method does not."""

    status, code, title = 405, "method_not_allowed", "This address does not take this method"


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
