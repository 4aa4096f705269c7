"""Running one service as one process: its HTTP side and its workers in one event loop.

Both sides end together. On SIGTERM or SIGINT the HTTP side stops taking connections and finishes what it has, then the
workers are cancelled (whatever they still had to do is a row with a due time, DESIGN §2.7). A worker that fails ends
the process with an error: what supervises it starts it anew. A certificate whose files have changed is taken up within
seconds, or at once on SIGHUP; open connections go on with the old one.
"""

import asyncio
import contextlib
import gc
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from functools import partial
from typing import Any

import structlog
import uvicorn
import uvloop
from msgspec import Struct

from tallystick.cli.direct_protocol import DirectProtocol
from tallystick.cli.http_protocol import LimitedProtocol
from tallystick.kernel.addresses import is_this_machine
from tallystick.kernel.service import Direct
from tallystick.ports.clock import SystemClock
from tallystick.ports.tls import LOOK_EVERY_S, CertificateRefused, ServedCertificate

BACKLOG_CONNECTIONS = 2048  # the kernel holds that many while the loop is busy; its own limit (somaxconn) may be less
KEEP_ALIVE_S = (
    75  # longer than the clients' own, so that they close idle connections and no request meets a closing one
)
GRACE_S = 8  # for open requests after SIGTERM; a supervisor kills after ten
STRICT_TRANSPORT_SECURITY = (b"strict-transport-security", b"max-age=63072000")  # two years
YOUNG_OBJECTS = 10_000  # made before Python looks for rings among them: a batch's worth; its own 700 is one request's


log = structlog.get_logger("tallystick.serving")

Worker = Callable[[], Awaitable[None]]
"""What runs by itself beside the HTTP side: works until it is cancelled."""


class CannotListen(Exception):
    """The address is taken, or not this machine's."""


class NotSecure(Exception):
    """The process would take card data or keys over plain HTTP from other machines. RULES §12."""


class Address(Struct, frozen=True):
    """Where a service listens, and the files of its certificate (both or none)."""

    host: str
    port: int
    tls_cert_file: str = ""
    tls_key_file: str = ""


def check_secure(address: Address) -> None:
    """Refuse plain HTTP on anything but loopback. Raises NotSecure."""
    if bool(address.tls_cert_file) != bool(address.tls_key_file):
        raise NotSecure("a certificate needs its key and a key its certificate: set both files or none")
    if not address.tls_cert_file and not is_this_machine(address.host):
        raise NotSecure(
            f"plain HTTP is served on loopback only, not on {address.host}: set the certificate's and the key's file, "
            "or listen on 127.0.0.1 behind a proxy on this machine that speaks TLS"
        )


class Site(Struct, frozen=True):
    """An application and where it listens."""

    application: Any
    address: Address


async def serve(
    application: Any,
    address: Address,
    workers: Sequence[Worker],
    *,
    direct: Direct | None = None,
    metrics: Site | None = None,
) -> None:
    """Serve `application`, and what `direct` takes past it, and run `workers` until SIGTERM or SIGINT.

    Raises NotSecure, CannotListen, CertificateRefused, and what a worker raises.
    """
    check_secure(address)
    certificate = ServedCertificate(address.tls_cert_file, address.tls_key_file) if address.tls_cert_file else None
    server = _Server(_config(application if certificate is None else strict(application), address, direct, certificate))
    with stopping_on_signals() as stop, _renewing(certificate) as renewals:
        logging.getLogger("uvicorn.error").setLevel(
            logging.ERROR
        )  # what it does is said here; strangers' nonsense is no news
        scheme = "https" if address.tls_cert_file else "http"
        settle_memory()
        log.info("serving", url=f"{scheme}://{address.host}:{address.port}", workers=len(workers))
        running = [asyncio.create_task(_run(worker)) for worker in (*workers, *renewals, *_of_metrics(metrics))]
        serving = asyncio.create_task(server.serve())
        await _first_of([*running, serving], stop)
        server.should_exit = True
        try:
            await serving
        finally:
            await _end(running)
            log.info("stopped")


async def work(workers: Sequence[Worker], *, metrics: Site | None = None) -> None:
    """Run `workers` alone until SIGTERM or SIGINT. Raises NotSecure, CannotListen, and what a worker raises."""
    with stopping_on_signals() as stop:
        running = [asyncio.create_task(_run(worker)) for worker in (*workers, *_of_metrics(metrics))]
        await _first_of(running, stop)
        await _end(running)


async def unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do `work`, and cancel it when `stop` is set. Gives whether it came to its end. Raises what it raises."""
    task = asyncio.create_task(work)
    await _first_of([task], stop)
    done = task.done()
    await _end([task])
    return done


@contextlib.contextmanager
def stopping_on_signals() -> Iterator[asyncio.Event]:
    """An event that SIGTERM and SIGINT set, instead of ending the process, while the block lasts."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


@contextlib.contextmanager
def _renewing(certificate: ServedCertificate | None) -> Iterator[list[Worker]]:
    """The worker that takes up a changed certificate, and SIGHUP that makes it look at once while the block lasts."""
    if certificate is None:
        yield []
        return
    look = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, look.set)
    try:
        yield [partial(_renew, certificate, look)]
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


async def _renew(certificate: ServedCertificate, look: asyncio.Event) -> None:
    while True:
        waiting = [asyncio.create_task(look.wait()), asyncio.create_task(SystemClock().sleep(LOOK_EVERY_S))]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        look.clear()
        try:
            if await asyncio.to_thread(certificate.take_up):
                log.info("certificate_taken_up")
        except CertificateRefused as refused:
            log.error("certificate_refused", why=str(refused), serving="the one before")


def strict(application: Any) -> Any:
    """`application` whose answers, every one, tell browsers to come back by HTTPS alone. RULES §9, §12."""
    name = STRICT_TRANSPORT_SECURITY[0]

    async def strictly(scope: Any, receive: Any, send: Any) -> None:
        async def told(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                if all(header[0].lower() != name for header in headers):
                    message = {**message, "headers": [*headers, STRICT_TRANSPORT_SECURITY]}
            await send(message)

        await application(scope, receive, told)

    return strictly


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on uvloop."""
    uvloop.run(main)


def settle_memory() -> None:
    """Modules and wiring, some 100,000 objects, stay to the end: Python need not look through them for garbage again
    and again. A tenth of the CPU under load."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)


def _of_metrics(metrics: Site | None) -> list[Worker]:
    """What serves the metrics, where there are any to be served."""
    if metrics is None:
        return []
    address = metrics.address
    check_secure(address)
    if not address.tls_cert_file:
        return [_Server(_config(metrics.application, address, None, None)).serve]
    certificate = ServedCertificate(address.tls_cert_file, address.tls_key_file)
    server = _Server(_config(strict(metrics.application), address, None, certificate))
    return [server.serve, partial(_renew, certificate, asyncio.Event())]


class _Server(uvicorn.Server):
    """Leaves the signals to us: uvicorn would send them on to the process once more when it has ended."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit:  # how uvicorn says that it cannot listen
            address = f"{self.config.host}:{self.config.port}"
            raise CannotListen(
                f"{address} cannot be listened on: another process does, or it is not this machine's"
            ) from None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def http_protocol(direct: Direct | None) -> Any:
    """The HTTP protocol as uvicorn takes it."""
    return LimitedProtocol if direct is None else partial(DirectProtocol, direct=direct)


def _config(
    application: Any, address: Address, direct: Direct | None, certificate: ServedCertificate | None
) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        host=address.host,
        port=address.port,
        ssl_context_factory=(lambda *_: certificate.context) if certificate is not None else None,
        loop="none",
        http=http_protocol(direct),
        ws="none",
        lifespan="auto",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        backlog=BACKLOG_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )


async def _run(worker: Worker) -> None:
    await worker()


async def _first_of(tasks: Sequence["asyncio.Task[None]"], stop: asyncio.Event) -> None:
    """Return when one of the tasks has ended or `stop` is set."""
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()


async def _end(tasks: Sequence["asyncio.Task[None]"]) -> None:
    """Cancel what still runs; raise the first error of what ended by itself."""
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            raise result
