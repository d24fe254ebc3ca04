"""`backchannel rules check|test|backtest`: rules before they wake somebody up."""

from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from backchannel_deploy.errors import UserError

if TYPE_CHECKING:
    from backchannel_processors.groupings import Groupings
    from backchannel_processors.rule_story import Story
    from backchannel_processors.rules import Rules

__all__ = ["backtest", "check", "test", "worker_groupings"]

_SECOND_US = 1_000_000
_BARS = " ▁▂▃▄▅▆▇█"
_PLOT_CELLS = 48


def check(file: Path | None = None, /) -> None:
    """Say what is wrong with a file of rules, or what it holds.

    Parameters
    ----------
    file
        A TOML file; without it the rules of BACKCHANNEL_RULES, else the shipped ones.
    """
    from backchannel_deploy.cli.tables import for_people, text_table
    from backchannel_processors.durations import duration_text

    path, rules = _loaded(file)
    rows = []
    for rule in rules.all:
        what = f"{rule.metric} {rule.agg}".strip()
        if (threshold := getattr(rule, "threshold", None)) is not None:
            what += f" {rule.op} {threshold:g}"
        over = f"over {duration_text(rule.window_s)}"
        lasts = f"for {duration_text(rule.for_s)}" if rule.for_s else ""
        by = ", ".join(rule.by) or "everything"
        rows.append((rule.name, rule.kind, f"{what} {over} {lasts}".rstrip(), by, rule.severity))
    names = ("rule", "kind", "fires when", "by", "severity")
    for_people().print(text_table(names, rows))
    print(f"{path}: {len(rules.all)} rules, all good (version {rules.hash}).")


def test(file: Path, /, *more: Path) -> int:
    """Run tests of rules: scripted events, and which alerts are to fire when.

    Nothing needs to run, and a day takes no longer than its events. Exit code 1 when a test fails.

    Parameters
    ----------
    file
        A TOML file with tests, as those of the shipped rules are: rules/default.test.toml in
        the package backchannel_deploy.
    more
        Further files.
    """
    from backchannel_processors.errors import RulesError
    from backchannel_processors.rule_script import run_script

    failed = done = 0
    for path in (file, *more):
        try:
            outcomes = run_script(path, worker_groupings(), _shipped())
        except RulesError as error:
            raise UserError(str(error)) from error
        for outcome in outcomes:
            done += 1
            failed += bool(outcome.failures)
            print(f"{'FAILED' if outcome.failures else 'passed'}  {path.name}: {outcome.name}")
            for failure in outcome.failures:
                print(f"        {failure}")
    print(f"{done - failed} of {done} tests passed.")
    return 1 if failed else 0


def backtest(
    file: Path | None = None,
    /,
    *,
    since: str = "14d",
    until: str = "0s",
    rule: Annotated[str, Parameter(alias="-r")] = "",
) -> None:
    """Let rules decide about the events that ClickHouse holds: when they would have fired, for how
    long, how noisily. It is the workers' own code, over the events in the order of their times.

    Parameters
    ----------
    file
        A TOML file; without it the rules of BACKCHANNEL_RULES, else the shipped ones.
    since
        How far back to begin: 6h, 14d.
    until
        How far back to end.
    rule
        Only this rule.
    """
    from backchannel.clock import SYSTEM_CLOCK
    from backchannel_deploy.stored_events import stored_events
    from backchannel_processors.durations import parse_duration
    from backchannel_processors.rule_story import stories
    from backchannel_processors.rule_trial import Trial
    from backchannel_processors.rules import Rules

    path, rules = _loaded(file)
    if rule:
        chosen = tuple(each for each in rules.all if each.name == rule)
        if not chosen:
            raise UserError(f"{path} has no rule {rule!r}.")
        rules = Rules(chosen, rules.hash)
    try:
        start_s, end_s = parse_duration(since), parse_duration(until)
    except ValueError as error:
        raise UserError(f"--since, --until: {error}") from error
    now_us = SYSTEM_CLOCK.now_us()
    start_us, end_us = now_us - start_s * _SECOND_US, now_us - end_s * _SECOND_US
    if start_us >= end_us:
        raise UserError("--since has to be longer ago than --until.")
    start_us -= start_us % (10 * _SECOND_US)
    trial = Trial(rules, worker_groupings(), start_us)
    alerts = [*trial.over(stored_events(start_us, end_us)), *trial.until(end_us, step_s=10)]
    _tell(stories(alerts, end_us), start_us, end_us)
    counted = trial.counters
    print(f"{counted.received:,} events, {counted.counted:,} of them turns; rules {rules.hash}.")


def _tell(found: "list[Story]", start_us: int, end_us: int) -> None:
    from rich.table import Table

    from backchannel_deploy.cli.tables import for_people, text_table
    from backchannel_processors.durations import duration_text

    if not found:
        print("No rule would have fired.")
        return
    days = max((end_us - start_us) / _SECOND_US / 86_400, 1 / 86_400)
    rows = []
    plot = Table("rule", box=None, pad_edge=False)
    plot.add_column("series", overflow="fold")
    plot.add_column(f"from {_instant(start_us)} to {_instant(end_us)}", min_width=_PLOT_CELLS)
    for story in found:
        series = " ".join(f"{name}={value}" for name, value in story.dims.items()) or "all"
        rows.append(
            (
                story.rule,
                series,
                story.severity,
                f"{story.fired}{' (flaps)' if story.flapped else ''}",
                f"{story.fired / days:.1f}",
                duration_text(story.total_s),
                duration_text(story.longest_s),
                _instant(story.spans[0][0]),
            )
        )
        plot.add_row(story.rule, series, _bar(story, start_us, end_us))
    names = ("rule", "series", "severity", "fired", "a day", "in all", "longest", "first")
    console = for_people()
    console.print(text_table(names, rows))
    console.print()
    console.print(plot)


def _bar(story: "Story", start_us: int, end_us: int) -> str:
    """Returns the share of time in which it fired, piece by piece; any at all shows."""
    edges = [start_us + (end_us - start_us) * n // _PLOT_CELLS for n in range(_PLOT_CELLS + 1)]
    shares = [story.share(first, last) for first, last in pairwise(edges)]
    return "".join(_BARS[-(-round(share * 1_000) * (len(_BARS) - 1) // 1_000)] for share in shares)


def _instant(at_us: int) -> str:
    return f"{datetime.fromtimestamp(at_us / _SECOND_US, UTC).astimezone():%m-%d %H:%M}"


def _loaded(file: Path | None) -> "tuple[Path, Rules]":
    from backchannel_deploy.cli.settings import checked
    from backchannel_processors.errors import RulesError
    from backchannel_processors.rules import load_rules
    from backchannel_processors.settings import WorkerSettings

    with checked():
        path = file or WorkerSettings().rules or _shipped()
    try:
        return path, load_rules(path, worker_groupings())
    except RulesError as error:
        raise UserError(str(error)) from error


def worker_groupings() -> "Groupings":
    """Returns by what a worker with the settings of this machine computes windows."""
    from backchannel_deploy.cli.settings import checked
    from backchannel_processors.groupings import Groupings
    from backchannel_processors.settings import WorkerSettings

    with checked():
        return Groupings.parse(WorkerSettings().groupings)


def _shipped() -> Path:
    from importlib.resources import files

    return Path(str(files("backchannel_deploy") / "rules" / "default.toml"))
