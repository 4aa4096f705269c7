"""`tallystick explain ID`: what happened to a payment, told by both services as one story (RULES §13)."""

from collections.abc import Mapping
from typing import Annotated, Any, Final
from urllib.parse import quote, urlencode

import typer

from tallystick.cli.failures import CommandFailed
from tallystick.cli.running import NOUNS, DataDir, ask_all
from tallystick.cli.service_api import ApiRefused, ApiUnreachable, ServiceApi
from tallystick.cli.showing import AsJson, show
from tallystick.cli.story import Part, Story, lines

PATH: Final = "/operator/v1/timelines"
PAGE_ROWS: Final = 500
PAGES_MAX: Final = 20  # of one payment: ten thousand entries, more than anybody reads
PAYMENTS_MAX: Final = 20  # of one order: its newest attempts
COLOURS: Final = {"good": "green", "bad": "red", "waiting": "yellow", "soft": "bright_black"}


def explain(
    id: Annotated[
        str,
        typer.Argument(
            help="Of an order, payment intent, checkout session, charge, refund, dispute, event, request to the bank "
            "(acr_…) or case of the merchant service."
        ),
    ],
    data_dir: DataDir = None,
    long: Annotated[bool, typer.Option("--long", help="With all ids, and lines that say little.")] = False,
    as_json: AsJson = False,
) -> None:
    """Explain a payment: what happened, who said so, when, how long it took, and what is next.

    Asks both services, at TALLYSTICK_GATEWAY_URL with the operator's key TALLYSTICK_GATEWAY_OPERATOR_KEY (or its _FILE)
    and the merchant's likewise, and tells what it learns as one story. A half that cannot be asked is named as missing.
    Needs the role support, finance, auditor or admin.
    """
    told, unknown = ask_all(data_dir, lambda apis: _Asking(id, apis).story())
    missing = {**unknown, **told.missing}
    story = Story(told.asked, told.parts, missing)
    if not story.parts:
        _refuse(id, missing)
    if as_json:
        show(True, story.as_json())
        return
    for line, tone in lines(story, long=long):
        typer.secho(line, fg=COLOURS.get(tone), bold=tone == "head")


def _refuse(id: str, missing: Mapping[str, str]) -> None:
    if len(missing) == len(NOUNS):
        raise CommandFailed(
            "neither half can be read. " + ". ".join(f"The {half}'s: {why}" for half, why in missing.items())
        )
    asked = " and ".join(noun for half, noun in NOUNS.items() if half not in missing)
    lacking = "".join(f"; the {half}'s half could not be asked: {why}" for half, why in missing.items())
    raise CommandFailed(
        f"{asked} know nothing of {id}: is it whole, and of this installation? (`tallystick order show`, "
        f"`tallystick gateway dead-letters list` and the consoles show ids){lacking}"
    )


class _Asking:
    """Asks both services about one id. What one half knows of the other's ids leads on."""

    def __init__(self, id: str, apis: Mapping[str, ServiceApi]) -> None:
        self._id = id
        self._apis = apis
        self._missing: dict[str, str] = {}
        self._parts: dict[str, Part] = {}

    async def story(self) -> Story:
        """What is known. The order leads to all payments that were begun for it."""
        first = await self._read("merchant", [self._id])
        if first is None:
            payment = await self._read("gateway", [self._id])
            first = await self._read("merchant", payment.timeline["ids"]) if payment is not None else None
        if first is not None:
            known = [id for id in first.timeline["ids"] if id != first.timeline["id"]]
            for id in reversed(known[: 2 * PAYMENTS_MAX]):
                if not any(id in part.timeline["ids"] for part in self._parts.values() if part is not first):
                    await self._read("gateway", [id])
        told = {key.partition(" ")[0] for key in self._parts}
        if told:
            for half in self._apis.keys() - told - self._missing.keys():
                self._missing[half] = f"{NOUNS[half]} knows nothing of it"
        return Story(self._id, tuple(self._parts.values()), self._missing)

    async def _read(self, half: str, ids: list[str]) -> Part | None:
        """The timeline of the first of these ids that a half knows."""
        api = self._apis.get(half)
        for id in ids:
            if api is None or half in self._missing:
                return None
            try:
                part = await self._pages(api, id)
            except ApiUnreachable as error:
                self._missing[half] = str(error)
            except ApiRefused as error:
                if error.status != 404:
                    self._missing[half] = f"{NOUNS[half]} refuses: {error}"
            else:
                return self._parts.setdefault(f"{half} {part.timeline['id']}", part)
        return None

    async def _pages(self, api: ServiceApi, id: str) -> Part:
        entries: list[dict[str, Any]] = []
        query: dict[str, Any] = {"limit": PAGE_ROWS}
        timeline: dict[str, Any] = {}
        for _ in range(PAGES_MAX):
            page = await api.ask("GET", f"{PATH}/{quote(id, safe='')}?{urlencode(query)}")
            timeline = timeline or page
            entries += page["entries"]
            if page["next_cursor"] is None:
                return Part(timeline, entries, True)
            query["cursor"] = page["next_cursor"]
        return Part(timeline, entries, False)
