"""`tallystick gateway payments …`: how a payment stands, and what an operator does about it.

What cannot be taken back is shown first and asked for; `--yes` says it beforehand. It is sent under a key, with how
much could be given back when it was shown: the gateway does it once, and not at all where that is no longer true.
"""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from tallystick.cli.failures import CommandFailed, CommandRefused
from tallystick.cli.nouns import noun
from tallystick.cli.running import DataDir, ask
from tallystick.cli.service_api import ApiUnreachable, ServiceApi
from tallystick.cli.showing import AsJson, show
from tallystick.cli.wording import amount as in_words
from tallystick.kernel.money import MoneyRefused, exponent, parse_decimal

PATH = "/operator/v1/payments"
KEY_PREFIX = "cok"

app = noun("Payments: how one stands, and what may be done about it.")

PaymentId = Annotated[str, typer.Argument(help="pi_…")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]
Key = Annotated[str | None, typer.Option(help="The key of an earlier call whose answer was lost: it is done once.")]
Json = dict[str, Any]


@app.command("show")
def show_payment(payment: PaymentId, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show how a payment stands; `tallystick explain` tells how it came to that."""
    found = ask("gateway", data_dir, lambda api: _standing(api, payment))
    show(as_json, found, *_words(found))


@app.command("refund")
def refund(
    payment: PaymentId,
    amount: Annotated[str | None, typer.Option(help="In major units, such as 12.50; default: all left.")] = None,
    reason: Annotated[
        str | None, typer.Option(help="duplicate, fraudulent or requested_by_customer: what the merchant is told.")
    ] = None,
    yes: Yes = False,
    key: Key = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Give money back to the shopper."""

    async def carry_out(api: ServiceApi) -> Json:
        found = await _standing(api, payment)
        currency = found["currency"]
        minor = None if amount is None else _minor(amount, currency)
        going = in_words(found["refundable"] if minor is None else minor, currency)
        _sure(f"Give back {going} of {in_words(found['refundable'], currency)} that are left?", yes)
        body: Json = {"refundable": found["refundable"], "amount": minor, "reason": reason}
        return await _send(api, payment, "refund", body, key)

    made = ask("gateway", data_dir, carry_out)
    show(as_json, made, f"Refund {made['refund']} of {in_words(made['amount'], made['currency'])} is {made['status']}.")


@app.command("cancel")
def cancel(
    payment: PaymentId,
    reason: Annotated[
        str | None,
        typer.Option(help="duplicate, fraudulent, requested_by_customer or abandoned: what the merchant is told."),
    ] = None,
    yes: Yes = False,
    key: Key = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Give up a payment that was not captured, and release what was authorised."""

    async def carry_out(api: ServiceApi) -> Json:
        found = await _standing(api, payment)
        _sure(f"Cancel the payment over {in_words(found['amount'], found['currency'])}?", yes)
        return await _send(api, payment, "cancel", {"reason": reason}, key)

    made = ask("gateway", data_dir, carry_out)
    show(as_json, made, f"{made['payment']} is {made['status']}.")


@app.command("inquire")
def inquire(payment: PaymentId, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Ask the bank now about every outcome of a payment that nobody knows."""

    async def carry_out(api: ServiceApi) -> Json:
        return await api.ask("POST", f"{_path(payment)}/inquire", {})

    told = ask("gateway", data_dir, carry_out)
    lines = [
        f"{each['id']} ({each['kind']}): {'known now' if each['known'] else 'the bank cannot tell yet'}"
        for each in told["asked"]
    ]
    show(as_json, told, *(lines or ["Every outcome of it is known."]))


async def _standing(api: ServiceApi, payment: str) -> Json:
    return await api.ask("GET", _path(payment))


async def _send(api: ServiceApi, payment: str, act: str, body: Json, key: str | None) -> Json:
    """Under one key, told to whoever gets no answer."""
    sent = key or _new_key()
    filled = {name: value for name, value in body.items() if value is not None}
    try:
        return await api.ask("POST", f"{_path(payment)}/{act}", filled, {"Idempotency-Key": sent})
    except ApiUnreachable as lost:
        raise CommandFailed(
            f"{lost}. It may have been done: repeat the command with --key {sent}, and it is done once"
        ) from None


def _sure(question: str, yes: bool) -> None:
    """Raises CommandRefused where who is asked says no."""
    if not yes and not typer.confirm(question, err=True):
        raise CommandRefused("nothing was done")


def _minor(text: str, currency: str) -> int:
    try:
        return parse_decimal(text.replace(",", "."), exponent(currency))
    except MoneyRefused as refused:
        raise CommandRefused(f"{text!r} is no amount in {currency}: {refused}") from None


def _words(found: Json) -> list[str]:
    currency = found["currency"]
    lines = [
        f"{found['id']} of {found['account']}, {'live' if found['livemode'] else 'test'} mode: {found['status']}",
        f"  {in_words(found['amount'], currency)}, received {in_words(found['amount_received'], currency)}, "
        f"of which {in_words(found['refundable'], currency)} may go back",
    ]
    if found["amount_capturable"]:
        lines.append(f"  {in_words(found['amount_capturable'], currency)} are authorised and not captured")
    return [*lines, *(f"  nobody knows what became of {id}" for id in found["unknown"])]


def _path(payment: str) -> str:
    return f"{PATH}/{quote(payment, safe='')}"


def _new_key() -> str:
    from tallystick.kernel.identifiers import new_id
    from tallystick.ports.clock import SystemClock
    from tallystick.ports.entropy import SystemEntropy

    return new_id(KEY_PREFIX, SystemClock().now(), SystemEntropy())
