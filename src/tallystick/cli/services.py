"""The processes of an installation: settings out of the environment, ports opened, the service built, served.

A process imports the code of its own service only.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol, TypeVar

import structlog

from tallystick.cli.serving import Address, Site, Worker, check_secure, serve, work
from tallystick.kernel.addresses import is_this_machine
from tallystick.kernel.database_address import is_verified
from tallystick.kernel.service import Service
from tallystick.kernel.service_secrets import ServiceSecrets
from tallystick.kernel.service_settings import ServiceSettings
from tallystick.kernel.vault import opened_secrets
from tallystick.ports.clock import Clock, SystemClock
from tallystick.ports.postgres_roles import may_change_tables
from tallystick.ports.telemetry import configure_logging

Settings = TypeVar("Settings", bound=ServiceSettings)

log = structlog.get_logger("tallystick.services")


class _Ports(Protocol):
    """What is asked here of either service's ports."""

    @property
    def clock(self) -> Clock: ...
    async def close(self) -> None: ...


async def serve_gateway(environ: Mapping[str, str], *, workers_alone: bool) -> None:
    """Run the gateway until SIGTERM or SIGINT. Raises SettingsRefused, NotSecure, CannotListen, DatabaseUnavailable."""
    from tallystick.gateway.settings import Settings, read

    async with _configured("gateway", Settings, read, environ) as (settings, secrets):
        from tallystick.gateway import app  # much code: what cannot start is told before it is read

        ports = await app.open_ports(settings, secrets)
        await _run("gateway", partial(app.build, settings, ports), ports, settings, secrets, workers_alone)


async def serve_merchant(environ: Mapping[str, str], *, workers_alone: bool) -> None:
    """Run the merchant service until SIGTERM or SIGINT. Raises as `serve_gateway`."""
    from tallystick.merchant.settings import Settings, read

    async with _configured("merchant", Settings, read, environ) as (settings, secrets):
        from tallystick.merchant import app

        ports = await app.open_ports(settings, secrets)
        await _run("merchant", partial(app.build, settings, ports), ports, settings, secrets, workers_alone)


@asynccontextmanager
async def _configured(
    service: str,
    kind: type[Settings],
    read: Callable[[Mapping[str, str], Mapping[str, str]], Settings],
    environ: Mapping[str, str],
) -> AsyncIterator[tuple[Settings, ServiceSecrets]]:
    """The settings of a service that may start, and where its secrets come from."""
    configure_logging(service, SystemClock())  # Vault may have to be waited for
    async with opened_secrets(kind.prefix, environ) as secrets:
        settings = read(environ, await secrets.of_settings(kind))
        check_secure(_address(settings))
        yield settings, secrets


async def _run(
    service: str,
    build: Callable[[], Service],
    ports: _Ports,
    settings: ServiceSettings,
    secrets: ServiceSecrets,
    workers_alone: bool,
) -> None:
    configure_logging(service, ports.clock, level=settings.log_level)
    await _tell_what_is_weak(settings.database_dsn)
    try:
        built = build()
        workers, metrics = _beside(built, secrets, settings, workers_alone)
        if workers_alone:
            await work(workers, metrics=metrics)
        else:
            await serve(built.asgi, _address(settings), workers, direct=built.direct, metrics=metrics)
    finally:
        await ports.close()


def _address(settings: ServiceSettings) -> Address:
    return Address(settings.host, settings.port, settings.tls_cert_file, settings.tls_key_file)


async def _tell_what_is_weak(dsn: str) -> None:
    """One role for everything, or a database that is not verified: it works, and is told what it lacks. RULES §12."""
    if not is_verified(dsn):
        log.warning("database_not_verified", why="sslmode is weaker than verify-full", see="docs/tls.md")
    if await asyncio.to_thread(may_change_tables, dsn):
        log.warning("database_role_too_powerful", why="it may change and drop tables", see="docs/database-roles.md")


def _beside(
    service: Service, secrets: ServiceSecrets, settings: ServiceSettings, workers_alone: bool
) -> tuple[list[Worker], Site | None]:
    """What a process runs beside its HTTP side, and where it shows its metrics."""
    workers: list[Worker] = [worker.run for worker in (*secrets.workers, *service.workers)]
    if service.watched is None:
        return workers, None
    workers.append(service.watched.heartbeat(_kind(workers_alone)).run)
    if service.watched.watch is not None:
        workers.append(service.watched.watch(_name_of_process(settings, workers_alone)).run)
    if not settings.metrics_port:
        return workers, None
    loopback = is_this_machine(settings.metrics_host)
    files = ("", "") if loopback else (settings.tls_cert_file, settings.tls_key_file)
    return workers, Site(service.watched.metrics, Address(settings.metrics_host, settings.metrics_port, *files))


def _kind(workers_alone: bool) -> str:
    return "work" if workers_alone else "serve"


def _name_of_process(settings: ServiceSettings, workers_alone: bool) -> str:
    """Under which a process is missed when it dies, and taken for the same when it is started again. Those on one
    machine that run workers alone are told apart by the port of their metrics."""
    place = settings.metrics_port if workers_alone else settings.port
    return f"{_kind(workers_alone)} on {os.uname().nodename}:{place}"
