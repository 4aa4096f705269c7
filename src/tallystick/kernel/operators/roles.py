"""Who may do what: the roles of operators, and how a service says which route is for whom (RULES §12). Pure.

    support      looks into what hangs, redrives what did not arrive
    finance      settlement, cases, outcomes that a person must decide
    fulfilment   what the shop must be told before it ships
    auditor      reads everything, changes nothing
    admin        everything

Each service has one table, `access.py`, from route to roles. What does not stand there is for nobody.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """What an operator is there for. A key and a person each have one."""

    SUPPORT = "support"
    FINANCE = "finance"
    FULFILMENT = "fulfilment"
    AUDITOR = "auditor"
    ADMIN = "admin"


Roles = frozenset[Role]
Access = Mapping[str, Roles]
"""Which roles a route is for: by "METHOD /path/{parameter}"."""

EVERYBODY: Final[Roles] = frozenset(Role)


def roles(*others: Role) -> Roles:
    """These and the administrators."""
    return frozenset((*others, Role.ADMIN))


def readers(*others: Role) -> Roles:
    """These, the auditors and the administrators."""
    return roles(*others, Role.AUDITOR)


def roles_of(text: str) -> Roles:
    """The roles that a setting names, separated by commas. Raises ValueError for what is none."""
    names = [name for name in text.split(",") if name]
    if unknown := [name for name in names if name not in set(Role)]:
        raise ValueError(f"there is no role {', '.join(unknown)}; there are {', '.join(Role)}")
    return frozenset(map(Role, names))


def route(method: str, path: str) -> str:
    """A route as the tables write it."""
    return f"{method} {path.rstrip('/') or '/'}"


def may(access: Access, asked: str, role: Role) -> bool:
    """Whether a role may use a route."""
    return role in access.get(asked, frozenset())
