"""The merchant's settings: every one documented, and refused at the start where it cannot be meant (RULES §12)."""

import pytest

from tallystick.kernel.settings import SettingsRefused, describe
from tallystick.merchant.settings import PREFIX, Settings, read

NEEDED = {f"{PREFIX}DATABASE_DSN": "postgresql://merchant@127.0.0.1/tallystick_merchant"}


def with_settings(**more: str) -> Settings:
    return read({**NEEDED, **{f"{PREFIX}{name}": value for name, value in more.items()}})


def test_the_defaults_are_those_of_the_rules() -> None:
    """RULES §4: declines_max 3; §8: TTL 30 min."""
    settings = read(NEEDED)
    assert (settings.order_ttl_s, settings.declines_max, settings.origin) == (1800, 3, "http://127.0.0.1:8420")


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ({"PORT": "9000"}, "http://127.0.0.1:9000"),
        ({"TLS_CERT_FILE": "c", "TLS_KEY_FILE": "k"}, "https://127.0.0.1:8420"),
        ({"HOST": "::1"}, "http://[::1]:8420"),
        ({"PUBLIC_URL": "https://pay.example/"}, "https://pay.example"),
        (
            {"HOST": "0.0.0.0", "TLS_CERT_FILE": "c", "TLS_KEY_FILE": "k", "PUBLIC_URL": "https://pay.example:443"},
            "https://pay.example",
        ),
    ],
)
def test_the_origin_follows_from_where_it_is_served(given: dict[str, str], origin: str) -> None:
    assert with_settings(**given).origin == origin


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"HOST": "0.0.0.0"}, "plain HTTP"),
        ({"HOST": "192.168.1.1"}, "plain HTTP"),
        ({"TLS_CERT_FILE": "c"}, "both or none"),
        ({"TLS_KEY_FILE": "k"}, "both or none"),
        ({"PUBLIC_URL": "http://pay.example"}, "PUBLIC_URL"),
        ({"PUBLIC_URL": "https://pay.example/path"}, "PUBLIC_URL"),
        ({"PUBLIC_URL": "pay.example"}, "PUBLIC_URL"),
        ({"PORT": "0"}, "PORT"),
        ({"PORT": "70000"}, "PORT"),
        ({"ORDER_TTL_S": "59"}, "ORDER_TTL_S"),
        ({"ORDER_TTL_S": "86401"}, "ORDER_TTL_S"),
        ({"DECLINES_MAX": "0"}, "DECLINES_MAX"),
        ({"DATABASE_DSN": ""}, "DATABASE_DSN"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_name(given: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsRefused, match=says):
        with_settings(**given)


def test_settings_show_no_secret() -> None:
    settings = read({f"{PREFIX}DATABASE_DSN": "postgresql://merchant:hunter2@db/x?sslmode=verify-full"})
    assert "hunter2" not in repr(settings)


def test_every_setting_has_a_sentence() -> None:
    assert all(setting.sentence.endswith((".", "…")) for setting in describe(Settings, PREFIX))
