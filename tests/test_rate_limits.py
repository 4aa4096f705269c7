"""Rate limits of keys and addresses: 429, in each API's own words, with Retry-After; nobody else is slowed down."""

import base64
from typing import Any

import pytest

from tallystick.kernel.rates import Rate, Rates

ADDRESS, ELSEWHERE = "203.0.113.9", "198.51.100.1"


def test_a_rate_gives_so_many_a_second_and_some_at_once() -> None:
    rate = Rate(10)
    assert [rate.exceeded("a", 0.0) for _ in range(21)] == [False] * 20 + [True]
    assert not rate.exceeded("b", 0.0)
    assert [rate.exceeded("a", 0.1) for _ in range(2)] == [False, True]
    assert not Rate(0).exceeded("a", 0.0)


def test_this_machine_is_not_counted_by_address() -> None:
    rates = Rates(pages_per_address=1, refusals_per_address=1)
    for _ in range(100):
        rates.refused("127.0.0.1", 0.0)
        assert not rates.visitor("127.0.0.1", 0.0)
        assert not rates.stranger("127.0.0.1", 0.0)


def tried(gateway: Any, client: Any, path: str, key: str, address: str) -> Any:
    return client(gateway.url, key).get(path, [("X-Forwarded-For", address)])


def test_keys_that_open_nothing_come_slowly_from_one_address(run_gateway: Any, client: Any) -> None:
    with run_gateway(trusted_proxies="127.0.0.1", refusals_per_address_max=1.0) as gateway:
        wrong, good = "sk_test_0123456789abcdef01234567", gateway.test.secret_key
        answers = [tried(gateway, client, "/v1/balance", wrong, ADDRESS) for _ in range(5)]
        assert [answer.status for answer in answers[:2]] == [401, 401]
        assert answers[-1].status == 429
        assert answers[-1].error["code"] == "rate_limit"
        assert answers[-1].headers["retry-after"] == "1"
        assert tried(gateway, client, "/v1/balance", good, ELSEWHERE).status == 200
        operators = tried(gateway, client, "/operator/v1", "opk_0123456789abcdef01234567", "192.0.2.7")
        assert operators.status == 401
        many = [tried(gateway, client, "/operator/v1", "opk_x", "192.0.2.7") for _ in range(5)]
        assert (many[-1].status, many[-1].json["code"]) == (429, "too_many")
        assert many[-1].headers["retry-after"] == "1"


def test_a_key_that_calls_too_quickly_is_told_to_wait(run_gateway: Any, client: Any) -> None:
    with run_gateway(calls_per_key_max=1.0) as gateway:
        mine = client(gateway.url, gateway.test.secret_key)
        answers = [mine.get("/v1/balance") for _ in range(6)]
        assert answers[0].status == 200
        assert answers[-1].status == 429
        assert answers[-1].error["type"] == "invalid_request_error"
        assert answers[-1].headers["retry-after"] == "1"
        assert client(gateway.url, gateway.other.secret_key).get("/v1/balance").status == 200


def test_a_key_has_one_rate_however_it_is_written(run_gateway: Any, client: Any) -> None:
    with run_gateway(calls_per_key_max=1.0) as gateway:
        nobody = client(gateway.url, "")
        key = gateway.test.secret_key
        ways = [base64.b64encode(f"{key}:{n}".encode()).decode() for n in range(6)]
        answers = [nobody.get("/v1/balance", [("Authorization", f"Basic {way}")]) for way in ways]
        assert (answers[0].status, answers[-1].status) == (200, 429)


def test_who_asks_for_pages_faster_than_anybody_clicks_is_told_kindly(run_gateway: Any, client: Any) -> None:
    with run_gateway(trusted_proxies="127.0.0.1", pages_per_address_max=1.0) as gateway:
        answers = [tried(gateway, client, "/pay/cs_test_x", "", ADDRESS) for _ in range(5)]
        assert (answers[0].status, answers[-1].status) == (404, 429)
        assert b"That was too fast" in answers[-1].body
        assert answers[-1].headers["retry-after"]
        assert answers[-1].headers["cache-control"] == "no-store"
        assert tried(gateway, client, "/pay/cs_test_x", "", ELSEWHERE).status == 404


@pytest.mark.parametrize("setting", ["x", "10.0.0.1/8"])
def test_a_proxy_that_is_none_is_refused_at_the_start(setting: str) -> None:
    from tallystick.gateway.settings import read
    from tallystick.kernel.settings import SettingsRefused

    with pytest.raises(SettingsRefused, match="TRUSTED_PROXIES"):
        read({"TALLYSTICK_GATEWAY_DATABASE_DSN": "postgresql:///x", "TALLYSTICK_GATEWAY_TRUSTED_PROXIES": setting})
