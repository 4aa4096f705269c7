"""What the commands of access do in a service's database: keys of operators, people who log in, their roles."""

from tallystick.cli.opening import opened
from tallystick.kernel.logins import users
from tallystick.kernel.operators import keys
from tallystick.kernel.operators.roles import Role
from tallystick.ports.clock import SystemClock
from tallystick.ports.entropy import SystemEntropy


async def create_operator_key(dsn: str, name: str, role: Role) -> keys.NewOperatorKey:
    """A new operator key of the service whose database this is. Raises OperatorRefused, DatabaseUnavailable."""
    async with opened(dsn, "operators create", f"{name}, {role}") as database:
        return await keys.create_key(database, name, role=role, at=SystemClock().now(), entropy=SystemEntropy())


async def list_operator_keys(dsn: str) -> list[keys.ListedOperatorKey]:
    """Its operator keys, the oldest first. Raises DatabaseUnavailable."""
    async with opened(dsn) as database:
        return await keys.list_keys(database)


async def revoke_operator_key(dsn: str, key_id: str) -> None:
    """End the life of an operator key. Raises OperatorRefused, DatabaseUnavailable."""
    async with opened(dsn, "operators revoke", key_id) as database:
        await keys.revoke_key(database, key_id, at=SystemClock().now())


async def add_operator_user(dsn: str, name: str, role: Role, password: str) -> str:
    """A person who may log in to the pages of the service whose database this is. Raises OperatorRefused."""
    async with opened(dsn, "users add", f"{name}, {role}") as database:
        return await users.add_user(database, name, password, SystemClock(), SystemEntropy(), role=role)


async def list_operator_users(dsn: str) -> list[users.ListedUser]:
    """The people, by name. Raises DatabaseUnavailable."""
    async with opened(dsn) as database:
        return await users.list_users(database)


async def set_operator_role(dsn: str, name: str, role: Role) -> None:
    """A person may do something else from now on. Raises OperatorRefused, DatabaseUnavailable."""
    async with opened(dsn, "users role", f"{name}, {role}") as database:
        await users.set_role(database, name, role)


async def set_operator_password(dsn: str, name: str, password: str) -> None:
    """A person has another password. Raises OperatorRefused, DatabaseUnavailable."""
    async with opened(dsn, "users password", name) as database:
        await users.set_password(database, name, password, SystemEntropy())


async def reset_second_factor(dsn: str, name: str) -> None:
    """A person has lost the second factor. Raises OperatorRefused, DatabaseUnavailable."""
    async with opened(dsn, "users reset-totp", name) as database:
        await users.reset_second_factor(database, name)


async def disable_operator_user(dsn: str, name: str) -> None:
    """A person may log in no more. Raises OperatorRefused, DatabaseUnavailable."""
    async with opened(dsn, "users disable", name) as database:
        await users.disable_user(database, name, SystemClock())
