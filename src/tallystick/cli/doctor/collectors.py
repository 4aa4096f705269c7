"""The collector of traces, where settings name one: is it there, and does it take what we would send."""

from collections.abc import Mapping
from typing import Any, Final

from tallystick.cli.doctor.findings import Notes
from tallystick.cli.doctor.peers import DEADLINE_S, DO
from tallystick.kernel.addresses import own_address_allowed
from tallystick.kernel.monitoring.collector import headers_of
from tallystick.ports.aiohttp_http import AiohttpClient
from tallystick.ports.http import Answered, HttpRequest

NOTHING: Final = b'{"resourceSpans":[]}'
"""An export of no span: every collector takes it, and shows nothing."""
REFUSED: Final[Mapping[int, str]] = {
    401: "It asks for a key: put it into …_TRACES_HEADERS, as name=value.",
    403: "It does not take our key: look at …_TRACES_HEADERS.",
    404: "It takes spans elsewhere: the address ends as a rule in /v1/traces.",
    405: "It takes spans elsewhere: the address ends as a rule in /v1/traces.",
    415: "It does not take JSON: it must speak OTLP over HTTP in JSON.",
}


async def check_traces(notes: Notes, prefix: str, settings: Any) -> None:
    """Whether spans would be taken. Nothing depends on them, so it is a warning where they would not."""
    if not settings.traces_url:
        return
    subject = f"{prefix}TRACES_URL"
    try:
        http = AiohttpClient(address_allowed=own_address_allowed, ca_file=settings.ca_file or None)
    except OSError:
        notes.warning("traces", subject, "the file of authorities cannot be read", "Look at …_CA_FILE.")
        return
    headers = {"Content-Type": "application/json", **headers_of(settings.traces_headers)}
    try:
        answer = await http.send(HttpRequest("POST", settings.traces_url, headers, NOTHING, DEADLINE_S, 64 * 1024))
    finally:
        await http.close()
    if not isinstance(answer, Answered):
        do = DO.get(answer.reason, "Look whether it runs, and at its log.")
        notes.warning("traces", subject, f"the collector does not answer ({answer.reason}): spans are dropped", do)
    elif 200 <= answer.status < 300:
        notes.good("traces", subject, "the collector takes spans")
    else:
        do = REFUSED.get(answer.status, "Look at its log.")
        notes.warning("traces", subject, f"the collector answers {answer.status}: spans are dropped", do)
