"""Malformed, oversized, wrong-typed and unknown input at every page: a clear page, no 500, no echo (RULES §9)."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
import pytest_asyncio

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

CARD = {"cc-number": "4242424242424242", "cc-exp": "12/34", "cc-csc": "123", "cc-name": "Ada"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest_asyncio.fixture(loop_scope="session")
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def post(client: Any, url: str, body: bytes | str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    async with client.post(url, data=body, headers=FORM | (headers or {}), allow_redirects=False) as response:
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Content-Type"].startswith("text/html")
        return response.status, await response.text()


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", {}, 422),
        (b"cc-number=%00%ff&cc-exp=%00&cc-csc=%00&cc-name=%00", {}, 422),
        (b"\xff\xfe\x00", {}, 400),
        (b"&".join(b"a=1" for _ in range(100)), {}, 400),
        (b"x" * 9000, {}, 413),
        (b"{}", {"Content-Type": "application/json"}, 415),
        (b"x", {"Content-Type": "multipart/form-data; boundary=x"}, 415),
        (b"x", {"Content-Type": ";;;"}, 415),
        (urlencode(CARD).encode(), {"Sec-Fetch-Site": "cross-site"}, 403),
        (urlencode(CARD | {"cc-number": "4111111111111111"}).encode(), {}, 422),  # not one that the acquirer takes
        (urlencode(CARD | {"cc-csc": "<script>"}).encode(), {}, 422),
    ],
)
async def test_what_is_no_card_is_refused_and_nothing_is_charged(
    client: Any, gateway: Any, body: bytes, headers: dict[str, str], status: int
) -> None:
    session = await gateway.session()
    assert (await post(client, session.url, body, headers))[0] == status
    found = await gateway.retrieve(session.id)
    assert found.status == "open"
    assert await gateway.charges(found.payment_intent) == []


@pytest.mark.parametrize("changes", [{"cc-exp": "01/20"}, {"cc-number": "4111111111111111"}, {"cc-csc": "98761"}])
async def test_number_and_code_are_never_sent_back(client: Any, gateway: Any, changes: dict[str, str]) -> None:
    session = await gateway.session()
    sent = {**CARD, "cc-csc": "737", **changes}
    status, text = await post(client, session.url, urlencode(sent))
    assert status == 422
    assert 'value="Ada"' in text, "what may be shown again is"
    assert sent["cc-number"] not in text
    assert sent["cc-csc"] not in text


async def test_what_was_typed_is_never_markup(client: Any, gateway: Any) -> None:
    session = await gateway.session()
    _, text = await post(client, session.url, urlencode({"cc-name": '"><script>alert(1)</script>'}))
    assert "<script>alert" not in text


@pytest.mark.parametrize(
    "path", ["/pay/x", "/pay/cs_test_x", "/pay/%00", "/embed/pi_1", "/acs/ch_1", "/acs/%F0%9F%92%B3"]
)
@pytest.mark.parametrize("end", ["", "/challenge", "/authenticated", "/return"])
async def test_what_does_not_exist_is_not_found(client: Any, gateway: Any, path: str, end: str) -> None:
    async with client.get(f"{gateway.url}{path}{end}", allow_redirects=False) as response:
        assert response.status == 404
    async with client.post(f"{gateway.url}{path}", data=CARD | {"result": "succeeded"}) as response:
        assert response.status == 404


@pytest.mark.parametrize("body", [b"", b"result=yes", b"result=pending", b"\xff", b"result=succeeded&" * 100])
async def test_the_bank_understands_three_answers(client: Any, gateway: Any, body: bytes) -> None:
    session = await gateway.session()
    await post(client, session.url, urlencode(CARD | {"cc-number": "4000002500003155"}))
    bank = await gateway.bank_of(session.id)
    assert (await post(client, bank, body))[0] == 400
    async with client.get(bank) as response:
        assert "Is this you?" in await response.text()


async def test_a_made_up_return_proves_nothing(client: Any, gateway: Any) -> None:
    """RULES §3: the result is taken server to server, never from the browser."""
    session = await gateway.session()
    await post(client, session.url, urlencode(CARD | {"cc-number": "4000002500003155"}))
    async with client.get(f"{session.url}/authenticated?result=succeeded", allow_redirects=False) as response:
        assert response.status == 303
    assert (await gateway.retrieve(session.id)).payment_status == "unpaid"


async def test_whoever_tries_cards_out_is_stopped(client: Any, gateway: Any) -> None:
    """RULES §3: after ten declines in one session it expires and its intent is canceled."""
    session = await gateway.session()
    declined = urlencode(CARD | {"cc-number": "4000000000000002"})
    for _ in range(10):
        assert (await post(client, session.url, declined))[0] == 303
    async with client.get(session.url) as response:
        assert "This payment page has expired" in await response.text()
    assert (await post(client, session.url, urlencode(CARD)))[0] == 303
    found = await gateway.retrieve(session.id)
    assert (found.status, found.payment_status) == ("expired", "unpaid")
