"""How commands fail: the errors of their own, and which exit code an expected error of a room below has.

Exit codes: 0 done, 1 it did not work (and may another time), 2 what was asked cannot be (settings, arguments), 130
stopped by Ctrl-C.
"""

DID_NOT_WORK = 1
CANNOT_BE = 2
STOPPED = 130

NO_PRIVILEGE = "42501"  # SQLSTATE insufficient_privilege


class CommandFailed(Exception):
    """A command did not work; the text says what happened and what to do."""


class CommandRefused(Exception):
    """What was asked of a command cannot be; the text says why and what to do."""


def explain(error: Exception) -> tuple[int, str] | None:
    """Exit code and sentence of an expected failure; None for one that is a fault of ours."""
    # Imported here: a command that works needs none of them.
    from tallystick.cli.endpoints import EndpointNotCreated
    from tallystick.cli.service_api import ServiceApiError
    from tallystick.cli.serving import CannotListen, NotSecure
    from tallystick.cli.supervisor import NotStarted
    from tallystick.gateway.errors import GatewayError
    from tallystick.kernel.migrations import MigrationRefused
    from tallystick.kernel.operators.keys import OperatorRefused
    from tallystick.kernel.settings import SettingsRefused
    from tallystick.merchant.accounts.commands import AccountRefused as MerchantAccountRefused
    from tallystick.ports.database import DatabaseUnavailable, StatementRefused
    from tallystick.ports.postgres import PostgresError
    from tallystick.ports.secrets import SecretMissing
    from tallystick.ports.tls import CertificateRefused

    refused = (SettingsRefused, SecretMissing, GatewayError, MerchantAccountRefused, OperatorRefused)
    cannot_be = (CommandRefused, NotSecure, CertificateRefused, *refused)
    unheard = (ServiceApiError, EndpointNotCreated)
    did_not_work = (CommandFailed, CannotListen, NotStarted, MigrationRefused, PostgresError, *unheard)
    if isinstance(error, cannot_be):
        return CANNOT_BE, str(error)
    if isinstance(error, did_not_work):
        return DID_NOT_WORK, str(error)
    if isinstance(error, DatabaseUnavailable):
        return DID_NOT_WORK, "no database answers at the given DSN: is the server running, and does the database exist?"
    if isinstance(error, StatementRefused) and error.sqlstate == NO_PRIVILEGE:
        return (
            CANNOT_BE,
            "the role that the DSN names may not do this: docs/database-roles.md says which role does what",
        )
    return None
