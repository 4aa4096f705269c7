"""A browser without JavaScript: opens pages, follows redirects, reads links and meta refreshes, fills in forms.

As much of a browser as a scripted shopper needs, on the HTTP port. It keeps cookies by host, as browsers do (the port
does not matter to a cookie), and knows nothing of any page: what a shopper looks for is the shopper's business.
"""

from collections.abc import Mapping
from html.parser import HTMLParser
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlencode, urljoin, urlsplit

from msgspec import Struct

from tallystick.ports.http import Answered, Http, HttpRequest

DEADLINE_S = 30.0  # for one page: a payment page may wait for its bank
REDIRECTS_MAX = 10  # as many in a row as no sound site needs
REFRESH_S_MAX = 30.0  # a page that wants to be read again later than that is where the way ends
FORM = "application/x-www-form-urlencoded"


class Lost(Exception):
    """The way ended: no answer, too many redirects, or a page that lacks what was looked for."""


class Field(Struct, frozen=True):
    """An input of a form: its name, the value it came with, and what it is for (`autocomplete`, where given)."""

    name: str
    value: str
    type: str
    autocomplete: str = ""


class Form(Struct):
    """A form: where it goes, its fields, and its buttons as (name, value, text)."""

    action: str
    method: str
    fields: list[Field]
    buttons: list[tuple[str, str, str]]

    def field_for(self, autocomplete: str) -> Field | None:
        """The field that carries this standard `autocomplete` name, such as `cc-number`."""
        return next((field for field in self.fields if field.autocomplete == autocomplete), None)


class Page(Struct, frozen=True):
    """A page as it was received. `links` are (address, text), `refresh` is (seconds, address); all absolute."""

    url: str
    status: int
    title: str
    text: str
    forms: list[Form]
    links: list[tuple[str, str]]
    refresh: tuple[float, str] | None


class Browser:
    """One shopper's browser."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self._cookies: dict[str, dict[str, str]] = {}

    async def open(self, url: str) -> Page:
        """Get a page, following redirects. Raises Lost."""
        return await self._go("GET", url, b"")

    async def submit(self, page: Page, form: Form, values: Mapping[str, str], button: str | None = None) -> Page:
        """Send `form` with the values it came with, `values` over them, and the button `name=value`. Raises Lost."""
        sent = {field.name: field.value for field in form.fields if field.name and field.type != "submit"}
        sent.update(values)
        if button is not None:
            name, _, value = button.partition("=")
            sent[name] = value
        if form.method == "get":
            return await self.open(form.action.partition("?")[0] + "?" + urlencode(sent))
        return await self._go("POST", form.action, urlencode(sent).encode(), referrer=page.url)

    async def _go(self, method: str, url: str, body: bytes, referrer: str | None = None) -> Page:
        for _ in range(REDIRECTS_MAX):
            answer = await self._request(method, url, body, referrer)
            location = answer.headers.get("location")
            if answer.status not in (301, 302, 303, 307, 308) or not location:
                return read_page(url, answer.status, answer.body.decode("utf-8", "replace"))
            url = urljoin(url, location)
            if answer.status not in (307, 308):
                method, body = "GET", b""
        raise Lost(f"more than {REDIRECTS_MAX} redirects, the last to {_without_query(url)}")

    async def _request(self, method: str, url: str, body: bytes, referrer: str | None) -> Answered:
        parts = urlsplit(url)
        host = parts.hostname or ""
        headers = {"Accept": "text/html", "Accept-Language": "en", "User-Agent": "tallystick-demo-shopper"}
        if jar := self._cookies.get(host):
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in jar.items())
        if method == "POST":
            headers["Content-Type"] = FORM
            headers["Origin"] = f"{parts.scheme}://{parts.netloc}" if referrer is None else _origin(referrer)
        answer = await self._http.send(HttpRequest(method, url, headers, body, DEADLINE_S))
        if not isinstance(answer, Answered):
            raise Lost(f"{method} {_without_query(url)}: {answer.reason}")
        self._keep_cookie(host, answer.headers.get("set-cookie"))
        return answer

    def _keep_cookie(self, host: str, header: str | None) -> None:
        if not header:
            return
        try:
            cookies = SimpleCookie(header)
        except CookieError:
            return
        jar = self._cookies.setdefault(host, {})
        for name, morsel in cookies.items():
            if morsel["max-age"] == "0":
                jar.pop(name, None)
            else:
                jar[name] = morsel.value


def read_page(url: str, status: int, html: str) -> Page:
    """What a page says, shows and offers. Pure."""
    reader = _Reader(url)
    reader.feed(html)
    reader.close()
    text = " ".join(" ".join(reader.words).split())
    return Page(url, status, reader.title.strip(), text, reader.forms, reader.links, reader.refresh)


class _Reader(HTMLParser):
    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self.words: list[str] = []
        self.forms: list[Form] = []
        self.links: list[tuple[str, str]] = []
        self.refresh: tuple[float, str] | None = None
        self._form: Form | None = None
        self.title = ""
        self._in_title = False
        self._silent = 0  # inside script, style or template: no text of the page
        self._link: tuple[str, list[str]] | None = None
        self._button: tuple[str, str, list[str]] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag in ("script", "style", "template"):
            self._silent += 1
        elif self._silent:
            return
        elif tag == "title":
            self._in_title = True
        elif tag == "form":
            action = urljoin(self._url, given.get("action", "")) or self._url
            self._form = Form(action, given.get("method", "get").lower(), [], [])
            self.forms.append(self._form)
        elif tag == "input" and self._form is not None:
            self._add_field(given)
        elif tag == "button" and self._form is not None:
            self._button = (given.get("name", ""), given.get("value", ""), [])
        elif tag == "a" and "href" in given:
            self._link = (urljoin(self._url, given["href"]), [])
        elif tag == "meta" and given.get("http-equiv", "").lower() == "refresh":
            self.refresh = _refresh(self._url, given.get("content", ""))

    def _add_field(self, given: Mapping[str, str]) -> None:
        assert self._form is not None, "asked by the caller"
        kind = given.get("type", "text").lower()
        name, value = given.get("name", ""), given.get("value", "")
        if kind in ("submit", "image"):
            self._form.buttons.append((name, value, value))
        elif kind not in ("checkbox", "radio") or "checked" in given:
            self._form.fields.append(Field(name, value, kind, given.get("autocomplete", "")))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style", "template"):
            self._silent = max(0, self._silent - 1)
        elif tag == "title":
            self._in_title = False
        elif tag == "form":
            self._form = None
        elif tag == "button" and self._button is not None and self._form is not None:
            name, value, words = self._button
            self._form.buttons.append((name, value, " ".join(" ".join(words).split())))
            self._button = None
        elif tag == "a" and self._link is not None:
            self.links.append((self._link[0], " ".join(" ".join(self._link[1]).split())))
            self._link = None

    def handle_data(self, data: str) -> None:
        if self._silent:
            return
        if self._in_title:
            self.title += data
            return
        self.words.append(data)
        if self._button is not None:
            self._button[2].append(data)
        if self._link is not None:
            self._link[1].append(data)


def _refresh(url: str, content: str) -> tuple[float, str] | None:
    """`5; url=/next` as seconds and address; None when it is not meant to be followed here."""
    seconds, _, target = content.partition(";")
    try:
        wait_s = float(seconds.strip())
    except ValueError:
        return None
    address = target.strip().removeprefix("url=").removeprefix("URL=").strip("'\" ")
    return (wait_s, urljoin(url, address)) if wait_s <= REFRESH_S_MAX else None


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _without_query(url: str) -> str:
    return url.partition("?")[0]
