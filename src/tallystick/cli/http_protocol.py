"""The server's HTTP protocol with limits that uvicorn's own does not have with httptools: the size and age of a head.

A head is request line and headers. Without a limit one connection could hold as much memory as it likes, and any number
of connections could stay open without ever asking for anything. Bodies are limited where they are read.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES_MAX = 32 * 1024  # browsers with many cookies send 8; what is more than this is no request of ours
HEAD_DEADLINE_S = 20.0  # from the first byte (or from the connection) to the end of the head


class LimitedProtocol(HttpToolsProtocol):
    """Refuses a head that is too large (431) or does not end in time (408)."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._in_head = False
        self._head_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._deadline = self.loop.call_later(HEAD_DEADLINE_S, self._too_slow)

    def connection_lost(self, error: Exception | None) -> None:
        self._forget_deadline()
        super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:  # not the usual case: a head comes in one piece
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self._refuse(b"431 Request Header Fields Too Large")
            elif self._deadline is None:
                self._deadline = self.loop.call_later(HEAD_DEADLINE_S, self._too_slow)

    def on_message_begin(self) -> None:
        self._head_begins()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head_ends()
        super().on_headers_complete()

    def _head_begins(self) -> None:
        self._in_head = True
        self._head_bytes = 0

    def _head_ends(self) -> None:
        self._in_head = False
        if self._deadline is not None:
            self._forget_deadline()

    def _unsupported_upgrade_warning(self) -> None:
        """Strangers ask for upgrades all day; the request is answered as it is."""

    def _too_slow(self) -> None:
        self._deadline = None
        self._refuse(b"408 Request Timeout")

    def _refuse(self, status: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 " + status + b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            self.transport.close()

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
