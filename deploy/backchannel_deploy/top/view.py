"""The board as a screen: all of it fits a terminal of 80 by 24, and uses what there is more."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from backchannel.clock import Clock
from backchannel_deploy.cli.alert_line import alert_line
from backchannel_deploy.cli.amounts import bars, compact, percent, seconds_of
from backchannel_deploy.status.state import Status, judge
from backchannel_deploy.top.board import Board, SeriesRow

__all__ = ["View"]

_ALERTS = 5
_FIXED = 11
"""Lines that are always there: all but the rows of series and the alerts."""
_SERIES_MIN = 3
_TREND = 10
_WIDE = 100
_COLUMNS = ("turns/s", "p50", "p95", "errors", "tokens/min", "$/h", "turns")
_SLOW_US = 5_000_000
_FAILING = 0.05
_BAD = "bold red"


class View:
    """Renders the board anew whenever rich asks for it."""

    def __init__(self, board: Board, kafka: str, clock: Clock) -> None:
        self._board = board
        self._kafka = kafka
        self._clock = clock

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        now_us = self._clock.now_us()
        height = options.height or console.size.height
        # The last line stays free: a terminal that is written full scrolls.
        room = max(_SERIES_MIN, height - 1 - _FIXED - _ALERTS)
        yield _heading(self._kafka, now_us)
        yield Text()
        yield _total(self._board, now_us)
        yield Text()
        yield from _pipeline(self._board)
        yield Text()
        rows = self._board.series(now_us)
        yield _series(self._board.by, rows, room, narrow=options.max_width < _WIDE)
        yield Text()
        yield from _alerts(self._board)


def _heading(kafka: str, now_us: int) -> RenderableType:
    at = datetime.fromtimestamp(now_us / 1_000_000, UTC).astimezone()
    grid = Table.grid(expand=True)
    grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    grid.add_column(no_wrap=True)
    grid.add_row(
        Text.assemble(("backchannel top", "bold"), (f"  {kafka}", "dim")),
        Text(f"{at:%H:%M:%S}  Ctrl-C ends", style="dim"),
    )
    return grid


def _total(board: Board, now_us: int) -> RenderableType:
    row = board.total(now_us)
    grid = Table.grid(padding=(0, 2, 0, 0))
    heads = ("turns/s", "p50", "p95", "p99", "errors", "tokens/min", "$/h", "users")
    for _ in heads:
        grid.add_column(justify="right", no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_row(*(Text(head, style="dim") for head in (*heads, "turns, 10 s each")))
    if row is None:
        grid.add_row(*(Text("–", style="dim") for _ in heads), Text("no traffic", style="dim"))
        return grid
    now = row.now
    grid.add_row(
        Text(f"{now.turns_a_s:.1f}", style="bold"),
        seconds_of(now.p50_us),
        _judged(seconds_of(now.p95_us), now.p95_us > _SLOW_US),
        seconds_of(now.p99_us),
        _judged(percent(now.error_share), now.error_share > _FAILING),
        compact(now.tokens_a_min),
        _dollars(now.cost_usd_an_hour),
        compact(board.users),
        Text(bars(row.trend[-_TREND:]), style="cyan"),
    )
    return grid


def _pipeline(board: Board) -> Sequence[RenderableType]:
    """Always two lines."""
    if board.trouble:
        return [Text(board.trouble, style=_BAD, no_wrap=True, overflow="ellipsis"), Text()]
    if board.status is None:
        return [Text("asking Kafka and ClickHouse …", style="dim"), Text()]
    return [_ages(board.status), _judgement(board.status)]


def _ages(status: Status) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    for reader in status.readers:
        line.append(f"{reader.name} ", style="dim")
        line.append(f"{compact(reader.behind)} behind  ")
    for table in status.tables:
        if table.table in ("events", "metric_windows") and table.age_s is not None:
            line.append(f"{table.table.removeprefix('metric_')} ", style="dim")
            line.append(f"{seconds_of(round(table.age_s * 1_000_000))} old  ")
    return line


def _judgement(status: Status) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    for name, number in (
        ("lost", status.lost),
        ("dropped", sum(status.dropped.values())),
        ("unreadable", status.dead_letters),
    ):
        line.append(f"{name} ", style="dim")
        line.append(f"{compact(number)}  ", style=_BAD if number else "")
    wrong = [finding for finding in judge(status) if finding.verdict == "wrong"]
    told = " · ".join(f"{each.subject}: {each.told}" for each in wrong)
    line.append(told or "what comes in is read and stored", style=_BAD if wrong else "green")
    return line


def _series(by: str, rows: Sequence[SeriesRow], room: int, *, narrow: bool) -> RenderableType:
    # Where three names share a line of 80 columns, they are worth more than the rest.
    columns = _COLUMNS[: 4 if narrow and "," in by else len(_COLUMNS)]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, expand=True)
    table.add_column(by.replace(",", " ") or "everything", no_wrap=True, ratio=1)
    for head in columns:
        is_trend = head == _COLUMNS[-1]
        justify: Literal["left", "right"] = "left" if is_trend else "right"
        table.add_column(head, justify=justify, no_wrap=True, width=_TREND if is_trend else None)
    more = len(rows) > room
    for row in rows[: room - more]:
        table.add_row(row.name.strip() or "(none)", *_cells(row)[: len(columns)])
    if more:
        table.add_row(Text(f"and {len(rows) - room + 1:,} more", style="dim"))
    for _ in range(room - min(room, len(rows))):
        table.add_row("")
    return table


def _cells(row: SeriesRow) -> tuple[str | Text, ...]:
    now = row.now
    return (
        f"{now.turns_a_s:.1f}",
        seconds_of(now.p50_us),
        _judged(seconds_of(now.p95_us), now.p95_us > _SLOW_US),
        _judged(percent(now.error_share), now.error_share > _FAILING),
        compact(now.tokens_a_min),
        _dollars(now.cost_usd_an_hour),
        Text(bars(row.trend[-_TREND:]), style="cyan"),
    )


def _alerts(board: Board) -> list[RenderableType]:
    """Always the same number of lines, so that the view keeps its height."""
    head = Text(f"alerts, {board.firing} firing", style=_BAD if board.firing else "dim")
    lines: list[RenderableType] = [alert_line(alert) for alert in board.alerts()[: _ALERTS - 1]]
    lines = [head, *(lines or [Text("none", style="dim")])]
    return lines + [Text()] * (_ALERTS - len(lines))


def _dollars(an_hour: float | None) -> str:
    return "–" if an_hour is None else f"{an_hour:.2f}"


def _judged(text: str, is_bad: bool) -> Text:
    return Text(text, style=_BAD if is_bad else "")
