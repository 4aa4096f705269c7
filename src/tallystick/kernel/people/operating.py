"""What both services answer operators of personal data: the access log, and why something is not answered."""

from typing import Annotated, Final

from litestar import Response
from msgspec import Meta, Struct

from tallystick.kernel.operators.api import Call, answer
from tallystick.kernel.people.access import Access, AccessDenied, Asker, LogLine
from tallystick.kernel.people.tables import Owner
from tallystick.kernel.problems import Problem

PAGE_ROWS_MAX: Final = 100

# A word, so that nobody writes personal data into the access log.
Purpose = Annotated[
    str,
    Meta(
        pattern="^[a-z_]{0,40}$",
        description="What for: support, delivery, invoice or data_request, as the policy knows them.",
    ),
]


class NotGranted(Problem):
    """The policy does not grant it."""

    status, code, title = 403, "access_denied", "This is not granted"
    default_detail = "Your role, the purpose and the fields are what it goes by. What is denied is in the access log."


class AccessesQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """A page of the access log."""

    purpose: Purpose = ""
    customer: Annotated[str, Meta(pattern="^cus_[0-9A-Za-z]{25}$")] | None = None
    limit: Annotated[int, Meta(ge=1, le=PAGE_ROWS_MAX)] = PAGE_ROWS_MAX
    cursor: Annotated[str, Meta(pattern="^acc_[0-9A-Za-z]{25}$")] | None = None


class AccessPage(Struct, frozen=True):
    """The access log, the newest first."""

    data: tuple[LogLine, ...]
    next_cursor: str | None = None


def asker_of(request: Call) -> Asker:
    """Who calls, as the policy knows it."""
    return Asker("operator", request.auth.name, request.auth.role)


async def accesses(access: Access, request: Call, owner: Owner, wanted: AccessesQuery) -> Response[bytes]:
    """The page of the access log that an operator asks for. Raises NotGranted."""
    try:
        lines = await access.log(
            asker_of(request), wanted.purpose, owner, wanted.customer, before=wanted.cursor, limit=wanted.limit + 1
        )
    except AccessDenied:
        raise NotGranted from None
    data = tuple(lines[: wanted.limit])
    return answer(AccessPage(data, data[-1].id if len(lines) > wanted.limit else None))
