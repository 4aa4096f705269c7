"""The alert port: tells people that something needs them, by mail, Slack, PagerDuty or whatever else apprise speaks.

A target is one of apprise's addresses (`mailtos://…`, `slack://…`, `pagerduty://…`); it holds credentials and is never
logged. apprise blocks, so it works in a thread, where it bounds its own connections; we bound the whole.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final, Protocol

log = logging.getLogger(__name__)

DEADLINE_S: Final = 30.0
"""For all targets together, which are told side by side."""


class Alerts(Protocol):
    """Tells people."""

    async def tell(self, title: str, text: str) -> bool:
        """Send an alert to every target. Gives whether all have it; it may be told again where not."""
        ...


class LastingAlerts(Alerts, Protocol):
    """Tells people of what lasts, and that it is over."""

    async def tell_over(self, title: str, text: str) -> bool:
        """What was told under this title is over: a target that keeps incidents closes it."""
        ...


class TargetInvalid(ValueError):
    """An address that apprise cannot read, or that would carry alerts unprotected. The text does not show it."""


class AppriseAlerts:
    """Alerts to the targets of the configuration; without any, all of them have it at once."""

    def __init__(self, targets: Sequence[str] = ()) -> None:
        self._targets = _targets(targets)

    async def retarget(self, targets: str) -> None:
        """Tell others from now on: addresses separated by spaces. Raises TargetInvalid, and then nothing changes."""
        self._targets = _targets(targets.split())

    async def tell(self, title: str, text: str) -> bool:
        """Raises nothing: what went wrong is logged, without the target."""
        return await self._tell(title, text, "failure")

    async def tell_over(self, title: str, text: str) -> bool:
        """Raises nothing, as `tell`."""
        return await self._tell(title, text, "success")

    async def _tell(self, title: str, text: str, kind: str) -> bool:
        if self._targets is None:
            return True
        try:
            async with asyncio.timeout(DEADLINE_S):
                return bool(await asyncio.to_thread(self._notify, title, text, kind))
        except Exception as error:
            log.warning("an alert could not be sent: %s", type(error).__name__)
            return False

    def _notify(self, title: str, text: str, kind: str) -> Any:
        return self._targets.notify(title=title, body=text, notify_type=kind)


def _targets(addresses: Sequence[str]) -> Any:
    if not addresses:
        return None
    import apprise  # much code, which nobody loads who has nobody to tell

    found = apprise.Apprise()
    for place, address in enumerate(addresses, start=1):
        if not found.add(address):
            raise TargetInvalid(f"alert target {place} is no address that apprise can read")
    for place, target in enumerate(found, start=1):
        if not _protected(target):
            raise TargetInvalid(
                f"alert target {place} is not encrypted, or its certificate is not to be verified: take the form "
                "with an s at its end (jsons://, mailtos://), without verify=no"
            )
    return found


def _protected(target: Any) -> bool:
    """Whether an alert goes there encrypted and to a verified peer, or stays on this machine. RULES §12."""
    if not target.verify_certificate:
        return False
    if target.secure_protocol is None or target.host in _LOOPBACK:  # syslog, a desktop's notifications
        return True
    has_a_plain_form = target.protocol is not None
    return (target.secure or not has_a_plain_form) and getattr(target, "secure_mode", "") != "insecure"


_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
