"""What a browser really receives on the payment pages is what the manifest says (RULES §9; PCI DSS 6.4.3, 11.6.1)."""

import base64
import hashlib
import json
import re
from importlib.resources import files
from typing import Any

import pytest

from tallystick.kernel.logins.users import add_user
from tallystick.kernel.operators.roles import Role
from tallystick.ports.asyncpg_database import open_database
from tallystick.ports.clock import SystemClock
from tallystick.ports.entropy import SystemEntropy

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

MANIFEST = json.loads((files("tallystick.gateway.pages") / "manifest.json").read_text())
PASSWORD = "correct horse battery"
TRANSPORT = {"date", "server", "content-length"}  # of the server and the moment, not of the page
LOADED = "[...document.querySelectorAll('script, link[rel=stylesheet]')]"
INLINE_OR_FRAMED = "script:not([src]), style, [style], iframe, object, embed"
DOCUMENT_AND_LISTED = {"document", "script", "stylesheet"}


def integrity(body: bytes) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(body).digest()).decode()


async def received(page: Any, url: str) -> dict[str, Any]:
    """Open `url` and tell what came, in the words of the manifest."""
    responses: list[Any] = []
    page.on("response", lambda response: responses.append(response))
    document = await page.goto(url, wait_until="networkidle")
    nonces = await page.evaluate(
        "[...document.querySelectorAll('script, link[rel=stylesheet]')].map(each => each.nonce)"
    )
    assert len(set(nonces)) == 1
    found: dict[str, Any] = {
        "headers": {
            header["name"].lower(): header["value"].replace(nonces[0], "{nonce}")
            for header in await document.headers_array()
            if header["name"].lower() not in TRANSPORT
        }
    }
    for kind, resource in (("scripts", "script"), ("styles", "stylesheet")):
        found[kind] = [
            {"path": response.url.removeprefix(url[: url.index("/", 8)]), "integrity": integrity(await response.body())}
            for response in responses
            if response.request.resource_type == resource
        ]
    tags = "[...document.querySelectorAll('script, link[rel=stylesheet]')].map(each => each.integrity)"
    assert sorted(await page.evaluate(tags)) == sorted(each["integrity"] for each in found["scripts"] + found["styles"])
    assert (
        await page.evaluate("document.querySelectorAll('script:not([src]), style, [style], iframe, object').length")
        == 0
    )
    return found


def expected(name: str, origins: str) -> dict[str, Any]:
    text = json.dumps(MANIFEST["pages"][name]).replace("{origins}", origins)
    manifest = json.loads(text)
    return {
        "headers": manifest["headers"],
        **{
            kind: [{"path": each["path"], "integrity": each["integrity"]} for each in manifest[kind]]
            for kind in ("scripts", "styles")
        },
    }


async def test_the_hosted_page_is_what_the_manifest_says(open_page: Any, https_gateway: Any) -> None:
    session = await https_gateway.session()
    page = await open_page(ignore_https_errors=True)
    assert await received(page, session.url) == expected("hosted", "")


async def test_the_embedded_page_is_what_the_manifest_says(open_page: Any, https_gateway: Any, shop: Any) -> None:
    session = await https_gateway.embedded_session()
    page = await open_page(ignore_https_errors=True)
    url = f"{https_gateway.url}/embed/{session.id}"
    assert await received(page, url) == expected("embedded", shop.origin)


async def test_the_banks_page_is_what_the_manifest_says(open_page: Any, https_gateway: Any, fill_card: Any) -> None:
    session = await https_gateway.session()
    page = await open_page(ignore_https_errors=True)
    await page.goto(session.url)
    await fill_card(page, "4000002500003155")
    await page.get_by_role("button", name="Pay").click()
    await page.wait_for_url("**/acs/**")
    other = await page.context.new_page()
    assert await received(other, page.url) == expected("bank", "")


async def test_the_banks_page_of_an_embedded_page_is_what_the_manifest_says(
    open_page: Any, https_gateway: Any, shop: Any, fill_card: Any
) -> None:
    session = await https_gateway.embedded_session()
    page = await open_page(ignore_https_errors=True)
    await page.goto(f"{https_gateway.url}/embed/{session.id}")
    await fill_card(page, "4000002500003155")
    await page.get_by_role("button", name="Pay").click()
    await page.wait_for_url("**/acs/**")
    other = await page.context.new_page()
    assert await received(other, page.url) == expected("bank_of_an_embedded_page", shop.origin)


async def test_the_way_to_the_bank_is_what_the_manifest_says_of_the_page(
    open_page: Any, https_gateway: Any, fill_card: Any
) -> None:
    session = await https_gateway.session()
    page = await open_page(ignore_https_errors=True)
    await page.goto(session.url)
    await fill_card(page, "4000002500003155")
    await page.get_by_role("button", name="Pay").click()
    await page.wait_for_url("**/acs/**")
    between = await page.request.get(f"{https_gateway.url}/pay/{session.id}/challenge")
    wanted = expected("hosted", "")["headers"]
    got = {name: re.sub(r"nonce-[^']+", "nonce-{nonce}", value) for name, value in between.headers.items()}
    assert {name: value for name, value in got.items() if name not in TRANSPORT} == wanted
    scripts = re.findall(r'<script[^>]* src="([^"]+)"', await between.text())
    assert scripts == [each["path"] for each in MANIFEST["pages"]["hosted"]["scripts"]]


async def test_the_operators_pages_are_what_the_manifest_says(open_page: Any, https_gateway: Any) -> None:
    page = await open_page(ignore_https_errors=True)
    assert await received(page, f"{https_gateway.url}/console/login") == expected("console", "")


async def test_the_operators_pages_that_keep_themselves_new_are_what_the_manifest_says(
    open_page: Any, https_gateway: Any, lasting_gateway_dsn: str
) -> None:
    """What such a page may ask besides, the others may not."""
    await _employ(lasting_gateway_dsn)
    page = await open_page(ignore_https_errors=True)
    login = {"name": "ada", "password": PASSWORD}
    await page.request.post(f"{https_gateway.url}/console/login", form=login, headers={"Sec-Fetch-Site": "same-origin"})
    assert await received(page, f"{https_gateway.url}/console/overview") == expected("console_kept_new", "")
    other = await page.context.new_page()
    assert await received(other, f"{https_gateway.url}/console/account") == expected("console", "")


async def _employ(dsn: str) -> None:
    database = await open_database(dsn, connections_max=2)
    try:
        await add_user(database, "ada", PASSWORD, SystemClock(), SystemEntropy(), role=Role.ADMIN)
    finally:
        await database.close()


async def test_the_embed_script_is_what_the_manifest_says(open_page: Any, https_gateway: Any) -> None:
    page = await open_page(ignore_https_errors=True)
    script = MANIFEST["for_merchants_pages"]
    response = await page.request.get(https_gateway.url + script["path"])
    assert integrity(await response.body()) == script["integrity"]


async def test_every_answer_has_a_nonce_of_its_own(open_page: Any, https_gateway: Any) -> None:
    session = await https_gateway.session()
    page = await open_page(ignore_https_errors=True)
    nonces = set()
    for _ in range(3):
        response = await page.goto(session.url, wait_until="networkidle")
        policy = (await response.all_headers())["content-security-policy"]
        nonces.update(re.findall(r"'nonce-([^']+)'", policy))
    assert len(nonces) == 3


async def test_every_script_says_why_it_is_there() -> None:
    for page in MANIFEST["pages"].values():
        for each in [*page["scripts"], *page["styles"]]:
            assert each["purpose"]
