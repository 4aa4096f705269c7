"""Vault (or OpenBao) as a client sees it: logging in, staying logged in, and the calls that we make.

A few calls of a documented HTTP API, made on our own HTTP port: it never blocks the event loop, bounds every exchange
as a whole, follows no redirect, and its errors carry words of ours alone. The usual library, hvac, would make the same
calls by a blocking client in threads, with errors that carry URLs and what the server said.

    VaultError
      VaultUnavailable   sealed, stopped, not reachable, overloaded: the same call may work later; `.reason` is one word
      VaultRefused       it will not: no such path, no permission, no such role; `.status` is the HTTP status

One identity logs in by AppRole, by a JWT, or with a token that somebody else keeps alive. Its token is renewed when
half of its time is over; one that has expired or was revoked is noticed by the server's 403, and replaced by another
login. Credentials are read anew at every login, so that a rotated one is taken up.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

import msgspec
from msgspec import Struct

from tallystick.ports.clock import Clock
from tallystick.ports.http import Answered, Http, HttpRequest
from tallystick.ports.metrics import VAULT_ERRORS

TRY_DEADLINE_S: Final = 5.0  # one exchange; Vault answers in milliseconds or is in trouble
TRIES_MAX: Final = 3
PAUSE_S: Final = 0.2  # before the second try; doubled before the third
ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024  # a batch of wrapped keys; a secret has a few hundred bytes
EXPIRY_MARGIN_S: Final = 1.0  # a token is not used in the last moments of its life
_AGAIN: Final = frozenset((412, 429, 500, 502, 504))  # a replica that lags behind, too many calls, a proxy in trouble

Credential = Callable[[], str]
"""Reads a credential as it is now. Raises SecretMissing."""
Read = TypeVar("Read")

log = logging.getLogger(__name__)


class VaultError(Exception):
    """A call to Vault that brought no answer. Says why in our words, never with a value or what the server said."""


class VaultUnavailable(VaultError):
    """The same call may work later."""

    def __init__(self, reason: str) -> None:
        super().__init__(_SENTENCES.get(reason, f"Vault cannot be reached ({reason})"))
        self.reason = reason


class VaultRefused(VaultError):
    """Vault will not do this; trying again is no use until somebody changes something there."""

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.status = status


_SENTENCES: Final = {
    "sealed": "Vault is sealed: unseal it",
    "not_initialised": "Vault is not initialised",
    "standby": "this Vault server is a standby that sends callers elsewhere: name the cluster's address",
    "dns": "Vault's host name has no address: look at the URL, and at the name server",
    "connection_refused": "nobody listens at Vault's address: is it running?",
    "tls_certificate": "Vault's certificate is not by an authority that we trust, or for another name",
    "connect_timeout": "Vault's address does not answer",
    "answer_timeout": "Vault does not answer in time",
}


class Login(Protocol):
    """How one identity gets its token."""

    def request(self) -> tuple[str, str, dict[str, str], str | None]:
        """Method, path, body; and the token where it is there already. Raises SecretMissing."""
        ...


class AppRoleLogin(Struct, frozen=True):
    """By a role's id and a secret id, which must be usable as often as the process logs in."""

    role_id: Credential
    secret_id: Credential
    mount: str = "approle"

    def request(self) -> tuple[str, str, dict[str, str], str | None]:
        return "POST", f"auth/{self.mount}/login", {"role_id": self.role_id(), "secret_id": self.secret_id()}, None


class JwtLogin(Struct, frozen=True):
    """By a signed token of somebody whom Vault trusts, such as Kubernetes or a CI system."""

    role: str
    jwt: Credential
    mount: str = "jwt"

    def request(self) -> tuple[str, str, dict[str, str], str | None]:
        return "POST", f"auth/{self.mount}/login", {"role": self.role, "jwt": self.jwt()}, None


class TokenLogin(Struct, frozen=True):
    """By a token that is there already: an agent's, or an operator's. When it has expired, it is read anew."""

    token: Credential

    def request(self) -> tuple[str, str, dict[str, str], str | None]:
        return "GET", "auth/token/lookup-self", {}, self.token()


class _Token(Struct, frozen=True):
    """A token and its life; instants by the monotonic clock."""

    value: str
    lease_s: float
    first_lease_s: float  # what the login gave
    renewable: bool
    since_s: float

    def alive(self, now_s: float) -> bool:
        return self.lease_s == 0 or now_s < self.since_s + self.lease_s - min(EXPIRY_MARGIN_S, self.lease_s / 4)

    def renew_in_s(self, now_s: float) -> float | None:
        return max(0.0, self.since_s + self.lease_s / 2 - now_s) if self.lease_s else None

    def __repr__(self) -> str:
        return "_Token()"


class _Auth(Struct):
    client_token: str = ""
    lease_duration: int = 0
    renewable: bool = False


class _TokenData(Struct):
    ttl: int = 0
    renewable: bool = False


class _LoggedIn(Struct):
    auth: _Auth | None = None
    data: _TokenData | None = None


class Vault:
    """One identity at one Vault."""

    def __init__(
        self,
        http: Http,
        clock: Clock,
        url: str,
        login: Login,
        *,
        namespace: str = "",
        try_deadline_s: float = TRY_DEADLINE_S,
    ) -> None:
        self._http = http
        self._clock = clock
        self._url = url.rstrip("/")
        self._login = login
        self._headers = {"X-Vault-Request": "true", "Content-Type": "application/json"}
        if namespace:
            self._headers["X-Vault-Namespace"] = namespace
        self._deadline_s = try_deadline_s
        self._token: _Token | None = None
        self._logging_in = asyncio.Lock()

    async def ask(self, method: str, path: str, kind: type[Read], body: Any = None, *, also: int = 200) -> Read:
        """The answer to one call, read as `kind`; `also` is another status whose answer is one, where a call has such.
        Raises VaultError, SecretMissing where a credential cannot be read."""
        token = await self._alive()
        try:
            raw = await self._call(method, path, body, token.value, also)
        except VaultRefused as refused:
            if refused.status != 403 or not await self._is_over(token):
                raise
            raw = await self._call(method, path, body, (await self._another(token)).value, also)
        return _read(raw, kind)

    async def log_in(self) -> None:
        """Have a token that is alive. Raises VaultError, SecretMissing."""
        await self._alive()

    def renew_in_s(self) -> float | None:
        """When `keep_token` should be called; None where the token lives for ever, or there is none."""
        return self._token.renew_in_s(self._clock.monotonic_s()) if self._token else None

    async def keep_token(self) -> None:
        """Renew the token where half of its life is over, or log in again where that is no use. Raises VaultError,
        SecretMissing."""
        token, renew_s = self._token, self.renew_in_s()
        if token is None or renew_s is None or renew_s > 0:
            return
        if token.renewable and token.alive(self._clock.monotonic_s()) and await self._renewed(token):
            return
        await self._another(token)

    async def _renewed(self, token: _Token) -> bool:
        """Whether the token has a new life. Near the longest that it may have, Vault gives less than was asked for."""
        asked_s = self._clock.monotonic_s()
        try:
            raw = await self._call("POST", "auth/token/renew-self", {}, token.value)
        except VaultRefused:
            return False
        except VaultUnavailable as away:
            if away.reason != "http_500":  # how it says that the token is past the longest that it may live
                raise
            return False
        auth = _read(raw, _LoggedIn).auth or _Auth()
        if auth.lease_duration < token.first_lease_s / 2:
            return False
        renewed = _Token(token.value, auth.lease_duration, token.first_lease_s, auth.renewable, asked_s)
        if self._token is token:
            self._token = renewed
        return True

    async def _alive(self) -> _Token:
        token = self._token
        if token is not None and token.alive(self._clock.monotonic_s()):
            return token
        return await self._another(token)

    async def _another(self, than: _Token | None) -> _Token:
        """Log in, unless somebody else did meanwhile."""
        async with self._logging_in:
            if self._token is not None and self._token is not than:
                return self._token
            self._token = None
            method, path, body, given = self._login.request()
            asked_s = self._clock.monotonic_s()
            try:
                raw = await self._call(method, path, body if given is None else None, given)
            except VaultRefused as refused:
                raise VaultRefused(
                    f"Vault refuses the login ({refused.status}): wrong or expired credentials, or no such role",
                    refused.status,
                ) from None
            self._token = _token(_read(raw, _LoggedIn), given, asked_s)
            log.info("logged in to Vault; the token lives %g s", self._token.lease_s)
            return self._token

    async def _is_over(self, token: _Token) -> bool:
        """Whether a token was refused because it has expired or was revoked, and not for what it asked."""
        try:
            await self._call("GET", "auth/token/lookup-self", None, token.value)
        except VaultRefused:
            return True
        return False

    async def _call(self, method: str, path: str, body: Any, token: str | None, also: int = 200) -> bytes:
        headers = self._headers if token is None else {**self._headers, "X-Vault-Token": token}
        content = b"" if body is None else msgspec.json.encode(body)
        request = HttpRequest(method, f"{self._url}/v1/{path}", headers, content, self._deadline_s, ANSWER_BYTES_MAX)
        for attempt in range(TRIES_MAX):
            if attempt:
                await self._clock.sleep(PAUSE_S * 2 ** (attempt - 1))
            answer = await self._http.send(request)
            if isinstance(answer, Answered) and answer.status not in _AGAIN:
                return answer.body if answer.status == also and not answer.cut else _body(answer)
        reason = f"http_{answer.status}" if isinstance(answer, Answered) else answer.reason
        raise _unavailable(reason)


def _body(answer: Answered) -> bytes:
    """The body of an answer that is one."""
    if 200 <= answer.status < 300 and not answer.cut:
        return answer.body
    if answer.status == 503:
        raise _unavailable("sealed")
    if answer.status == 501:
        raise _unavailable("not_initialised")
    if 300 <= answer.status < 400:
        raise _unavailable("standby")
    if answer.status >= 500 or answer.cut:
        raise _unavailable(f"http_{answer.status}")
    sentences = {403: "Vault does not permit this: look at the role's policy", 404: "Vault has nothing there"}
    raise VaultRefused(sentences.get(answer.status, f"Vault refuses the call ({answer.status})"), answer.status)


def _unavailable(reason: str) -> VaultUnavailable:
    VAULT_ERRORS.labels(reason).inc()
    return VaultUnavailable(reason)


def _read(raw: bytes, kind: type[Read]) -> Read:
    try:
        return msgspec.json.decode(raw or b"{}", type=kind)
    except msgspec.MsgspecError:
        raise _unavailable("malformed_answer") from None


def _token(read: _LoggedIn, given: str | None, asked_s: float) -> _Token:
    if given is not None:
        data = read.data or _TokenData()
        return _Token(given, data.ttl, data.ttl, data.renewable, asked_s)
    if read.auth is None or not read.auth.client_token:
        raise _unavailable("malformed_answer")
    auth = read.auth
    return _Token(auth.client_token, auth.lease_duration, auth.lease_duration, auth.renewable, asked_s)
