"""Feeds the board from ``chat.metrics``, ``chat.alerts`` and the status, and shows it."""

import asyncio

from pydantic import ValidationError
from rich.console import Console
from rich.live import Live

from backchannel.clock import SYSTEM_CLOCK, Clock
from backchannel.events import Alert, Window
from backchannel.events.topics import ALERTS, METRICS
from backchannel_deploy.connect import find_kafka
from backchannel_deploy.errors import UserError
from backchannel_deploy.listen import Listener
from backchannel_deploy.status import ask
from backchannel_deploy.top.board import Board
from backchannel_deploy.top.view import View

__all__ = ["run_top"]

_STATUS_EVERY_S = 5.0
_REFRESH_A_S = 2
_ONCE_S = 3.0
"""How long a single picture is waited for: rows of 10 s windows come every second."""


async def run_top(console: Console, *, by: str, once: bool, clock: Clock = SYSTEM_CLOCK) -> None:
    """Shows the running pipeline until it is cancelled; once: prints one picture and returns.

    Raises:
        UserError: there is no Kafka to talk to.
    """
    kafka = find_kafka()
    board = Board(by)
    view = View(board, kafka, clock)
    async with (
        Listener([METRICS.name], kafka=kafka) as windows,
        Listener([ALERTS.name], kafka=kafka, from_start=True) as alerts,
        asyncio.TaskGroup() as tasks,
    ):
        feeding = [
            tasks.create_task(work)
            for work in (_read_windows(windows, board), _read_alerts(alerts, board))
        ]
        if once:
            await asyncio.gather(asyncio.sleep(_ONCE_S), _ask_status(board))
            console.print(view)
        else:
            feeding.append(tasks.create_task(_follow_status(board)))
            with Live(view, console=console, screen=True, refresh_per_second=_REFRESH_A_S):
                await asyncio.gather(*feeding)
        for each in feeding:
            each.cancel()


async def _read_windows(listener: Listener, board: Board) -> None:
    async for record in listener:
        for line in (record.value or b"").split(b"\n"):
            try:
                board.take_window(Window.model_validate_json(line))
            except ValidationError:
                continue  # of another version: the rest is shown


async def _read_alerts(listener: Listener, board: Board) -> None:
    async for record in listener:
        try:
            board.take_alert(Alert.model_validate_json(record.value or b""))
        except ValidationError:
            continue


async def _follow_status(board: Board) -> None:
    while True:
        await _ask_status(board)
        await asyncio.sleep(_STATUS_EVERY_S)


async def _ask_status(board: Board) -> None:
    try:
        # ClickHouse's client blocks: in a thread, and a loop, of its own.
        board.status = await asyncio.to_thread(lambda: asyncio.run(ask()))
        board.trouble = ""
    except UserError as error:
        board.trouble = str(error)
