"""The server's HTTP protocol with a short way for the usual requests of a hot path (kernel/service.Direct).

For each request uvicorn makes a scope, an event, a cycle and a task, and the application sends it two messages: more
work than taking in a webhook is. So a request of the usual kind is handed over at once: a POST below the hot path's
prefix, alone on its connection, whose body came together with its head. Whatever is not so (a body that is still on its
way, `Expect`, requests behind one another, a last request, a write buffer that is full) goes uvicorn's way, and so
does what `Direct.begin` does not want: limits, deadlines and refusals stand in one place, there.
"""

from functools import lru_cache
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from tallystick.cli.http_protocol import LimitedProtocol
from tallystick.kernel.service import Answer, Direct

ANSWERS_ENCODED_MAX: Final = 64  # a hot path has a handful of answers, the same every time


class DirectProtocol(LimitedProtocol):
    """uvicorn's protocol, with limits, and with the short way."""

    def __init__(self, *arguments: Any, direct: Direct, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._direct = direct
        self._held = False  # a head of the usual kind has come, and its body is being read
        self._parts: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._held and not self.transport.is_closing():  # the rest of the body comes later
            self._go_uvicorns_way()

    def on_message_begin(self) -> None:
        # As uvicorn begins, but for the scope: that is made once it is wanted.
        self._head_begins()
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        self._head_ends()
        if self._usual():
            self._held = True
            self._parts = []
        else:
            self._begin_cycle()

    def on_body(self, body: bytes) -> None:
        if self._held:
            self._body_came = True
            self._parts.append(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._held:
            super().on_message_complete()
            return
        self._body_ends()
        name = self.url[len(self._direct.path_prefix) :].decode("latin-1")
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        call = DirectCall(self)
        if self._direct.begin(name, self.headers, body, call.answer):
            self._held = False
            self.cycle = call  # type: ignore[assignment]
        else:
            self._go_uvicorns_way()
            super().on_message_complete()

    def _usual(self) -> bool:
        parser = self.parser
        return (
            self.url.startswith(self._direct.path_prefix)
            and parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not parser.should_upgrade()
            and not self.expect_100_continue
            and not self.flow.write_paused
            and (self.cycle is None or self.cycle.response_complete)
        )

    def _go_uvicorns_way(self) -> None:
        """Hand over what was held."""
        self._held = False
        self._begin_cycle()
        for part in self._parts:
            HttpToolsProtocol.on_body(self, part)

    def _begin_cycle(self) -> None:
        url, headers, expect_100_continue = self.url, self.headers, self.expect_100_continue
        HttpToolsProtocol.on_message_begin(self)
        self.url, self.expect_100_continue = url, expect_100_continue
        self.headers.extend(headers)
        HttpToolsProtocol.on_headers_complete(self)


class _NobodyWaits:
    """What uvicorn tells a cycle's application by; ours is not waiting."""

    def set(self) -> None:
        pass


class DirectCall:
    """A request on the short way. To uvicorn, which closes connections and starts the next request, it is a cycle."""

    __slots__ = ("_protocol", "disconnected", "keep_alive", "response_complete")

    message_event = _NobodyWaits()
    body = b""
    more_body = False

    def __init__(self, protocol: DirectProtocol) -> None:
        self._protocol = protocol
        self.disconnected = False  # set by uvicorn when the connection is lost
        self.keep_alive = True  # False once the server is to end
        self.response_complete = False

    def answer(self, answer: Answer) -> None:
        """Send the answer; nothing where nobody is there any more."""
        assert not self.response_complete, "a request is answered once"
        self.response_complete = True
        protocol = self._protocol
        transport = protocol.transport
        if self.disconnected or transport.is_closing():
            return
        head, rest = _encoded(answer)
        defaults = b"".join([b"%b: %b\r\n" % header for header in protocol.server_state.default_headers])
        closing = b"" if self.keep_alive else b"connection: close\r\n"
        transport.write(b"%b%b%b%b" % (head, defaults, closing, rest))
        if not self.keep_alive:
            transport.close()
        protocol.on_response_complete()


@lru_cache(maxsize=ANSWERS_ENCODED_MAX)
def _encoded(answer: Answer) -> tuple[bytes, bytes]:
    """The status line; headers and body."""
    headers = b"".join([b"%b: %b\r\n" % header for header in answer.headers])
    return STATUS_LINE[answer.status], headers + b"\r\n" + answer.body
