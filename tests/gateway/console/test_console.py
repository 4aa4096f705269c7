"""The operators' pages over HTTP: who gets in, and what a form must carry (RULES §12)."""

import base64
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest

from tallystick.cli.command import run
from tallystick.kernel.logins.sessions import IDLE_S, SESSION_S, Logins, csrf_of, is_csrf
from tallystick.kernel.logins.totp import STEP_S, code_at
from tallystick.kernel.logins.users import add_user, disable_user
from tallystick.kernel.operators.keys import OperatorRefused
from tallystick.kernel.operators.roles import Role
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Database
from tallystick.ports.entropy import SystemEntropy

PASSWORD = "correct horse battery"
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
SCRIPT = re.compile(
    rb'<script type="module" src="/console/assets/live\.[0-9a-f]{16}\.js" integrity="sha256-[^"]+" nonce="[^"]+">'
)


class MovableClock(SystemClock):
    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead_s)


class Visitor:
    """A browser without any cleverness: it keeps one cookie."""

    def __init__(self, api: Any) -> None:
        self._api = api
        self.cookie = ""

    def get(self, path: str) -> Any:
        return self._api.get(path, [("Cookie", self.cookie)])

    def post(self, path: str, fields: dict[str, str], **headers: str) -> Any:
        sent = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()} | {"Cookie": self.cookie}
        answer = self._api.send("POST", path, urlencode(fields).encode(), list(sent.items()))
        if "set-cookie" in answer.headers:
            self.cookie = answer.headers["set-cookie"].partition(";")[0]
        return answer

    def log_in(self, name: str = "ada", password: str = PASSWORD, code: str = "") -> Any:
        return self.post("/console/login", {"name": name, "password": password, "code": code})

    def csrf(self) -> str:
        found = re.search(rb'name="csrf" value="([0-9a-f]{64})"', self.get("/console/dead-letters").body)
        assert found is not None
        return found[1].decode()


@pytest.fixture
def gateway(run_gateway: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[Any]:
    (tmp_path / "password").write_text(PASSWORD + "\n")
    with run_gateway() as running:
        monkeypatch.setenv("TALLYSTICK_GATEWAY_DATABASE_DSN", running.dsn)
        assert (
            run(["gateway", "users", "add", "ada", "--role", "admin", "--password-file", str(tmp_path / "password")])
            == 0
        )
        yield running


@pytest.fixture
def visitor(gateway: Any, client: Any) -> Visitor:
    return Visitor(client(gateway.url))


def test_the_password_is_stored_as_an_argon2_hash(gateway: Any) -> None:
    with psycopg.connect(gateway.dsn) as connection:
        ((name, hashed),) = connection.execute("SELECT name, password_hash FROM operator_user").fetchall()
    assert name == "ada"
    assert hashed.startswith("$argon2id$")


@pytest.mark.parametrize(
    "path", ["/console", "/console/dead-letters", "/console/dead-letters/dlv_1", "/console/redrives/rdr_1"]
)
def test_who_is_not_logged_in_is_led_to_the_login(visitor: Visitor, path: str) -> None:
    for cookie in ("", "tallystick_operator=", "tallystick_operator=" + "0" * 64, "tallystick_operator=x; y"):
        visitor.cookie = cookie
        answer = visitor.get(path)
        assert (answer.status, answer.headers["location"]) == (303, "/console/login")


def test_the_cookie_is_for_our_pages_alone(visitor: Visitor) -> None:
    """Secure, HttpOnly, SameSite=Strict; what is stored is its hash."""
    answer = visitor.log_in()
    assert (answer.status, answer.headers["location"]) == (303, "/console")
    attributes = {part.strip() for part in answer.headers["set-cookie"].split(";")[1:]}
    assert attributes == {"Max-Age=28800", "Path=/", "Secure", "HttpOnly", "SameSite=Strict"}
    assert visitor.get("/console").status == 200


@pytest.mark.parametrize(
    ("name", "password"),
    [("ada", "wrong password"), ("bob", PASSWORD), ("", ""), ("ada", ""), ("a\x00", PASSWORD), ("ada", "x" * 201)],
)
def test_a_wrong_name_or_password_says_neither_which(visitor: Visitor, name: str, password: str) -> None:
    answer = visitor.log_in(name, password)
    assert answer.status == 401
    assert b"Name, password or code is wrong." in answer.body
    assert "set-cookie" not in answer.headers


def test_a_form_of_another_site_or_session_does_nothing(visitor: Visitor, gateway: Any, client: Any) -> None:
    fields = {"name": "ada", "password": PASSWORD}
    assert visitor.post("/console/login", fields, Sec_Fetch_Site="cross-site").status == 400
    visitor.log_in()
    other = Visitor(client(gateway.url))
    other.log_in()
    for sent, headers in (
        ({}, {}),
        ({"csrf": "0" * 64}, {}),
        ({"csrf": other.csrf()}, {}),
        ({"csrf": visitor.csrf()}, {"Sec_Fetch_Site": "cross-site"}),
        ({"csrf": visitor.csrf()}, {"Content_Type": "text/plain"}),
    ):
        answer = visitor.post("/console/redrives", {"confirmed": "yes", **sent}, **headers)
        assert answer.status == 403
    with psycopg.connect(gateway.dsn) as connection:
        assert connection.execute("SELECT count(*) FROM redrive").fetchall() == [(0,)]


def test_logged_out_the_cookie_opens_nothing(visitor: Visitor) -> None:
    visitor.log_in()
    kept = visitor.cookie
    answer = visitor.post("/console/logout", {"csrf": visitor.csrf()})
    assert "Max-Age=0" in answer.headers["set-cookie"]
    visitor.cookie = kept
    assert visitor.get("/console").status == 303


def test_who_is_disabled_is_out_at_once(visitor: Visitor) -> None:
    visitor.log_in()
    assert run(["gateway", "users", "disable", "ada"]) == 0
    assert visitor.get("/console").status == 303
    assert visitor.log_in().status == 401
    assert run(["gateway", "users", "disable", "ada"]) == 2


def test_every_page_has_the_headers_of_the_other_pages(visitor: Visitor) -> None:
    """RULES §9 and §12: the strict policy, nothing kept; no script but the file that keeps a page new."""
    pages = [visitor.get("/console/login"), visitor.get("/console/nothing")]
    visitor.log_in()
    pages += [visitor.get("/console/dead-letters"), visitor.get("/console/dead-letters/dlv_9")]
    for answer in pages:
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        scripts = re.findall(rb"<script[^>]*>(.*?)</script>", answer.body, re.DOTALL)
        assert not any(scripts), "no script stands in the page"
        assert answer.body.count(b"<script") == len(SCRIPT.findall(answer.body))
    assert [answer.status for answer in pages] == [200, 404, 200, 404]


@pytest.mark.parametrize("query", ["since=x", "cursor=x", "endpoint=%00", "x=1", "ours=perhaps"])
def test_a_filter_that_cannot_be_read_is_told(visitor: Visitor, query: str) -> None:
    visitor.log_in()
    answer = visitor.get(f"/console/dead-letters?{query}")
    assert answer.status == 422
    assert b"cannot be read" in answer.body


def test_what_is_shown_is_text(visitor: Visitor) -> None:
    """Nobody's address, answer or filter becomes part of the page."""
    visitor.log_in()
    answer = visitor.get("/console/dead-letters?endpoint=%22%3E%3Cb%3E")
    assert b"&#34;&gt;&lt;b&gt;" in answer.body
    assert b'"><b>' not in answer.body


async def test_a_session_ends(gateway_database: Database) -> None:
    """After a working day, and before that when nobody was there for half an hour."""
    clock = MovableClock()
    logins = Logins(gateway_database, clock, SystemEntropy())
    assert await add_user(gateway_database, " ada ", PASSWORD, clock, SystemEntropy(), role=Role.ADMIN) == "ada"
    token = await logins.log_in("ada", PASSWORD)
    assert isinstance(token, str)
    for ahead_s in range(0, SESSION_S - 5, IDLE_S - 5):
        clock.ahead_s = ahead_s
        assert await logins.session_of(token) is not None
    clock.ahead_s = SESSION_S + 5
    assert await logins.session_of(token) is None
    assert await logins.session_of("") is None

    token = await logins.log_in("ada", PASSWORD)
    assert isinstance(token, str)
    clock.ahead_s += IDLE_S + 5
    assert await logins.session_of(token) is None


async def test_a_page_that_asks_by_itself_is_nobody(gateway_database: Database) -> None:
    """A page that was left open does not keep the session that nobody uses."""
    clock = MovableClock()
    logins = Logins(gateway_database, clock, SystemEntropy())
    await add_user(gateway_database, "ada", PASSWORD, clock, SystemEntropy(), role=Role.ADMIN)
    token = await logins.log_in("ada", PASSWORD)
    assert isinstance(token, str)
    for ahead_s in range(0, IDLE_S, 120):
        clock.ahead_s = ahead_s
        assert await logins.session_of(token, seen=False) is not None
    clock.ahead_s = IDLE_S + 5
    assert await logins.session_of(token, seen=False) is None


async def test_who_may_not_be_added(gateway_database: Database) -> None:
    clock = MovableClock()
    await add_user(gateway_database, "ada", PASSWORD, clock, SystemEntropy(), role=Role.ADMIN)
    for name, password in (("ada", PASSWORD), ("bob", "short"), ("bob", "x" * 201), (" ", PASSWORD)):
        with pytest.raises(OperatorRefused):
            await add_user(gateway_database, name, password, clock, SystemEntropy(), role=Role.ADMIN)
    await disable_user(gateway_database, "ada", clock)
    with pytest.raises(OperatorRefused):
        await add_user(gateway_database, "ada", PASSWORD, clock, SystemEntropy(), role=Role.ADMIN)


def test_a_forms_token_is_its_sessions() -> None:
    assert is_csrf("a" * 64, csrf_of("a" * 64))
    assert not is_csrf("a" * 64, csrf_of("b" * 64))
    assert not is_csrf("a" * 64, "\u00e9")


def test_a_login_begins_a_session_of_its_own(visitor: Visitor) -> None:
    """A cookie that was planted before is never the session's; logging in again ends the one before."""
    visitor.cookie = "tallystick_operator=" + "a" * 64
    visitor.log_in()
    first = visitor.cookie
    assert first != "tallystick_operator=" + "a" * 64
    visitor.log_in()
    assert visitor.cookie != first
    visitor.cookie = first
    assert visitor.get("/console").status == 303


def test_log_out_everywhere_ends_all_sessions(visitor: Visitor, gateway: Any, client: Any) -> None:
    other = Visitor(client(gateway.url))
    other.log_in()
    visitor.log_in()
    assert visitor.post("/console/account/logout-everywhere", {"csrf": visitor.csrf()}).status == 303
    assert other.get("/console").status == 303


def test_another_role_is_logged_in_anew(visitor: Visitor) -> None:
    visitor.log_in()
    assert run(["gateway", "users", "role", "ada", "--role", "fulfilment"]) == 0
    assert visitor.get("/console/account").status == 303
    visitor.log_in()
    assert visitor.get("/console/account").status == 200
    refused = visitor.get("/console/dead-letters")
    assert (refused.status, b"does not allow" in refused.body) == (403, True)
    assert visitor.get("/console").headers["location"] == "/console/account"
    assert b"/console/dead-letters" not in visitor.get("/console/account").body, "no link to what is not allowed"


def code_of(page: bytes, *, steps: int = 0) -> str:
    """What an authenticator app shows for the secret on the page."""
    found = re.search(rb"secret=([A-Z2-7]+)", page)
    assert found is not None
    return code_at(base64.b32decode(found[1]), int(SystemClock().now().timestamp()) // STEP_S + steps)


def csrf_on(page: bytes) -> str:
    found = re.search(rb'name="csrf" value="([0-9a-f]{64})"', page)
    assert found is not None
    return found[1].decode()


def with_second_factor(visitor: Visitor) -> bytes:
    """Logged in, with a second factor; the page that showed its secret."""
    return turned_on(visitor)[0]


def turned_on(visitor: Visitor) -> tuple[bytes, str]:
    """The same, and the code that turned it on: a moment later it may be of the step before the last one."""
    visitor.log_in()
    csrf = visitor.csrf()
    shown = visitor.post("/console/account/second-factor", {"csrf": csrf, "password": PASSWORD})
    assert shown.status == 200
    wrong = visitor.post("/console/account/second-factor/confirm", {"csrf": csrf, "code": "000000"})
    assert wrong.status == 422
    before = visitor.cookie
    sent = {"csrf": csrf, "code": code_of(shown.body, steps=-1)}
    assert visitor.post("/console/account/second-factor/confirm", sent).status == 303
    assert visitor.cookie != before, "the session is a new one"
    return shown.body, sent["code"]


def test_with_a_second_factor_a_login_needs_its_code_and_each_code_once(visitor: Visitor) -> None:
    page, used = turned_on(visitor)
    assert b"on" in visitor.get("/console/account").body
    assert visitor.log_in().status == 401
    code = code_of(page)
    assert visitor.log_in(code="999999" if code != "999999" else "999998").status == 401
    assert visitor.log_in(code=used).status == 401, "used when it was turned on"
    assert visitor.log_in(code=code).status == 303
    assert visitor.log_in(code=code).status == 401, "replayed"


def test_a_second_factor_is_neither_added_nor_removed_without_the_password(visitor: Visitor) -> None:
    visitor.log_in()
    csrf = visitor.csrf()
    assert visitor.post("/console/account/second-factor", {"csrf": csrf, "password": "wrong one here"}).status == 422
    page = with_second_factor(visitor)
    csrf = csrf_on(visitor.get("/console/account").body)
    again = visitor.post("/console/account/second-factor", {"csrf": csrf, "password": PASSWORD, "code": code_of(page)})
    assert again.status == 409, "one that is in use is not replaced"
    gone = {"csrf": csrf, "password": PASSWORD, "code": code_of(page, steps=1)}
    assert visitor.post("/console/account/second-factor/remove", {**gone, "code": ""}).status == 422
    assert visitor.post("/console/account/second-factor/remove", gone).status == 303
    assert visitor.log_in().status == 303


def test_who_has_lost_the_second_factor_is_let_in_by_an_administrator(visitor: Visitor) -> None:
    with_second_factor(visitor)
    assert run(["gateway", "users", "reset-totp", "ada"]) == 0
    assert visitor.get("/console/account").status == 303, "whoever is logged in by that name is out"
    assert visitor.log_in().status == 303
    assert run(["gateway", "users", "reset-totp", "ada"]) == 2


def test_users_are_listed(visitor: Visitor, capsys: pytest.CaptureFixture[str]) -> None:
    with_second_factor(visitor)
    assert run(["gateway", "users", "list", "--json"]) == 0
    [user] = json.loads(capsys.readouterr().out.splitlines()[-1])["users"]
    assert (user["name"], user["role"], user["second_factor"], user["disabled_at"]) == ("ada", "admin", True, None)


def test_too_many_tries_are_told_when_to_come_again(visitor: Visitor) -> None:
    for _ in range(5):
        assert visitor.log_in(password="wrong password").status == 401
    answer = visitor.log_in()
    assert answer.status == 429
    assert answer.headers["retry-after"] in ("1", "2")  # two seconds, some of which may have passed
    assert b"Too many tries" in answer.body


def test_logins_and_acts_of_pages_are_in_the_audit_trail(visitor: Visitor, gateway: Any) -> None:
    visitor.log_in(password="wrong password")
    visitor.log_in("nobody")
    visitor.log_in()
    visitor.post("/console/redrives", {"csrf": visitor.csrf(), "confirmed": "yes", "endpoint": "we_1"})
    visitor.post("/console/redrives", {"csrf": "0" * 64, "confirmed": "yes"})
    with psycopg.connect(gateway.dsn) as connection:
        rows = connection.execute(
            "SELECT operator, act, subject, outcome, asked FROM audit_entry e JOIN audit_outcome o ON o.entry = e.id"
            " WHERE via = 'console' ORDER BY e.id"
        ).fetchall()
    assert rows == [
        ("", "login", "ada", "refused", None),
        ("", "login", "", "refused", None),
        ("ada", "login", "", "done", None),
        ("ada", "POST /console/redrives", "", "done", {"confirmed": "yes", "endpoint": "we_1"}),
        ("ada", "POST /console/redrives", "", "refused", None),
    ]


def test_the_audit_trail_is_a_page(visitor: Visitor) -> None:
    visitor.log_in()
    visitor.post("/console/redrives", {"csrf": visitor.csrf(), "confirmed": "yes", "endpoint": "we_1"})
    page = visitor.get("/console/audit?act=redrives")
    assert (page.status, b"POST /console/redrives" in page.body, b"endpoint we_1" in page.body) == (200, True, True)
    assert visitor.get("/console/audit?since=x").status == 422


# What is stored of a second factor, roles that need one, another password


def test_the_secret_of_a_second_factor_is_stored_wrapped(gateway: Any, visitor: Visitor) -> None:
    page = with_second_factor(visitor)
    found = re.search(rb"secret=([A-Z2-7]+)", page)
    assert found is not None
    with psycopg.connect(gateway.dsn) as connection:
        ((secret, wrapped),) = connection.execute("SELECT secret, wrapped FROM operator_second_factor").fetchall()
    assert wrapped.startswith("local:v1:")
    assert bytes(secret) != base64.b32decode(found[1]), "what the version before would compare with opens nothing"
    assert visitor.log_in(code=code_of(page)).status == 303


def test_a_secret_that_was_stored_as_it_is_is_wrapped_when_it_is_used(gateway: Any, visitor: Visitor) -> None:
    page = with_second_factor(visitor)
    found = re.search(rb"secret=([A-Z2-7]+)", page)
    assert found is not None
    with psycopg.connect(gateway.dsn, autocommit=True) as connection:
        as_before = "UPDATE operator_second_factor SET secret = %s, wrapped = NULL"
        connection.execute(as_before, (base64.b32decode(found[1]),))
        assert visitor.log_in(code=code_of(page)).status == 303
        ((secret, wrapped),) = connection.execute("SELECT secret, wrapped FROM operator_second_factor").fetchall()
    assert wrapped is not None
    assert bytes(secret) != base64.b32decode(found[1])
    assert visitor.log_in(code=code_of(page, steps=1)).status == 303


def test_a_secret_that_opens_with_no_key_of_ours_lets_nobody_in(gateway: Any, visitor: Visitor) -> None:
    page = with_second_factor(visitor)
    with psycopg.connect(gateway.dsn, autocommit=True) as connection:
        connection.execute("UPDATE operator_second_factor SET wrapped = 'local:v1:' || repeat('A', 56)")
    assert visitor.log_in(code=code_of(page)).status == 401
    assert visitor.log_in().status == 401


def test_who_needs_a_second_factor_can_do_nothing_before_adding_one(
    run_gateway: Any, client: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "password").write_text(PASSWORD)
    with run_gateway(second_factor_roles="admin,finance") as gateway:
        monkeypatch.setenv("TALLYSTICK_GATEWAY_DATABASE_DSN", gateway.dsn)
        for name, role in (("ada", "admin"), ("sue", "support")):
            assert (
                run(["gateway", "users", "add", name, "--role", role, "--password-file", f"{tmp_path}/password"]) == 0
            )
        visitor = Visitor(client(gateway.url))
        assert visitor.log_in().status == 303
        for path in ("/console", "/console/dead-letters", "/console/audit", "/console/redrives/rdr_1"):
            answer = visitor.get(path)
            assert (answer.status, answer.headers["location"]) == (303, "/console/account"), path
        account = visitor.get("/console/account")
        assert b"Your role needs a second factor" in account.body
        csrf = csrf_on(account.body)
        assert visitor.post("/console/redrives", {"csrf": csrf}).headers["location"] == "/console/account"
        shown = visitor.post("/console/account/second-factor", {"csrf": csrf, "password": PASSWORD})
        sent = {"csrf": csrf, "code": code_of(shown.body)}
        assert visitor.post("/console/account/second-factor/confirm", sent).status == 303
        assert visitor.get("/console/dead-letters").status == 200
        csrf = csrf_on(visitor.get("/console/account").body)
        gone = {"csrf": csrf, "password": PASSWORD, "code": code_of(shown.body, steps=1)}
        assert visitor.post("/console/account/second-factor/remove", gone).status == 409
        other = Visitor(client(gateway.url))
        assert other.log_in("sue").status == 303
        assert other.get("/console/dead-letters").status == 200, "another role needs none"


def test_a_password_is_changed_by_who_knows_the_old_one_and_stands_nowhere(gateway: Any, visitor: Visitor) -> None:
    visitor.log_in()
    elsewhere, csrf, new = Visitor(visitor._api), csrf_on(visitor.get("/console/account").body), "another-long-password"
    elsewhere.log_in()
    sent = {"csrf": csrf, "password": PASSWORD, "new-password": new, "new-password-again": new}
    path = "/console/account/password"
    assert visitor.post(path, {**sent, "password": "wrong password"}).status == 422
    assert visitor.post(path, {**sent, "new-password-again": "a different one"}).status == 422
    assert visitor.post(path, {**sent, "new-password": "short", "new-password-again": "short"}).status == 422
    assert visitor.post(path, {**sent, "csrf": "0" * 64}).status == 403
    before = visitor.cookie
    assert visitor.post(path, sent).status == 303
    assert visitor.cookie != before
    assert visitor.get("/console").status == 200
    assert elsewhere.get("/console").headers["location"] == "/console/login", "all other sessions end"
    assert Visitor(visitor._api).log_in().status == 401
    assert Visitor(visitor._api).log_in(password=new).status == 303
    with psycopg.connect(gateway.dsn) as connection:
        rows = connection.execute("SELECT a::text FROM audit_entry a").fetchall()
    assert any(path in row[0] for row in rows)
    assert not any(new in row[0] or PASSWORD in row[0] for row in rows)


def test_an_administrator_gives_another_password_by_command(gateway: Any, visitor: Visitor, tmp_path: Any) -> None:
    visitor.log_in()
    (tmp_path / "new").write_text("a password by command\n")
    assert run(["gateway", "users", "password", "ada", "--password-file", str(tmp_path / "new")]) == 0
    assert visitor.get("/console").status == 303, "whoever is logged in by that name is out"
    assert visitor.log_in().status == 401
    assert visitor.log_in(password="a password by command").status == 303
    assert run(["gateway", "users", "password", "bob", "--password-file", str(tmp_path / "new")]) == 2
