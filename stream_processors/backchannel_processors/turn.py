"""How one task shares the event loop with the others while it has much to do."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from backchannel.clock import Clock

__all__ = ["Turn"]

_T = TypeVar("_T")

_TURN_US = 1_000
"""How long a task keeps the event loop for itself. What an alert waits for goes over the loop some
ten times, so this is a hundredth of its delay and more."""

_URGENT_US = 5 * _TURN_US
"""How long an urgent task does: what an alert waits for itself. With turns like the others' it had
a third of the loop, and what took 170 ms was ready after 450."""

_PATIENCE_US = 5 * _TURN_US
"""How long a patient task lets others go on after each turn while they have something to do."""

_QUIET_US = 300
"""Once round the loop in less than this: nobody had anything to do."""


class Turn:
    """One task's turn on the event loop. An urgent one is longer, a patient one goes on when others
    have nothing to do."""

    def __init__(self, clock: Clock, *, urgent: bool = False, patient: bool = False) -> None:
        self._clock = clock
        self._turn_us = _URGENT_US if urgent else _TURN_US
        self._patience_us = _PATIENCE_US if patient else 0
        self._began_us = clock.monotonic_us()
        self._spent_us = 0

    @property
    def spent_us(self) -> int:
        """For how long the loop was busy with this task."""
        return self._spent_us + self._clock.monotonic_us() - self._began_us

    async def share(self) -> None:
        """Lets others go on if this turn has been long."""
        if self._clock.monotonic_us() - self._began_us > self._turn_us:
            await self.until(self._others())

    async def until(self, something: Awaitable[_T]) -> _T:
        """Waits for something, which costs the loop nothing."""
        self._spent_us = self.spent_us
        try:
            return await something
        finally:
            self._began_us = self._clock.monotonic_us()

    async def _others(self) -> None:
        now_us = self._clock.monotonic_us()
        until_us = now_us + self._patience_us
        while True:
            before_us = now_us
            await asyncio.sleep(0)
            now_us = self._clock.monotonic_us()
            if now_us - before_us < _QUIET_US or now_us >= until_us:
                return
