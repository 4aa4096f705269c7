"""The gateway's settings: each documented, each checked before anything starts (RULES §12)."""

from pathlib import Path

import pytest

from tallystick.gateway.settings import PREFIX, Settings, read
from tallystick.kernel.settings import SettingsRefused, describe

DSN = {f"{PREFIX}DATABASE_DSN": "postgresql://localhost/gateway"}


def given(**values: str) -> dict[str, str]:
    return DSN | {f"{PREFIX}{name.upper()}": value for name, value in values.items()}


def test_every_setting_has_a_sentence_and_durations_have_a_unit() -> None:
    for setting in describe(Settings, PREFIX):
        assert setting.sentence.endswith("."), setting
        assert not setting.field.endswith("_s") or "seconds" in setting.unit, setting


def test_the_dsn_is_all_that_is_needed() -> None:
    settings = read(DSN)
    assert (settings.origin, settings.live_allowed) == ("http://127.0.0.1:8410", False)
    assert "postgresql" not in repr(settings), "a DSN may carry a password"


def test_the_dsn_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "dsn").write_text("postgresql://localhost/elsewhere\n")
    settings = read({f"{PREFIX}DATABASE_DSN_FILE": str(tmp_path / "dsn")})
    assert settings.database_dsn == "postgresql://localhost/elsewhere"


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"host": "0.0.0.0"}, "HOST"),
        ({"host": "pay.example"}, "HOST"),
        ({"tls_cert_file": "/a"}, "TLS_KEY_FILE"),
        ({"public_url": "http://pay.example"}, "PUBLIC_URL"),
        ({"public_url": "https://pay.example/path"}, "PUBLIC_URL"),
        ({"public_url": "pay.example"}, "PUBLIC_URL"),
        ({"port": "0"}, "PORT"),
        ({"port": "http"}, "PORT"),
        ({"acquirer": "first bank"}, "ACQUIRER"),
        ({"session_ttl_min_s": "0"}, "SESSION_TTL_MIN_S"),
        ({"webhook_schedule_s": "soon"}, "WEBHOOK_SCHEDULE_S"),
        ({"webhook_schedule_s": "5,60"}, "WEBHOOK_SCHEDULE_S"),
        ({"acquirer_delay_s": "-1"}, "ACQUIRER_DELAY_S"),
        ({"log_level": "chatty"}, "LOG_LEVEL"),
    ],
)
def test_what_cannot_work_is_refused_at_the_start(values: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsRefused, match=named):
        read(given(**values))


@pytest.mark.parametrize(
    ("values", "origin"),
    [
        ({"host": "::1", "port": "80"}, "http://[::1]:80"),
        (
            {"tls_cert_file": "/a", "tls_key_file": "/b", "host": "0.0.0.0", "public_url": "https://Pay.Example/"},
            "https://pay.example",
        ),
        ({"public_url": "http://127.0.0.1:9000"}, "http://127.0.0.1:9000"),
        ({"public_url": "https://pay.example:443"}, "https://pay.example"),
    ],
)
def test_the_origin_of_the_pages(values: dict[str, str], origin: str) -> None:
    assert read(given(**values)).origin == origin
