"""`tallystick gateway endpoints health`, `tallystick merchant endpoints health`: how endpoints stand."""

from typing import Any
from urllib.parse import urlencode

from tallystick.cli.running import ask
from tallystick.cli.service_api import ServiceApi
from tallystick.cli.showing import show

PATH = "/operator/v1/endpoints"


def show_standings(service: str, endpoint: str | None, data_dir: Any, as_json: bool) -> None:
    """Ask `service` and print a line for every endpoint that is not well."""
    path = PATH if endpoint is None else f"{PATH}?{urlencode({'endpoint': endpoint})}"

    async def look(api: ServiceApi) -> dict[str, Any]:
        return await api.ask("GET", path)

    found = ask(service, data_dir, look)["data"]
    show(as_json, {"endpoints": found}, *([_line(each) for each in found] or ["All endpoints are well."]))


def _line(each: dict[str, Any]) -> str:
    words = [each["endpoint"], each["owner"], each["standing"]]
    words += [f"until {each['until'][:19]}"] if each["until"] else []
    words += [f"{each['at_once']} at once"] if each["at_once"] is not None else []
    words += [f"{each['failures']} failures in a row ({each['reason']})"] if each["failures"] else []
    return "  ".join([*words, f"{each['due']} due", f"{each['held']} held"])
