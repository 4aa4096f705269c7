"""Vault, as a real server speaks its API: logging in by every way, tokens that end, secrets that rotate, a server that
is sealed or gone (RULES §12)."""

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tallystick.ports.clock import SystemClock
from tallystick.ports.http import Answered, HttpRequest, NotSent
from tallystick.ports.metrics import SECRETS_STALE_S
from tallystick.ports.secrets import AnySecrets, SecretMissing, SecretUnavailable, read_local
from tallystick.ports.vault import (
    AppRoleLogin,
    JwtLogin,
    Login,
    TokenLogin,
    Vault,
    VaultRefused,
    VaultUnavailable,
)
from tallystick.ports.vault_secrets import VaultSecrets

READS = ("read secret/data/shop/*",)


@pytest.fixture
def approle(openbao: Any) -> Callable[..., Login]:
    """A login of a role that may read the shop's secrets."""
    openbao.policy("shop", *READS)

    def make(**limits: Any) -> Login:
        ids = openbao.approle("shop", "shop", **{"token_ttl": "1h", "token_max_ttl": "0", **limits})
        return AppRoleLogin(lambda: ids["role_id"], lambda: ids["secret_id"])

    return make


def a_vault(http: Any, openbao: Any, login: Login, clock: Any = None) -> Vault:
    return Vault(http, clock or SystemClock(), openbao.url, login, try_deadline_s=2.0)


def kept(vault: Vault, poll_s: float = 0.2) -> VaultSecrets:
    return VaultSecrets(vault, SystemClock(), poll_s=poll_s)


async def until(true: Callable[[], Any], within_s: float = 20.0) -> None:
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110 - it is a server that changes
            await asyncio.sleep(0.02)


class running:
    """A worker, for the length of a `with` block."""

    def __init__(self, secrets: VaultSecrets) -> None:
        self._secrets = secrets

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._secrets.run())

    async def __aexit__(self, *_: object) -> None:
        assert not self._task.done(), "it works until it is cancelled"
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def test_a_role_and_its_secret_id_read_a_field_of_a_secret(http: Any, openbao: Any, approle: Any) -> None:
    openbao.put("shop/keys", sk="sk_test_one", value="plain")
    secrets = AnySecrets(kept(a_vault(http, openbao, approle())))
    assert await secrets.read("vault:shop/keys#sk") == "sk_test_one"
    assert await secrets.read("vault:shop/keys") == "plain"


async def test_a_token_of_somebody_else_is_read_anew_when_it_has_ended(http: Any, openbao: Any, tmp_path: Path) -> None:
    """Such as an agent writes: the file changes, the process stays."""
    openbao.policy("shop", *READS)
    openbao.put("shop/keys", sk="one")
    file = tmp_path / "token"
    file.write_text(openbao.token("shop", ttl="1h") + "\n")
    vault = a_vault(http, openbao, TokenLogin(lambda: read_local(f"file:{file}")))
    assert await kept(vault).read("vault:shop/keys#sk") == "one"
    openbao.ask("POST", "auth/token/revoke", {"token": file.read_text().strip()})
    with pytest.raises(SecretMissing, match="login"):
        await kept(vault).read("vault:shop/keys#sk")
    file.write_text(openbao.token("shop", ttl="1h"))
    assert await kept(vault).read("vault:shop/keys#sk") == "one"


async def test_a_signed_token_of_somebody_whom_vault_trusts(http: Any, openbao: Any, tmp_path: Path) -> None:
    openbao.policy("shop", *READS)
    openbao.put("shop/keys", sk="one")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    openbao.ask("POST", "auth/jwt/config", {"jwt_validation_pubkeys": [pem.decode()], "bound_issuer": "cluster"})
    openbao.ask(
        "POST",
        "auth/jwt/role/merchant",
        {
            "role_type": "jwt",
            "bound_audiences": ["vault"],
            "bound_subject": "merchant",
            "user_claim": "sub",
            "token_policies": ["shop"],
        },
    )
    file = tmp_path / "jwt"
    file.write_text(a_jwt(key, subject="merchant"))
    vault = a_vault(http, openbao, JwtLogin("merchant", lambda: read_local(f"file:{file}")))
    assert await kept(vault).read("vault:shop/keys#sk") == "one"
    file.write_text(a_jwt(key, subject="somebody else"))
    with pytest.raises(VaultRefused, match="login"):
        await a_vault(http, openbao, JwtLogin("merchant", lambda: read_local(f"file:{file}"))).log_in()


def a_jwt(key: rsa.RSAPrivateKey, *, subject: str) -> str:
    from base64 import urlsafe_b64encode

    def part(value: Any) -> str:
        return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    now = int(datetime.now(UTC).timestamp())
    claims = {"iss": "cluster", "sub": subject, "aud": "vault", "iat": now, "nbf": now - 5, "exp": now + 300}
    signed = f"{part({'alg': 'RS256', 'typ': 'JWT'})}.{part(claims)}"
    signature = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{signed}.{urlsafe_b64encode(signature).rstrip(b'=').decode()}"


async def test_wrong_credentials_are_refused_in_words_that_show_none(http: Any, openbao: Any, approle: Any) -> None:
    good = approle()
    wrong = AppRoleLogin(good.role_id, lambda: "7d0b6f3a-wrong")
    with pytest.raises(VaultRefused) as refused:
        await a_vault(http, openbao, wrong).log_in()
    assert "wrong or expired credentials" in str(refused.value)
    assert "7d0b6f3a" not in repr(refused.value)


async def test_a_rotated_secret_is_taken_up(http: Any, openbao: Any, approle: Any) -> None:
    openbao.put("shop/keys", sk="one")
    secrets = kept(a_vault(http, openbao, approle()))
    assert await secrets.read("vault:shop/keys#sk") == "one"
    openbao.put("shop/keys", sk="two")
    assert await secrets.read("vault:shop/keys#sk") == "one", "nobody looked yet"
    assert await secrets.read_anew("vault:shop/keys#sk") == "two"
    openbao.put("shop/keys", sk="three")
    async with running(secrets), asyncio.timeout(10):
        while await secrets.read("vault:shop/keys#sk") != "three":  # noqa: ASYNC110 - it is a server that changes
            await asyncio.sleep(0.02)


async def test_a_token_is_renewed_and_replaced_when_it_may_not_live_longer(
    http: Any, openbao: Any, approle: Any
) -> None:
    """Two seconds each, four at most: a login in three seconds or so, not one for each call or renewal."""
    openbao.put("shop/keys", sk="one")
    vault = a_vault(http, openbao, approle(token_ttl="2s", token_max_ttl="4s"))
    secrets = kept(vault)
    logins, began_s = 0, SystemClock().monotonic_s()
    seen = set(openbao.logins("auth/approle"))
    async with running(secrets):
        for version in range(20):
            openbao.put("shop/keys", sk=f"version {version}")
            assert await secrets.read_anew("vault:shop/keys#sk") == f"version {version}"
            alive = set(openbao.logins("auth/approle"))
            logins += len(alive - seen)
            seen |= alive
            await asyncio.sleep(0.5)
    lasted_s = SystemClock().monotonic_s() - began_s
    assert 2 <= logins <= lasted_s / 2 + 1


async def test_a_token_that_was_revoked_is_replaced_within_the_call(http: Any, openbao: Any, approle: Any) -> None:
    openbao.put("shop/keys", sk="one")
    secrets = kept(a_vault(http, openbao, approle()))
    assert await secrets.read("vault:shop/keys#sk") == "one"
    for accessor in openbao.logins("auth/approle"):
        openbao.revoke(accessor)
    openbao.put("shop/keys", sk="two")
    assert await secrets.read_anew("vault:shop/keys#sk") == "two"


async def test_a_path_that_the_policy_does_not_give_costs_no_login(http: Any, openbao: Any, approle: Any) -> None:
    """Else every look at it would leave another token behind in Vault."""
    openbao.put("other/keys", sk="one")
    secrets = kept(a_vault(http, openbao, approle()))
    with pytest.raises(SecretMissing, match="policy"):
        await secrets.read("vault:other/keys#sk")
    before = len(openbao.logins("auth/approle"))
    with pytest.raises(SecretMissing, match="policy"):
        await secrets.read("vault:other/more#sk")
    assert len(openbao.logins("auth/approle")) == before


@pytest.mark.parametrize(
    "reference",
    ["vault:", "vault:/shop/keys", "vault:shop/../other#sk", "vault:shop/keys?version=1#sk", "vault:shop/%2e%2e/other"],
)
async def test_a_reference_cannot_leave_its_mount(http: Any, openbao: Any, approle: Any, reference: str) -> None:
    secrets = kept(a_vault(http, openbao, approle()))
    with pytest.raises(SecretMissing, match="must be vault:path#field"):
        await secrets.read(reference)


async def test_what_is_not_there_is_missing_and_named(http: Any, openbao: Any, approle: Any) -> None:
    openbao.put("shop/keys", sk="one")
    secrets = kept(a_vault(http, openbao, approle()))
    with pytest.raises(SecretMissing, match="no such field in version"):
        await secrets.read("vault:shop/keys#pk")
    with pytest.raises(SecretMissing, match="nothing there"):
        await secrets.read("vault:shop/none")


async def test_a_field_that_is_added_later_is_found(http: Any, openbao: Any, approle: Any) -> None:
    openbao.put("shop/keys", sk="one")
    secrets = kept(a_vault(http, openbao, approle()))
    assert await secrets.read("vault:shop/keys#sk") == "one"
    openbao.put("shop/keys", sk="one", whsec="two")
    assert await secrets.read("vault:shop/keys#whsec") == "two"


@pytest.mark.parametrize("away", ["sealed", "stopped"])
async def test_the_last_known_secret_stays_in_use_while_vault_is_away_and_a_rotated_one_is_taken_up_after(
    http: Any, openbao: Any, approle: Any, away: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    openbao.put("shop/keys", sk="one")
    secrets = kept(a_vault(http, openbao, approle(token_ttl="2s")))
    assert await secrets.read("vault:shop/keys#sk") == "one"
    openbao.put("shop/keys", sk="two")
    if away == "sealed":
        openbao.seal()
    else:
        openbao.stop()
    async with running(secrets):
        await until(lambda: SECRETS_STALE_S._value.get() > 0)
        assert await secrets.read("vault:shop/keys#sk") == "one"
        assert await secrets.read_anew("vault:shop/keys#sk") == "one"
        with pytest.raises(SecretUnavailable):
            await secrets.read("vault:shop/more#sk")
        await asyncio.sleep(2.0)  # the token's life ends meanwhile
        if away == "stopped":
            openbao.start()
        openbao.unseal()
        await until(lambda: SECRETS_STALE_S._value.get() == 0)
        assert await secrets.read("vault:shop/keys#sk") == "two"
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert any("last known in use: 1" in line for line in told), told
    assert any("Vault is back" in record.getMessage() for record in caplog.records)
    everything = "".join(record.getMessage() for record in caplog.records)
    assert "one" not in everything.replace("no one", "")


async def test_a_secret_that_was_deleted_stays_in_use_and_is_complained_of(
    http: Any, openbao: Any, approle: Any, caplog: pytest.LogCaptureFixture
) -> None:
    openbao.put("shop/gone", sk="one")
    secrets = kept(a_vault(http, openbao, approle()))
    assert await secrets.read("vault:shop/gone#sk") == "one"
    openbao.ask("DELETE", "secret/data/shop/gone")
    async with running(secrets):
        await until(lambda: any("shop/gone" in record.getMessage() for record in caplog.records))
    assert await secrets.read("vault:shop/gone#sk") == "one"
    assert SECRETS_STALE_S._value.get() == 0, "Vault answered: it is this one that is not there"


async def test_a_vault_that_is_away_is_asked_a_few_times_with_pauses_and_no_longer() -> None:
    clock = JumpingClock()

    class Away:
        def __init__(self) -> None:
            self.asked_at_s: list[float] = []

        async def send(self, request: HttpRequest) -> NotSent:
            assert request.deadline_s == 2.0
            self.asked_at_s.append(clock.monotonic_s())
            return NotSent("connection_refused")

    away = Away()
    vault = Vault(away, clock, "https://vault.example/", TokenLogin(lambda: "t"), try_deadline_s=2.0)
    with pytest.raises(VaultUnavailable, match="is it running"):
        await vault.log_in()
    assert away.asked_at_s == pytest.approx([0.0, 0.2, 0.6])


async def test_who_asks_for_the_same_unknown_secret_shares_one_call_and_a_failure_is_remembered_for_a_moment() -> None:
    clock = JumpingClock()

    class Sealed:
        asked = 0

        async def send(self, request: HttpRequest) -> Answered:
            await asyncio.sleep(0)
            if request.url.endswith("lookup-self"):
                return Answered(200, {}, b'{"data": {"ttl": 0}}')
            self.asked += 1
            return Answered(503, {}, b'{"errors": ["Vault is sealed"]}')

    sealed = Sealed()
    secrets = VaultSecrets(Vault(sealed, clock, "https://vault.example", TokenLogin(lambda: "t")), clock)
    results = await asyncio.gather(*(secrets.read("vault:a") for _ in range(50)), return_exceptions=True)
    assert all(isinstance(each, SecretUnavailable) for each in results)
    assert sealed.asked == 1
    with pytest.raises(SecretUnavailable):
        await secrets.read("vault:a")
    assert sealed.asked == 1
    clock.at_s += 1.1
    with pytest.raises(SecretUnavailable):
        await secrets.read("vault:a")
    assert sealed.asked == 2


@pytest.mark.parametrize(
    "answer",
    [b"", b"[]", b'{"auth": null}', b'{"auth": {"client_token": 7}}', b"\xff", b'{"auth": {"client_token": ""}}'],
)
async def test_an_answer_that_is_none_of_vaults_is_no_login(answer: bytes) -> None:
    class Stranger:
        async def send(self, request: HttpRequest) -> Answered:
            return Answered(200, {}, answer)

    vault = Vault(Stranger(), JumpingClock(), "https://vault.example", AppRoleLogin(lambda: "r", lambda: "s"))
    with pytest.raises(VaultUnavailable):
        await vault.log_in()


class JumpingClock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.at_s = 0.0

    def now(self) -> datetime:
        return datetime(2026, 11, 28, tzinfo=UTC)

    def monotonic_s(self) -> float:
        return self.at_s

    async def sleep(self, seconds: float) -> None:
        self.at_s += seconds
        await asyncio.sleep(0)
