"""Numbers that stand nowhere else are paid with, mistyped, sent where they do not belong, and caught in crashes; then
everything that was written or answered is searched for them. RULES §9, DESIGN §9."""

import asyncio
import contextlib
import json
import os
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import psycopg
import pytest

from tallystick.cli.endpoints import create_endpoint
from tallystick.cli.merchant_api import MerchantApi
from tallystick.cli.service_api import ServiceApiError
from tallystick.demo.browser import Browser, Form, Lost, Page
from tallystick.gateway.cards.pan import Pan, luhn
from tallystick.gateway.vault.sealing import unseal
from tallystick.ports.aiohttp_http import AiohttpClient
from tallystick.ports.http import Answered, HttpRequest
from tallystick.ports.key_encryption import LocalKeyEncryption

APPROVED, DECLINED, INSUFFICIENT, CHALLENGED, CHALLENGED_DECLINED, TIMEOUT = "0", "5", "6", "7", "8", "9"
CODE = "739"
EMAIL = "zenobia.quillfeather@example.org"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
KILLS = 4


class Canaries:
    """Numbers of a range of our own, each used once."""

    def __init__(self, dice: random.Random) -> None:
        self.range = f"49{dice.randrange(10**6):06d}"
        self._dice = dice
        self.used: list[str] = []

    def next(self, does: str = APPROVED) -> str:
        """A number that the simulated bank answers as `does` says."""
        body = f"{self.range}{does}{self._dice.randrange(10**6):06d}"
        self.used.append(next(body + check for check in "0123456789" if luhn(body + check)))
        return self.used[-1]


class Answers:
    """A client that keeps everything it is answered."""

    def __init__(self, http: AiohttpClient) -> None:
        self._http = http
        self.kept: list[bytes] = []

    async def send(self, request: HttpRequest) -> Any:
        answer = await self._http.send(request)
        if isinstance(answer, Answered):
            self.kept.append(repr(sorted(answer.headers.items())).encode() + b"\n" + answer.body)
        return answer


class World:
    """A stack of real processes, whoever acts in it, and what they leave behind."""

    def __init__(self, served: Any, answers: Answers, canaries: Canaries, data_dir: Path) -> None:
        self.served, self.answers, self.canaries, self.data_dir = served, answers, canaries, data_dir
        self.urls: dict[str, str] = {}
        self.dsns: dict[str, str] = {}
        self.keys: dict[str, str] = {}
        self.log = bytearray()
        self._orders = 0

    async def order(self) -> dict[str, Any]:
        self._orders += 1
        key = f"basket-{self._orders}"
        api = MerchantApi(self.answers, self.urls["merchant"], self.keys["merchant"])
        while True:
            with contextlib.suppress(ServiceApiError):
                named = {"email": EMAIL, "name": "Zenobia Quillfeather"}
                placed = await api.place({"amount": 2500, "currency": "EUR", "customer": named}, key)
                if placed["redirect_url"] is not None:
                    return placed
            await asyncio.sleep(0.3)

    async def pay(self, number: str, *, bank: bool = True, code: str = CODE) -> Page | None:
        """A whole visit of a shopper who types this number; without `bank`, as far as the bank's page."""
        placed = await self.order()
        browser = Browser(self.answers)
        with contextlib.suppress(Lost):
            page = await browser.open(placed["redirect_url"])
            form = _card_form(page)
            assert form is not None
            page = await browser.submit(page, form, _typed(form, number, code))
            for _ in range(8):
                if page.refresh is not None and "/acs/" in page.refresh[1] and not bank:
                    return page
                if page.refresh is not None and "/pay/" not in page.refresh[1] and "/acs/" not in page.refresh[1]:
                    return page
                if page.refresh is not None:
                    await asyncio.sleep(min(page.refresh[0], 1))
                    page = await browser.open(page.refresh[1])
                    continue
                answers = [one for one in page.forms if "/acs/" in one.action]
                if not answers:
                    return page
                page = await browser.submit(page, answers[0], {})
            return page
        return None

    async def create(self, path: str, fields: dict[str, str]) -> dict[str, Any]:
        """An object of the gateway's; asked for until it is there."""
        headers = {**FORM, "Authorization": f"Bearer {self.keys['gateway']}"}
        url = self.urls["gateway"] + path
        while True:
            answer = await self.answers.send(HttpRequest("POST", url, headers, urlencode(fields).encode(), 10))
            if isinstance(answer, Answered) and answer.status == 200:
                made: dict[str, Any] = json.loads(answer.body)
                return made
            await asyncio.sleep(0.3)

    def kill(self) -> None:
        """SIGKILL for the gateway."""
        with contextlib.suppress(ProcessLookupError, StopIteration):
            os.kill(self.served.pid_of("gateway serve"), signal.SIGKILL)

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> None:
        await self.answers.send(HttpRequest("POST", url, headers, body, 10))

    async def get(self, url: str, headers: dict[str, str] | None = None) -> None:
        await self.answers.send(HttpRequest("GET", url, headers or {}, b"", 10))


def _card_form(page: Page) -> Form | None:
    return next((form for form in page.forms if form.field_for("cc-number") is not None), None)


def _typed(form: Form, number: str, code: str) -> dict[str, str]:
    card = {"cc-number": number, "cc-exp": "12/34", "cc-csc": code, "cc-name": "A. Shopper"}
    return {field.name: card[field.autocomplete] for field in form.fields if field.autocomplete in card}


@contextlib.asynccontextmanager
async def world(processes: Any, http: AiohttpClient, data_dir: Path, traces_url: str) -> AsyncIterator[World]:
    canaries = Canaries(random.Random())
    ports = processes.free_ports(2)
    key_file = data_dir / "vault.keys"
    await processes.command("gateway", "vault-key", "create", str(key_file))
    settings = {
        "TALLYSTICK_GATEWAY_PORT": str(ports[0]),
        "TALLYSTICK_GATEWAY_WEBHOOKS_TO_LOOPBACK": "true",
        "TALLYSTICK_GATEWAY_ACQUIRER_DELAY_S": "0.4",  # so that a kill comes while the bank thinks
        "TALLYSTICK_GATEWAY_ACQUIRER_PRIVATE_RANGE": canaries.range,
        "TALLYSTICK_GATEWAY_CARD_FINGERPRINT_KEY": f"{random.getrandbits(256):064x}",
        "TALLYSTICK_GATEWAY_VAULT_KEY_FILE": str(key_file),
        "TALLYSTICK_GATEWAY_LOG_LEVEL": "debug",
        "TALLYSTICK_MERCHANT_LOG_LEVEL": "debug",
        "TALLYSTICK_MERCHANT_PORT": str(ports[1]),
        "TALLYSTICK_GATEWAY_TRACES_URL": traces_url,
        "TALLYSTICK_MERCHANT_TRACES_URL": traces_url,
        "TALLYSTICK_MERCHANT_PII_KEY_FILE": str(data_dir / "pii.keys"),
        "TALLYSTICK_MERCHANT_PII_INDEX_KEY_FILE": str(data_dir / "pii.index"),
    }
    files = ("--key-file", str(data_dir / "pii.keys"), "--index-key-file", str(data_dir / "pii.index"))
    await processes.command("merchant", "customers", "keys", *files)
    async with processes.running("serve", "--data-dir", str(data_dir), environment=settings) as served:
        made = World(served, Answers(http), canaries, data_dir)
        made.urls = {"gateway": f"http://127.0.0.1:{ports[0]}", "merchant": f"http://127.0.0.1:{ports[1]}"}
        while len(made.dsns) < 2:
            line = await asyncio.wait_for(served.process.stderr.readline(), 120)
            assert line, "it ended"
            made.log += line
            if line.strip().startswith(b"export "):
                name, _, file = line.decode().strip().removeprefix("export ").partition("=")
                made.dsns[name.removesuffix("_FILE")] = await asyncio.to_thread(_content, Path(file.strip("'")))
        reading = asyncio.create_task(_read_on(served.process.stderr, made.log))
        settings |= made.dsns
        for url in made.urls.values():
            await processes.answer(HttpRequest("GET", f"{url}/readyz", {}, b"", 5))
        account = await processes.json(
            *("gateway", "accounts", "create", "--name", "Canaries", "--origin", made.urls["merchant"]),
            environment=settings,
        )
        merchant = await processes.json("merchant", "accounts", "create", "--name", "Canaries", environment=settings)
        made.keys = {"gateway": account["keys"][0]["secret_key"], "merchant": merchant["api_key"]}
        (data_dir / "secret-key").write_text(made.keys["gateway"])
        connection = await processes.json(
            *("merchant", "connections", "add", "--gateway", "stripe", "--url", made.urls["gateway"]),
            *("--secret-key-file", str(data_dir / "secret-key")),
            *("--webhook-secret-file", str(data_dir / "webhook-secret")),
            environment=settings,
        )
        endpoint = await create_endpoint(http, made.urls["gateway"], made.keys["gateway"], connection["webhook_url"])
        (data_dir / "webhook-secret").write_text(endpoint.secret)
        yield made
        reading.cancel()


def _content(file: Path) -> str:
    return file.read_text(encoding="utf-8").strip()


async def _read_on(stream: asyncio.StreamReader, log: bytearray) -> None:
    while line := await stream.readline():
        log += line


# What is done with the numbers


async def ordinary_traffic(world: World) -> None:
    """What the demo's shoppers do."""
    canaries = world.canaries
    await asyncio.gather(
        *(world.pay(canaries.next(does)) for does in (APPROVED, DECLINED, INSUFFICIENT, TIMEOUT)),
        *(world.pay(canaries.next(does)) for does in (CHALLENGED, CHALLENGED_DECLINED)),
        world.pay(canaries.next(CHALLENGED), bank=False),
        *(world.pay(spaced(canaries.next(APPROVED), separator)) for separator in " -"),
    )


async def saved_cards(world: World, *, killed: bool = False) -> int:
    """A shopper saves a card and comes back to it; with `killed`, the gateway dies while it is paid with. How many
    payments with the saved card were begun."""
    customer = await world.create("/v1/customers", {"email": "ada@shop.example", "name": "Ada"})
    begun = 0
    for visit in range(4):
        session = await world.create(
            "/v1/checkout/sessions",
            {
                "mode": "payment",
                "amount_total": "2500",
                "currency": "eur",
                "success_url": f"{world.urls['merchant']}/",
                "customer": customer["id"],
                "saved_payment_method_options[payment_method_save]": "enabled",
            },
        )
        browser = Browser(world.answers)
        with contextlib.suppress(Lost):
            page = await browser.open(session["url"])
            saved = [form for form in page.forms if any(field.name == "saved-card" for field in form.fields)]
            if visit % 2 and saved:
                begun += 1
                paying = asyncio.create_task(browser.submit(page, saved[0], {}))
                if killed:
                    await asyncio.sleep(0.1 * visit)
                    world.kill()
                await paying
            elif (form := _card_form(page)) is not None:  # the box that saves it comes ticked along
                number = world.canaries.next(APPROVED)
                await browser.submit(page, form, {**_typed(form, number, CODE), "save-card": "yes"})
    await world.get(
        f"{world.urls['gateway']}/v1/customers/{customer['id']}/payment_methods",
        {"Authorization": f"Bearer {world.keys['gateway']}"},
    )
    return begun


async def malformed_forms(world: World) -> None:
    """Numbers where they do not belong, or in what is no form at all."""
    page = (await world.order())["redirect_url"]
    number = world.canaries.next
    fields = [
        {"cc-number": number(), "cc-exp": "13/99", "cc-csc": CODE},
        {"cc-number": number(), "cc-exp": number(), "cc-csc": CODE, "cc-name": "A"},
        {"cc-number": number() + "1", "cc-exp": "12/34", "cc-csc": CODE},
        {"cc-number": "x" + number(), "cc-exp": "12/34", "cc-csc": "7"},
        {"cc-number": "4242", "cc-exp": "12/34", "cc-csc": CODE, "cc-name": number()},
        {"cc-number": "", "cc-exp": "12/34", "cc-csc": number(), "cc-name": spaced(number(), " ")},
        {"cc-number": "", "cc-name": f"Ada {spaced(number(), '-')} Lovelace"},
        {number(): number()},
    ]
    for sent in fields:
        await world.post(page, urlencode(sent).encode(), FORM)
    whole = {"cc-number": number(), "cc-exp": "12/34", "cc-csc": CODE}
    form = urlencode(whole).encode()
    await world.post(page, b"\xff\xfe" + form, FORM)
    await world.post(page, form + b"&a=1" * 40, FORM)
    await world.post(page, form + b"&pad=" + b"x" * 20_000, FORM)
    await world.post(page, form, {"Content-Type": "application/json"})
    await world.post(page, b'{"cc-number": "%s"}' % number().encode(), {"Content-Type": "application/json"})
    await world.post(page, form, {**FORM, "Sec-Fetch-Site": "cross-site"})
    await world.post(f"{page}?cc-number={number()}", b"", FORM)
    await world.get(f"{page}?{urlencode({'cc-number': number()})}")
    await world.get(f"{page}/{number()}")
    gateway = world.urls["gateway"]
    for path in (f"/pay/{number()}", f"/embed/{number()}", f"/acs/{number()}", f"/{number()}"):
        await world.get(gateway + path)


async def wrong_calls(world: World) -> None:
    """Card numbers sent to APIs, as people do who have not read the manual."""
    gateway, merchant, number = world.urls["gateway"], world.urls["merchant"], world.canaries.next
    key = {"Authorization": f"Bearer {world.keys['gateway']}"}
    calls: list[tuple[str, dict[str, str]]] = [
        ("/v1/payment_methods", {"type": "card", "card[number]": number(), "card[cvc]": CODE}),
        ("/v1/payment_methods", {"type": "card", "card[token]": number()}),
        ("/v1/payment_methods", {"type": number()}),
        ("/v1/payment_methods", {number(): "1"}),
        ("/v1/payment_intents", {"amount": "100", "currency": "eur", "payment_method": number(), "confirm": "true"}),
        ("/v1/payment_intents", {"amount": number(), "currency": "eur"}),
        ("/v1/payment_intents", {"amount": "100", "currency": number()}),
        ("/v1/payment_intents", {"amount": "100", "currency": "eur", "source": number()}),
        ("/v1/payment_intents", {"amount": "100", "currency": "eur", "capture_method": number()}),
        ("/v1/payment_intents", {"amount": "100", "currency": "eur", "return_url": number(), "confirm": "true"}),
        ("/v1/refunds", {"charge": number()}),
        ("/v1/checkout/sessions", {"mode": number()}),
        (f"/v1/payment_intents/{number()}/confirm", {"payment_method": "pm_card_visa"}),
        (f"/v1/{number()}", {}),
    ]
    for path, sent in calls:
        await world.post(gateway + path, urlencode(sent).encode(), FORM | key)
        await world.post(
            gateway + path, urlencode(sent).encode(), FORM | key | {"Idempotency-Key": f"k{random.random()}"}
        )
    for path in (f"/v1/payment_methods/{number()}", f"/v1/charges?limit={number()}", f"/v1/events?type={number()}"):
        await world.get(gateway + path, key)
    await world.get(f"{gateway}/v1/charges", {"Authorization": f"Bearer {number()}"})
    shop = {"Authorization": f"Bearer {world.keys['merchant']}", "Content-Type": "application/json"}
    for number_, body in enumerate(
        (
            b'{"amount": 2500, "currency": "EUR", "card": "%s"}' % number().encode(),
            b'{"amount": "%s", "currency": "EUR"}' % number().encode(),
            b'{"amount": 2500, "currency": "%s"}' % number().encode(),
            b'{"amount": 2500, "currency": "EUR", "%s": 1}' % number().encode(),
            b'{"amount": 2500, "currency": "EUR", "customer": {"email": "%s"}}' % number().encode(),
            b'{"amount": 2500, "currency": "EUR", "ui_mode": "%s"}' % number().encode(),
            b'{"amount": 2500, "currency": %s' % number().encode(),
        )
    ):
        await world.post(f"{merchant}/v1/orders", body, shop | {"Idempotency-Key": f"m{number_}"})
    await world.get(f"{merchant}/v1/orders/{number()}", shop)
    await world.post(f"{merchant}/webhooks/{number()}", number().encode(), {"Content-Type": "application/json"})


async def crashes(world: World) -> None:
    """SIGKILL for the gateway while it has numbers in its memory: before, during and after the bank's answer."""
    for kill in range(KILLS):
        visits = [
            asyncio.create_task(world.pay(world.canaries.next(does), bank=False))
            for does in (APPROVED, DECLINED, CHALLENGED, CHALLENGED, TIMEOUT, APPROVED)
        ]
        await asyncio.sleep(0.15 + 0.2 * kill)
        world.kill()
        await asyncio.gather(*visits)


def spaced(number: str, separator: str) -> str:
    return separator.join(number[place : place + 4] for place in range(0, len(number), 4))


# The search


def as_administrator(dsn: str) -> str:
    """The same database as somebody who sees all of it: no service's role does."""
    parts = urlsplit(dsn)
    return urlunsplit(parts._replace(netloc=f"postgres@{parts.netloc.rpartition('@')[2]}"))


async def opened(dsn: str, key_file: Path) -> list[str]:
    """The numbers in the vault: where they are allowed to be."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT account_id, livemode, token, sealed, data_key FROM vault.card").fetchall()
    keys = await LocalKeyEncryption(key_file).unwrap([row[4] for row in rows])
    numbers = [unseal(bytes(row[3]), (row[0], row[1], row[2]), key) for row, key in zip(rows, keys, strict=True)]
    assert all(isinstance(number, Pan) for number in numbers)
    return [number.reveal() for number in numbers if number is not None]


def files_with(searcher: Any, folder: Path) -> dict[str, set[str]]:
    """What stands in the files of the data folder: tables with their dead rows, the write-ahead log, server logs."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any("pg_wal" in str(path) for path in files)
    found = {}
    for path in files:
        with contextlib.suppress(FileNotFoundError):
            if hits := searcher.exactly(path.read_bytes()):
                found[str(path.relative_to(folder))] = hits
    return found


@pytest.mark.proof
async def test_no_card_number_is_anywhere_but_sealed_in_the_vault(
    processes: Any, http: AiohttpClient, tmp_path: Path, searcher_of: Any, collector: Any
) -> None:
    async with world(processes, http, tmp_path, collector.url) as made:
        await ordinary_traffic(made)
        begun = await saved_cards(made)
        await malformed_forms(made)
        await wrong_calls(made)
        await crashes(made)
        begun += await saved_cards(made, killed=True)
        await processes.answer(HttpRequest("GET", f"{made.urls['gateway']}/readyz", {}, b"", 5))
        await ordinary_traffic(made)
        for url in made.urls.values():
            for path in ("/metrics", "/healthz", "/docs", "/openapi.json"):
                await made.get(url + path)

        dsns = {name: as_administrator(dsn) for name, dsn in made.dsns.items()}
        gateway = dsns["TALLYSTICK_GATEWAY_DATABASE_DSN"]
        searcher = searcher_of(made.canaries.used)
        found: dict[str, set[str]] = {}
        for dsn in dsns.values():
            found |= searcher.in_database(dsn)
        found["log"] = searcher.within(bytes(made.log))
        assert {"acquirer charge", "pay on the page", "process webhook"} <= {span["name"] for span in collector.spans}
        traces = b"\n".join(collector.bodies)
        found["traces"] = searcher.within(traces)
        for told in (traces, bytes(made.log)):
            assert not [word for word in (EMAIL, "Zenobia", "Quillfeather", "A. Shopper") if word.encode() in told]
        said = {str(value) for span in collector.spans for value in (span["name"], *span["attributes"].values())}
        assert CODE not in said
        found |= {answer.decode(errors="replace"): searcher.within(answer) for answer in made.answers.kept}

        # Of the range itself, two digits more than may be shown, nothing stands in any file either.
        with psycopg.connect(gateway, autocommit=True) as connection:
            connection.execute("CHECKPOINT")
        of_range = searcher_of([made.canaries.range])
        found |= files_with(of_range, tmp_path)
        found["log"] |= of_range.exactly(bytes(made.log))
        found["traces"] |= of_range.exactly(traces)
        found |= {f"range: {answer.decode(errors='replace')}": of_range.exactly(answer) for answer in made.answers.kept}
        leaks = [f"{place[-400:]}: {sorted(hits)}" for place, hits in found.items() if hits]
        assert not leaks, "\n\n".join(leaks)

        # All this was about something: payments were made with these numbers, and some wait in the vault.
        kept = await opened(gateway, tmp_path / "vault.keys")
        assert kept
        assert begun >= 2, "saved cards were paid with"
        assert set(kept) <= set(made.canaries.used)
        with psycopg.connect(gateway) as connection:
            states: dict[str, int] = dict(
                connection.execute("SELECT state, count(*) FROM charge GROUP BY 1").fetchall()
            )
            first6 = connection.execute("SELECT DISTINCT first6 FROM payment_method").fetchall()
            connection.execute(
                "UPDATE payment_intent SET description = %s WHERE id = (SELECT min(id) FROM payment_intent)", (kept[0],)
            )
        assert states["approved"] >= 4
        assert states["declined"] >= 4
        assert first6 == [(made.canaries.range[:6],)]

        # And would have been found: what is planted is.
        assert list(searcher.in_database(gateway)) == ["public.payment_intent"]
        with psycopg.connect(gateway, autocommit=True) as connection:
            connection.execute("CHECKPOINT")
        assert files_with(of_range, tmp_path)
