"""What the two agents share: their tools, the order of records, and how states are written."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from backchannel.clock import SYSTEM_CLOCK, Clock
from backchannel_processors.errors import REBUILD, MissedRecordsError, StateError
from backchannel_processors.log_kafka import LogReader
from backchannel_processors.outbox_kafka import Message, Outbox
from backchannel_processors.states import Entry
from backchannel_processors.turn import Turn

__all__ = [
    "Backlog",
    "Checkpoint",
    "Commit",
    "Owned",
    "Pace",
    "Tools",
    "admits",
    "begin",
    "write_checkpoints",
]

Commit = Callable[[str, dict[int, int]], Awaitable[None]]
"""Commits offsets of partitions of a topic for the group."""

Checkpoint = tuple[Iterable[Entry], Entry, Iterable[Entry]]
"""What is written first, when that is durable, and when that is durable."""

_COST_SHARE_MAX = 0.25
"""Largest share of the time that telling may take while records wait to be read, and what alerts
wait for at any time."""

_WAITED_US = 1_000_000
"""A record that is taken later than this after the broker had it has waited for us."""

_BACKLOG_OVER_US = 500_000
"""So long after the last record that had waited nothing waits any more."""

_LOOK_AGAIN_S = 0.5
"""What waits for its pace is looked at again after this time at the latest: the backlog that it
waits for may be over by then."""


class Owned(Protocol):
    """The state of a partition, as far as the order of its records is concerned."""

    next_offset: int

    @property
    def needed_end(self) -> int: ...


class Backlog:
    """Whether records wait for this worker: only then does what telling costs hold anything up."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._over_us = 0

    def took(self, broker_time_us: int) -> None:
        """Notes that a record is taken, which the broker has had since then."""
        if self._clock.now_us() - broker_time_us > _WAITED_US:
            self._over_us = self._clock.monotonic_us() + _BACKLOG_OVER_US

    @property
    def is_there(self) -> bool:
        return self._clock.monotonic_us() < self._over_us


@dataclass(frozen=True, slots=True)
class Tools:
    """What an agent works with."""

    outbox: Outbox
    """For rows and states: much, and nobody waits for it."""
    express: Outbox
    """For what alerts wait for. A producer has one request to a broker on its way at a time, so
    one of its own: a checkpoint may be megabytes."""
    reader: LogReader
    commit: Commit
    backlog: Backlog
    """Of all agents of the worker: they share one event loop."""
    clock: Clock = SYSTEM_CLOCK
    log: structlog.stdlib.BoundLogger = field(default_factory=structlog.get_logger)


class Pace:
    """When something is due that should not happen more often than every ``seconds``, and that may
    take no more than its share of the time while records wait.

    With ``seconds_max`` it keeps to its share at any time, as far as that: the less often it
    happens, the more is done at once, and the less that costs. So a worker that is busy gets round
    sooner than one that tells as often as it can.
    """

    def __init__(
        self, seconds: float, clock: Clock, backlog: Backlog, *, seconds_max: float = 0.0
    ) -> None:
        self._us = round(seconds * 1_000_000)
        self._most_us = round(seconds_max * 1_000_000)
        self._clock = clock
        self._backlog = backlog
        self._due_us = 0
        self._rested_us = 0

    @property
    def wait_s(self) -> float:
        """Seconds until it is due; 0 when it is."""
        due_us = self._due_us
        if self._backlog.is_there:
            due_us = max(due_us, self._rested_us)
        return max(0, due_us - self._clock.monotonic_us()) / 1_000_000

    async def due(self) -> None:
        """Waits until it is due."""
        while (wait_s := self.wait_s) > 0:  # noqa: ASYNC110 -- time alone makes it due
            await asyncio.sleep(min(wait_s, _LOOK_AGAIN_S))

    def done(self, started_us: int, *, cost_us: int | None = None, linger_s: float = 0.0) -> None:
        """Notes that it has been done, begun at the monotonic ``started_us``.

        ``cost_us`` is for how long the event loop was busy with it; without it, until now. For
        ``linger_s`` it is not due again either.
        """
        now_us = self._clock.monotonic_us()
        spent_us = now_us - started_us if cost_us is None else cost_us
        share_us = round(spent_us / _COST_SHARE_MAX)
        wait_us = max(self._us, round(linger_s * 1_000_000), min(share_us, self._most_us))
        self._due_us = started_us + wait_us
        self._rested_us = now_us + min(share_us, 60 * self._us)

    def hurry(self) -> None:
        """Makes it due now."""
        self._due_us = self._rested_us = 0


async def begin(tools: Tools, topic: str, owned: dict[int, Owned]) -> dict[int, int]:
    """Holds restored states against the log, and returns where to read on.

    Raises:
        StateError: the log ends before the state: it was deleted and made again.
    """
    begins = await tools.reader.begins(topic, owned)
    ends = await tools.reader.ends(topic, owned)
    for partition, state in owned.items():
        if state.needed_end > ends[partition]:
            raise StateError(
                f"{topic} partition {partition} ends at {ends[partition]}, but its state knows "
                f"records up to {state.needed_end}: the topic was deleted and created again. "
                f"Have its state made anew as well: {REBUILD}"
            )
        if state.next_offset < begins[partition]:
            tools.log.error(
                "records_expired",
                topic=topic,
                partition=partition,
                lost=begins[partition] - state.next_offset,
            )
            state.next_offset = begins[partition]
    return {partition: state.next_offset for partition, state in owned.items()}


async def admits(tools: Tools, topic: str, partition: int, state: Owned, offset: int) -> bool:
    """Says whether a record is the next one; a repeat is not.

    A hole in the log (compaction, a transaction's marker) is told and accepted.

    Raises:
        MissedRecordsError: records were jumped over that the log still has.
    """
    if offset <= state.next_offset:
        return offset == state.next_offset
    expected = state.next_offset
    found = await tools.reader.next_offset(topic, partition, expected)
    if found is None or found < offset:
        raise MissedRecordsError(f"{topic} partition {partition}: {expected}..{offset - 1} missed")
    tools.log.warning(
        "offsets_absent", topic=topic, partition=partition, first=expected, last=offset - 1
    )
    return True


async def write_checkpoints(
    tools: Tools,
    turn: Turn,
    source: str,
    changelog: str,
    news: Iterable[Message],
    checkpoints: Mapping[int, tuple[Checkpoint, int]],
) -> None:
    """Writes what is to be told and the states of partitions; only then commits their offsets.

    Each step is durable before the next one begins: news and states, how far everything has come,
    the commit, and last what may be forgotten.
    """
    first, second, third = list(news), list[Message](), list[Message]()
    for partition, ((states, meta, gone), _) in checkpoints.items():
        for messages, entries in ((first, states), (second, (meta,)), (third, gone)):
            for key, value in entries:
                messages.append(Message(changelog, partition, value, key))
                await turn.share()
    await tools.outbox.post(first, turn)
    await tools.outbox.post(second, turn)
    offsets = {partition: at for partition, (_, at) in checkpoints.items()}
    await turn.until(tools.commit(source, offsets))
    await tools.outbox.post(third, turn)
