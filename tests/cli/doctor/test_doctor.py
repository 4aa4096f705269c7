"""The doctor finds what is planted, says what to do about it in a sentence, and shows no secret."""

import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509

from tallystick.cli.command import run
from tallystick.cli.doctor.certificates import check_certificate, covers
from tallystick.cli.doctor.databases import check_clock, check_password
from tallystick.cli.doctor.examining import examine
from tallystick.cli.doctor.findings import Finding, Notes, healthy
from tallystick.gateway.people.records import Records
from tallystick.kernel.people.opening import built_in
from tallystick.merchant.accounts.commands import add_connection, create_merchant, set_stock_hook
from tallystick.merchant.notifications.endpoints import add_endpoint
from tallystick.ports.aiohttp_http import SystemNames
from tallystick.ports.clock import SystemClock
from tallystick.ports.database import Database, Statement
from tallystick.ports.entropy import SystemEntropy
from tallystick.ports.key_encryption import LocalKeyEncryption, make_key_file

NOW = datetime.now(UTC)
GATEWAY, MERCHANT = "TALLYSTICK_GATEWAY_", "TALLYSTICK_MERCHANT_"


def bad(findings: list[Finding]) -> dict[str, str]:
    """What is bad, and what it says."""
    return {finding.subject: finding.says for finding in findings if finding.state == "bad"}


def states(findings: list[Finding], check: str) -> set[str]:
    return {finding.state for finding in findings if finding.check == check}


async def test_a_good_installation_has_no_faults(gateway_dsn: str) -> None:
    found = await examine("gateway", {f"{GATEWAY}DATABASE_DSN": gateway_dsn, f"{GATEWAY}PORT": "1"})
    assert healthy(found), bad(found)
    assert {finding.check for finding in found} >= {"setting", "secret", "database", "role", "clock", "peer"}
    assert states(found, "database") == {"good"}


async def test_every_wrong_setting_is_told_at_once_and_no_value_of_any(gateway_dsn: str) -> None:
    wrong = {
        f"{GATEWAY}DATABASE_DSN": gateway_dsn,
        f"{GATEWAY}PORT": "s3cretnumber",
        f"{GATEWAY}ACQUIRER": "s3cretbank",
        f"{GATEWAY}WEBHOOK_SCHEDUL_S": "1,2",
    }
    found = await examine("gateway", wrong)
    assert bad(found).keys() == {f"{GATEWAY}PORT", f"{GATEWAY}ACQUIRER"}
    [unknown] = [finding for finding in found if finding.subject == f"{GATEWAY}WEBHOOK_SCHEDUL_S"]
    assert unknown.do == f"Did you mean {GATEWAY}WEBHOOK_SCHEDULE_S?"
    assert "s3cret" not in repr(found)


async def test_settings_that_do_not_fit_each_other(gateway_dsn: str) -> None:
    found = await examine("gateway", {f"{GATEWAY}DATABASE_DSN": gateway_dsn, f"{GATEWAY}HOST": "0.0.0.0"})
    assert "loopback" in bad(found)[f"{GATEWAY}HOST"]


async def test_a_setting_that_is_given_twice_is_told(gateway_dsn: str, tmp_path: Path) -> None:
    file = a_file(tmp_path / "dsn", gateway_dsn)
    twice = {f"{GATEWAY}DATABASE_DSN": gateway_dsn, f"{GATEWAY}DATABASE_DSN_FILE": file, f"{GATEWAY}PORT": "1"}
    found = await examine("gateway", twice)
    assert any("hides" in finding.says for finding in found)


def a_file(path: Path, text: str, mode: int = 0o600) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize(("mode", "state"), [(0o600, "good"), (0o400, "good"), (0o640, "bad"), (0o604, "bad")])
async def test_a_secret_file_is_for_its_owner_alone(gateway_dsn: str, tmp_path: Path, mode: int, state: str) -> None:
    file = a_file(tmp_path / "dsn", gateway_dsn, mode)
    found = await examine("gateway", {f"{GATEWAY}DATABASE_DSN_FILE": file, f"{GATEWAY}PORT": "1"})
    assert states(found, "secret") == {state}


async def test_a_key_file_that_is_damaged_or_open_is_told(gateway_dsn: str, tmp_path: Path) -> None:
    environ = {f"{GATEWAY}DATABASE_DSN": gateway_dsn, f"{GATEWAY}PORT": "1"}
    for text, mode in (("v1 nonsense\n", 0o600), ("v1 " + "A" * 43 + "=\n", 0o644)):
        file = a_file(tmp_path / "keys", text, mode)
        found = await examine("gateway", {**environ, f"{GATEWAY}VAULT_KEY_FILE": file})
        assert f"{GATEWAY}VAULT_KEY_FILE" in bad(found)


async def test_no_database_an_empty_one_and_one_of_the_other_service(empty_dsn: str, merchant_dsn: str) -> None:
    for dsn in ("postgresql://nobody:s3cret-password@127.0.0.1:1/nothing", empty_dsn, merchant_dsn):
        found = await examine("gateway", {f"{GATEWAY}DATABASE_DSN": dsn, f"{GATEWAY}PORT": "1"})
        assert f"{GATEWAY}DATABASE_DSN" in bad(found)
        assert all(finding.do for finding in found if finding.state in ("bad", "warning"))
        assert "s3cret" not in repr(found)


def test_a_short_password_is_told() -> None:
    notes = Notes("gateway")
    check_password(notes, "DSN", "postgresql://gateway:short@db/gateway")
    check_password(notes, "DSN", "postgresql://gateway:long-and-random-1234@db/gateway")
    check_password(notes, "DSN", "postgresql://gateway@db/gateway")
    assert [finding.state for finding in notes.findings] == ["warning"]


@pytest.mark.parametrize(
    ("skew_s", "state"), [(0.5, "good"), (-1.9, "good"), (5.0, "warning"), (-31.0, "bad"), (600.0, "bad")]
)
def test_clocks_that_differ(skew_s: float, state: str) -> None:
    notes = Notes("gateway")
    check_clock(notes, "the database's clock", timedelta(seconds=skew_s))
    assert [finding.state for finding in notes.findings] == [state]


@pytest.fixture
def certified(tmp_path: Path) -> Callable[..., Any]:
    """What is found of a certificate: `certified(host="pay.example", at=…, key=…)`."""
    authority = trustme.CA()
    issued = authority.issue_cert("pay.example", "*.shop.example", "127.0.0.1")

    def check(host: str = "pay.example", at: datetime = NOW, key: Any = None, chain: Any = None) -> list[Finding]:
        notes = Notes("gateway")
        cert, key_file = tmp_path / "cert.pem", tmp_path / "key.pem"
        blobs = chain or [*issued.cert_chain_pems, authority.cert_pem]
        cert.write_bytes(b"".join(blob.bytes() for blob in blobs))
        a_file(key_file, (key or issued).private_key_pem.bytes().decode())
        check_certificate(notes, GATEWAY, str(cert), str(key_file), host, at)
        return notes.findings

    return check


def test_a_good_certificate(certified: Any) -> None:
    assert {finding.state for finding in certified()} == {"good"}


def test_a_certificate_that_is_over_or_not_yet_or_soon(certified: Any) -> None:
    subject = f"{GATEWAY}TLS_CERT_FILE"
    issued = trustme.CA().issue_cert("pay.example")
    ends = x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes()).not_valid_after_utc
    assert "expired" in bad(certified(at=ends + timedelta(days=400)))[subject]
    assert "not valid before" in bad(certified(at=datetime(1999, 1, 1, tzinfo=UTC)))[subject]
    assert any(finding.state == "warning" for finding in certified(at=ends - timedelta(days=5)))


def test_a_certificate_for_another_host_with_another_key_or_a_broken_chain(certified: Any) -> None:
    subject = f"{GATEWAY}TLS_CERT_FILE"
    assert "not for other.example" in bad(certified(host="other.example"))[subject]
    stranger = trustme.CA()
    other = stranger.issue_cert("pay.example")
    assert f"{GATEWAY}TLS_KEY_FILE" in bad(certified(key=other))
    broken = [trustme.CA().issue_cert("pay.example").cert_chain_pems[0], stranger.cert_pem]
    assert "chain is broken" in bad(certified(chain=broken))[subject]


@pytest.mark.parametrize(
    ("host", "is_for"),
    [
        ("pay.example", True),
        ("PAY.example", True),
        ("a.shop.example", True),
        ("shop.example", False),
        ("a.b.shop.example", False),
        ("127.0.0.1", True),
        ("127.0.0.2", False),
    ],
)
def test_for_which_hosts_a_certificate_is(host: str, is_for: bool) -> None:
    issued = trustme.CA().issue_cert("pay.example", "*.shop.example", "127.0.0.1")
    certificate = x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes())
    assert covers(certificate, host) is is_for


async def test_what_connections_need_is_read_as_the_service_reads_it(
    merchant_database: Database, merchant_dsn: str, tmp_path: Path, run_gateway: Any
) -> None:
    with run_gateway() as gateway:
        made = await create_merchant(merchant_database, SystemClock(), SystemEntropy(), name="Hazel", return_origins=[])
        keys = [a_file(tmp_path / "sk", "sk_test_0"), a_file(tmp_path / "whsec", "nonsense", 0o644)]
        connection = await add_connection(
            merchant_database,
            SystemClock(),
            SystemEntropy(),
            merchant_id=made.merchant_id,
            url=gateway.url,
            secret_key_ref=f"file:{keys[0]}",
            webhook_secret_refs=[f"file:{keys[1]}", "vault:hazel#whsec", f"file:{tmp_path}/none"],
        )
        found = await examine("merchant", {f"{MERCHANT}DATABASE_DSN": merchant_dsn, f"{MERCHANT}PORT": "1"})
    said = [finding.says for finding in found if finding.subject == f"{connection} webhook secret"]
    assert any("others may read" in says for says in said)
    assert any("told of none" in says for says in said)
    assert ["cannot be read" in says for says in said].count(True) == 1, "each fault is told once"
    assert [finding.state for finding in found if finding.subject == f"{connection} secret key"] == ["good"]
    peers = [finding for finding in found if finding.subject == f"the gateway {gateway.url}"]
    assert [finding.state for finding in peers] == ["good"]
    assert any(finding.subject == f"the clock of the gateway {gateway.url}" for finding in found)


async def test_a_gateway_that_does_not_answer_is_a_fault(merchant_database: Database, merchant_dsn: str) -> None:
    made = await create_merchant(merchant_database, SystemClock(), SystemEntropy(), name="Hazel", return_origins=[])
    await add_connection(
        merchant_database,
        SystemClock(),
        SystemEntropy(),
        merchant_id=made.merchant_id,
        url="http://127.0.0.1:1",
        secret_key_ref="env:NOT_SET",
        webhook_secret_refs=["env:NOT_SET"],
    )
    found = await examine("merchant", {f"{MERCHANT}DATABASE_DSN": merchant_dsn, f"{MERCHANT}PORT": "1"})
    assert "connection_refused" in bad(found)["the gateway http://127.0.0.1:1"]


async def test_vault_sealed_is_told_and_what_lies_there_is_looked_at(openbao: Any, gateway_dsn: str) -> None:
    openbao.policy("doctor", "read secret/data/doctor/*")
    ids = openbao.approle("doctor", "doctor", token_ttl="1h")
    openbao.put("doctor/database", dsn=gateway_dsn)
    environ = {
        f"{GATEWAY}PORT": "1",
        f"{GATEWAY}VAULT_URL": openbao.url,
        f"{GATEWAY}VAULT_ROLE_ID": ids["role_id"],
        f"{GATEWAY}VAULT_SECRET_ID": ids["secret_id"],
        f"{GATEWAY}VAULT_START_WAIT_S": "0",
        f"{GATEWAY}VAULT_TRANSIT_KEY": "not-permitted",
        f"{GATEWAY}DATABASE_DSN_VAULT": "doctor/database#dsn",
    }
    found = await examine("gateway", environ)
    assert bad(found).keys() == {f"{GATEWAY}VAULT_TRANSIT_KEY"}
    assert states(found, "database") == {"good"}
    found = await examine("gateway", {**environ, f"{GATEWAY}DATABASE_DSN_VAULT": "doctor/none#dsn"})
    assert "nothing there" in bad(found)[f"{GATEWAY}DATABASE_DSN_VAULT"]
    openbao.seal()
    assert "sealed" in bad(await examine("gateway", environ))[f"{GATEWAY}VAULT_URL"]


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, str]], None]:
    """Only these settings stand in the environment."""
    for name in [name for name in os.environ if name.startswith("TALLYSTICK_")]:
        monkeypatch.delenv(name)

    def give(environ: Mapping[str, str]) -> None:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)

    return give


def test_the_command_ends_with_1_for_faults_and_0_without(
    alone: Any, gateway_dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    alone({f"{GATEWAY}DATABASE_DSN": gateway_dsn, f"{GATEWAY}PORT": "1"})
    assert run(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["healthy"] is True
    assert {finding["service"] for finding in told["findings"]} == {"gateway"}
    alone({f"{GATEWAY}PORT": "no number"})
    assert run(["doctor"]) == 1
    assert f"{GATEWAY}PORT" in capsys.readouterr().out


def test_the_command_says_where_to_find_an_installation(alone: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor"]) == 2
    assert "--data-dir" in capsys.readouterr().err


# Other roles, and personal data


async def test_a_role_that_gets_in_nowhere_or_may_too_much_or_too_little_is_told(gateway_dsn: str) -> None:
    nowhere = "postgresql://tallystick_vault:s3cret-password@127.0.0.1:1/nothing"
    environ = {
        f"{GATEWAY}DATABASE_DSN": gateway_dsn,
        f"{GATEWAY}PORT": "1",
        f"{GATEWAY}VAULT_DSN": nowhere,
        f"{GATEWAY}PII_DSN": gateway_dsn,
    }
    found = await examine("gateway", environ)
    assert f"{GATEWAY}VAULT_DSN" in bad(found)
    [personal] = [each for each in found if each.subject == f"{GATEWAY}PII_DSN" and each.check == "role"]
    assert personal.state == "warning", "the administrator's DSN may change the tables"
    assert "s3cret" not in repr(found)


async def test_people_whom_no_key_opens_and_who_lie_in_the_clear_are_told(
    gateway_dsn: str, gateway_database: Database, people_keys: Mapping[str, str], tmp_path: Path
) -> None:
    environ = {f"{GATEWAY}DATABASE_DSN": gateway_dsn, f"{GATEWAY}PORT": "1"}
    keys = {f"{GATEWAY}{name.upper()}": value for name, value in people_keys.items()}
    held = LocalKeyEncryption(Path(people_keys["pii_key_file"]))
    records = Records(gateway_database, built_in(), held, [b"i" * 32], SystemClock(), SystemEntropy())
    await records.keep([(("acct_1", False, "cus_1"), {"name": "Ada"})])
    subject = f"{GATEWAY}PII_KEY_FILE"
    assert {each.says for each in await examine("gateway", {**environ, **keys}) if each.check == "personal data"} == {
        "what is stored opens"
    }
    assert subject in bad(await examine("gateway", environ)), "no key at all"
    make_key_file(tmp_path / "others", SystemEntropy())
    others = {**keys, f"{GATEWAY}PII_KEY_FILE": str(tmp_path / "others")}
    assert "does not open" in bad(await examine("gateway", {**environ, **others}))[subject]
    clear = (
        "INSERT INTO pii.customer_detail (account_id, livemode, customer, name) VALUES ('acct_1', false, 'cus_2', 'B')"
    )
    await gateway_database.execute(Statement("x", clear))
    found = await examine("gateway", {**environ, **keys})
    assert any("in the clear" in each.says for each in found if each.state == "warning")


# Where webhooks, notifications and stock hooks go

ADD_ENDPOINT = """
INSERT INTO webhook_endpoint (account_id, livemode, id, url, status, enabled_events, secrets, created_at, deleted_at)
VALUES ('acct_1', false, $1::text, $2::text, $3::text, '{*}', '{whsec_1}', '2026-01-01Z', $4::timestamptz)
"""


@pytest.fixture
def name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """What names mean here: one is public, one leads inside, one does both; there are no others."""
    known = {"shop.example.com": ["93.184.215.14"], "inside.example.com": ["10.0.0.5"]}
    known["both.example.com"] = known["shop.example.com"] + known["inside.example.com"]

    async def addresses_of(_self: SystemNames, host: str) -> list[str]:
        if host not in known:
            raise OSError
        return known[host]

    monkeypatch.setattr(SystemNames, "addresses_of", addresses_of)


@pytest.mark.usefixtures("name_server")
async def test_webhook_endpoints_that_lead_inside_or_nowhere_are_told_without_their_address(
    gateway_dsn: str, gateway_database: Database
) -> None:
    endpoints = [
        ("we_1", "https://shop.example.com/s3cret", "enabled", None),
        ("we_2", "https://inside.example.com/s3cret", "enabled", None),
        ("we_3", "https://both.example.com/s3cret", "enabled", None),
        ("we_4", "https://gone.example.com/s3cret", "enabled", None),
        ("we_5", "http://127.0.0.1:9/s3cret", "enabled", None),
        ("we_6", "https://shop.example.com:22/s3cret", "enabled", None),
        ("we_7", "https://10.0.0.1/s3cret", "disabled", None),
        ("we_8", "https://10.0.0.1/s3cret", "enabled", NOW),
    ]
    for each in endpoints:
        await gateway_database.execute(Statement("x", ADD_ENDPOINT), *each)
    environ = {f"{GATEWAY}DATABASE_DSN": gateway_dsn, f"{GATEWAY}PORT": "1"}
    found = [each for each in await examine("gateway", environ) if each.check == "endpoint"]
    assert {each.subject.removeprefix("webhook endpoint "): each.state for each in found} == {
        "we_1": "good",
        "we_2": "bad",
        "we_3": "bad",
        "we_4": "warning",
        "we_5": "bad",
        "we_6": "bad",
    }
    assert all(each.do for each in found if each.state != "good")
    assert "s3cret" not in repr(found)
    found = await examine("gateway", {**environ, f"{GATEWAY}WEBHOOKS_TO_LOOPBACK": "true"})
    assert "webhook endpoint we_5" not in bad(found)


@pytest.mark.usefixtures("name_server")
async def test_shops_endpoints_and_stock_hooks_are_looked_at_likewise(
    merchant_dsn: str, merchant_database: Database
) -> None:
    made = await create_merchant(merchant_database, SystemClock(), SystemEntropy(), name="Hazel", return_origins=[])
    ids = [
        await add_endpoint(
            merchant_database,
            SystemClock(),
            SystemEntropy(),
            merchant_id=made.merchant_id,
            url=f"https://{host}.example.com/hear",
        )
        for host in ("shop", "inside")
    ]
    hook = "https://inside.example.com/stock"
    await set_stock_hook(merchant_database, SystemEntropy(), merchant_id=made.merchant_id, url=hook)
    found = await examine("merchant", {f"{MERCHANT}DATABASE_DSN": merchant_dsn, f"{MERCHANT}PORT": "1"})
    assert {each.subject: each.state for each in found if each.check == "endpoint"} == {
        f"endpoint {ids[0].endpoint_id}": "good",
        f"endpoint {ids[1].endpoint_id}": "bad",
        f"stock hook of {made.merchant_id}": "bad",
    }


# The collector of traces


async def traces(dsn: str, url: str, **more: str) -> Finding | None:
    """What is found of a collector."""
    environ = {f"{GATEWAY}DATABASE_DSN": dsn, f"{GATEWAY}PORT": "1", f"{GATEWAY}TRACES_URL": url, **more}
    found = [finding for finding in await examine("gateway", environ) if finding.check == "traces"]
    assert all(finding.subject == f"{GATEWAY}TRACES_URL" for finding in found)
    return found[0] if found else None


async def test_a_collector_that_takes_spans_is_well_and_none_is_not_looked_for(
    collector: Any, gateway_dsn: str
) -> None:
    found = await traces(gateway_dsn, collector.url)
    assert found is not None
    assert (found.state, found.do) == ("good", "")
    assert await traces(gateway_dsn, "") is None


@pytest.mark.parametrize(
    ("url", "says", "do"),
    [
        ("http://127.0.0.1:1/v1/traces", "connection_refused", "Nobody listens there"),
        ("http://10.0.0.1/v1/traces", "plain_http", "https://"),
        ("https://169.254.169.254/v1/traces", "address_refused", "no server of ours"),
    ],
)
async def test_a_collector_that_cannot_be_reached_is_told_with_what_to_do(
    gateway_dsn: str, url: str, says: str, do: str
) -> None:
    found = await traces(gateway_dsn, url)
    assert found is not None
    assert found.state == "warning", "no payment waits for it"
    assert says in found.says
    assert do in found.do


@pytest.mark.parametrize(("status", "do"), [(401, "TRACES_HEADERS"), (404, "/v1/traces"), (415, "JSON"), (500, "log")])
async def test_a_collector_that_refuses_is_told_and_its_key_is_not(
    gateway_dsn: str, collector: Any, status: int, do: str
) -> None:
    collector.status = status
    key = {f"{GATEWAY}TRACES_HEADERS": "authorization=Basic s3cretkey"}
    found = await traces(gateway_dsn, collector.url, **key)
    assert found is not None
    assert (found.state, do in found.do) == ("warning", True)
    assert str(status) in found.says
    assert "s3cretkey" not in repr(found)


async def test_a_collector_that_speaks_no_tls(gateway_dsn: str, collector: Any) -> None:
    found = await traces(gateway_dsn, collector.url.replace("http://", "https://"))
    assert found is not None
    assert "tls" in found.says
    assert "TLS" in found.do
