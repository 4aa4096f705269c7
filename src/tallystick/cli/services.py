"""The processes of an installation: settings out of the environment, ports opened, the service built, served.

A process imports the code of its own service only.
"""

import asyncio
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import structlog

from tallystick.cli.serving import Address, Site, Worker, check_secure, is_loopback, serve, work
from tallystick.kernel.database_address import is_verified
from tallystick.kernel.service import Service
from tallystick.kernel.vault import ServiceSecrets, opened_secrets
from tallystick.ports.clock import SystemClock
from tallystick.ports.postgres_roles import may_change_tables
from tallystick.ports.telemetry import configure_logging

if TYPE_CHECKING:
    from tallystick.gateway.settings import Settings as GatewaySettings
    from tallystick.merchant.settings import Settings as MerchantSettings

log = structlog.get_logger("tallystick.services")


async def serve_gateway(environ: Mapping[str, str], *, workers_alone: bool) -> None:
    """Run the gateway until SIGTERM or SIGINT. Raises SettingsRefused, NotSecure, CannotListen, DatabaseUnavailable."""
    from tallystick.gateway import settings as configuration

    configure_logging("gateway", SystemClock())  # Vault may have to be waited for
    async with opened_secrets(configuration.PREFIX, environ) as secrets:
        settings = configuration.read(environ, await secrets.of_settings(configuration.Settings))
        await _serve_gateway(settings, secrets, workers_alone)


async def _serve_gateway(settings: "GatewaySettings", secrets: ServiceSecrets, workers_alone: bool) -> None:
    address = Address(settings.host, settings.port, settings.tls_cert_file, settings.tls_key_file)
    check_secure(address)
    from tallystick.gateway import app  # much code: what cannot start is told before it is read

    ports = await app.open_ports(settings, secrets)
    configure_logging("gateway", ports.clock, level=settings.log_level)
    await _tell_what_is_weak(settings.database_dsn)
    try:
        service = app.build(settings, ports)
        workers, metrics = _beside(service, secrets, settings, workers_alone)
        if workers_alone:
            await work(workers, metrics=metrics)
        else:
            await serve(service.asgi, address, workers, metrics=metrics)
    finally:
        await ports.close()


async def serve_merchant(environ: Mapping[str, str], *, workers_alone: bool) -> None:
    """Run the merchant service until SIGTERM or SIGINT. Raises as `serve_gateway`."""
    from tallystick.merchant import settings as configuration

    configure_logging("merchant", SystemClock())  # Vault may have to be waited for
    async with opened_secrets(configuration.PREFIX, environ) as secrets:
        settings = configuration.read(environ, await secrets.of_settings(configuration.Settings))
        await _serve_merchant(settings, secrets, workers_alone)


async def _serve_merchant(settings: "MerchantSettings", secrets: ServiceSecrets, workers_alone: bool) -> None:
    address = Address(settings.host, settings.port, settings.tls_cert_file, settings.tls_key_file)
    check_secure(address)
    from tallystick.merchant import app

    ports = await app.open_ports(settings, secrets)
    configure_logging("merchant", ports.clock, level=settings.log_level)
    await _tell_what_is_weak(settings.database_dsn)
    try:
        service = app.build(settings, ports)
        workers, metrics = _beside(service, secrets, settings, workers_alone)
        if workers_alone:
            await work(workers, metrics=metrics)
        else:
            await serve(service.asgi, address, workers, direct=service.direct, metrics=metrics)
    finally:
        await ports.close()


async def _tell_what_is_weak(dsn: str) -> None:
    """One role for everything, or a database that is not verified: it works, and is told what it lacks. RULES §12."""
    if not is_verified(dsn):
        log.warning("database_not_verified", why="sslmode is weaker than verify-full", see="docs/tls.md")
    if await asyncio.to_thread(may_change_tables, dsn):
        log.warning("database_role_too_powerful", why="it may change and drop tables", see="docs/database-roles.md")


class _Watching(Protocol):
    """The settings that both services have for being seen."""

    @property
    def port(self) -> int: ...

    @property
    def metrics_host(self) -> str: ...
    @property
    def metrics_port(self) -> int: ...
    @property
    def tls_cert_file(self) -> str: ...
    @property
    def tls_key_file(self) -> str: ...


def _beside(
    service: Service, secrets: ServiceSecrets, settings: _Watching, workers_alone: bool
) -> tuple[list[Worker], Site | None]:
    """What a process runs beside its HTTP side, and where it shows its metrics."""
    workers: list[Worker] = [worker.run for worker in (*secrets.workers, *service.workers)]
    if service.watched is None:
        return workers, None
    workers.append(service.watched.heartbeat.run)
    if service.watched.watch is not None:
        workers.append(service.watched.watch(_name_of_process(settings, workers_alone)).run)
    if not settings.metrics_port:
        return workers, None
    loopback = is_loopback(settings.metrics_host)
    files = ("", "") if loopback else (settings.tls_cert_file, settings.tls_key_file)
    return workers, Site(service.watched.metrics, Address(settings.metrics_host, settings.metrics_port, *files))


def _name_of_process(settings: _Watching, workers_alone: bool) -> str:
    """Under which a process is missed when it dies, and taken for the same when it is started again. Those on one
    machine that run workers alone are told apart by the port of their metrics."""
    place = settings.metrics_port if workers_alone else settings.port
    return f"{'work' if workers_alone else 'serve'} on {os.uname().nodename}:{place}"
