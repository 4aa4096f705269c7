"""Every secret of the table in docs/operating.md is rotated as docs/secrets.md and its neighbours say, with payments
going on before, meanwhile and afterwards: none is lost or doubled, and the old secret opens nothing.
"""

import asyncio
import http.server
import re
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from tallystick.cli.endpoints import create_endpoint
from tallystick.cli.service_api import ServiceApi
from tallystick.demo.browser import Browser
from tallystick.kernel.signatures import SignatureRefused, sign_stripe, verify_stripe
from tallystick.ports.http import Answered, HttpRequest

TAKEN_UP_S = 30.0  # ten seconds at most, on a machine that does other things too
ROLES = ("tallystick_gateway", "tallystick_vault", "tallystick_gateway_pii", "tallystick_merchant", "tallystick_pii")

IN_FILES = {"a database password", "the card vault's key", "the personal data key", "the search key of personal data"}
GIVEN = {
    "a merchant's API key (`tsk_…`)",
    "the merchant's key at the gateway",
    "a webhook's signing secret",
    "a shop endpoint's secret",
    "an operator's key",
    "a person's password or second factor",
}
ELSEWHERE = {
    "the card fingerprint key": "cannot be rotated",
    "Vault's secret id": "tests/ports/test_vault.py and tests/process/test_vault.py, which have a Vault",
}


def test_every_secret_of_the_table_is_rotated_here(manual: Any) -> None:
    table = manual("operating").text.partition("## Rotating secrets")[2].partition("\n## ")[0]
    rows = set(re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)) - {"secret"}
    assert rows == IN_FILES | {"certificates"} | GIVEN | ELSEWHERE.keys()


async def test_what_lies_in_files(installation: Any, shoppers: Any, manual: Any) -> None:
    """Database passwords, certificates, and the keys of cards and people."""
    shoppers.come()
    await shoppers.pay_meanwhile()
    for role in ROLES:
        await _another_password(installation, manual("secrets"), role)
    await shoppers.pay_meanwhile()
    for service in ("gateway", "merchant"):
        await _another_certificate(installation, service)
    await shoppers.pay_meanwhile()
    orders = [await _another_card_key(installation, shoppers, manual("cards"))]
    await shoppers.pay_meanwhile()
    await shoppers.go()
    orders.append(await _another_key_of_people(installation, shoppers, manual("personal-data")))
    orders.append(await _another_search_key(installation, shoppers, manual("personal-data")))
    await installation.paid_once_each([*shoppers.orders, *orders])
    assert shoppers.failures == [], "nobody noticed"
    await installation.doctor()


async def _another_password(installation: Any, page: Any, role: str) -> None:
    old, new = installation.passwords[role], f"second-of-{role}"
    statement = page.command("ALTER ROLE tallystick_gateway", {"…": new, "tallystick_gateway": role})
    [now] = installation.rows("gateway", "SELECT clock_timestamp() AS at")
    await installation.terminal.asks_the_server(statement)
    installation.passwords[role] = new
    installation.write_dsn(role)
    await installation.until(lambda: not _connected_since_before(installation, role, now["at"]), TAKEN_UP_S)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(installation.dsn(role, password=old))


def _connected_since_before(installation: Any, role: str, at: datetime) -> list[dict[str, Any]]:
    question = "SELECT pid FROM pg_stat_activity WHERE usename = %s AND backend_start < %s"
    found: list[dict[str, Any]] = installation.rows("gateway", question, role, at)
    return found


async def _another_certificate(installation: Any, service: str) -> None:
    def served() -> str:
        return ssl.get_server_certificate(("localhost", installation.ports[service]), timeout=20)

    before = await asyncio.to_thread(served)
    installation.new_certificate(service)
    await installation.until(lambda: served() != before, TAKEN_UP_S)


async def _another_card_key(installation: Any, shoppers: Any, page: Any) -> str:
    """While a shopper is at the bank, whose card waits in the vault under the old version."""
    order = await shoppers.order("at-the-bank")
    asked = await shoppers.to_the_bank(order["redirect_url"])
    stored = "SELECT data_key AS wrapped_by FROM vault.card"
    assert {row["wrapped_by"].split(":")[1] for row in installation.rows("gateway", stored)} == {"v1"}
    does = installation.terminal.does
    await does(page.command("tallystick gateway vault-key add", {"vault.keys": "etc/vault.keys"}))
    await does(f"tallystick {installation.operating.command('gateway rewrap')}")
    assert {row["wrapped_by"].split(":")[1] for row in installation.rows("gateway", stored)} == {"v2"}
    _forget_version_1(installation, "etc/vault.keys")
    await Browser(installation.http).submit(asked, asked.forms[0], {}, "result=succeeded")
    await installation.until_paid(order["id"])
    return str(order["id"])


def _forget_version_1(installation: Any, name: str) -> None:
    lines = (installation.folder / name).read_text().splitlines(keepends=True)
    [old] = [line for line in lines if re.match(r"(v?1)\b", line)]
    installation.write(name, "".join(line for line in lines if line != old))


async def _another_key_of_people(installation: Any, shoppers: Any, page: Any) -> str:
    """Within the hour, or with a restart; only then `rewrap`, and the version before is not needed any more."""
    does, wrapped = installation.terminal.does, "SELECT wrapped_by FROM pii.subject_key"
    assert {row["wrapped_by"].split(":")[1] for row in installation.rows("merchant", wrapped)} == {"v1"}
    await does(f"tallystick {installation.operating.command('gateway vault-key add')} etc/pii-keys")
    await shoppers.buy("still-under-the-old-key")
    assert {row["wrapped_by"].split(":")[1] for row in installation.rows("merchant", wrapped)} == {"v1"}
    await installation.stop("merchant")
    await installation.start("merchant")
    order: str = await shoppers.buy("under-the-new-key")
    assert {row["wrapped_by"].split(":")[1] for row in installation.rows("merchant", wrapped)} == {"v1", "v2"}
    await does(page.command("tallystick merchant customers rewrap"))
    assert {row["wrapped_by"].split(":")[1] for row in installation.rows("merchant", wrapped)} == {"v2"}
    _forget_version_1(installation, "etc/pii-keys")
    for email in ("still-under-the-old-key@example.org", "under-the-new-key@example.org"):
        [found] = await _found(installation, email)
        shown = f"tallystick merchant customers show {found['id']} --merchant {installation.merchant} --purpose support"
        assert email in await does(shown)
    return order


async def _another_search_key(installation: Any, shoppers: Any, page: Any) -> str:
    """The old one beside the new one, a restart, `reindex`; after three days the old one goes, and a restart."""
    does, before = installation.terminal.does, installation.folder / "etc" / "pii-index-key-before"
    installation.write("etc/pii-index-key-before", (installation.folder / "etc" / "pii-index-key").read_text())
    installation.write("etc/pii-index-key", "another search key, of no value, for a walk")
    variable = "TALLYSTICK_MERCHANT_PII_INDEX_KEY_BEFORE_FILE"
    installation.environment["merchant"][variable] = str(before)
    await does(f"export {variable}={before}")
    for last in (False, True):
        await installation.stop("merchant")
        await installation.start("merchant")
        for email in ("basket-1-1@example.org", "under-the-new-key@example.org"):
            assert len(await _found(installation, email)) == 1, (email, last)
        if not last:
            order: str = await shoppers.buy("under-the-new-search-key")
            await does(page.command("tallystick merchant customers reindex"))
            await installation.pass_time("3d")
            del installation.environment["merchant"][variable]
            await does(f"unset {variable}")
            before.unlink()
    return order


async def _found(installation: Any, email: str) -> list[dict[str, Any]]:
    api = ServiceApi(installation.http, "the merchant service", installation.urls["merchant"], installation.api_key)
    answer = await api.ask("POST", "/v1/customers/search", {"email": email, "purpose": "support"})
    found: list[dict[str, Any]] = answer["data"]
    return found


async def test_what_others_were_given(installation: Any, shoppers: Any, manual: Any, hearing: "Hearing") -> None:
    """API keys, signing secrets, operators' keys, passwords: the new one is given, the old one ended."""
    page, does, told = manual("secrets"), installation.terminal.does, installation.terminal.json
    shop = await told(f"tallystick merchant endpoints add --url {hearing.url}/shop")
    key = (installation.etc / "gateway-key").read_text().strip()
    other = await create_endpoint(installation.http, installation.urls["gateway"], key, f"{hearing.url}/other")
    shoppers.come()
    await shoppers.pay_meanwhile()

    # The merchant's API key: to the shop, then the old one is revoked.
    old_key, shoppers.api_key = shoppers.api_key, await _another_api_key(installation, page)
    await shoppers.pay_meanwhile()
    await _revoked(installation, page, "merchant", "mer", installation.merchant, old_key[-4:])
    await _refused(installation, "merchant", "/v1/orders", old_key)
    installation.api_key = shoppers.api_key
    await does(f"export TALLYSTICK_MERCHANT_API_KEY={shoppers.api_key}")
    await shoppers.pay_meanwhile()

    # The merchant's key at the gateway: into its file, then the old one is revoked.
    old_secret = (installation.etc / "gateway-key").read_text().strip()
    pair = await told(page.command("tallystick gateway keys create", {"acct": installation.account}))
    installation.write("etc/gateway-key", pair["secret_key"])
    await shoppers.pay_meanwhile()
    await _revoked(installation, page, "gateway", "acct", installation.account, old_secret[-4:])
    await _refused(installation, "gateway", "/v1/balance", old_secret)
    await shoppers.pay_meanwhile()

    # What signs the gateway's webhooks: both sign, whichever the merchant has; then the new one alone.
    old_hook = (installation.etc / "webhook-secret").read_text().strip()
    roll = f"{page.command('tallystick gateway endpoints roll-secret')} {installation.endpoint}"
    new_hook = (await told(f"{roll} --account {installation.account}"))["secret"]
    roll = roll.replace(installation.endpoint, other.id)
    other_new = (await told(f"{roll} --account {installation.account}"))["secret"]
    heard = len(hearing.requests)
    await shoppers.pay_meanwhile()
    assert await _webhook(installation, shoppers.orders[-1], old_hook) == 200
    assert await _webhook(installation, shoppers.orders[-1], new_hook) == 400, "not known here yet"
    installation.write("etc/webhook-secret", new_hook)
    async with asyncio.timeout(TAKEN_UP_S):
        while await _webhook(installation, shoppers.orders[-1], new_hook) != 200:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.2)
    await shoppers.pay_meanwhile()
    assert await _webhook(installation, shoppers.orders[-1], old_hook) == 400
    assert (True, True) in hearing.signed_by("/other", heard, other.secret, other_new)

    # What signs what the shop hears.
    heard = len(hearing.requests)
    roll = f"tallystick {installation.operating.command('merchant endpoints roll-secret')} {shop['endpoint']}"
    second = (await told(roll))["secret"]
    await shoppers.pay_meanwhile()
    by = hearing.signed_by("/shop", heard, shop["secret"], second)
    assert {(True, True)} <= by <= {(True, False), (True, True)}, "some may have been signed before"
    third = (await told(roll))["secret"]
    await asyncio.sleep(3)  # what was signed before is on its way
    heard = len(hearing.requests)
    await shoppers.pay_meanwhile()
    assert hearing.signed_by("/shop", heard, shop["secret"], third) == {(False, True)}

    await _another_operator(installation)
    await _another_person(installation)
    await shoppers.go()
    assert shoppers.failures == [], "nobody noticed"
    await installation.paid_once_each(shoppers.orders)

    # The overlap of a day is over, and the old secret has ended by itself.
    await installation.pass_time("25h")
    heard = len(hearing.requests)
    last = await shoppers.buy("last")
    await installation.paid_once_each([last])
    assert hearing.signed_by("/other", heard, other.secret, other_new) == {(False, True)}
    await installation.doctor()


async def _another_api_key(installation: Any, page: Any) -> str:
    made = await installation.terminal.json(
        page.command("tallystick merchant keys create", {"mer": installation.merchant})
    )
    return str(made["api_key"])


async def _revoked(installation: Any, page: Any, service: str, word: str, owner: str, last: str) -> None:
    keys = await installation.terminal.json(f"tallystick {page.command(f'{service} keys list', {word: owner})}")
    [old] = [key["id"] for key in keys["keys"] if key.get("last4", key.get("hint", "")).endswith(last)]
    await installation.terminal.does(f"tallystick {page.command(f'{service} keys revoke', {word: owner, 'KEY': old})}")


async def _refused(installation: Any, service: str, path: str, key: str) -> None:
    """Calls with it are refused within seconds."""
    headers = {"Authorization": f"Bearer {key}"}
    async with asyncio.timeout(TAKEN_UP_S):
        while True:
            answer = await installation.http.send(
                HttpRequest("GET", f"{installation.urls[service]}{path}", headers, b"", 20)
            )
            if isinstance(answer, Answered) and answer.status == 401:
                return
            await asyncio.sleep(0.2)


async def _webhook(installation: Any, order: str, secret: str) -> int:
    """How the merchant service answers a webhook of an order that this secret alone has signed."""
    query = "SELECT body FROM message WHERE position(%s::bytea in body) > 0 LIMIT 1"
    [row] = installation.rows("gateway", query, order.encode())
    headers = {"Stripe-Signature": sign_stripe([secret], int(time.time()), row["body"])}
    url = f"{installation.urls['merchant']}/webhooks/{installation.connection}"
    answer = await installation.http.send(HttpRequest("POST", url, headers, row["body"], 20))
    assert isinstance(answer, Answered)
    return answer.status


async def _another_operator(installation: Any) -> None:
    told, does = installation.terminal.json, installation.terminal.does
    create, revoke = (installation.operating.command(f"operators {verb}") for verb in ("create", "revoke"))
    for service in ("gateway", "merchant"):
        keys = (await told(f"tallystick {service} operators list"))["operator_keys"]
        made = await told(f"tallystick {service} {create} --name ada --role admin")
        installation.write(f"ada-{service}-before.key", (installation.folder / f"ada-{service}.key").read_text())
        installation.write(f"ada-{service}.key", made["operator_key"])
        await does(f"tallystick {service} operators whoami")
        await does(f"tallystick {service} {revoke} {keys[0]['id']}")
        old = f"TALLYSTICK_{service.upper()}_OPERATOR_KEY_FILE={installation.folder}/ada-{service}-before.key"
        await does(f"{old} tallystick {service} operators whoami", exits=1)


async def _another_person(installation: Any) -> None:
    """By the page of their account, and by an administrator's commands: whoever is logged in elsewhere is out."""
    first, second, third = ("first password of ada", "second password of ada", "third password of ada")
    installation.write("ada.password", first)
    add = "tallystick gateway users add ada --role admin --password-file ada.password"
    await installation.terminal.does(add)
    here, elsewhere = await _logged_in(installation, first), await _logged_in(installation, first)
    assert here is not None
    assert elsewhere is not None
    account = await here.open(f"{installation.urls['gateway']}/console/account")
    form = next(form for form in account.forms if form.action.endswith("/account/password"))
    changed = {"password": first, "new-password": second, "new-password-again": second}
    await here.submit(account, form, changed)
    assert await _is_in(installation, here)
    assert not await _is_in(installation, elsewhere)
    assert await _logged_in(installation, first) is None
    assert await _logged_in(installation, second) is not None
    installation.write("ada.password", third)
    await installation.terminal.does("tallystick gateway users password ada --password-file ada.password")
    assert not await _is_in(installation, here)
    assert await _logged_in(installation, second) is None
    assert await _logged_in(installation, third) is not None
    reset = installation.operating.command("users reset-totp")
    await installation.terminal.does(f"tallystick gateway {reset} ada", exits=2)  # she has none to be lost


async def _logged_in(installation: Any, password: str) -> Browser | None:
    browser = Browser(installation.http)
    login = await browser.open(f"{installation.urls['gateway']}/console/login")
    await browser.submit(login, login.forms[0], {"name": "ada", "password": password, "code": ""})
    return browser if await _is_in(installation, browser) else None


async def _is_in(installation: Any, browser: Browser) -> bool:
    page = await browser.open(f"{installation.urls['gateway']}/console/account")
    return not page.url.endswith("/console/login")


class Hearing:
    """The shop's server: it keeps what it is sent."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, list[tuple[bytes, bytes]], bytes]] = []
        kept = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = [(name.lower().encode(), value.encode()) for name, value in self.headers.items()]
                kept.requests.append((self.path, headers, body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def signed_by(self, path: str, after: int, *secrets: str) -> set[tuple[bool, ...]]:
        """By which of the secrets each request is signed that came to this path since then."""
        came = [(headers, body) for at, headers, body in self.requests[after:] if at == path]
        assert came
        return {tuple(_signed(headers, body, each) for each in secrets) for headers, body in came}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _sent_at(headers: list[tuple[bytes, bytes]]) -> datetime:
    """The sandbox's time, which may be another day's."""
    return datetime.fromtimestamp(int(dict(headers)[b"webhook-timestamp"]), UTC)


def _signed(headers: list[tuple[bytes, bytes]], body: bytes, secret: str) -> bool:
    try:
        verify_stripe([secret], headers, body, _sent_at(headers))
    except SignatureRefused:
        return False
    return True


@pytest.fixture
def hearing() -> Iterator[Hearing]:
    made = Hearing()
    yield made
    made.close()
