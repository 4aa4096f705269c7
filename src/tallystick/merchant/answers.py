"""Answers of the API: JSON and problems, never cached, never guessed at."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from litestar import Response

from tallystick.kernel.page_headers import document_headers
from tallystick.kernel.problems import PROBLEM_JSON, Problem
from tallystick.merchant.keyed import Answer

# An order's answer may hold the way to its payment; no cache on the way is to keep it.
HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
REPLAYED: Final = {"Idempotent-Replayed": "true"}


def json(value: Any) -> Response[bytes]:
    """A value of ours as JSON, with 200."""
    return encoded(msgspec.json.encode(value), 200)


def encoded(body: bytes, status: int, more_headers: Mapping[str, str] | None = None) -> Response[bytes]:
    """JSON that is already encoded; from 400 on it is a problem."""
    media_type = "application/json" if status < 400 else PROBLEM_JSON
    return Response(body, status_code=status, media_type=media_type, headers={**HEADERS, **(more_headers or {})})


def executed(answer: Answer) -> Response[bytes]:
    """What a call under a key gets; told apart where it was executed before."""
    return encoded(answer.body, answer.status, REPLAYED if answer.replayed else None)


def problem(problem: Problem) -> Response[bytes]:
    """A problem (RFC 9457). A browser may show it, so it has the headers of a page (RULES §9)."""
    return encoded(problem.body(), problem.status, {**document_headers(""), **problem.headers})
