"""`tallystick merchant customers …`, `gateway customers …`: personal data for a purpose, and the access log of it.

What somebody is searched by is asked for, never an argument: arguments stand in lists of processes and in histories.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from tallystick.cli import people_keys
from tallystick.cli.failures import CommandRefused
from tallystick.cli.nouns import noun
from tallystick.cli.running import DataDir, ask
from tallystick.cli.showing import AsJson, console, show

app = noun("Customers: personal data, for a purpose.")
of_accounts = noun("Customers of accounts: who looked at their data, and its keys.")

PAGES_MAX = 10
LOG_ROWS = 100
SERVICES = ("gateway", "merchant")

Merchant = Annotated[str, typer.Option(help="mer_…: whose customer it is.")]
CustomerId = Annotated[str, typer.Argument(help="cus_…")]
OfCustomer = Annotated[str | None, typer.Option(help="Only of this customer, cus_….")]
Purpose = Annotated[str, typer.Option(help="What for: support, delivery, invoice or data_request.")]


@app.command("show")
def show_customer(
    customer: CustomerId,
    merchant: Merchant,
    purpose: Purpose,
    field: Annotated[
        list[str] | None, typer.Option(help="email, name, phone or address; repeatable; default: all that is granted.")
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show what your role may see of a customer for this purpose."""
    asked = {"purpose": purpose} | ({"fields": ",".join(field)} if field else {})
    path = f"{_people(merchant)}/{quote(customer, safe='')}?{urlencode(asked)}"
    found = ask("merchant", data_dir, lambda api: api.ask("GET", path))
    told = (f"  {name}: {_words(found[name])}" for name in ("name", "email", "phone", "address") if name in found)
    show(as_json, found, f"{found['id']}  since {found['created_at']}", *told)


@app.command("find")
def find_customers(
    merchant: Merchant,
    purpose: Purpose,
    phone: Annotated[bool, typer.Option("--phone", help="By a phone number instead.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Find customers by an e-mail address, however it is written; the command asks for it."""
    kind = "phone" if phone else "email"
    text = typer.prompt("Phone number" if phone else "E-mail address", err=True)
    body = {kind: text, "purpose": purpose}
    found = ask("merchant", data_dir, lambda api: api.ask("POST", f"{_people(merchant)}/search", body))
    lines = [f"{one['id']}  since {one['created_at']}" for one in found["data"]]
    show(as_json, {"customers": found["data"]}, *(lines or ["Nobody."]))


@app.command("erase")
def erase_customer(
    customer: CustomerId,
    merchant: Merchant,
    purpose: Annotated[str, typer.Option(help="What for, as the policy knows it.")] = "data_request",
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Erase a customer for good: the key is shredded. Orders and payments stay."""
    if not yes and not typer.confirm(f"Nobody will be able to read {customer} again. Erase?", err=True):
        raise CommandRefused("nothing was erased")
    path = f"{_people(merchant)}/{quote(customer, safe='')}?{urlencode({'purpose': purpose})}"
    erased = ask("merchant", data_dir, lambda api: api.ask("DELETE", path))
    show(as_json, erased, f"{customer} is erased.")


@app.command("accesses")
def list_accesses(
    merchant: Annotated[str, typer.Option(help="mer_…: whose customers.")],
    customer: OfCustomer = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List who looked at whose data, what for, and what was decided; the newest first."""
    _show_accesses("merchant", f"/operator/v1/merchants/{quote(merchant, safe='')}", {}, customer, data_dir, as_json)


@of_accounts.command("accesses")
def list_accesses_of_account(
    account: Annotated[str, typer.Option(help="acct_…: whose customers.")],
    live: Annotated[bool, typer.Option("--live", help="In live mode.")] = False,
    customer: OfCustomer = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List who looked at whose data, what for, and what was decided; the newest first."""
    mode = {"livemode": "true"} if live else {}
    _show_accesses("gateway", f"/operator/v1/accounts/{quote(account, safe='')}", mode, customer, data_dir, as_json)


def _keys_command(service: str) -> Callable[..., None]:
    prefix = f"TALLYSTICK_{service.upper()}_PII"

    def make_keys_command(
        key_file: Annotated[Path, typer.Option(help=f"Where the key-encryption keys go: {prefix}_KEY_FILE.")],
        index_key_file: Annotated[
            Path, typer.Option(help=f"Where the key of the search hashes goes: {prefix}_INDEX_KEY_FILE.")
        ],
        as_json: AsJson = False,
    ) -> None:
        """Make the keys that personal data need; files that are there already stay as they are."""
        try:
            made = make_keys(key_file, index_key_file)
        except OSError as error:
            raise CommandRefused(f"{error.filename} cannot be made: {error.strerror}") from None
        show(
            as_json,
            {"made": [str(file) for file in made]},
            *([f"Made {file}" for file in made] or ["Both files are there already: nothing was made."]),
            "Keep copies elsewhere: without the first file no customer can be read, without the second none is found.",
        )

    return make_keys_command


for _service, _commands in (("merchant", app), ("gateway", of_accounts)):
    _commands.command("keys")(_keys_command(_service))
    people_keys.add_to(_commands, _service)


def _show_accesses(
    service: str, owner: str, more: dict[str, str], customer: str | None, data_dir: Path | None, as_json: bool
) -> None:
    filters = {"purpose": "audit", **more} | ({"customer": customer} if customer else {})
    path = f"{owner}/accesses"
    found = ask(service, data_dir, lambda api: api.rows(path, pages=PAGES_MAX, filters=filters, limit=LOG_ROWS))
    if as_json:
        show(True, {"accesses": found})
    else:
        _print(found)


def make_keys(key_file: Path, index_key_file: Path) -> list[Path]:
    """Make the files that are missing; which those were. A key is never overwritten. Raises OSError."""
    from tallystick.cli.installing import write_secret
    from tallystick.kernel.identifiers import new_secret
    from tallystick.ports.entropy import SystemEntropy
    from tallystick.ports.key_encryption import make_key_file

    entropy, made = SystemEntropy(), []
    if not key_file.exists():
        key_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        make_key_file(key_file, entropy)
        made.append(key_file)
    if not index_key_file.exists():
        write_secret(index_key_file, new_secret("idx", entropy) + new_secret("", entropy))
        made.append(index_key_file)
    return made


def keys_in(folder: Path, services: Sequence[str] = SERVICES) -> dict[str, str]:
    """The settings of the keys that lie in `folder`, made where they are missing: for the demo and for one machine."""
    for service in services:
        make_keys(*_files_in(folder, service))
    return keys_found(folder, services)


def keys_found(folder: Path, services: Sequence[str] = SERVICES) -> dict[str, str]:
    """The settings of those keys that are there."""
    found: dict[str, str] = {}
    for service in services:
        key_file, index_key_file = _files_in(folder, service)
        if key_file.exists() and index_key_file.exists():
            prefix = f"TALLYSTICK_{service.upper()}_PII"
            found |= {f"{prefix}_KEY_FILE": str(key_file), f"{prefix}_INDEX_KEY_FILE": str(index_key_file)}
    return found


def _files_in(folder: Path, service: str) -> tuple[Path, Path]:
    """Each service has keys of its own: who reads the one's people does not read the other's."""
    prefix = "" if service == "merchant" else f"{service}-"
    return folder / f"{prefix}personal-data-keys", folder / f"{prefix}personal-data-index-key"


def _people(merchant: str) -> str:
    return f"/operator/v1/merchants/{quote(merchant, safe='')}/customers"


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(str(part) for part in value.values() if part)
    return "not known" if value is None else str(value)


def _print(found: Sequence[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table(title="Access log")
    for name in ("when", "who", "role", "did", "purpose", "customer", "fields", "decision"):
        table.add_column(name)
    for line in found:
        table.add_row(
            line["at"],
            line["subject"]["name"],
            line["subject"]["role"],
            line["action"],
            line["purpose"],
            line["customer"] or "",
            ", ".join(line["fields"]),
            line["decision"] + (f" ({line['reason']})" if line["reason"] else ""),
        )
    console().print(table)
