"""What a person is told when a command cannot work: a sentence that says what to do, and an exit code."""

import pytest

from tallystick.cli.command import run
from tallystick.cli.failures import CANNOT_BE, DID_NOT_WORK, explain
from tallystick.ports.database import StatementRefused


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for service in ("GATEWAY", "MERCHANT"):
        for ending in ("", "_FILE"):
            monkeypatch.delenv(f"TALLYSTICK_{service}_DATABASE_DSN{ending}", raising=False)
        monkeypatch.delenv(f"TALLYSTICK_{service}_SETTINGS_FILE", raising=False)
        for name in ("URL", "API_KEY", "API_KEY_FILE", "OPERATOR_KEY", "OPERATOR_KEY_FILE"):
            monkeypatch.delenv(f"TALLYSTICK_{service}_{name}", raising=False)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("database migrate", "TALLYSTICK_GATEWAY_DATABASE_DSN or TALLYSTICK_MERCHANT_DATABASE_DSN"),
        ("gateway serve", "TALLYSTICK_GATEWAY_DATABASE_DSN is not set"),
        ("merchant accounts create --name Hazel", "TALLYSTICK_MERCHANT_DATABASE_DSN is not set"),
        ("order show ord_1", "--data-dir"),
        ("gateway operators whoami", "TALLYSTICK_GATEWAY_URL and TALLYSTICK_GATEWAY_OPERATOR_KEY"),
        ("gateway operators create --name x --role admin", "TALLYSTICK_GATEWAY_DATABASE_DSN is not set"),
        ("gateway accounts create", "--name"),
        ("gateway accounts create --name x --mode real", "real"),
        ("nothing", "nothing"),
        ("demo --port-base 65532", "65531"),
        ("gateway nothing", "`tallystick gateway --help`"),
        ("gateway settle --date yesterday", "'yesterday'"),
        ("merchant connections fees con_1 eur --from soon", "'soon'"),
        ("gateway clock advance 1w", "write 90s, 5m, 1h or 3d"),
        ("gateway clock advance 0", "forward"),
        ("gateway audit list --since soon", "2026-11-23T12:00:00Z"),
        ("gateway audit list --since 99999999d", "no time"),
        ("gateway faults add bank slow", "acquirer"),
        ("merchant reconcile --file nowhere.csv --format stripe", "nowhere.csv"),
        ("merchant reconcile --report day.pdf", ".html or .csv"),
        ("merchant reconcile --report nowhere/day.csv", "nowhere/day.csv"),
        ("merchant customers keys --key-file /proc/keys/k --index-key-file /proc/keys/i", "/proc/keys"),
    ],
)
def test_what_is_missing_is_named(line: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(line.split()) == CANNOT_BE
    captured = capsys.readouterr()
    assert told in captured.err
    assert captured.out == ""
    assert "Traceback" not in captured.err


def test_a_database_that_is_away(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYSTICK_MERCHANT_DATABASE_DSN", "postgresql://nobody:hidden-word@127.0.0.1:1/nowhere")
    for line in ("database migrate", "merchant accounts create --name Hazel"):
        assert run(line.split()) == DID_NOT_WORK
        error = capsys.readouterr().err
        assert "DSN" in error
        assert "hidden-word" not in error


def test_one_dsn_of_two_is_refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYSTICK_MERCHANT_DATABASE_DSN", "postgresql:///merchant")
    assert run(["serve"]) == CANNOT_BE
    assert "set both" in capsys.readouterr().err


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    help_text = capsys.readouterr().out
    for noun in ("gateway", "merchant", "database", "order", "serve", "demo"):
        assert noun in help_text
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("tallystick ")


def test_a_noun_alone_is_answered_with_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The first thing that a newcomer types came as an error that held the help, and its sentences were cut off."""
    for line in ([], ["gateway"], ["merchant", "connections"]):
        assert run(line) == CANNOT_BE
        alone = capsys.readouterr().err
        assert alone.startswith(" ".join(["Usage: tallystick", *line, "[OPTIONS]"]))
        assert run([*line, "--help"]) == 0
        assert capsys.readouterr().out == alone


def test_a_role_that_may_not_do_it_is_told_in_a_sentence() -> None:
    """`gateway rewrap` as a role that cannot reach the vault ended in a traceback."""
    code, sentence = explain(StatementRefused("42501")) or (None, "")
    assert code == CANNOT_BE
    assert "docs/database-roles.md" in sentence
    assert explain(StatementRefused("42P01")) is None, "a table that is not there is a fault of ours"
