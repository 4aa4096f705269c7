"""The payment page on phones, in the dark, under magnifiers and for screen readers (RULES §9)."""

from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

TAP_PX_MIN = 44
CONTRAST_MIN = 4.5  # WCAG 2.2 AA for text
PAGE_BYTES_MAX = 30_000  # document, style and script together

TOO_SMALL = """min => [...document.querySelectorAll("a, button, input, summary")]
    .filter(element => element.checkVisibility())
    .map(element => [element.outerHTML.slice(0, 80), element.getBoundingClientRect()])
    .filter(([, box]) => box.height < min || box.width < min).map(([html]) => html)"""

POOR_CONTRAST = """min => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const channels = color => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const light = color => { const [r, g, b] = channels(color).map(value => value / 255)
      .map(value => value <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b; };
  const ground = element => { for (; element; element = element.parentElement) {
      const color = getComputedStyle(element).backgroundColor;
      if (channels(color)[3] > 0) return color; } return "white"; };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const said = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (!(said || element.placeholder) || !element.checkVisibility() || element.closest("svg, template")) continue;
    const over = light(ground(element));
    const color = getComputedStyle(element).color;
    const ratio = (Math.max(light(color), over) + .05) / (Math.min(light(color), over) + .05);
    if (ratio < min) poor.push([element.outerHTML.slice(0, 80), ratio]);
  }
  return poor;
}"""


async def every_kind_of_page(page: Any, gateway: Any) -> Any:
    """Shows one page after the other: form, mistakes, waiting bank, bank, outcome, expired."""
    session = await gateway.session(items=3)
    await page.goto(session.url)
    yield "form"
    await page.get_by_role("button", name="Pay").click()
    await page.get_by_role("alert").wait_for()
    yield "mistakes"
    await page.locator("#cc-number").fill("4000002500003155")
    await page.locator("#cc-exp").fill("12/34")
    await page.locator("#cc-csc").fill("123")
    await page.get_by_role("button", name="Pay").click()
    await page.wait_for_url("**/acs/**")
    bank = page.url
    yield "bank"
    await page.goto(session.url)
    yield "bank waits"
    await page.goto(bank)
    await page.get_by_role("button", name="Cancel").click()
    await page.get_by_role("alert").wait_for()
    yield "declined"
    expired = await gateway.session()
    await gateway.expire(expired.id)
    await page.goto(expired.url)
    yield "expired"


@pytest.mark.parametrize("width_px", [320, 390, 768])
async def test_nothing_is_wider_than_the_screen_and_everything_can_be_tapped(
    open_page: Any, gateway: Any, width_px: int
) -> None:
    page = await open_page(viewport={"width": width_px, "height": 800}, has_touch=True)
    async for kind in every_kind_of_page(page, gateway):
        assert await page.evaluate("document.documentElement.scrollWidth") <= width_px, kind
        assert await page.evaluate(TOO_SMALL, TAP_PX_MIN) == [], kind


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_text_stands_out_from_its_ground(open_page: Any, gateway: Any, scheme: str) -> None:
    page = await open_page(color_scheme=scheme, reduced_motion="reduce")
    async for kind in every_kind_of_page(page, gateway):
        assert await page.evaluate(POOR_CONTRAST, CONTRAST_MIN) == [], kind


async def test_every_page_has_language_title_one_heading_and_named_inputs(open_page: Any, gateway: Any) -> None:
    page = await open_page()
    async for kind in every_kind_of_page(page, gateway):
        assert await page.locator("html").get_attribute("lang") == "en", kind
        assert await page.title(), kind
        assert await page.locator("h1").count() == 1, kind
        assert await page.locator("main").count() == 1, kind
        assert await page.evaluate("[...document.querySelectorAll('input')].every(input => input.labels.length)"), kind


@pytest.mark.parametrize(("motion", "moving"), [("no-preference", 1), ("reduce", 0)])
async def test_nothing_moves_for_who_wants_no_motion(
    open_page: Any, gateway: Any, fill_card: Any, motion: str, moving: int
) -> None:
    page = await open_page(reduced_motion=motion)
    session = await gateway.session()
    await page.goto(session.url)
    await fill_card(page, "4242424242424242")
    turning = "document.getAnimations().filter(each => each.animationName === 'turn').length"
    pressed = f"(() => {{ document.querySelector('button').click(); return {turning} }})()"
    assert await page.evaluate(pressed) == moving
    await page.wait_for_url("**/thanks**")


async def test_the_page_is_small_and_comes_from_one_place(open_page: Any, gateway: Any) -> None:
    page = await open_page()
    responses: list[Any] = []
    page.on("response", lambda response: responses.append(response))
    session = await gateway.session(items=3)
    await page.goto(session.url, wait_until="networkidle")
    assert 3 <= len(responses) <= 4, "document, style, script, and the icon where the browser wants it"
    assert 5_000 < sum([len(await response.body()) for response in responses]) < PAGE_BYTES_MAX
    assert all(response.url.startswith(gateway.url) for response in responses)


async def test_card_inputs_are_what_browsers_fill_in(open_page: Any, gateway: Any) -> None:
    page = await open_page()
    session = await gateway.session()
    await page.goto(session.url)
    for name in ("cc-number", "cc-exp", "cc-csc", "cc-name"):
        assert await page.locator(f"input[name={name}][autocomplete={name}]").count() == 1
    for name in ("cc-number", "cc-exp", "cc-csc"):
        assert await page.locator(f"#{name}").get_attribute("inputmode") == "numeric"
