"""The payment page in a page of another origin (DESIGN §5, RULES §9)."""

from typing import Any

import pytest
from playwright.async_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

APPROVED = "4242424242424242"
DECLINED = "4000000000000002"
ASKS_THE_BANK = "4000002500003155"


async def embed(page: Page, gateway: Any, shop: Any, session: Any, call: str = "createEmbeddedCheckoutPage") -> Any:
    """Show `session` in the shop's own page."""
    shop.embedding = {
        "gateway": gateway.url,
        "key": gateway.publishable_key,
        "secret": session.client_secret,
        "call": call,
    }
    await page.goto(f"{shop.origin}/embed")
    return page.frame_locator("#checkout iframe")


async def is_paid(gateway: Any, session: Any) -> None:
    found = await gateway.retrieve(session.id)
    assert (found.status, found.payment_status) == ("complete", "paid")


@pytest.mark.parametrize("call", ["createEmbeddedCheckoutPage", "initEmbeddedCheckout"])
async def test_a_shopper_pays_without_leaving_the_shop(
    open_page: Any, gateway: Any, shop: Any, fill_card: Any, call: str
) -> None:
    session = await gateway.embedded_session()
    page = await open_page()
    frame = await embed(page, gateway, shop, session, call)
    await fill_card(frame, DECLINED)
    await frame.get_by_role("button", name="Pay").click()
    await expect(frame.get_by_role("alert")).to_contain_text("Your card was declined")
    await expect(frame.get_by_role("alert")).to_be_focused()
    await fill_card(frame, APPROVED)
    await frame.get_by_role("button", name="Pay €25.00").click()
    await page.wait_for_url(f"{shop.origin}/thanks?session={session.id}")
    await is_paid(gateway, session)


@pytest.mark.parametrize("answer", ["Yes, confirm payment", "No, this is not me"])
async def test_the_bank_is_asked_inside_the_frame(
    open_page: Any, gateway: Any, shop: Any, fill_card: Any, answer: str
) -> None:
    session = await gateway.embedded_session()
    page = await open_page()
    frame = await embed(page, gateway, shop, session)
    await fill_card(frame, ASKS_THE_BANK)
    await frame.get_by_role("button", name="Pay").click()
    await frame.get_by_role("button", name=answer).click()
    if answer.startswith("No"):
        await expect(frame.get_by_role("alert")).to_contain_text("Your bank could not confirm this payment")
        await fill_card(frame, APPROVED)
        await frame.get_by_role("button", name="Pay").click()
    await page.wait_for_url(f"{shop.origin}/thanks?session={session.id}")
    await is_paid(gateway, session)


async def test_the_parent_is_told_status_and_size_and_nothing_else(
    open_page: Any, gateway: Any, shop: Any, fill_card: Any
) -> None:
    session = await gateway.embedded_session()
    page = await open_page()
    frame = await embed(page, gateway, shop, session)
    await fill_card(frame, DECLINED)
    await frame.get_by_role("button", name="Pay").click()
    await expect(frame.get_by_role("alert")).to_be_visible()
    await page.wait_for_function("messages.length > 1")
    for message in await page.evaluate("messages"):
        assert message["origin"] == gateway.url
        assert set(message["data"]) == {"tallystick", "status", "height"}
        assert message["data"]["status"] == "open"
        assert isinstance(message["data"]["height"], int)


async def test_the_frame_is_as_high_as_its_page(open_page: Any, gateway: Any, shop: Any) -> None:
    session = await gateway.embedded_session()
    page = await open_page(viewport={"width": 390, "height": 700})
    frame = await embed(page, gateway, shop, session)
    await frame.get_by_role("button", name="Pay").click()
    await frame.get_by_role("alert").wait_for()
    inner = await frame.locator("html").evaluate("element => Math.ceil(element.getBoundingClientRect().height)")
    await page.wait_for_function("px => document.querySelector('iframe').offsetHeight === px", arg=inner)
    assert await frame.locator("html").evaluate("element => element.scrollHeight <= innerHeight")


async def test_a_page_of_an_unregistered_origin_is_shown_nothing(
    open_page: Any, gateway: Any, shop: Any, fill_card: Any
) -> None:
    """RULES §9: frame-ancestors = exactly the origins registered for that account."""
    session = await gateway.embedded_session()
    page = await open_page()
    await page.goto(gateway.url + "/js/v1")  # any page of an origin that is not registered
    await page.set_content(f'<iframe src="{gateway.url}/embed/{session.id}"></iframe>')
    await page.wait_for_timeout(500)
    assert await page.frames[1].locator("form").count() == 0
    assert any("frame-ancestors" in complaint for complaint in open_page.complaints)
    open_page.complaints.clear()


async def test_the_frame_tells_nobody_but_its_registered_parent(open_page: Any, gateway: Any, shop: Any) -> None:
    """A greeting that does not come from the parent window is not answered."""
    session = await gateway.embedded_session()
    page = await open_page()
    await page.goto(f"{gateway.url}/embed/{session.id}")  # not framed at all: it is its own parent
    await page.evaluate("window.heard = []; addEventListener('message', ({data}) => heard.push(data))")
    await page.evaluate("postMessage({tallystick: 1}, location.origin)")
    await page.wait_for_timeout(300)
    assert await page.evaluate("heard") == [{"tallystick": 1}]


async def test_the_shops_page_believes_nobody_but_the_frame(open_page: Any, gateway: Any, shop: Any) -> None:
    """RULES §9: both sides check origin and source."""
    session = await gateway.embedded_session()
    page = await open_page()
    frame = await embed(page, gateway, shop, session)
    await frame.get_by_role("button", name="Pay").wait_for()
    await page.evaluate("postMessage({tallystick: 1, status: 'returning', height: 7}, location.origin)")
    await page.wait_for_timeout(300)
    assert page.url == f"{shop.origin}/embed"
    assert await page.evaluate("outcomes") == []
    assert await page.evaluate("document.querySelector('iframe').offsetHeight") != 7


async def test_mount_unmount_destroy(open_page: Any, gateway: Any, shop: Any) -> None:
    session = await gateway.embedded_session()
    page = await open_page()
    frame = await embed(page, gateway, shop, session)
    await frame.get_by_role("button", name="Pay").wait_for()
    await page.evaluate("checkout.unmount()")
    assert await page.locator("iframe").count() == 0
    await page.evaluate("checkout.mount(document.getElementById('checkout'))")
    await frame.get_by_role("button", name="Pay").wait_for()
    await page.evaluate("checkout.destroy()")
    assert await page.locator("iframe").count() == 0
    again = "(() => { try { checkout.mount('#checkout') } catch (error) { return error.message } })()"
    assert "destroyed" in await page.evaluate(again)


@pytest.mark.parametrize(
    "script",
    [
        "Tallystick('sk_test_abc')",
        "Tallystick('pk_live_abc').initEmbeddedCheckout({clientSecret: SECRET})",
        "Tallystick('pk_test_abc').initEmbeddedCheckout({clientSecret: 'pi_1_secret_2'})",
        "Tallystick('pk_test_abc').createEmbeddedCheckoutPage({})",
        "Tallystick('pk_test_abc').createEmbeddedCheckoutPage({fetchClientSecret: async () => null})",
        "Tallystick('pk_test_abc').initEmbeddedCheckout({clientSecret: SECRET}).then(page => page.mount('#nowhere'))",
    ],
)
async def test_a_wrong_call_says_what_is_wrong(open_page: Any, gateway: Any, shop: Any, script: str) -> None:
    session = await gateway.embedded_session()
    page = await open_page()
    await embed(page, gateway, shop, session)
    call = f"(async () => {{ await ({script.replace('SECRET', repr(session.client_secret))}) }})()"
    message = await page.evaluate(f"{call}.catch(error => error.message)")
    assert message.startswith("Tallystick: ")


async def test_each_page_serves_its_own_kind_of_session(open_page: Any, gateway: Any) -> None:
    hosted, embedded = await gateway.session(), await gateway.embedded_session()
    page = await open_page()
    for path in (f"/embed/{hosted.id}", f"/pay/{embedded.id}"):
        await page.goto(gateway.url + path)
        open_page.refused(404, path)
