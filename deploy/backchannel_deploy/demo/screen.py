"""Where the demo is shown: drawn on a terminal, told line by line anywhere else."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.live import Live

from backchannel.clock import Clock
from backchannel_deploy.cli.alert_line import alert_line
from backchannel_deploy.demo.board import Board, Heard
from backchannel_deploy.demo.timeline import Timeline
from backchannel_deploy.demo.view import LiveView, status_line

__all__ = ["Screen", "shown"]

_REFRESH_A_S = 4
_LINE_EVERY_TICKS = 5


class Screen(Protocol):
    """What is told to whoever watches."""

    def alert(self, heard: Heard) -> None:
        """An alert has come."""
        ...

    def tick(self) -> None:
        """A second has passed, and the counts are new."""
        ...


@contextmanager
def shown(board: Board, timeline: Timeline, console: Console, clock: Clock) -> Iterator[Screen]:
    """Yields the screen that fits the console; the last view stays when it is left."""
    if not console.is_terminal:
        yield _Lines(board, console, clock)
        return
    view = LiveView(board, timeline, clock)
    with Live(view, console=console, refresh_per_second=_REFRESH_A_S):
        yield _Drawn()


class _Drawn:
    """The view asks the board itself, four times a second."""

    def alert(self, heard: Heard) -> None:
        pass

    def tick(self) -> None:
        pass


class _Lines:
    def __init__(self, board: Board, console: Console, clock: Clock) -> None:
        self._board = board
        self._console = console
        self._clock = clock
        self._ticks = 0

    def alert(self, heard: Heard) -> None:
        self._console.print(alert_line(heard.alert, heard.delay_us), soft_wrap=True)

    def tick(self) -> None:
        if self._ticks % _LINE_EVERY_TICKS == 0:
            now_us = self._clock.now_us()
            at_s = (now_us - self._board.started_at_us) / 1_000_000
            self._console.print(status_line(self._board, at_s, now_us), soft_wrap=True)
        self._ticks += 1
