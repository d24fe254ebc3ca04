"""A process that was frozen or starved ends before it writes anything.

While it stood still, Kafka may have given its partitions to another worker. Its states are old
then, and must not be written after those of the new owner.
"""

import asyncio
import os
from collections.abc import Callable

import structlog

from backchannel.clock import Clock

__all__ = ["EXIT_LEASE_LOST", "Lease", "end_process"]

EXIT_LEASE_LOST = 75

_BEATS = 10


def end_process(code: int) -> None:
    """Ends this process at once: nothing is flushed, nothing is committed."""
    os._exit(code)


class Lease:
    """Proof that the event loop ran not long ago."""

    def __init__(
        self, seconds: float, clock: Clock, *, end: Callable[[int], None] = end_process
    ) -> None:
        self._us = round(seconds * 1_000_000)
        self._clock = clock
        self._end = end
        self._renewed_us = clock.monotonic_us()

    def check(self) -> None:
        """Renews the lease, or ends the process when it has run out. To be called before every
        write."""
        now_us = self._clock.monotonic_us()
        still_us = now_us - self._renewed_us
        if still_us > self._us:
            structlog.get_logger().error("lease_lost", stood_still_s=round(still_us / 1e6, 1))
            self._end(EXIT_LEASE_LOST)
        self._renewed_us = now_us

    async def keep(self) -> None:
        """Renews the lease for as long as the loop runs. For ever."""
        while True:
            self.check()
            await asyncio.sleep(self._us / 1_000_000 / _BEATS)
