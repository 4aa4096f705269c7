"""A one-machine installation: the database where none is given, gateway and merchant service, kept running."""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import typer

from tallystick.cli.customers import SERVICES, keys_in
from tallystick.cli.failures import CommandRefused
from tallystick.cli.postgres import DSN_VARIABLES, Dsns, KeptPostgres, migrate_all, outdated, without_owners
from tallystick.cli.serving import stopping_on_signals, unless_stopped
from tallystick.cli.supervisor import Program, Supervisor
from tallystick.gateway.settings import Settings as GatewaySettings
from tallystick.gateway.settings import read as read_gateway
from tallystick.merchant.settings import Settings as MerchantSettings
from tallystick.merchant.settings import read as read_merchant
from tallystick.ports.aiohttp_http import AiohttpClient
from tallystick.ports.alerts import AppriseAlerts, TargetInvalid
from tallystick.ports.clock import SystemClock

PII_SETTINGS = {name: f"TALLYSTICK_{name.upper()}_PII_" for name in SERVICES}

METRICS_PORTS = {"TALLYSTICK_GATEWAY_METRICS_PORT": "9410", "TALLYSTICK_MERCHANT_METRICS_PORT": "9420"}
"""Where Prometheus finds the metrics of a one-machine installation that says nothing else (monitoring/prometheus)."""


class Installation:
    """All processes of this machine. `run` them until SIGTERM or SIGINT; nothing is left running."""

    def __init__(self, data_dir: Path, dsns: Dsns | None) -> None:
        self._data_dir = data_dir
        self._dsns = dsns
        self._http = AiohttpClient()
        self._postgres = KeptPostgres(data_dir / "postgres", SystemClock(), say) if dsns is None else None
        self._alerts = AppriseAlerts()
        self._supervisor = Supervisor(clock=SystemClock(), http=self._http, say=say, alerts=self._alerts)

    async def run(self) -> None:
        """Raises what its parts raise when they do not start."""
        with stopping_on_signals() as stop:
            try:
                await unless_stopped(stop, self._keep_running(stop))
            finally:
                await self._supervisor.stop()
                await self._http.close()
                if self._postgres is not None:
                    await self._postgres.stop()

    async def _keep_running(self, stop: asyncio.Event) -> None:
        dsns = await self._database()
        programs, targets = _programs(dsns, self._keys())
        try:
            await self._alerts.retarget(targets)
        except TargetInvalid as invalid:
            raise CommandRefused(f"TALLYSTICK_…_ALERT_TARGETS: {invalid}") from None
        await self._supervisor.start(*programs)
        say("Gateway and merchant service are serving.")
        await stop.wait()

    async def _database(self) -> Dsns:
        if self._dsns is not None:
            if outdated(self._dsns):
                raise CommandRefused("the databases' schema is not up to date: run `tallystick database migrate`")
            return self._dsns
        assert self._postgres is not None, "given or our own"
        dsns = await self._postgres.start()
        migrate_all(dsns)
        say("PostgreSQL serves; for other commands:")
        for service, variable in DSN_VARIABLES.items():
            say(f"  export {variable}_FILE='{self._postgres.dsn_file(service)}'")
        return dsns

    def _keys(self) -> dict[str, str]:
        """Keys for personal data where the database is our own and none are named."""
        if self._postgres is None:
            return {}
        told = [name for name in SERVICES if any(each.startswith(PII_SETTINGS[name]) for each in os.environ)]
        return keys_in(self._data_dir / "keys", [name for name in SERVICES if name not in told])


def say(sentence: str) -> None:
    """Tell what happens to the processes, on stderr."""
    typer.echo(sentence, err=True)


def _programs(dsns: Dsns, keys: Mapping[str, str]) -> tuple[list[Program], str]:
    """What runs, and whom its settings want to be told."""
    environment = {
        **METRICS_PORTS,
        **without_owners(os.environ),
        **keys,
        **dsns.settings(),
    }
    settings: dict[str, GatewaySettings | MerchantSettings] = {
        "gateway": read_gateway(environment),
        "merchant": read_merchant(environment),
    }
    targets = {target for each in settings.values() for target in each.alert_targets.split()}
    programs = [
        Program(
            name,
            (sys.executable, "-m", "tallystick", name, "serve"),
            environment,
            # A certificate is for the name that others know, not for this machine's loopback: then it is not asked.
            None if each.tls_cert_file else f"http://{each.host}:{each.port}/readyz",
        )
        for name, each in settings.items()
    ]
    return programs, " ".join(sorted(targets))
