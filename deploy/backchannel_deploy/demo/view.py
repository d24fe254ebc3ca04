"""The live view: the board as something that fits a terminal of 80 by 24."""

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from backchannel.clock import Clock
from backchannel_deploy.cli.alert_line import alert_line
from backchannel_deploy.cli.amounts import bars, compact, percent, seconds_of
from backchannel_deploy.demo.board import Board, TenantRow
from backchannel_deploy.demo.timeline import TENANTS, TROUBLED_TENANT, Timeline

__all__ = ["LiveView", "status_line"]

ALERT_LINES = 6
_SLOW_US = 5_000_000
_FAILING = 0.05
_TREND_COLUMNS = 10


class LiveView:
    """Renders the board anew whenever rich asks for it."""

    def __init__(self, board: Board, timeline: Timeline, clock: Clock) -> None:
        self._board = board
        self._timeline = timeline
        self._clock = clock

    def __rich__(self) -> RenderableType:
        now_us = self._clock.now_us()
        at_s = (now_us - self._board.started_at_us) / 1_000_000
        return Group(
            _heading(self._timeline, at_s),
            Text(),
            _flow(self._board),
            Text(),
            _tenants(self._board.tenants(now_us)),
            Text(),
            *_alerts(self._board),
        )


def status_line(board: Board, at_s: float, now_us: int) -> str:
    """Returns the board in one line, for where nothing can be drawn."""
    counts = board.counts
    slow = ", ".join(f"{row.tenant} {seconds_of(row.now.p95_us)}" for row in board.tenants(now_us))
    return (
        f"{_clock_face(at_s)}  sent {counts.sent:,}  in windows {counts.counted:,}  "
        f"in ClickHouse {counts.stored:,}  {board.rates[-1]}/s  p95 {slow or '–'}"
    )


def _heading(timeline: Timeline, at_s: float) -> RenderableType:
    if timeline.incident(at_s):
        what = Text(f"incident: {TROUBLED_TENANT}'s model is slow and fails", style="bold red")
    elif at_s < timeline.seconds:
        what = Text("bots are chatting", style="green")
    else:
        what = Text("bots have stopped, the last events are on their way", style="dim")
    at_s = min(max(at_s, 0.0), timeline.seconds)
    grid = Table.grid(expand=True, padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1)
    grid.add_column(no_wrap=True)
    grid.add_row(
        Text("backchannel demo", style="bold"),
        ProgressBar(total=timeline.seconds, completed=at_s),
        Text(f"{_clock_face(at_s)} / {_clock_face(timeline.seconds)}", style="dim"),
    )
    return Group(grid, what)


def _flow(board: Board) -> RenderableType:
    counts = board.counts
    grid = Table.grid(padding=(0, 3, 0, 0))
    for _ in range(4):
        grid.add_column(justify="right", min_width=9, no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_row(
        *(Text(head, style="dim") for head in ("sent", "in Kafka", "in windows", "in ClickHouse")),
        Text("events/s", style="dim"),
    )
    rates = list(board.rates)[-20:]
    grid.add_row(
        *(
            Text(f"{number:,}", style="bold")
            for number in (counts.sent, counts.acknowledged, counts.counted, counts.stored)
        ),
        Text.assemble((bars(rates), "cyan"), f" {rates[-1]}"),
    )
    return grid


def _tenants(rows: Sequence[TenantRow]) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, expand=True)
    table.add_column("tenant", no_wrap=True)
    for name in ("events/s", "p50", "p95", "errors", "tokens/min"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("p95, 10 s windows", no_wrap=True)
    known = {row.tenant: row for row in rows}
    for tenant in TENANTS:
        row = known.get(tenant)
        table.add_row(tenant) if row is None else table.add_row(*_cells(row))
    return table


def _cells(row: TenantRow) -> tuple[str | Text, ...]:
    now = row.now
    slow = "bold red" if now.p95_us > _SLOW_US else ""
    failing = "bold red" if now.error_share > _FAILING else ""
    return (
        row.tenant,
        f"{now.turns_a_s:.1f}",
        seconds_of(now.p50_us),
        Text(seconds_of(now.p95_us), style=slow),
        Text(percent(now.error_share), style=failing),
        compact(now.tokens_a_min),
        Text(bars(row.p95_trend_us[-_TREND_COLUMNS:]), style=slow or "cyan"),
    )


def _alerts(board: Board) -> list[RenderableType]:
    """Always the same number of lines, so that the view keeps its height."""
    lines: list[RenderableType] = [Text("alerts, as a subscriber of chat.alerts reads them", "dim")]
    shown = [alert_line(heard.alert, heard.delay_us) for heard in list(board.heard)[-ALERT_LINES:]]
    lines += shown or [Text("none so far", style="dim")]
    return lines + [Text()] * (ALERT_LINES + 1 - len(lines))


def _clock_face(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
