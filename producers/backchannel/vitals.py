"""How the bot's process is: what each ``Health`` event says besides the producer's own counts."""

import asyncio
import inspect
import logging
import threading
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any

from backchannel.loop_lag import LoopLag
from backchannel.millionths import millionths
from backchannel.outlet import Outlet

__all__ = ["QueueProbe", "Vitals"]

_log = logging.getLogger("backchannel")

QueueProbe = Callable[[], int] | Callable[[], Coroutine[Any, Any, int]]
"""Returns how many jobs wait in a queue. A plain function may take its time: it is called in a
thread; one that is slower than the interval of ``Health`` is not called again before it answers."""

_MERGED_MAX = 64
"""Queues, and gauges, that one ``Health`` has room for."""


class Vitals:
    """The gauges of ``Health`` events: the machine's, the loop's, the queues', and your own.

    With the extra ``health`` (psutil): ``cpu``, ``memory`` and ``disk`` of the machine and
    ``process_rss_bytes``. Always: turns under way, and the longest delay of the bot's event loop
    since the last ``Health``, once ``watch_loop`` was called in it (``async with`` does).
    """

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._lag: LoopLag | None = None
        self._queues: dict[str, QueueProbe] = {}
        self._asked: dict[str, asyncio.Future[int]] = {}
        self._gauges: dict[str, Callable[[], float]] = {}
        self._machine: _Machine | None = None

    def queue(self, name: str, probe: QueueProbe) -> None:
        """Reports the length of a queue as ``queues[name]``; see ``backchannel.queues`` for Celery
        and RQ. 64 at most; a probe that fails is left out and counted as a repaired field."""
        if name in self._queues or len(self._queues) < _MERGED_MAX:
            self._queues[name] = probe
        else:
            self._outlet.count_repaired(1)

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        """Reports a measure of your own as ``gauges[name]``. ``read`` is called in the producer's
        thread and must not wait for anything. 64 at most, as with ``queue``."""
        if name in self._gauges or len(self._gauges) < _MERGED_MAX:
            self._gauges[name] = read
        else:
            self._outlet.count_repaired(1)

    def watch_loop(self) -> None:
        """Measures the delay of the event loop that this is called in, from now on, by a timer of
        its own in it. Calling it again, or outside of a loop, does nothing."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        if self._lag is None or not self._lag.watches(loop):
            self._lag = LoopLag(loop, self)

    def stop(self) -> None:
        """Measures the loop no longer. From any thread."""
        lag, self._lag = self._lag, None
        if lag is not None:
            lag.stop()

    def restart(self) -> None:
        """Begins anew in a process that was forked: the parent's answers are not awaited here."""
        self._asked.clear()
        self._machine = None
        self._lag = None

    async def __call__(self) -> Mapping[str, Any]:
        """Returns what the next ``Health`` says. Never raises."""
        found: dict[str, Any] = {"in_flight_requests": len(self._outlet.in_flight)}
        if self._lag is not None:
            found["event_loop_lag_us"] = self._lag.take_us()
        found.update(self._of_machine())
        gauges = {name: self._read(read) for name, read in tuple(self._gauges.items())}
        found["gauges"] = {name: value for name, value in gauges.items() if value is not None}
        found["queues"] = await self._lengths()
        return {name: value for name, value in found.items() if value != {}}

    def _of_machine(self) -> Mapping[str, Any]:
        try:
            if self._machine is None:
                self._machine = _Machine()
            return self._machine.read()
        except ImportError:
            return {}
        except Exception:  # noqa: BLE001  # a machine that does not tell: the rest still does
            self._outlet.count_repaired(1)
            return {}

    def _read(self, read: Callable[[], float]) -> int | None:
        try:
            value = millionths(read())
        except Exception:  # noqa: BLE001  # the bot's own code
            value = None
        if value is None:
            self._outlet.count_repaired(1)
        return value

    async def _lengths(self) -> dict[str, int]:
        """Asks all probes at once, and takes what is there within a second."""
        for name, probe in tuple(self._queues.items()):
            if name not in self._asked:
                self._asked[name] = _ask(probe)
        if not self._asked:
            return {}
        await asyncio.wait(self._asked.values(), timeout=1)
        lengths: dict[str, int] = {}
        for name, task in tuple(self._asked.items()):
            if not task.done():
                continue
            del self._asked[name]
            if task.cancelled() or task.exception() is not None:
                self._outlet.count_repaired(1)
            else:
                lengths[name] = task.result()
        return lengths


class _Machine:
    """What psutil knows of this machine and this process."""

    def __init__(self) -> None:
        import psutil  # the extra ``health``; in the producer's thread, where nobody waits

        self._psutil = psutil
        self._process: psutil.Process = psutil.Process()
        psutil.cpu_percent()  # it tells the share since the last call, so the first one begins it
        self._begun = False

    def read(self) -> Mapping[str, Any]:
        psutil = self._psutil
        found = {
            "memory": _share(psutil.virtual_memory().percent),
            "disk": _share(psutil.disk_usage("/").percent),
            "process_rss_bytes": self._process.memory_info().rss,
        }
        if self._begun:
            found["cpu"] = _share(psutil.cpu_percent())
        self._begun = True
        return found


def _share(percent: float) -> int:
    return min(1_000_000, max(0, round(percent * 10_000)))


def _ask(probe: QueueProbe) -> "asyncio.Future[int]":
    """Asks one probe; a plain function in a daemon thread, since the end of the interpreter would
    wait for a thread pool, and with it for a broker that does not answer."""
    if inspect.iscoroutinefunction(probe):
        return asyncio.ensure_future(probe())
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[int] = loop.create_future()

    def tell(length: int | None) -> None:
        if answer.done():
            return
        if length is None:
            answer.cancel()
        else:
            answer.set_result(length)

    def ask() -> None:
        length = None
        try:
            said = probe()
            length = said if isinstance(said, int) else None
        except Exception:  # noqa: BLE001  # a broker that is away, or the bot's own code
            _log.debug("a queue could not be asked for its length")
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, length)

    threading.Thread(target=ask, name="backchannel-probe", daemon=True).start()
    return answer
