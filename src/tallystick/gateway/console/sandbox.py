"""The sandbox as a page: what it does wrong on purpose, and its time. Test money only (docs/faults.md)."""

from typing import Final

from msgspec import Struct

from tallystick.gateway.console.desk import Desk, id_in
from tallystick.gateway.faults.faults import KINDS, Faults
from tallystick.gateway.faults.operating import AddFault, checked
from tallystick.kernel.console.access import ROOT
from tallystick.kernel.console.console import BrowserRequest, Html
from tallystick.kernel.problems import Problem
from tallystick.kernel.sandbox.clock import SandboxTime
from tallystick.kernel.sandbox.operating import Advance

FAULTS: Final = f"{ROOT}/faults"
CLOCK: Final = f"{ROOT}/clock"
LISTED_MAX: Final = 100
REFRESH_S: Final = 2  # while the time is on its way


class SandboxPages(Struct, frozen=True):
    """What the routes do. `time` is None where it is nobody's to move."""

    desk: Desk
    faults: Faults
    time: SandboxTime | None

    async def show(self, request: BrowserRequest) -> Html:
        """The faults that are set, and where the time stands."""
        standing = await self.time.standing() if self.time is not None else None
        faults = await self.faults.all()
        return self.desk.page(
            "faults",
            request,
            "Sandbox",
            live=REFRESH_S if standing is not None and not standing.arrived else None,
            faults=faults[:LISTED_MAX],
            further=max(len(faults) - LISTED_MAX, 0),
            kinds=KINDS,
            standing=standing,
        )

    async def add(self, request: BrowserRequest) -> Html:
        """Set a fault."""
        try:
            new = checked(await self.desk.form(request, AddFault))
        except Problem as problem:
            return self.desk.refused(request, problem)
        await self.faults.add(new, request.auth.name)
        return self.desk.console.see_other(FAULTS)

    async def clear(self, request: BrowserRequest) -> Html:
        """Clear one fault."""
        id = id_in(request, "fault_id")
        if id is None or not await self.faults.clear(id):
            return self.desk.missing(request)
        return self.desk.console.see_other(FAULTS)

    async def clear_all(self, request: BrowserRequest) -> Html:
        """Clear all faults."""
        await self.faults.clear()
        return self.desk.console.see_other(FAULTS)

    async def advance(self, request: BrowserRequest) -> Html:
        """Move the time forward."""
        assert self.time is not None, "this route is there only where the time may be moved"
        try:
            wanted = await self.desk.form(request, Advance)
        except Problem as problem:
            return self.desk.refused(request, problem)
        await self.time.advance(wanted.advance_s)
        return self.desk.console.see_other(FAULTS)
