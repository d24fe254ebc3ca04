"""What the sender's loop waits on, so that the bot's threads get their turn while it works.

Python hands its lock from one thread to another when the one that has it blocks, or after 5 ms. A
step of the sender's loop blocks nowhere, and asking the sockets without waiting gives the lock away
for so short a moment that nobody else is awake to take it: a bot's loop that wakes in the middle
of a busy stretch would wait for all of it.
"""

import selectors
import time
from collections.abc import Callable

__all__ = ["GivingWay"]

_STRETCH_S = 0.000_2
"""How long the loop works before it steps aside."""
_ASIDE_S = 0.000_001
"""As short as the system makes it, which is some 60 µs: time for another thread to wake up."""


class GivingWay(selectors.DefaultSelector):
    """Sleeps for a moment between two steps of a loop that has worked for a while without one."""

    def __init__(
        self,
        now: Callable[[], float] = time.perf_counter,
        step_aside: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__()
        self._now = now
        self._step_aside = step_aside
        self._working_since_s = now()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout > 0:
            ready = super().select(timeout)
        else:
            if self._now() - self._working_since_s < _STRETCH_S:
                return super().select(timeout)
            self._step_aside(_ASIDE_S)
            ready = super().select(timeout)
        self._working_since_s = self._now()
        return ready
