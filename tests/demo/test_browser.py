"""The shoppers' browser reads pages as a browser without JavaScript does."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from tallystick.demo.browser import Browser, Lost, read_page
from tallystick.ports.aiohttp_http import AiohttpClient

URL = "https://pay.example/pay/cs_1?x=1"


def test_a_form_with_what_it_came_with() -> None:
    page = read_page(
        URL,
        200,
        """<title>Pay &amp; go</title><form method="post" action="/pay/cs_1">
        <input name="token" type="hidden" value="t1"><input name="cc-number" autocomplete="cc-number">
        <input type="checkbox" name="off" value="1"><input type="checkbox" name="on" value="1" checked>
        <button name="result" value="failed">No, <b>not me</b></button></form>""",
    )
    (form,) = page.forms
    assert (page.title, form.action, form.method) == ("Pay & go", "https://pay.example/pay/cs_1", "post")
    assert [(field.name, field.value) for field in form.fields] == [("token", "t1"), ("cc-number", ""), ("on", "1")]
    assert form.buttons == [("result", "failed", "No, not me")]
    found = form.field_for("cc-number")
    assert found is not None
    assert found.name == "cc-number"


def test_a_form_without_action_goes_where_it_stands() -> None:
    (form,) = read_page(URL, 200, "<form><input name=a></form>").forms
    assert (form.action, form.method) == (URL, "get")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("0; url=https://bank.example/acs/1", (0.0, "https://bank.example/acs/1")),
        ("2;URL='/next'", (2.0, "https://pay.example/next")),
        ("5", (5.0, URL)),
        ("3600; url=/later", None),
        ("soon", None),
    ],
)
def test_meta_refresh(content: str, expected: tuple[float, str] | None) -> None:
    page = read_page(URL, 200, f'<noscript><meta http-equiv="refresh" content="{content}"></noscript>')
    assert page.refresh == expected


def test_what_scripts_and_templates_hold_is_not_on_the_page() -> None:
    page = read_page(URL, 200, "<script>var a='<form>'</script><template><a href=/x>no</a></template><p>Yes</p>")
    assert (page.text, page.forms, page.links) == ("Yes", [], [])


@pytest.fixture
async def site() -> AsyncIterator[str]:
    """A site that wants a cookie, redirects after a POST, and turns in circles."""

    async def start(_: web.Request) -> web.Response:
        answer = web.Response(text="<form method=post action=/enter><input name=who></form>", content_type="text/html")
        answer.set_cookie("seat", "12", httponly=True)
        return answer

    async def enter(request: web.Request) -> web.Response:
        form = await request.post()
        raise web.HTTPSeeOther(f"/inside/{form['who']!s}/{request.cookies.get('seat')}")

    async def inside(request: web.Request) -> web.Response:
        return web.Response(text=f"<p>{request.method} {request.path}</p>", content_type="text/html")

    async def circle(_: web.Request) -> web.Response:
        raise web.HTTPFound("/circle")

    application = web.Application()
    application.add_routes([web.get("/", start), web.post("/enter", enter), web.get("/inside/{a}/{b}", inside)])
    application.add_routes([web.get("/circle", circle)])
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_cookies_are_kept_and_a_redirect_after_a_post_is_read(site: str) -> None:
    http = AiohttpClient()
    browser = Browser(http)
    page = await browser.open(f"{site}/")
    page = await browser.submit(page, page.forms[0], {"who": "ada"})
    assert page.text == "GET /inside/ada/12"
    with pytest.raises(Lost, match="redirects"):
        await browser.open(f"{site}/circle")
    await http.close()


async def test_nobody_there_is_a_lost_way() -> None:
    http = AiohttpClient()
    with pytest.raises(Lost):
        await Browser(http).open("http://127.0.0.1:1/")
    await http.close()
