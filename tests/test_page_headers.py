"""Every page of both services, and every page of theirs that says no, has the headers of RULES §9."""

import re
from functools import partial
from typing import Any

import pytest

REQUIRED = {
    "content-security-policy": r"default-src 'none'; .*frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "permissions-policy": r".*camera=\(\), .*payment=\(\).*",
    "strict-transport-security": r"max-age=[0-9]{8,}",
}
FORM = [("Content-Type", "application/x-www-form-urlencoded")]

GATEWAY = [
    ("GET", "/", 404),
    ("GET", "/nothing", 404),
    ("GET", "/healthz", 200),
    ("DELETE", "/healthz", 405),
    ("GET", "/pay/cs_test_x", 404),
    ("POST", "/pay/cs_test_x", 404),
    ("DELETE", "/pay/cs_test_x", 405),
    ("GET", "/pay/cs_test_x/challenge", 404),
    ("GET", "/embed/cs_test_x", 404),
    ("GET", "/embed/cs_test_x/return", 404),
    ("GET", "/acs/ch_x", 404),
    ("GET", "/console", 303),
    ("GET", "/console/login", 200),
    ("POST", "/console/login", 401),
    ("GET", "/console/nothing", 404),
    ("DELETE", "/console/login", 405),
    ("POST", "/console/redrives", 303),
]
MERCHANT = [
    ("GET", "/docs", 200),
    ("GET", "/return/ord_x", 404),
    ("GET", "/console", 303),
    ("GET", "/console/login", 200),
    ("POST", "/console/login", 401),
    ("GET", "/console/nothing", 404),
    ("DELETE", "/console/login", 405),
]


def lacking(headers: Any) -> list[str]:
    """Which of the required headers are not there, or say something else."""
    return [name for name, wanted in REQUIRED.items() if not re.fullmatch(wanted, headers.get(name, ""))]


def test_every_page_of_the_gateway(run_gateway: Any, client: Any) -> None:
    """As an installation behind TLS has it."""
    with run_gateway(public_url="https://pay.example") as gateway:
        for method, path, status in GATEWAY:
            answer = client(gateway.url).send(method, path, b"" if method == "POST" else None, FORM)
            assert answer.status == status, f"{method} {path}"
            assert lacking(answer.headers) == [], f"{method} {path}"
            assert "unsafe" not in answer.headers["content-security-policy"]
            assert "server" not in answer.headers or answer.headers["server"] == "uvicorn", "the test's own server"


@pytest.mark.parametrize(("method", "path", "status"), MERCHANT)
async def test_every_page_of_the_merchant_service(merchant_over_tls: Any, method: str, path: str, status: int) -> None:
    answer = await merchant_over_tls(method, path)
    assert answer.status == status
    assert lacking(answer.headers) == []
    assert "unsafe" not in answer.headers["content-security-policy"]


@pytest.fixture
def merchant_over_tls(merchant_dsn: str, merchant_database: Any, ask: Any) -> Any:
    """Asks a merchant service that believes to be behind TLS."""
    from tallystick.merchant import app
    from tallystick.merchant.settings import Settings
    from tallystick.ports.clock import SystemClock
    from tallystick.ports.entropy import SystemEntropy

    nothing: Any = None
    ports = app.Ports(merchant_database, nothing, nothing, SystemClock(), SystemEntropy())
    service = app.build(Settings(database_dsn=merchant_dsn, public_url="https://shop.example"), ports)

    return partial(ask, service.asgi, headers=[(b"content-type", b"application/x-www-form-urlencoded")], scheme="https")


def test_a_days_report_takes_no_other_style_than_its_own() -> None:
    """It used to allow every inline style."""
    from tallystick.merchant.reconciliation import report

    policy = report.HEADERS["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "style-src 'sha256-" in policy
