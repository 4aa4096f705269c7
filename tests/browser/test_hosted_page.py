"""Paying on the hosted page, as a shopper does (RULES §3, §9)."""

import asyncio
import re
from typing import Any

import pytest
from playwright.async_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

APPROVED = "4242424242424242"
DECLINED = "4000000000000002"
NO_MONEY = "4000000000009995"
STOLEN = "4000000000009979"
ASKS_THE_BANK = "4000002500003155"
ASKS_THE_BANK_THEN_DECLINED = "4000008400001629"


async def pay(page: Page) -> None:
    await page.get_by_role("button", name="Pay").click()


async def ends_in_the_shop(page: Page, shop: Any, session: Any) -> None:
    await page.wait_for_url(f"{shop.origin}/thanks?session={session.id}")


async def is_paid_once(gateway: Any, session: Any) -> None:
    found = await gateway.retrieve(session.id)
    assert (found.status, found.payment_status) == ("complete", "paid")
    charges = await gateway.charges(found.payment_intent)
    assert [charge.status for charge in charges].count("succeeded") == 1


async def test_a_shopper_pays(open_page: Any, gateway: Any, shop: Any, fill_card: Any) -> None:
    session = await gateway.session()
    page = await open_page()
    await page.goto(session.url)
    await expect(page.get_by_role("heading", level=1)).to_contain_text("€25.00")
    await expect(page.get_by_role("button")).to_have_text("Pay €25.00")
    await fill_card(page, APPROVED, expiry="1234", typed=True)
    await expect(page.locator("[autocomplete=cc-number]")).to_have_value("4242 4242 4242 4242")
    await expect(page.locator("[autocomplete=cc-exp]")).to_have_value("12 / 34")
    await pay(page)
    await ends_in_the_shop(page, shop, session)
    await is_paid_once(gateway, session)


async def test_a_declined_card_and_then_a_good_one(open_page: Any, gateway: Any, shop: Any, fill_card: Any) -> None:
    session = await gateway.session()
    page = await open_page()
    await page.goto(session.url)
    await fill_card(page, DECLINED)
    await pay(page)
    problem = page.get_by_role("alert")
    await expect(problem).to_contain_text("Your card was declined")
    await expect(problem).to_contain_text("Nothing was charged")
    await expect(problem).to_be_focused()
    for name in ("cc-number", "cc-exp", "cc-csc", "cc-name"):
        await expect(page.locator(f"[autocomplete={name}]")).to_have_value("")
    await fill_card(page, APPROVED)
    await pay(page)
    await ends_in_the_shop(page, shop, session)
    await is_paid_once(gateway, session)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (NO_MONEY, "There is not enough money on this card"),
        (STOLEN, "Your bank did not say why"),
        ("4000000000000069", "Your card has expired"),
        ("4000000000000127", "The security code is not right"),
        ("4000000000000119", "Something went wrong at the bank"),
    ],
)
async def test_a_decline_is_told_in_plain_words(
    open_page: Any, gateway: Any, fill_card: Any, number: str, words: str
) -> None:
    """What a bank says of a stolen card is not for the person who holds it."""
    session = await gateway.session()
    page = await open_page()
    await page.goto(session.url)
    await fill_card(page, number)
    await pay(page)
    await expect(page.get_by_role("alert")).to_contain_text(words)
    content = await page.content()
    assert number not in re.sub(r"\s", "", content)
    assert "stolen" not in content


async def test_the_bank_is_asked_and_agrees(open_page: Any, gateway: Any, shop: Any, fill_card: Any) -> None:
    session = await gateway.session()
    page = await open_page()
    await page.goto(session.url)
    await fill_card(page, ASKS_THE_BANK)
    await pay(page)
    await page.wait_for_url("**/acs/**")
    await expect(page.get_by_role("main")).to_contain_text("€25.00")
    await page.get_by_role("button", name="Yes, confirm payment").click()
    await ends_in_the_shop(page, shop, session)
    await is_paid_once(gateway, session)


@pytest.mark.parametrize("answer", ["No, this is not me", "Cancel"])
async def test_the_bank_does_not_agree_and_another_card_does(
    open_page: Any, gateway: Any, shop: Any, fill_card: Any, answer: str
) -> None:
    session = await gateway.session()
    page = await open_page()
    await page.goto(session.url)
    await fill_card(page, ASKS_THE_BANK)
    await pay(page)
    await page.get_by_role("button", name=answer).click()
    await expect(page.get_by_role("alert")).to_contain_text("Your bank could not confirm this payment")
    await fill_card(page, APPROVED)
    await pay(page)
    await ends_in_the_shop(page, shop, session)
    await is_paid_once(gateway, session)


async def test_the_bank_agrees_and_then_declines(open_page: Any, gateway: Any, fill_card: Any) -> None:
    session = await gateway.session()
    page = await open_page()
    await page.goto(session.url)
    await fill_card(page, ASKS_THE_BANK_THEN_DECLINED)
    await pay(page)
    await page.get_by_role("button", name="Yes, confirm payment").click()
    await expect(page.get_by_role("alert")).to_contain_text("Your card was declined")


async def test_who_never_returns_from_the_bank_can_pay_with_another_card(
    open_page: Any, gateway: Any, shop: Any, fill_card: Any
) -> None:
    session = await gateway.session()
    page = await open_page()
    await page.goto(session.url)
    await fill_card(page, ASKS_THE_BANK)
    await pay(page)
    await page.wait_for_url("**/acs/**")
    await page.goto(session.url)
    await expect(page.get_by_role("main")).to_contain_text("Your bank is waiting for you")
    await fill_card(page, APPROVED)
    await pay(page)
    await ends_in_the_shop(page, shop, session)
    await is_paid_once(gateway, session)


async def test_returning_twice_from_the_bank_is_harmless(
    open_page: Any, gateway: Any, shop: Any, fill_card: Any
) -> None:
    session = await gateway.session()
    page = await open_page()
    await page.goto(session.url)
    await fill_card(page, ASKS_THE_BANK)
    await pay(page)
    await page.wait_for_url("**/acs/**")
    bank = page.url
    await page.get_by_role("button", name="Yes, confirm payment").click()
    await ends_in_the_shop(page, shop, session)
    await page.goto(bank)
    await ends_in_the_shop(page, shop, session)
    await page.goto(f"{session.url}/authenticated")
    await ends_in_the_shop(page, shop, session)
    await is_paid_once(gateway, session)


async def test_pressing_twice_two_tabs_and_reloading_charge_once(
    open_page: Any, gateway: Any, shop: Any, fill_card: Any
) -> None:
    session = await gateway.session()
    one = await open_page()
    other = await one.context.new_page()
    for page in (one, other):
        await page.goto(session.url)
        await fill_card(page, APPROVED)
    await asyncio.gather(*(page.get_by_role("button", name="Pay").dblclick() for page in (one, other)))
    for page in (one, other):
        await ends_in_the_shop(page, shop, session)
        await page.goto(session.url)
        await expect(page.get_by_role("heading", name="Payment received")).to_be_visible()
    await is_paid_once(gateway, session)


async def test_while_the_bank_thinks_the_page_waits_by_itself(
    open_page: Any, slow_gateway: Any, shop: Any, fill_card: Any
) -> None:
    session = await slow_gateway.session()
    page = await open_page()
    await page.goto(session.url)
    await fill_card(page, APPROVED)
    pressed = "(button => { button.click(); return [button.textContent, button.ariaDisabled] })"
    assert await page.evaluate(f"{pressed}(document.querySelector('button'))") == ["Paying…", "true"]
    await slow_gateway.until_processing(session.id)
    other = await page.context.new_page()
    await other.goto(session.url)
    await expect(other.get_by_role("heading", level=1)).to_have_text("One moment please")
    await ends_in_the_shop(other, shop, session)
    await is_paid_once(slow_gateway, session)


async def test_mistakes_are_shown_before_anything_is_sent(open_page: Any, gateway: Any, fill_card: Any) -> None:
    session = await gateway.session()
    page = await open_page()
    posts: list[str] = []
    page.on("request", lambda request: posts.append(request.url) if request.method == "POST" else None)
    await page.goto(session.url)
    await fill_card(page, "4242424242424241", expiry="1220", code="12")
    await pay(page)
    problem = page.get_by_role("alert")
    await expect(problem).to_be_focused()
    await expect(problem.get_by_role("link")).to_have_count(3)
    for name in ("cc-number", "cc-exp", "cc-csc"):
        field = page.locator(f"#{name}")
        await expect(field).to_have_attribute("aria-invalid", "true")
        described = await field.get_attribute("aria-describedby")
        assert described is not None
        await expect(page.locator(f"#{described.split()[-1]}")).to_be_visible()
    await problem.get_by_role("link").first.click()
    await expect(page.locator("#cc-number")).to_be_focused()
    assert posts == []


async def test_the_keyboard_is_enough(open_page: Any, gateway: Any, shop: Any) -> None:
    session = await gateway.session()
    page = await open_page()
    await page.goto(session.url)
    for text in (APPROVED, "1234", "123", "Ada", ""):
        await page.keyboard.press("Tab")
        outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", "what has the focus must be seen to have it"
        await page.keyboard.type(text)
    await expect(page.get_by_role("button", name="Pay")).to_be_focused()
    await page.keyboard.press("Enter")
    await ends_in_the_shop(page, shop, session)
    await is_paid_once(gateway, session)


async def test_it_works_without_javascript(open_page: Any, gateway: Any, shop: Any, fill_card: Any) -> None:
    session = await gateway.session()
    page = await open_page(java_script_enabled=False)
    await page.goto(session.url)
    await fill_card(page, DECLINED)
    await pay(page)
    await expect(page.get_by_role("alert")).to_contain_text("Your card was declined")
    await fill_card(page, ASKS_THE_BANK)
    await pay(page)
    await page.get_by_role("button", name="No, this is not me").click()
    await expect(page.get_by_role("alert")).to_contain_text("Your bank could not confirm this payment")
    await fill_card(page, APPROVED)
    await pay(page)
    await ends_in_the_shop(page, shop, session)
    await is_paid_once(gateway, session)


async def test_the_amount_is_written_in_the_shoppers_way(open_page: Any, gateway: Any) -> None:
    session = await gateway.session()
    page = await open_page(locale="de-DE")
    await page.goto(session.url)
    await expect(page.get_by_role("button")).to_have_text("Pay 25,00\u00a0€")


async def test_who_changes_their_mind_is_led_back(open_page: Any, gateway: Any, shop: Any) -> None:
    session = await gateway.session()
    page = await open_page()
    await page.goto(session.url)
    await page.get_by_role("link", name="Cancel").click()
    await page.wait_for_url(f"{shop.origin}/basket")


async def test_an_expired_session_says_so(open_page: Any, gateway: Any, shop: Any) -> None:
    session = await gateway.session()
    await gateway.expire(session.id)
    page = await open_page()
    await page.goto(session.url)
    await expect(page.get_by_role("heading", level=1)).to_have_text("This payment page has expired")
    await page.get_by_role("link", name="Return to").click()
    await page.wait_for_url(f"{shop.origin}/basket")


async def test_a_session_that_expires_under_the_shoppers_hands(open_page: Any, gateway: Any, fill_card: Any) -> None:
    session = await gateway.session()
    page = await open_page()
    await page.goto(session.url)
    await fill_card(page, APPROVED)
    await gateway.expire(session.id)
    await pay(page)
    await expect(page.get_by_role("heading", level=1)).to_have_text("This payment page has expired")


async def test_a_shopper_saves_a_card_and_pays_with_it_when_she_returns(
    open_page: Any, saving_gateway: Any, shop: Any, fill_card: Any
) -> None:
    customer = await saving_gateway.customer()
    first = await saving_gateway.session_of(customer)
    page = await open_page()
    await page.goto(first.url)
    await expect(page.get_by_role("heading", name="Pay with a saved card")).to_have_count(0)
    await fill_card(page, APPROVED)
    await page.get_by_label("Save this card").check()
    await pay(page)
    await ends_in_the_shop(page, shop, first)

    again = await saving_gateway.session_of(customer)
    page = await open_page()
    await page.goto(again.url)
    card = page.get_by_role("listitem").filter(has_text="4242")
    await expect(card).to_contain_text("12 / 34")
    await card.get_by_role("button").click()
    await ends_in_the_shop(page, shop, again)
    await is_paid_once(saving_gateway, again)


async def test_a_card_that_is_not_to_be_saved_is_not_there_when_she_returns(
    open_page: Any, saving_gateway: Any, shop: Any, fill_card: Any
) -> None:
    customer = await saving_gateway.customer()
    first = await saving_gateway.session_of(customer)
    page = await open_page()
    await page.goto(first.url)
    await expect(page.get_by_label("Save this card")).not_to_be_checked()
    await fill_card(page, APPROVED)
    await pay(page)
    await ends_in_the_shop(page, shop, first)
    await page.goto((await saving_gateway.session_of(customer)).url)
    await expect(page.get_by_role("heading", name="Pay with a saved card")).to_have_count(0)
