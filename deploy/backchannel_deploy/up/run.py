"""``up`` as a person at a terminal, or an init system, runs it: signals, addresses, exit code."""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable

from rich.console import Console

from backchannel_deploy.errors import UserError
from backchannel_deploy.up.console import ConsoleProgress, configure_logging, print_addresses
from backchannel_deploy.up.roles import ROLES, Role
from backchannel_deploy.up.running import RunningUp
from backchannel_deploy.up.settings import UpSettings
from backchannel_deploy.up.up import Prepare, Up

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Session = Callable[[RunningUp], Awaitable[None]]
"""What happens while the stack is up; it is stopped when this returns."""


def run_up(
    settings: UpSettings,
    prepare: Prepare,
    console: Console,
    *,
    session: Session | None = None,
    recover: Prepare | None = None,
    roles: tuple[Role, ...] = ROLES,
) -> int:
    """Run the stack until a signal, or until ``session`` returns; return the exit code.

    The first Ctrl-C (or SIGTERM, SIGHUP) stops everything in order, the second ends it at once.
    What a person can put right is printed as a sentence, with a failing exit code.
    """
    configure_logging()
    try:
        with ConsoleProgress(console) as progress:
            up = Up(settings, prepare, recover=recover, roles=roles, progress=progress)
            asyncio.run(_run(up, session or _until_signal(console)))
    except UserError as error:
        console.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        return error.exit_code
    return 0


def _until_signal(console: Console) -> Session:
    async def wait(running: RunningUp) -> None:
        print_addresses(console, running)
        await asyncio.Event().wait()

    return wait


async def _run(up: Up, session: Session) -> None:
    async def start_and_serve() -> None:
        await session(await up.start())

    serving = asyncio.create_task(start_and_serve(), name="up")
    signals = 0

    def on_signal() -> None:
        nonlocal signals
        signals += 1
        if signals == 1 and not serving.done():
            serving.cancel()
        else:
            up.kill()

    loop = asyncio.get_running_loop()
    for each in STOP_SIGNALS:
        # nohup has the terminal's end ignored, and means it.
        if not (each is signal.SIGHUP and signal.getsignal(each) is signal.SIG_IGN):
            loop.add_signal_handler(each, on_signal)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await serving
    finally:
        await up.stop()
