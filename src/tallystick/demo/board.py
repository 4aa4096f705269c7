"""What the demo shows in the terminal: the orders as they move, the summary, the addresses."""

from collections.abc import Sequence
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from tallystick.cli.wording import STATE_STYLES, amount
from tallystick.demo.folder import Known
from tallystick.demo.next_day import Night
from tallystick.demo.round import Row

STORY_FROM_COLUMNS = 112  # what all columns need
ORDER_FROM_COLUMNS = 70


class Board:
    """A live table while the shoppers shop. `show` redraws it with the rows as they are now."""

    def __init__(self, console: Console) -> None:
        self.console = console
        # Redrawn when something may have changed, by nobody's thread.
        self._live = Live(console=console, auto_refresh=False, transient=False, redirect_stdout=False)

    def start(self) -> None:
        """Begin to draw."""
        self._live.start()

    def show(self, rows: Sequence[Row]) -> None:
        """Draw `rows`."""
        self._live.update(_table(rows, self.console.width), refresh=self.console.is_terminal)

    def stop(self) -> None:
        """Leave the last drawing where it is."""
        self._live.stop()
        self.console.print()


def summary(rows: Sequence[Row], differing: Sequence[str]) -> RenderableType:
    """How the round ended, in a few lines."""
    lines = []
    counts = {state: sum(row.state == state for row in rows) for state in STATE_STYLES}
    told = ", ".join(f"[{STATE_STYLES[state]}]{count} {state}[/]" for state, count in counts.items() if count)
    if all(row.as_scripted for row in rows):
        lines.append(f"{len(rows)} shoppers, every order ended as scripted: {told}.")
    else:
        lines.append(f"{len(rows)} shoppers: {told}. [bold red]Not every order ended as scripted:[/]")
        for row in rows:
            if not row.as_scripted:
                why = row.shopper.lost or f"its order is {row.state or 'not there'}, not {row.shopper.script.ends}"
                lines.append(f"  {row.shopper.script.name}: {escape(why)}")
    if differing:
        lines += [f"[bold red]The halves differ:[/] {sentence}" for sentence in differing]
    else:
        lines.append("Merchant and gateway agree on every amount: the two halves of the tally match.")
    return Group(*(Text.from_markup(line) for line in lines))


BECAME: Final = {
    "resolved": "[green]mended[/] by the gateway's own answer",
    "waiting": "[yellow]waits[/] for a later report",
    "case": "[yellow]a case[/]: one person proposes, another approves",
    "noted": "noted",
    "stopped": "[red]held back[/]: too many at once",
}


def night(found: Night) -> RenderableType:
    """What was planted in a day, as what it was found and what became of it."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("Planted", "Found as", "What became of it"):
        table.add_column(name)
    for outcome in found.outcomes:
        code, became = "[bold red]not found[/]", ""
        if outcome.found is not None:
            code, became = outcome.found["code"], BECAME.get(outcome.found["state"], outcome.found["state"])
        words = outcome.planted.words if outcome.planted else "(nobody planted it)"
        table.add_row(*(Text.from_markup(cell) for cell in (words, code, became)))
    lines = sum(each["lines"] for each in found.corrected["summary"]["lines"])
    if found.as_planted:
        ending = f"The gateway corrected its report: all {lines} lines of {found.day} fit, and the halves match again."
    else:
        ending = (
            "[bold red]The day did not end as planted:[/] see `tallystick merchant reconcile`, docs/reconciliation.md."
        )
    title = f"The next day: {found.day} was settled and reconciled, {found.run['lines_read']} lines."
    return Group(Text(), Text(title), table, Text.from_markup(ending))


def addresses(known: Known, data_dir: str) -> RenderableType:
    """Where everything is, and what to do next."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_row("Shop", known.addresses.shop)
    table.add_row("Gateway", f"{known.addresses.gateway}  (Stripe's API; key {known.secret_key})")
    table.add_row("Merchant", f"{known.addresses.merchant}/docs  (key {known.merchant_api_key})")
    consoles = f"{known.addresses.gateway}/console, {known.addresses.merchant}/console"
    table.add_row("Consoles", f"{consoles}  (the README says how to log in)")
    table.add_row("Data", data_dir)
    table.add_row("In a shell", f"source {data_dir}/environment  (then commands and examples find this demo)")
    if known.ca_file:
        table.add_row(
            "Authority", f"{known.ca_file}  (import it, or accept the browser's warning, or use --plain-http)"
        )
    return table


def _table(rows: Sequence[Row], columns: int) -> Table:
    """The rows; on a narrow terminal first the story is left out, then the order's name."""
    with_story, with_order = columns >= STORY_FROM_COLUMNS, columns >= ORDER_FROM_COLUMNS
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("Shopper", no_wrap=True)
    if with_story:
        table.add_column("Story", no_wrap=True, style="dim")
    table.add_column("Now", no_wrap=True, min_width=24)
    if with_order:
        table.add_column("Order", no_wrap=True, min_width=14)
    table.add_column("Amount", justify="right", no_wrap=True, min_width=7)
    table.add_column("State", no_wrap=True, min_width=8)
    for row in rows:
        order, shopper = row.order, row.shopper
        table.add_row(
            shopper.script.name,
            *([shopper.script.story] if with_story else []),
            Text(shopper.doing, style="red" if shopper.lost else ""),
            *([shopper.reference or ""] if with_order else []),
            amount(order["amount"], order["currency"]) if order else "",
            Text(row.state, style=STATE_STYLES.get(row.state, "")),
        )
    return table
