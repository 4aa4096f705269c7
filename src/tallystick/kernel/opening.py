"""Ports that both services open alike: databases and alerts, whose addresses are secrets that may be rotated."""

from tallystick.kernel.service_secrets import ServiceSecrets
from tallystick.kernel.service_settings import ServiceSettings
from tallystick.ports.alerts import AppriseAlerts, TargetInvalid
from tallystick.ports.asyncpg_database import open_database
from tallystick.ports.database import Database


async def opened_database(secrets: ServiceSecrets, field: str, dsn: str, *, connections_max: int) -> Database:
    """The database that the setting `field` names. Raises DatabaseUnavailable."""
    live = secrets.live(field, dsn)
    database = await open_database(live, connections_max=connections_max)
    secrets.watch(live, lambda _: database.renew())
    return database


def opened_alerts(settings: ServiceSettings, secrets: ServiceSecrets) -> AppriseAlerts:
    """Who is told of alerts. Raises SettingsRefused."""
    try:
        alerts = AppriseAlerts(settings.alert_targets.split())
    except TargetInvalid as invalid:
        raise settings.refused("alert_targets", str(invalid)) from None
    secrets.watch(secrets.live("alert_targets", settings.alert_targets), alerts.retarget)
    return alerts
