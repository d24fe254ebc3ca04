"""Publishes events at their times through the real producer; waits rather than loses."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from backchannel import Producer
from backchannel.clock import SYSTEM_CLOCK, Clock
from backchannel_deploy.replay.source import Due

__all__ = ["Outcome", "publish", "reachable"]

_LOOK_EVERY = 64
"""Events between two looks at the producer's buffer."""
_FULL = 4
"""The replay waits when more than one in so many bytes of the buffer is taken: well before the
producer would refuse an event, whose ``seq`` would then be missing for ever."""
_POLL_S = 0.005
_START_S = 15.0
_PATIENCE_S = 30.0
"""How long nothing may be acknowledged before the replay gives up."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a replay."""

    sent: int
    """Taken by the producer."""
    acknowledged: int
    """By Kafka."""
    seconds: float


async def reachable(
    producer: Producer, *, clock: Clock = SYSTEM_CLOCK, patience_s: float = _START_S
) -> bool:
    """Waits until Kafka has told where events go; returns False when it does not in time."""
    give_up_us = clock.monotonic_us() + round(patience_s * 1_000_000)
    producer.start()
    while not producer.stats().partitions:
        if clock.monotonic_us() > give_up_us:
            return False
        await asyncio.sleep(_POLL_S)
    return True


async def publish(
    producer: Producer,
    events: Iterable[Due],
    *,
    tell: Callable[[int], object] = lambda sent: None,
    clock: Clock = SYSTEM_CLOCK,
    patience_s: float = _PATIENCE_S,
) -> Outcome:
    """Publishes the events, each when it is due, and waits until they are acknowledged.

    Gives up when something is owed and nothing has been acknowledged for ``patience_s``. Nothing
    is dropped to keep the pace: what can't be published in time is published later.
    """
    start_us = clock.monotonic_us()
    held_bytes_max = producer.settings.buffer_bytes_max // _FULL
    sent = 0
    for index, due in enumerate(events):
        ahead_us = start_us + due.due_us - clock.monotonic_us()
        if ahead_us > 0:
            tell(sent)
            await asyncio.sleep(ahead_us / 1_000_000)
        if index % _LOOK_EVERY == 0:
            tell(sent)
            if not await _held_at_most(held_bytes_max, producer, clock, patience_s):
                break
        if not producer.track(due.event):
            # Many huge events since the last look: there is room when the buffer is empty.
            await _held_at_most(0, producer, clock, patience_s)
            if not producer.track(due.event):
                continue
        sent += 1
    else:
        await _held_at_most(0, producer, clock, patience_s)
    tell(sent)
    seconds = (clock.monotonic_us() - start_us) / 1_000_000
    return Outcome(sent, producer.stats().acked, seconds)


async def _held_at_most(
    bytes_max: int, producer: Producer, clock: Clock, patience_s: float
) -> bool:
    """Waits until the producer owes no more than that; returns False when nothing moves."""
    await asyncio.sleep(0)
    acked, moved_us = -1, clock.monotonic_us()
    while (stats := producer.stats()).held_bytes > bytes_max:
        if stats.acked != acked:
            acked, moved_us = stats.acked, clock.monotonic_us()
        elif clock.monotonic_us() - moved_us > patience_s * 1_000_000:
            return False
        await asyncio.sleep(_POLL_S)
    return True
