"""The windows agent: records of ``chat.events`` in, partials out, its state on a changelog."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace

from backchannel.events import partition_of
from backchannel.events.topics import EVENTS, METRICS, PARTIALS
from backchannel.probes.agent import AgentState, Lag, held
from backchannel_processors.conversations import seal_closed
from backchannel_processors.counters import Counters
from backchannel_processors.erasures import Erasures
from backchannel_processors.faust_app import Received
from backchannel_processors.groupings import Dims, series_key
from backchannel_processors.outbox_kafka import Message
from backchannel_processors.partials import Notice, Partial, encode_bundles
from backchannel_processors.rules import Rules
from backchannel_processors.settings import WorkerSettings
from backchannel_processors.shell import (
    Checkpoint,
    Pace,
    Tools,
    admits,
    begin,
    write_checkpoints,
)
from backchannel_processors.source_partition import Record, SourcePartition, WindowRules
from backchannel_processors.topics import WINDOWS_CHANGELOG
from backchannel_processors.turn import Turn
from backchannel_processors.watch import ProgressWatch

__all__ = ["WindowsAgent"]

_CONVERSATIONS_PER_RECORD = 100
_SERIES_CACHED_MAX = 100_000
_FAST_S_MAX = 0.25
"""How long what alert rules watch is collected at most when telling it costs much."""
_LINGER_SHARE = 0.1
"""Of how far the stream is behind: so much longer what changes is collected. What is late already
is told with little more delay, in fewer and fuller records, so that a backlog is worked off at
many times the speed."""
_LINGER_S_MAX = 5.0


class WindowsAgent:
    """Owns the source partitions of this worker. Everything runs on one event loop."""

    topic = EVENTS.name

    def __init__(
        self, tools: Tools, rules: WindowRules, settings: WorkerSettings, *, merge_partitions: int
    ) -> None:
        self.counters = Counters()
        self._tools = tools
        self._rules = rules
        self._merge_partitions = merge_partitions
        self._idle_check_s = settings.idle_check_s
        self._parts: dict[int, SourcePartition] = {}
        self._open = False
        self._watched = asyncio.Event()
        """Something came that alert rules may watch."""
        self._news = asyncio.Event()
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._telling_ahead = asyncio.Lock()
        self._writing = asyncio.Lock()
        self._assignments = 0
        self._fast = Pace(
            settings.fast_flush_s, tools.clock, tools.backlog, seconds_max=_FAST_S_MAX
        )
        self._flush_s = settings.flush_s
        self._full = Pace(settings.flush_s, tools.clock, tools.backlog)
        self._saved = Pace(settings.checkpoint_s, tools.clock, tools.backlog)
        self._watch = ProgressWatch(self.topic)
        self._partition_by_series: dict[tuple[str, Dims], int] = {}
        self._lost_told = 0
        self._lag = Lag()
        self._newest_us = 0
        """When the broker had the newest record that was taken."""

    async def open(self, partitions: set[int]) -> None:
        """Takes over partitions: restores their states, commits where they go on.

        Raises:
            StateError: a state cannot be read here, or belongs to another log.
        """
        assignment = self._assignments
        tools, now_us = self._tools, self._tools.clock.now_us()
        entries = await tools.reader.read(WINDOWS_CHANGELOG.name, partitions)
        begins = await tools.reader.begins(self.topic, partitions)
        parts: dict[int, SourcePartition] = {}
        for partition in sorted(partitions):
            part = parts[partition] = SourcePartition(
                partition,
                self._rules,
                self.counters,
                next_offset=begins[partition],
                now_us=now_us,
            )
            part.restore(
                ((key, value) for key, value in entries[partition] if key is not None), now_us
            )
        offsets = await begin(tools, self.topic, dict(parts))
        self._lag.looked(await tools.reader.ends(self.topic, partitions))
        await tools.commit(self.topic, offsets)
        if assignment != self._assignments:
            return  # they were given back meanwhile
        self._parts = parts
        self._open = True
        self._full.hurry()
        self._watched.set()
        self._news.set()

    @property
    def is_open(self) -> bool:
        """It has the partitions that the group gave it, with their states."""
        return self._open

    def state(self) -> AgentState:
        """Returns how it is now."""
        counted, now_us = self.counters, self._tools.clock.now_us()
        return AgentState(
            "windows",
            counted.received,
            counted.counted,
            {
                "duplicate": counted.duplicate,
                "rejected": counted.rejected,
                "not_measured": counted.not_measured,
            },
            counted.late,
            {
                "clamped": counted.clamped,
                "lost_records": counted.lost_records,
                "repeated_records": counted.repeated_records,
                "conversations_closed": counted.conversations_closed,
                "conversations_late": counted.conversations_late,
                "conversations_without_room": counted.conversations_without_room,
            },
            held(part.sizes() for part in self._parts.values()),
            tuple(
                self._lag.of(self.topic, number, part.next_offset, now_us, part.watermark_us)
                for number, part in self._parts.items()
            ),
        )

    def watch(self, rules: Rules) -> None:
        """Has what these alert rules watch leave first from now on."""
        self._rules = replace(self._rules, fast=rules.groupings, limits=rules.limits)
        for part in self._parts.values():
            part.watch(rules.groupings, rules.limits)

    async def erase(self, erasures: Erasures) -> list[int]:
        """Lets go of those who were erased; returns the partitions of which that is durable."""
        async with self._writing:
            if not self._open:
                return []
            self._partition_by_series.clear()
            for part in self._parts.values():
                part.erase(erasures)
            await self._write(Turn(self._tools.clock, patient=True), notices=True)
            return list(self._parts)

    async def close(self) -> None:
        """Gives the partitions back, with everything written; nothing is written afterwards."""
        self._open = False
        self._assignments += 1
        async with self._writing, self._telling_ahead:
            if self._parts:
                await self._write(Turn(self._tools.clock, patient=True), notices=True)
            self._parts = {}

    async def take(self, many: Sequence[Received]) -> None:
        """Takes the next records of its partitions."""
        turn, assignment = Turn(self._tools.clock), self._assignments
        for received in many:
            if not self._open or assignment != self._assignments:
                return  # the rest is read again, from where the states are then
            await self._take_one(received)
            await turn.share()

    async def _take_one(self, received: Received) -> None:
        part = self._parts.get(received.partition)
        if part is None:
            return
        if not await admits(self._tools, self.topic, received.partition, part, received.offset):
            self.counters.repeated_records += 1
            return
        await self._thawed.wait()
        if not self._open or self._parts.get(received.partition) is not part:
            return  # the partition was given back meanwhile
        record = _record(received)
        self._newest_us = max(self._newest_us, record.broker_time_us)
        part.take(record, self._tools.clock.now_us())
        self._lag.took(received.partition, record.broker_time_us)
        self._tools.backlog.took(record.broker_time_us)
        self._watched.set()
        self._news.set()

    async def run(self) -> None:
        """Tells what changes, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tell_ahead())
            tasks.create_task(self._tell())
            tasks.create_task(self._follow_silence())

    async def _tell_ahead(self) -> None:
        """Tells what alert rules watch, in brief, whatever is being told or written beside it: a
        partial says of which offsets it is, so the order in which they arrive is of no matter.
        """
        while True:
            await self._watched.wait()
            await self._fast.due()
            linger_s = self._linger_s()
            self._watched.clear()
            async with self._telling_ahead:
                if not self._open:
                    continue
                started_us = self._tools.clock.monotonic_us()
                turn = Turn(self._tools.clock, urgent=True)
                if linger_s > self._flush_s:
                    # So far behind, all of it is told as often: the state goes out once.
                    self._fast.done(started_us, cost_us=0)
                    continue
                news = await self._partials(turn, fast_only=True, notices=False)
                await self._tools.express.post(news, turn)
                self._fast.done(started_us, cost_us=turn.spent_us, linger_s=linger_s)

    async def _tell(self) -> None:
        """Tells all that changed, and writes the states whenever it is time."""
        while True:
            await self._news.wait()
            await self._full.due()
            linger_s = self._linger_s()
            self._news.clear()
            async with self._writing:
                if not self._open:
                    continue
                started_us = self._tools.clock.monotonic_us()
                turn = Turn(self._tools.clock, patient=True)
                done = [self._full]
                if self._saved.wait_s > 0:
                    await self._post_partials(turn)
                else:
                    done += [self._saved]
                    await self._write(turn, notices=True)
                    for part in self._parts.values():
                        for _ in part.rest():
                            await turn.share()
                for pace in done:
                    pace.done(started_us, cost_us=turn.spent_us, linger_s=linger_s)
            if any(part.has_news for part in self._parts.values()):
                self._news.set()  # it is still to be written

    def _linger_s(self) -> float:
        """How long to collect what changes: longer when the stream is behind."""
        if not self._newest_us:
            return 0.0
        behind_us = max(0, self._tools.clock.now_us() - self._newest_us)
        return min(behind_us / 1_000_000 * _LINGER_SHARE, _LINGER_S_MAX)

    async def _follow_silence(self) -> None:
        """Lets time go on in partitions that are read to their end and stay silent."""
        while True:
            await asyncio.sleep(self._idle_check_s)
            parts = self._parts
            asked_us = self._tools.clock.now_us()
            ends = await self._tools.reader.ends(self.topic, parts)
            self._lag.looked(ends)
            async with self._writing:
                if parts is not self._parts or not self._open:
                    continue
                turn = Turn(self._tools.clock, patient=True)
                self._watch.look({n: (p.next_offset, ends[n]) for n, p in parts.items()})
                # Nothing is taken until the new time is durable: it decides what is late.
                self._thawed.clear()
                try:
                    moved = [
                        part.declare_read(ends[partition], asked_us)
                        for partition, part in parts.items()
                    ]
                    if any(moved):
                        await self._write(turn, notices=False)
                finally:
                    self._thawed.set()
                if any(part.next_offset >= ends[n] for n, part in parts.items()):
                    # Elsewhere the only news are events, which are told when it is time.
                    await self._post_partials(turn)
            self._tell_loss()

    async def _post_partials(self, turn: Turn) -> None:
        news = await self._partials(turn, fast_only=False, notices=True)
        await self._tools.outbox.post([*news, *self._closed(self._parts)], turn)

    async def _write(self, turn: Turn, *, notices: bool) -> None:
        """Tells everything and writes a checkpoint of every partition that has news.

        Records are taken meanwhile. What holds for each partition:

        - the offset that is committed, what is closed by then and how far time has come are of one
          moment; what was told is of that moment or a newer one, and so are the states,
        - a conversation's end is durable before any state: its own may be written over with what
          it became after its silence,
        - what is told and the states are durable before the offset, and what is forgotten goes
          last (``write_checkpoints``).
        """
        news = await self._partials(turn, fast_only=False, notices=notices)
        closed: list[Message] = []
        checkpoints: dict[int, tuple[Checkpoint, int]] = {}
        for partition, part in self._parts.items():
            if part.has_news:
                closed += self._closed([partition])
                checkpoints[partition] = (part.checkpoint(), part.next_offset)
                await turn.share()
        await self._tools.outbox.post(closed, turn)
        await write_checkpoints(
            self._tools, turn, self.topic, WINDOWS_CHANGELOG.name, news, checkpoints
        )

    async def _partials(self, turn: Turn, *, fast_only: bool, notices: bool) -> list[Message]:
        """Returns the records with what changed, for every merge partition."""
        by_partition: dict[int, list[Partial]] = {}
        told: list[Notice] = []
        for part in self._parts.values():
            changed = part.flush(fast_only=fast_only)
            # Of this moment: what is told is as new as that at least.
            if notices and (notice := part.notice()) is not None:
                told.append(notice)
            for partial in changed:
                by_partition.setdefault(self._partition(partial), []).append(partial)
                await turn.share()
        if told:
            for partition in range(self._merge_partitions):
                by_partition.setdefault(partition, [])
        messages: list[Message] = []
        for partition, partials in by_partition.items():
            # Notices come after everything that they speak of.
            for value in encode_bundles(partials, told):
                messages.append(Message(PARTIALS.name, partition, value))
                await turn.share()
        return messages

    def _closed(self, sources: Iterable[int]) -> list[Message]:
        """Returns the records with the conversations that were closed."""
        messages: list[Message] = []
        for source in sources:
            rows = self._parts[source].closed()
            for start in range(0, len(rows), _CONVERSATIONS_PER_RECORD):
                sealed = seal_closed(rows[start : start + _CONVERSATIONS_PER_RECORD])
                partition = source % self._merge_partitions
                messages.append(
                    Message(METRICS.name, partition, sealed.value, None, sealed.headers)
                )
        return messages

    def _partition(self, partial: Partial) -> int:
        series = (partial.grouping, partial.dims)
        partition = self._partition_by_series.get(series)
        if partition is None:
            if len(self._partition_by_series) >= _SERIES_CACHED_MAX:
                self._partition_by_series.clear()
            partition = partition_of(series_key(*series), self._merge_partitions)
            self._partition_by_series[series] = partition
        return partition

    def _tell_loss(self) -> None:
        if self.counters.lost_records > self._lost_told:
            self._tools.log.error(
                "records_lost_by_producers", records=self.counters.lost_records - self._lost_told
            )
            self._lost_told = self.counters.lost_records


def _record(received: Received) -> Record:
    return Record(
        received.offset,
        received.timestamp * 1_000,
        received.value,
        tuple(received.headers),
    )
