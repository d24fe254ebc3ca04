"""Publishes how the bot's process is, and what its producer sent and dropped, while it runs."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from backchannel.clock import Clock
from backchannel.events import Health
from backchannel.sending.intake import Intake
from backchannel.shaping.repair import build
from backchannel.shaping.stamps import Stamps

__all__ = ["HealthSource", "Heartbeat"]

HealthSource = Callable[[], Mapping[str, Any] | Awaitable[Mapping[str, Any]]]
"""Returns fields of ``events.Health``, e.g. ``{"queues": {"celery": 3}}``; may be ``async``.

Called in the sender's thread before each ``Health``. A plain function holds up delivery for as long
as it takes, so what waits for the network is ``async``; after two seconds nobody waits for it.
"""

_SOURCE_TIMEOUT_S = 2.0
_MERGED = ("queues", "gauges")
"""Fields that several sources fill together."""


class Heartbeat:
    """Offers a ``Health`` event at every interval, and a last one at the end.

    It lives in the sender's loop and has no thread. ``Health`` has room of its own in the intake,
    so it gets through when the bot's events do not.
    """

    def __init__(
        self, intake: Intake, stamps: Stamps, sources: list[HealthSource], clock: Clock
    ) -> None:
        self._intake = intake
        self._stamps = stamps
        self._sources = sources
        self._clock = clock

    async def run(self, interval_s: float) -> None:
        """Offers one ``Health`` at each interval, until it is cancelled."""
        while True:
            await asyncio.sleep(interval_s)
            self._offer(await self._gauges())

    def end(self) -> None:
        """Offers the last ``Health``: its ``final_seq`` says that nothing follows."""
        self._offer({}, final=True)

    def _offer(self, gauges: Mapping[str, Any], *, final: bool = False) -> None:
        stats = self._intake.stats()
        fields = {
            **gauges,
            "ts_us": self._clock.now_us(),
            "sdk_offered": stats.offered,
            "sdk_acked": stats.acked,
            "sdk_dropped": dict(stats.dropped),
            "sdk_buffered": stats.held,
        }
        event, repaired = build(Health, fields)
        if repaired:
            self._intake.count_repaired(repaired)
        self._intake.offer_health(event, self._stamps, final=final)

    async def _gauges(self) -> dict[str, Any]:
        """Asks every source. One that fails is left out and counted as a field repaired."""
        found: dict[str, Any] = {}
        for source in tuple(self._sources):
            try:
                said = source()
                if inspect.isawaitable(said):
                    async with asyncio.timeout(_SOURCE_TIMEOUT_S):
                        said = await said
                for name, value in said.items():
                    merges = name in _MERGED and isinstance(value, Mapping)
                    found[name] = {**found.get(name, {}), **value} if merges else value
            except (Exception, asyncio.CancelledError):  # somebody else's code: the others go on
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                self._intake.count_repaired(1)
        return found
