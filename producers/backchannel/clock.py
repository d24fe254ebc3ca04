"""The one place that reads time; everything else takes a ``Clock``.

Instants are integers: microseconds since the Unix epoch, UTC. Durations are measured on a clock
that never goes back.
"""

import time
from typing import Protocol

__all__ = ["SYSTEM_CLOCK", "Clock", "ManualClock", "SystemClock"]


class Clock(Protocol):
    """What a part of the system may know of time."""

    def now_us(self) -> int:
        """Wall clock: microseconds since the Unix epoch, UTC. May jump when the host is set."""
        ...

    def monotonic_us(self) -> int:
        """Microseconds since an arbitrary start; never goes back. For durations and deadlines."""
        ...


class SystemClock:
    """The clocks of this machine."""

    def now_us(self) -> int:
        return time.time_ns() // 1000

    def monotonic_us(self) -> int:
        return time.perf_counter_ns() // 1000


class ManualClock:
    """A clock for tests: it stands still until it is moved."""

    def __init__(self, now_us: int = 1_700_000_000_000_000) -> None:
        self._now_us = now_us
        self._monotonic_us = 0

    def now_us(self) -> int:
        return self._now_us

    def monotonic_us(self) -> int:
        return self._monotonic_us

    def advance(self, *, seconds: float = 0, us: int = 0) -> None:
        """Moves both clocks forward."""
        step_us = round(seconds * 1_000_000) + us
        self._now_us += step_us
        self._monotonic_us += step_us


SYSTEM_CLOCK = SystemClock()
