"""One supervised process: started, waited for, restarted when it dies, stopped for certain.

        start()            spawn ──▶ ready ──▶ running ──▶ died
                             ▲                              │
                             └── back off, twice as long ◀──┘      stop(): SIGTERM, wait, SIGKILL

The process leads a group of its own: a Ctrl-C in the terminal reaches only the supervisor, and
what the process has started is stopped together with it.
"""

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from backchannel_deploy.up import launch
from backchannel_deploy.up.errors import StartError
from backchannel_deploy.up.log_file import LogFile
from backchannel_deploy.up.parent import PARENT_PID

LAST_LINES = 12

log = structlog.get_logger("backchannel.up")


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How a process that dies is started again: always, but ever more slowly."""

    delay_min_s: float = 0.5
    delay_max_s: float = 30.0
    steady_after_s: float = 30.0  # a process that ran this long is given its short delay back
    start_attempts_max: int = 3  # deaths before it was ever ready, after which `start` gives up

    def delay_s(self, deaths: int, jitter: float) -> float:
        """The pause after the ``deaths``-th death in a row; ``jitter`` from 0 to 1 spreads it."""
        full = min(self.delay_max_s, self.delay_min_s * 2.0 ** min(deaths - 1, 32))
        return full * (0.5 + 0.5 * jitter)


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """What to run, and when it counts as ready: without a check of its own, at once."""

    name: str
    argv: tuple[str, ...]
    log_path: Path
    env: Mapping[str, str] = field(default_factory=dict)  # beside the supervisor's own
    ready: Callable[[int], Awaitable[None]] | None = None  # given its id, returns when it is
    ready_timeout_s: float = 60.0
    stop_timeout_s: float = 8.0
    restart: RestartPolicy = RestartPolicy()


class SupervisedProcess:
    """Keeps the process of ``spec`` running between `start` and `stop`."""

    def __init__(self, spec: ProcessSpec, on_change: Callable[[], None] = lambda: None) -> None:
        self.spec = spec
        self.restarts = 0
        self._on_change = on_change  # called whenever `pid` has changed
        self._log_file = LogFile(spec.log_path)
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._ready = asyncio.Event()

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def pid(self) -> int | None:
        """The id of the process that runs now, if one does."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Start it and wait until it is ready. Raises `StartError` when it keeps dying instead."""
        assert self._task is None, "started once"
        self._task = asyncio.create_task(self._keep_running(), name=f"supervise-{self.name}")
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait([ready, self._task], return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if self._task.done():
            self._task.result()

    async def stop(self) -> None:
        """Stop it: SIGTERM to its group, and SIGKILL when it is not gone in time."""
        self._stopping = True
        if self._process is not None and not await self._terminate(self._process):
            log.warning("process_killed", process=self.name, waited_s=self.spec.stop_timeout_s)
        if self._task is not None:
            await _cancel(self._task)

    def kill(self) -> None:
        """End it at once (SIGKILL), together with what it has started. `stop` still tidies up."""
        self._stopping = True
        if self._process is not None:
            _signal_group(self._process.pid, signal.SIGKILL)

    def rotate_log(self) -> None:
        """Keep its log file small; called from time to time."""
        self._log_file.rotate_if_large()

    async def _keep_running(self) -> None:
        deaths = 0
        while True:
            loop = asyncio.get_running_loop()
            started_at = loop.time()
            returncode = await self._run_once()
            if self._stopping:
                return
            if loop.time() - started_at >= self.spec.restart.steady_after_s:
                deaths = 0
            deaths += 1
            if not self._ready.is_set() and deaths >= self.spec.restart.start_attempts_max:
                raise StartError(self._obituary(returncode))
            delay_s = self.spec.restart.delay_s(deaths, random.random())
            log.warning(
                "process_died",
                process=self.name,
                returncode=returncode,
                restart_in_s=round(delay_s, 2),
                last_lines=self._log_file.last_lines(LAST_LINES),
            )
            await asyncio.sleep(delay_s)
            self.restarts += 1

    async def _run_once(self) -> int | None:
        """Run it until it ends, whether by itself or because it did not get ready.

        Returns its exit code, or None when the system could not start it.
        """
        try:
            process = await self._spawn()
        except OSError as error:
            log.warning("process_not_started", process=self.name, error=error.strerror)
            return None
        try:
            if not await self._becomes_ready(process):
                log.warning(
                    "process_not_ready", process=self.name, waited_s=self.spec.ready_timeout_s
                )
                await self._terminate(process)
            return await process.wait()
        finally:
            # Whatever it had started must not outlive it: the next one would meet it.
            _signal_group(process.pid, signal.SIGKILL)
            await process.wait()
            self._process = None
            self._on_change()

    async def _spawn(self) -> asyncio.subprocess.Process:
        self._log_file.rotate_if_large()
        supervisor = str(os.getpid())
        with self._log_file.open() as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", launch.__file__, supervisor, *self.spec.argv),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **self.spec.env, PARENT_PID: supervisor},
                start_new_session=True,
            )
        self._process = process
        self._on_change()
        log.debug("process_started", process=self.name, pid=process.pid)
        return process

    async def _becomes_ready(self, process: asyncio.subprocess.Process) -> bool:
        """Wait until the process is ready or has ended; False when neither happens in time."""
        if self.spec.ready is not None:
            ready = asyncio.ensure_future(self.spec.ready(process.pid))
            ended = asyncio.ensure_future(process.wait())
            try:
                await asyncio.wait(
                    [ready, ended],
                    timeout=self.spec.ready_timeout_s,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if ended.done():
                    return True
                if not ready.done():
                    return False
                if error := ready.exception():
                    log.warning("ready_check_failed", process=self.name, error=repr(error))
                    return False
            finally:
                await _cancel(ready, ended)
        self._ready.set()
        return True

    async def _terminate(self, process: asyncio.subprocess.Process) -> bool:
        """End a running process; False when it took force."""
        if process.returncode is not None:
            return True  # its id may be somebody else's by now
        _signal_group(process.pid, signal.SIGTERM)
        _signal_group(process.pid, signal.SIGCONT)  # a frozen one would notice only then
        try:
            await asyncio.wait_for(process.wait(), self.spec.stop_timeout_s)
        except TimeoutError:
            _signal_group(process.pid, signal.SIGKILL)
            await process.wait()
            return False
        return True

    def _obituary(self, returncode: int | None) -> str:
        lines = "\n".join(f"    {line}" for line in self._log_file.last_lines(LAST_LINES))
        return (
            f"{self.name} ended {self.spec.restart.start_attempts_max} times before it was ready, "
            f"at last with exit code {returncode}. The end of {self.spec.log_path}:\n{lines}"
        )


async def _cancel(*futures: asyncio.Future[Any]) -> None:
    for future in futures:
        future.cancel()
    await asyncio.gather(*futures, return_exceptions=True)


def _signal_group(pid: int, what: signal.Signals) -> None:
    """Send a signal to the group that ``pid`` leads, if any of it is left."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, what)
