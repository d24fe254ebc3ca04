"""The examination, for a person and for a program."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from backchannel_deploy.doctor.configured import Setting
from backchannel_deploy.doctor.examine import Examination
from backchannel_deploy.doctor.finding import Finding, Verdict

__all__ = ["as_json", "print_findings", "print_report"]

_MARKS: dict[Verdict, tuple[str, str]] = {
    "ok": ("ok", "green"),
    "warning": ("warning", "yellow"),
    "wrong": ("WRONG", "bold red"),
    "skipped": ("skipped", "dim"),
}


def as_json(examination: Examination) -> str:
    """Returns it as one JSON object: ``healthy``, ``findings``, ``settings``."""
    return json.dumps({"healthy": examination.healthy, **asdict(examination)}, indent=2)


def print_report(
    examination: Examination, console: Console, *, with_defaults: bool = False
) -> None:
    """Prints the settings, what was found, and in the last line what it comes to."""
    changed = tuple(each for each in examination.settings if each.source != "default")
    shown = examination.settings if with_defaults else changed
    if shown:
        console.print(_settings_table(shown))
    if left_out := len(examination.settings) - len(shown):
        console.print(Text(f"{left_out} settings have their defaults: --all shows them."), "")
    print_findings(examination.findings, console)


def print_findings(findings: Sequence[Finding], console: Console) -> None:
    """Prints each finding with its advice, and in the last line what they come to."""
    for finding in findings:
        console.print(_line(finding))
        if finding.verdict != "ok" and finding.advice:
            console.print(Text(f"         {finding.advice}", style="italic"))
    console.print()
    console.print(_conclusion(findings))


def _settings_table(settings: tuple[Setting, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("role", "setting"):
        table.add_column(title, no_wrap=True)
    for title in ("value", "from"):
        table.add_column(title, overflow="fold")
    for each in settings:
        style = "dim" if each.source == "default" else ""
        cells = (each.role, each.variable, each.value or "–", each.source)
        table.add_row(*(Text(cell, style=style) for cell in cells))
    return table


def _line(finding: Finding) -> Text:
    word, style = _MARKS[finding.verdict]
    return Text.assemble((f"{word:<8} ", style), f"{finding.subject}: {finding.told}")


def _conclusion(findings: Sequence[Finding]) -> Text:
    wrong = sum(finding.verdict == "wrong" for finding in findings)
    warnings = sum(finding.verdict == "warning" for finding in findings)
    if wrong:
        return Text(f"{wrong} wrong, {warnings} to look at.", style="bold red")
    if warnings:
        return Text(f"Nothing is wrong, {warnings} to look at.", style="yellow")
    return Text("Everything is as it should be.", style="green")
