"""An account's keys roll without a moment without one: by command, seen on the wire. RULES §12."""

import json
from typing import Any

import pytest

from tallystick.cli.command import run


def test_a_second_pair_works_beside_the_first_until_that_is_revoked(
    run_gateway: Any, client: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*command: str) -> Any:
        capsys.readouterr()
        assert run(["gateway", "keys", *command, "--json"]) == 0
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    with run_gateway() as gateway:
        monkeypatch.setenv("TALLYSTICK_GATEWAY_DATABASE_DSN", gateway.dsn)
        old = gateway.test.secret_key
        new = told("create", gateway.account_id)["secret_key"]
        for key in (old, new):
            assert client(gateway.url, key).get("/v1/customers").status == 200
        listed = told("list", gateway.account_id)["keys"]
        assert old not in repr(listed)
        assert new not in repr(listed)
        first = next(key["id"] for key in listed if key["kind"] == "secret" and not key["livemode"])
        told("revoke", gateway.account_id, first)
        assert client(gateway.url, new).get("/v1/customers").status == 200
        assert run(["gateway", "keys", "revoke", gateway.account_id, first]) == 2, "it lives no more"
        assert run(["gateway", "keys", "create", "acct_0000000000000000"]) == 2
