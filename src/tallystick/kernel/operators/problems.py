"""What the operator API answers when it does not do what was asked, beside what every API does.

Problem               kernel/problems.py, with what is wrong with a request's form
  Unauthenticated     401  no operator key that lives
  NotAllowed          403  not with this role
  NotFound            404  no such thing
  Conflict            409  not as things stand
    UnderWay          409  the same is being done right now
  TooMany             429  keys that open nothing come too quickly
  Internal            500  a fault of ours, with a reference for the logs
  DatabaseDown        503  nothing was executed
  Unavailable         503  whoever must be asked does not answer
"""

from typing import ClassVar

from tallystick.kernel.problems import Problem


class Unauthenticated(Problem):
    """No operator key that lives."""

    status, code, title = 401, "unauthenticated", "An operator key is needed"
    default_detail = "Send one header Authorization: Bearer opk_… with a key that has not been revoked."
    default_headers: ClassVar = {"WWW-Authenticate": "Bearer"}


class NotAllowed(Problem):
    """Another role is needed."""

    status, code, title = 403, "not_allowed", "This operator's role does not allow that"
    default_detail = "Ask somebody whose role allows it; the table of roles is in docs/access.md."


class NotFound(Problem):
    """No such thing."""

    status, code, title = 404, "not_found", "There is no such thing here"
    default_detail = "Check the address and the id."


class Conflict(Problem):
    """It cannot be done as things stand."""

    status, code, title = 409, "conflict", "That cannot be done as things stand"


class UnderWay(Conflict):
    """Somebody sent the same a moment ago, and it is being done."""

    default_detail = "The same is being done right now: look what comes of it."


class TooMany(Problem):
    """Keys that open nothing come too quickly from one address."""

    status, code, title = 429, "too_many", "Too many keys that open nothing came from this address"
    default_detail = "Wait as long as Retry-After says."


class Internal(Problem):
    """A fault of ours, with a reference for the logs."""

    default_detail = "The fault was logged under the reference."


class DatabaseDown(Problem):
    """The database is away; nothing was executed."""

    status, code, title = 503, "database_unavailable", "The database cannot be reached"
    default_detail = "Repeat the call in a moment."
    default_headers: ClassVar = {"Retry-After": "2"}


class Unavailable(Problem):
    """Whoever must be asked does not answer. `detail` says whether something may have been done."""

    status, code, title = 503, "unavailable", "That cannot be done right now"
    default_detail = "Repeat the call in a moment; under the same key nothing is done twice."
    default_headers: ClassVar = {"Retry-After": "2"}
