"""Which databases the commands of one machine mean."""

import pytest

from tallystick.cli.postgres import DSN_VARIABLES, given_dsn, without_owners
from tallystick.kernel.settings import SettingsRefused


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in DSN_VARIABLES.values():
        for suffix in ("", "_FILE", "_VAULT"):
            monkeypatch.delenv(f"{variable}{suffix}", raising=False)


@pytest.mark.parametrize("service", ["gateway", "merchant"])
def test_no_dsn_is_none(service: str) -> None:
    assert given_dsn(service) is None


@pytest.mark.parametrize("service", ["gateway", "merchant"])
@pytest.mark.parametrize(("suffix", "place"), [("_FILE", "/nowhere/dsn"), ("_VAULT", "shop/database#dsn")])
def test_a_dsn_that_is_named_and_cannot_be_read_is_an_error(
    service: str, suffix: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else `serve` would start an empty database of its own instead."""
    monkeypatch.setenv(f"{DSN_VARIABLES[service]}{suffix}", place)
    with pytest.raises(SettingsRefused, match=f"{DSN_VARIABLES[service]}{suffix}"):
        given_dsn(service)


def test_no_service_inherits_how_its_owner_is_reached() -> None:
    given = {f"TALLYSTICK_GATEWAY_OWNER_DSN{suffix}": "x" for suffix in ("", "_FILE", "_VAULT")}
    assert without_owners(given | {"PATH": "/bin"}) == {"PATH": "/bin"}
