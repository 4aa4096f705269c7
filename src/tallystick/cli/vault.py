"""`tallystick gateway vault-key …` and `tallystick gateway rewrap`: what the card vault's keys are wrapped by."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tallystick.cli.failures import CommandRefused
from tallystick.cli.nouns import noun
from tallystick.cli.showing import AsJson, console, show

if TYPE_CHECKING:
    from tallystick.gateway.settings import Settings
    from tallystick.gateway.vault.rewrapping import Standing
    from tallystick.ports.key_encryption import KeyEncryption

KeyFile = Annotated[Path, typer.Argument(help="The key file: TALLYSTICK_GATEWAY_VAULT_KEY_FILE.", show_default=False)]

keys = noun("The card vault's key-encryption keys, in a file.")


@keys.command("create")
def create(path: KeyFile, as_json: AsJson = False) -> None:
    """Make a key file with version 1, readable by its owner alone. Keep a copy: without it every kept card is lost."""
    from tallystick.ports.entropy import SystemEntropy
    from tallystick.ports.key_encryption import make_key_file

    try:
        make_key_file(path, SystemEntropy())
    except OSError as error:
        raise CommandRefused(f"{path} cannot be made: {error.strerror}") from None
    show(as_json, {"path": str(path), "version": 1}, f"{path}: version 1", "Keep a copy of it elsewhere.")


@keys.command("add")
def add(path: KeyFile, as_json: AsJson = False) -> None:
    """Add a version, which wraps from now on; running services see it. Then `rewrap` brings old cards to it."""
    from tallystick.ports.entropy import SystemEntropy
    from tallystick.ports.key_encryption import KeyEncryptionUnavailable, add_key_version

    try:
        version = add_key_version(path, SystemEntropy())
    except KeyEncryptionUnavailable as error:
        raise CommandRefused(f"{path}: {error}") from None
    except OSError as error:
        raise CommandRefused(f"{path} cannot be changed: {error.strerror}") from None
    show(as_json, {"path": str(path), "version": version}, f"{path}: version {version}")


def rewrap(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    batch: Annotated[int, typer.Option(min=1, max=5000, help="Cards to a commit.")] = 500,
    as_json: AsJson = False,
) -> None:
    """Wrap the data keys of all kept cards by the newest version of the key-encryption key.

    Payments go on meanwhile. Broken off, it goes on where it stopped when it is run again."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("[progress.description]{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True), disable=as_json, transient=True) as bar:
        task = bar.add_task("rewrapping", total=None)

        def told(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        before, rewrapped, refused = asyncio.run(_rewrap(batch, dry_run, told))
    report: dict[str, Any] = {
        "newest_version": before.newest,
        "cards": {str(version): cards for version, cards in before.cards.items()},
        "behind": before.behind,
        "rewrapped": rewrapped,
        "refused": refused,
    }
    show(as_json, report, *_words(before, rewrapped, refused, dry_run))
    if refused:
        raise typer.Exit(1)


async def _rewrap(batch: int, dry_run: bool, told: Callable[[int, int], None]) -> tuple["Standing", int, int]:
    from tallystick.gateway.settings import PREFIX, Settings, read
    from tallystick.gateway.vault.encryption import key_encryption
    from tallystick.kernel.vault import opened_secrets

    async with opened_secrets(PREFIX, os.environ) as secrets:
        settings = read(os.environ, await secrets.of_settings(Settings))
        encryption = key_encryption(settings, secrets)
        if encryption is None:
            raise CommandRefused(f"no cards are kept: neither {PREFIX}VAULT_KEY_FILE nor …_VAULT_TRANSIT_KEY is set")
        return await _rewrapped(settings, encryption, batch, dry_run, told)


async def _rewrapped(
    settings: "Settings", encryption: "KeyEncryption", batch: int, dry_run: bool, told: Callable[[int, int], None]
) -> tuple["Standing", int, int]:
    from tallystick.gateway.vault.rewrapping import BEGINNING, Rewrapping
    from tallystick.ports.asyncpg_database import open_database
    from tallystick.ports.key_encryption import KeyEncryptionError

    database = await open_database(settings.vault_dsn or settings.database_dsn, connections_max=2)
    try:
        rewrapping = Rewrapping(database, encryption)
        before = await rewrapping.standing()
        after, rewrapped, refused = None if dry_run else BEGINNING, 0, 0
        while after is not None:
            step = await rewrapping.step(after, batch)
            after, rewrapped, refused = step.after, rewrapped + step.rewrapped, refused + len(step.refused)
            told(rewrapped + refused, before.behind)
        return before, rewrapped, refused
    except KeyEncryptionError as error:
        raise CommandRefused(f"the key-encryption key: {error}") from None
    finally:
        await database.close()


def _words(before: "Standing", rewrapped: int, refused: int, dry_run: bool) -> list[str]:
    words = [f"version {version}: {cards} cards" for version, cards in before.cards.items()] or ["No cards are kept."]
    if before.others:
        words.append(f"another key-encryption key: {before.others} cards")
    if dry_run:
        return [*words, f"{before.behind} would be rewrapped to version {before.newest}."]
    words.append(f"{rewrapped} rewrapped to version {before.newest}.")
    if refused:
        words.append(f"{refused} could not be: damaged, or wrapped by a version that is gone. They stay as they are.")
    elif before.newest > 1:
        words.append("No card needs an older version any more; backups of before today still do.")
    return words
