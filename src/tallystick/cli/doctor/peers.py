"""Who is on the other side: the service itself at its own address, gateways at the connections', Vault."""

from collections.abc import Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

from tallystick.cli.doctor.databases import check_clock
from tallystick.cli.doctor.findings import Notes
from tallystick.ports.aiohttp_http import AiohttpClient
from tallystick.ports.http import Answered, HttpRequest

DEADLINE_S: Final = 5.0
DO: Final = {
    "dns": "Its host name has no address: look at the name, and at the name server.",
    "connection_refused": "Nobody listens there: start it, or look at host and port.",
    "tls_certificate": "Its certificate is not by an authority that we trust, or for another name: look at …_CA_FILE.",
    "tls": "It speaks no TLS that we take, or none at all: look at https:// and the port.",
    "connect_timeout": "Nothing comes back: look at the firewall.",
    "plain_http": "Plain HTTP goes to this machine alone: name it with https://, or put an agent beside the service.",
    "address_refused": "Its name leads to an address where no server of ours stands: look at the name server.",
    "invalid_url": "It is no address: it must be such as https://pay.example.",
}


async def check_peer(
    notes: Notes, subject: str, url: str, ca_file: str, now: datetime, *, needed: bool, ready: bool = False
) -> bool:
    """Whether somebody answers at `url`, and what time it is there. One that need not run yet is no fault."""
    try:
        http = AiohttpClient(ca_file=ca_file or None)
    except OSError:
        notes.bad("peer", subject, "the file of authorities cannot be read", "Look at …_CA_FILE.")
        return False
    try:
        answer = await http.send(HttpRequest("GET", url, {}, b"", DEADLINE_S, 64 * 1024))
    finally:
        await http.close()
    if not isinstance(answer, Answered):
        do = DO.get(answer.reason, "Look whether it runs, and at its log.")
        if needed or answer.reason not in ("connection_refused", "connect_timeout"):
            notes.bad("peer", subject, f"{url} does not answer ({answer.reason})", do)
        else:
            notes.skipped("peer", subject, f"{url} does not answer: it does not run, or is elsewhere")
        return False
    if ready and answer.status != 200:
        do = "Something else answers there, or it is not ready: look at its log."
        notes.bad("peer", subject, f"{url} answers {answer.status}", do)
        return False
    notes.good("peer", subject, f"{url} answers")
    _check_date(notes, subject, answer, now)
    return True


def _check_date(notes: Notes, subject: str, answer: Answered, now: datetime) -> None:
    try:
        there = parsedate_to_datetime(answer.headers["date"])
    except (KeyError, ValueError, TypeError):
        return
    check_clock(notes, f"the clock of {subject}", there - now)


def hosts(urls: Sequence[str]) -> list[str]:
    """Each address once, in order."""
    return list(dict.fromkeys(url.rstrip("/") for url in urls))
