"""Settings come from the environment, from files that it names, and from one TOML file; errors name the setting."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from msgspec import Meta, Struct

from tallystick.kernel.settings import Setting, SettingsRefused, describe, faults_of, load, vault_references


class Example(Struct, frozen=True, kw_only=True):
    dsn: Annotated[str, Meta(min_length=1, description="Where.")]
    size: Annotated[int, Meta(ge=1, le=9, description="How many.", extra={"unit": "pieces"})] = 3
    shape: Annotated[Literal["round", "square"], Meta(description="Of which shape.")] = "round"


def test_the_environment_comes_before_files_and_files_before_defaults(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("from a file\n")
    settings = tmp_path / "settings.toml"
    settings.write_text('dsn = "from the settings file"\nsize = 5\n')
    named = {"X_SETTINGS_FILE": str(settings)}
    assert load(Example, "X_", {"X_DSN": "plain"}) == Example(dsn="plain", size=3)
    assert load(Example, "X_", named) == Example(dsn="from the settings file", size=5)
    assert load(Example, "X_", named | {"X_DSN_FILE": str(secret)}) == Example(dsn="from a file", size=5)
    assert load(Example, "X_", named | {"X_DSN_FILE": str(secret), "X_DSN": "plain", "X_SIZE": "7"}) == Example(
        dsn="plain", size=7
    )


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({}, "X_DSN is not set"),
        ({"X_DSN": ""}, "X_DSN"),
        ({"X_DSN": "a", "X_SIZE": "many"}, "X_SIZE"),
        ({"X_DSN": "a", "X_SIZE": "10"}, "X_SIZE"),
        ({"X_DSN_FILE": "/nowhere"}, "X_DSN_FILE"),
        ({"X_DSN": "a", "X_SETTINGS_FILE": "/nowhere"}, "X_SETTINGS_FILE"),
    ],
)
def test_an_error_names_the_setting(environ: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsRefused, match=says):
        load(Example, "X_", environ)


@pytest.mark.parametrize("variable", ["X_SIZE", "X_SHAPE"])
def test_an_error_never_shows_a_value(variable: str) -> None:
    with pytest.raises(SettingsRefused, match=variable) as refused:
        load(Example, "X_", {"X_DSN": "a", variable: "s3cret"})
    assert "s3cret" not in str(refused.value)


def test_all_that_is_wrong_can_be_told_at_once() -> None:
    wrong = faults_of(Example, "X_", {"X_SIZE": "many", "X_SHAPE": "flat"})
    assert [fault.split()[0] for fault in wrong] == ["X_DSN", "X_SIZE:", "X_SHAPE:"]
    assert faults_of(Example, "X_", {"X_DSN": "a"}) == []


@pytest.mark.parametrize("text", ["dsn = ", 'dsn = "a"\nsise = 4\n'])
def test_a_settings_file_with_mistakes_is_refused(tmp_path: Path, text: str) -> None:
    """A misspelt setting would otherwise be its default without anybody noticing."""
    path = tmp_path / "settings.toml"
    path.write_text(text)
    with pytest.raises(SettingsRefused, match="X_SETTINGS_FILE"):
        load(Example, "X_", {"X_SETTINGS_FILE": str(path)})


def test_every_setting_can_be_listed() -> None:
    assert describe(Example, "X_") == [
        Setting("X_DSN", "dsn", None, "", "Where."),
        Setting("X_SIZE", "size", "3", "pieces", "How many."),
        Setting("X_SHAPE", "shape", "round", "", "Of which shape."),
    ]


def test_a_setting_may_lie_in_vault(tmp_path: Path) -> None:
    """After the variable itself and its file, before the settings file."""
    named = {"X_DSN_VAULT": "shop/database#dsn"}
    assert vault_references(Example, "X_", named) == {"X_DSN_VAULT": "vault:shop/database#dsn"}
    assert load(Example, "X_", named, {"vault:shop/database#dsn": "there"}) == Example(dsn="there")
    with pytest.raises(SettingsRefused, match="X_DSN_VAULT"):
        load(Example, "X_", named)
    secret = tmp_path / "secret"
    secret.write_text("from a file\n")
    both = named | {"X_DSN_FILE": str(secret)}
    assert vault_references(Example, "X_", both) == {}
    assert load(Example, "X_", both) == Example(dsn="from a file")
