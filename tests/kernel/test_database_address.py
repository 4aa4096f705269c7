"""A database on another machine is spoken to by verified TLS, unless somebody wrote down otherwise. RULES §12."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tallystick.gateway.settings import read as read_gateway
from tallystick.kernel.database_address import is_verified, leaves_the_machine, refusal_of
from tallystick.kernel.settings import SettingsRefused
from tallystick.merchant.settings import read as read_merchant

HERE = [
    "postgresql://gateway@/tallystick?host=/run/postgresql",
    "postgresql:///tallystick",
    "postgresql://gateway:word@localhost/tallystick",
    "postgres://gateway@127.0.0.1:5433/tallystick",
    "postgresql://gateway@[::1]:5432/tallystick",
    "postgresql://gateway@127.0.0.1:5432,localhost:5433/tallystick",
]
ELSEWHERE = [
    "postgresql://gateway:word@db.example/tallystick",
    "postgres://gateway@db:5432/tallystick",
    "postgresql://10.0.0.5/tallystick",
    "postgresql://gateway@[2001:4860::1]:5432/tallystick",
    "postgresql://gateway@127.0.0.1,db.example/tallystick",
    "postgresql:///tallystick?host=db.example",
    "postgresql://localhost/tallystick?host=db.example&sslmode=",
    "postgresql://gateway@db.example/tallystick?sslmode=nonsense",
    "postgresql://localhost/tallystick?hostaddr=203.0.113.5",
]


@pytest.mark.parametrize("dsn", HERE)
def test_what_stays_on_this_machine_needs_nothing(dsn: str) -> None:
    assert not leaves_the_machine(dsn)
    assert refusal_of(dsn) is None
    assert is_verified(dsn)


@pytest.mark.parametrize("dsn", ELSEWHERE)
def test_a_database_elsewhere_is_not_reached_by_postgresqls_own_default(dsn: str) -> None:
    refusal = refusal_of(dsn)
    assert refusal is not None
    assert "word" not in refusal
    assert "db.example" not in refusal
    assert not is_verified(dsn)


@pytest.mark.parametrize("dsn", ["host=db.example user=gateway password=word", "db.example", "http://db.example/"])
def test_what_is_no_address_is_refused_since_one_driver_takes_other_forms(dsn: str) -> None:
    """Migrations go by libpq, which reads `host=…` too and then speaks in plain text with whoever answers."""
    refusal = refusal_of(dsn)
    assert refusal is not None
    assert "word" not in refusal
    assert refusal_of("") is None, "a DSN that is not set"


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require", "verify-ca"])
def test_a_weaker_mode_is_the_operators_choice_and_is_told_of(mode: str) -> None:
    dsn = f"postgresql://gateway@db.example/tallystick?sslmode={mode}"
    assert refusal_of(dsn) is None
    assert not is_verified(dsn)


def test_verified_is_what_is_wanted() -> None:
    assert is_verified("postgresql://gateway@db.example/tallystick?sslrootcert=/ca.pem&sslmode=verify-full")


@pytest.mark.parametrize(
    ("name", "read"), [("GATEWAY", read_gateway), ("MERCHANT", read_merchant)], ids=["gateway", "merchant"]
)
def test_a_service_refuses_to_start_without(name: str, read: Callable[[Mapping[str, str]], Any]) -> None:
    """Whatever setting holds the DSN: a new one cannot be forgotten."""
    prefix = f"TALLYSTICK_{name}_"
    variables = [each.upper() for each in read({f"{prefix}DATABASE_DSN": HERE[0]}).__struct_fields__ if "dsn" in each]
    assert len(variables) >= 3
    for variable in variables:
        given = {f"{prefix}DATABASE_DSN": HERE[0], f"{prefix}{variable}": ELSEWHERE[0]}
        with pytest.raises(SettingsRefused, match=f"{prefix}{variable}: .*verify-full") as refused:
            read(given)
        assert "word" not in str(refused.value)
