"""The HTTP-out port: one request, one of three ends. A bare exception never leaves it (DESIGN §2.8).

`Answered`: the peer answered in time. `NotSent`: nothing reached the peer, so the call had no effect. `Unknown`: the
request may have arrived and acted; the caller looks it up by its own reference or repeats it under the same key.

What decides between the last two is one mark: whether a connection was handed over for writing. Name lookup, the guard,
connecting, the TLS handshake and waiting for a free connection come before it; a reset on a reused connection comes
after it.

Reasons are words out of this list, fit for rows, labels and people:

    NotSent   invalid_url · dns · address_refused · plain_http · connection_refused · connect_timeout · connect_failed ·
              tls_certificate · tls
    Unknown   answer_timeout · body_timeout · connection_lost · malformed_answer · not_kept · failed
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from msgspec import Struct

ANSWER_BYTES_MAX = 1024 * 1024  # default cap on a body that we read; deliveries lower it


class HttpRequest(Struct, frozen=True):
    """What is sent. `deadline_s` bounds the whole exchange, from the name lookup to the last byte of the answer.
    `on_behalf_of` is the owner for whom it is sent, for whoever stands between; it does not leave this process."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    deadline_s: float
    answer_bytes_max: int = ANSWER_BYTES_MAX
    on_behalf_of: str = ""


class Answered(Struct, frozen=True):
    """The peer's answer; header names in lower case; `body` holds at most `answer_bytes_max` bytes.

    `cut` is true when there was more body than that; it was not read.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    cut: bool = False


class NotSent(Struct, frozen=True):
    """The request never left: the call had no effect."""

    reason: str


class Unknown(Struct, frozen=True):
    """The request may have had its effect; no usable answer came."""

    reason: str


Exchange = Answered | NotSent | Unknown


class Http(Protocol):
    """Sends requests to the outside."""

    async def send(self, request: HttpRequest) -> Exchange:
        """Carry out one exchange. Never follows a redirect, never raises for what the peer or the network does."""
        ...


class Downloads(Http, Protocol):
    """Sends requests, and receives what is too large to hold."""

    async def receive(self, request: HttpRequest, into: Callable[[bytes], object]) -> Exchange:
        """The same for an answer that is too large to hold: the body of a 2xx goes `into` in pieces, that of any other
        answer is kept as usual. `cut` where it was longer than `answer_bytes_max`; what came after that was not read.
        An OSError of `into` (a full disk) is the end `not_kept`."""
        ...
