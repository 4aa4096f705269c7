"""The server's HTTP protocol with limits that uvicorn's own does not have with httptools: on heads, on what follows
them, on requests that wait behind one another, and on answers that nobody reads.

A head is request line and headers. Without limits one connection could hold as much memory as it likes, and any number
of connections could stay open without ever asking for anything. How long a body may be is each route's own matter;
that it comes at all is seen to here, for routes that read it and for those that have answered without.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES_MAX = 32 * 1024  # browsers with many cookies send 8; what is more than this is no request of ours
HEAD_DEADLINE_S = 20.0  # from the first byte (or from the connection) to the end of the head
BODY_DEADLINE_S = 30.0  # a body that is not through by then must be on its way:
BODY_BYTES_MIN = 64 * 1024  # so much of it within each further deadline; the longest files are uploaded by merchants
WRITE_DEADLINE_S = 60.0  # how long what we say may wait in our memory for somebody to read it
PIPELINED_MAX = 32  # requests behind one that is being answered; clients that send any are rare


class PipelineFull(Exception):
    """More requests wait on a connection than it may have."""


class LimitedProtocol(HttpToolsProtocol):
    """Refuses a head that is too large (431) or does not end in time (408), and a body that does not come (408). Hangs
    up on who sends far more than is answered, or does not read."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._in_head = False
        self._in_body = False
        self._bodiless_bytes = 0  # come since the head began or since its body was last heard of
        self._body_bytes = 0  # come since the deadline was last set
        self._body_came = False
        self._deadline: asyncio.TimerHandle | None = None
        self._write_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._deadline = self.loop.call_later(HEAD_DEADLINE_S, self._too_slow)

    def connection_lost(self, error: Exception | None) -> None:
        self._forget_deadline()
        self._forget_write_deadline()
        super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head or self._in_body:  # not the usual case: a request comes in one piece
            self._count(len(data))

    def _count(self, size_bytes: int) -> None:
        """Hold what came against the limits. Behind a body stand trailers; and around each chunk of it what it says of
        itself: of both nobody reads a word."""
        if self._body_came:
            self._body_came = False
            self._bodiless_bytes = 0
            self._body_bytes += size_bytes
        else:
            self._bodiless_bytes += size_bytes
        if self._bodiless_bytes > HEAD_BYTES_MAX:
            self._refuse(b"431 Request Header Fields Too Large")
        elif self._deadline is None:
            wait_s = HEAD_DEADLINE_S if self._in_head else BODY_DEADLINE_S
            self._deadline = self.loop.call_later(wait_s, self._too_slow)

    def on_message_begin(self) -> None:
        self._head_begins()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        # As uvicorn does, but for trailers, which are no headers: a proxy in front may have let them through unseen.
        if self._in_head:
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._head_ends()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_came = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._body_ends()
        super().on_message_complete()

    def _head_begins(self) -> None:
        if len(self.pipeline) >= PIPELINED_MAX:
            self.transport.abort()  # an answer would be taken for that to a request before
            raise PipelineFull  # ends the parser's work on what came with it
        self._in_head = True
        self._bodiless_bytes = 0

    def _head_ends(self) -> None:
        self._in_head = False
        self._in_body = True
        self._body_bytes = self._bodiless_bytes = 0
        if self._deadline is not None:
            self._forget_deadline()

    def _body_ends(self) -> None:
        self._in_body = self._body_came = False
        if self._deadline is not None:
            self._forget_deadline()

    def send_400_response(self, msg: str) -> None:
        if not self.transport.is_closing():
            super().send_400_response(msg)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._write_deadline is None:
            self._write_deadline = self.loop.call_later(WRITE_DEADLINE_S, self.transport.abort)

    def resume_writing(self) -> None:
        self._forget_write_deadline()
        super().resume_writing()

    def _unsupported_upgrade_warning(self) -> None:
        """Strangers ask for upgrades all day; the request is answered as it is."""

    def _too_slow(self) -> None:
        self._deadline = None
        answered = self.cycle is not None and self.cycle.response_complete
        if self._in_body and not answered and (self.flow.read_paused or self._body_bytes >= BODY_BYTES_MIN):
            self._body_bytes = 0  # a long one, which moves; or it is we who keep it waiting
            self._deadline = self.loop.call_later(BODY_DEADLINE_S, self._too_slow)
        else:
            self._refuse(b"408 Request Timeout")

    def _refuse(self, status: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._others_wait():
            self.transport.abort()  # an answer would be taken for one that they get, or for a part of it
            return
        self.transport.write(b"HTTP/1.1 " + status + b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        self.transport.close()

    def _others_wait(self) -> bool:
        """Whether something else is being said on the connection than the answer to the request that is coming in."""
        return self.cycle is not None and (
            not self.cycle.response_complete
            if self._in_head
            else self.cycle.response_complete or bool(self.pipeline) or self.cycle.response_started
        )

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _forget_write_deadline(self) -> None:
        if self._write_deadline is not None:
            self._write_deadline.cancel()
            self._write_deadline = None
