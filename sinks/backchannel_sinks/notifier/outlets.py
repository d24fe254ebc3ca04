"""The outlets of all targets, each in a task of its own: targets come and go while they run."""

import asyncio
from collections.abc import Callable, Mapping

from backchannel_sinks.notifier.outlet import Outlet, Sender
from backchannel_sinks.notifier.plan import Plan

__all__ = ["Outlets"]


class Outlets:
    """Owned by one event loop. ``make`` makes the outlet of a target, by its name."""

    def __init__(self, make: Callable[[str, Sender, int], Outlet]) -> None:
        self._make = make
        self._outlets: dict[str, Outlet] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._tasks: asyncio.TaskGroup | None = None

    def use(self, plan: Plan, senders: Mapping[str, Sender]) -> None:
        """Goes on with other targets. One that keeps its name keeps its place in what is sent a
        minute; what is under way to one that is gone is broken off."""
        for name in self._outlets.keys() - senders.keys():
            del self._outlets[name]
            if task := self._running.pop(name, None):
                task.cancel()
        for name, sender in senders.items():
            per_minute_max = plan.target[name].per_minute_max
            known = self._outlets.get(name)
            if known is not None:
                known.use(sender, per_minute_max)
                continue
            self._outlets[name] = self._make(name, sender, per_minute_max)
            self._start(name)
        self.wake()

    def wake(self) -> None:
        """There may be something to tell."""
        for outlet in self._outlets.values():
            outlet.wake()

    async def run(self) -> None:
        """Tells. For ever."""
        async with asyncio.TaskGroup() as self._tasks:
            for name in self._outlets:
                self._start(name)
            await asyncio.Event().wait()

    def _start(self, name: str) -> None:
        if self._tasks is not None:
            self._running[name] = self._tasks.create_task(self._outlets[name].run())
