"""Names a process for good: by its id and the time it started, because ids are used again."""

import contextlib
import os
import signal
from dataclasses import dataclass

import psutil

# The start time is kept in ticks since boot; what it is in wall time moves a little when the
# clock is adjusted. No id is used again that soon.
SAME_START_MS = 2_000


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process of this machine, alive or not."""

    name: str
    pid: int
    started_at_ms: int

    def is_alive(self) -> bool:
        """Whether that very process still runs."""
        return self._process() is not None

    def end(self, timeout_s: float) -> None:
        """SIGTERM to its group if it still runs, SIGKILL when it is not gone in time. Blocks."""
        process = self._process()
        if process is None:
            return
        for what in (signal.SIGTERM, signal.SIGKILL):
            self._signal(what)
            try:
                process.wait(timeout_s)
            except psutil.TimeoutExpired:
                continue
            return

    def _signal(self, what: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            # Each of ours leads a group (process.py); one that does not is signalled alone.
            send = os.killpg if os.getpgid(self.pid) == self.pid else os.kill
            send(self.pid, what)
            send(self.pid, signal.SIGCONT)

    def _process(self) -> psutil.Process | None:
        try:
            process = psutil.Process(self.pid)
            started_at_ms = round(process.create_time() * 1000)
            zombie = process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        if zombie or abs(started_at_ms - self.started_at_ms) > SAME_START_MS:
            return None
        return process


def process_id(name: str, pid: int) -> ProcessId | None:
    """The lasting name of the process that has the id ``pid`` now, if there is one."""
    try:
        return ProcessId(name, pid, round(psutil.Process(pid).create_time() * 1000))
    except psutil.NoSuchProcess:
        return None
