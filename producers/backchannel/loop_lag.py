"""How late the bot's event loop is: a timer in it, and how long after its time it was called."""

import asyncio
import weakref
from contextlib import suppress

__all__ = ["LoopLag"]

_INTERVAL_S = 0.5


class LoopLag:
    """Measures one loop from inside, twice a second; no task and no thread. A call costs the loop
    about two microseconds. It ends with its owner, also one that nobody closed."""

    def __init__(self, loop: asyncio.AbstractEventLoop, owner: object) -> None:
        self._loop = loop
        self._owner = weakref.ref(owner)
        self._longest_s = 0.0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False
        self._next()

    def watches(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether that is its loop."""
        return self._loop is loop

    def take_us(self) -> int:
        """Returns the longest delay since the last call, microseconds: also that of a timer which
        is late just now. From any thread."""
        longest_s, self._longest_s = self._longest_s, 0.0
        if not self._loop.is_closed():
            longest_s = max(longest_s, self._loop.time() - self._due)
        return max(0, round(longest_s * 1_000_000))

    def stop(self) -> None:
        """Ends the timer. From any thread."""
        self._stopped = True
        with suppress(RuntimeError):  # the loop is closed, and the timer with it
            self._loop.call_soon_threadsafe(self._cancel)

    def _tick(self) -> None:
        self._longest_s = max(self._longest_s, self._loop.time() - self._due)
        if not self._stopped and self._owner() is not None:
            self._next()

    def _next(self) -> None:
        self._due = self._loop.time() + _INTERVAL_S
        self._timer = self._loop.call_at(self._due, self._tick)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
