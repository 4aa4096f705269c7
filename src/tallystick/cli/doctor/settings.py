"""Settings: is every one there, in its form, fit for its neighbours; is there one that nobody reads."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from tallystick.cli.doctor.findings import Notes
from tallystick.kernel.settings import SettingsRefused, describe, faults_of, reference_of, vault_references
from tallystick.kernel.vault_settings import VaultSettings, vault_prefix

SUFFIXES = ("", "_FILE", "_VAULT")
OF_COMMANDS = ("URL", "OPERATOR_KEY", "OPERATOR_KEY_FILE", "API_KEY", "API_KEY_FILE", "SETTINGS_FILE")


def check_settings(
    notes: Notes, kind: type[Struct], prefix: str, environ: Mapping[str, str], secrets: Mapping[str, str]
) -> None:
    """What `kind` is read from: `secrets` are the values of those that lie in Vault."""
    faults = faults_of(kind, prefix, environ, secrets)
    noted = {name for name, reference in vault_references(kind, prefix, environ).items() if reference not in secrets}
    for fault in faults:
        variable = fault.partition(":")[0].partition(" ")[0]
        if variable in noted:
            continue  # what Vault said of it is told already
        notes.bad("setting", variable, fault, f"Set {variable} as docs/settings.md describes it.")
    for variable in unknown_variables(kind, prefix, environ):
        known = sorted(known_variables(kind, prefix))
        near = difflib.get_close_matches(variable, known, n=1)
        do = f"Did you mean {near[0]}?" if near else "Remove it, or look for its name in docs/settings.md."
        notes.warning("setting", variable, "nobody reads this variable", do)
    for setting in describe(kind, prefix):
        given = [f"{setting.variable}{suffix}" for suffix in SUFFIXES if f"{setting.variable}{suffix}" in environ]
        if len(given) > 1:
            notes.warning(
                "setting", setting.variable, f"{given[0]} hides {' and '.join(given[1:])}", "Keep one of them."
            )
    if not faults:
        notes.good("setting", f"{prefix}…", f"{len(msgspec.structs.fields(kind))} settings, each in its form")


def known_variables(kind: type[Struct], prefix: str) -> set[str]:
    """Every variable that somebody reads."""
    settings = [*describe(kind, prefix), *describe(VaultSettings, vault_prefix(prefix))]
    return {f"{each.variable}{suffix}" for each in settings for suffix in SUFFIXES} | {
        f"{prefix}{name}" for name in (*OF_COMMANDS, "VAULT_SETTINGS_FILE")
    }


def unknown_variables(kind: type[Struct], prefix: str, environ: Mapping[str, str]) -> Sequence[str]:
    """Variables with this prefix that nobody reads."""
    return sorted(name for name in environ if name.startswith(prefix) and name not in known_variables(kind, prefix))


def check_secrets(notes: Notes, kind: type[Struct], prefix: str, environ: Mapping[str, str]) -> None:
    """Where each secret setting comes from, and who else may read it there."""
    for setting in describe(kind, prefix):
        reference = reference_of(prefix, environ, setting.field) if setting.secret else None
        if reference is None:
            continue
        scheme, _, place = reference.partition(":")
        if scheme == "env" and environ[place]:
            do = f"Put it into a file or into Vault: {setting.variable}_FILE or {setting.variable}_VAULT."
            notes.warning("secret", setting.variable, "stands in the environment, where it is easily seen", do)
        elif scheme == "file":
            check_file(notes, setting.variable, Path(place))
        elif scheme == "vault":
            notes.good("secret", setting.variable, f"is named in Vault as {place}")


def check_file(notes: Notes, subject: str, path: Path) -> bool:
    """Note whether a file that holds a secret is there, and for its owner alone. False where nothing can be read from
    it: then all is said."""
    try:
        mode = path.stat().st_mode
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        do = f"Look at {path}, and let the service's user read it."
        notes.bad("secret", subject, f"its file cannot be read: {type(error).__name__}", do)
        return False
    if empty:
        notes.bad("secret", subject, "its file is empty", "Write the secret into it.")
        return False
    if mode & 0o077:
        notes.bad("secret", subject, f"others may read its file (mode {mode & 0o777:o})", f"chmod 600 {path}")
    else:
        notes.good("secret", subject, "lies in a file that only its owner may read")
    return True


def refused(error: SettingsRefused) -> tuple[str, str]:
    """The variable of a refusal, and what it says."""
    return str(error).partition(":")[0], str(error)
