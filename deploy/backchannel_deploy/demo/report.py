"""The end of the demo: what an analyst asks, what fired, and the proof that nothing is missing."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from backchannel_deploy.cli.amounts import amount, seconds_of
from backchannel_deploy.cli.tables import result_table
from backchannel_deploy.demo.answers import Answer, Proof
from backchannel_deploy.demo.board import Heard

__all__ = ["print_report"]


def print_report(
    console: Console, answers: Sequence[Answer], proof: Proof, heard: Sequence[Heard]
) -> None:
    """Prints everything; at most 80 columns."""
    for answer in answers:
        console.print()
        console.print(Text(answer.question.text, style="bold"))
        console.print(Syntax(answer.question.sql, "sql", background_color="default"))
        console.print(result_table(answer.columns, answer.rows))
    console.print()
    console.print(Text("Which alerts fired, and how long after the event?", style="bold"))
    console.print(_alerts(heard) if heard else Text("None fired.", style="bold red"))
    console.print()
    console.print(Text("Is anything missing?", style="bold"))
    console.print(_proof(proof))


def _alerts(heard: Sequence[Heard]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("rule", "series"):
        table.add_column(name)
    for name in ("value", "threshold", "heard after", "burnt for"):
        table.add_column(name, justify="right")
    ends = {
        (each.alert.alert_id, each.alert.transition - 1): each.alert
        for each in heard
        if each.alert.state == "resolved"
    }
    for each in heard:
        alert = each.alert
        if alert.state != "firing" or alert.value is None:
            continue
        end = ends.get((alert.alert_id, alert.transition))
        table.add_row(
            alert.rule,
            " ".join(f"{name}={value}" for name, value in alert.dims.items()),
            amount(alert.value, alert.metric),
            amount(alert.threshold, alert.metric),
            seconds_of(each.delay_us),
            seconds_of((end.ends_at_us or 0) - alert.starts_at_us) if end else "still firing",
        )
    return table


def _proof(proof: Proof) -> Table:
    grid = Table.grid(padding=(0, 3, 0, 0))
    grid.add_column()
    grid.add_column(justify="right")
    grid.add_column()
    grid.add_row("sent by the bots", f"{proof.sent:,}")
    grid.add_row("rows in ClickHouse", f"{proof.stored:,}")
    verdict = (
        Text("nothing is missing", style="bold green")
        if proof.holds
        else Text("they differ", style="bold red")
    )
    grid.add_row("counted in windows", f"{proof.in_windows:,}", verdict)
    return grid
