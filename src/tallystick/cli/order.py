"""`tallystick order …`: asks a running installation about an order."""

from typing import Annotated, Any

import typer

from tallystick.cli.merchant_api import MerchantApi
from tallystick.cli.merchant_calls import ask_as_merchant
from tallystick.cli.nouns import noun
from tallystick.cli.running import DataDir
from tallystick.cli.showing import AsJson, console, show

app = noun("Orders of a running installation.")


@app.command("show")
def show_order(
    order: Annotated[str, typer.Argument(help="The order's id, ord_…")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show an order: how it stands, and what the merchant service learnt of it; `explain` tells both halves.

    Asks the merchant service at TALLYSTICK_MERCHANT_URL with the key TALLYSTICK_MERCHANT_API_KEY (or its _FILE);
    TALLYSTICK_CA_FILE names the authority to trust where it is not a public one.
    """
    found, timeline = ask_as_merchant(data_dir, lambda api: _ask(api, order))
    if as_json:
        show(True, {"order": found, "timeline": timeline})
    else:
        _print(found, timeline)


async def _ask(api: MerchantApi, order: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    return await api.order(order), await api.timeline(order)


def _print(order: dict[str, Any], timeline: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from tallystick.cli.wording import STATE_STYLES, amount, clock_of, in_words, source_in_words

    head = Text.assemble((order["id"], "bold"), "  ", (order["state"], STATE_STYLES[order["state"]]))
    head.append(f"  {amount(order['amount'], order['currency'])}  {order['reference'] or ''}")
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for row in timeline:
        moved = row["state_before"] != row["state_after"]
        change = f"{row['state_before']} → {row['state_after']}" if moved else ""
        told = f"told by {source_in_words(row['source'])}"
        # As text and not as markup: a reference is the shop's, and may hold brackets.
        cells = (clock_of(row["at"]), in_words(row["fact"]), change, told, row["reference"] or "")
        table.add_row(*(Text(cell) for cell in cells))
    console().print(head, table)
