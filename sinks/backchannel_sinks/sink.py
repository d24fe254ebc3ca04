"""The sink's protocol: each record of the topics becomes rows of ClickHouse exactly once.

For each block, in this order:

    announce   commit the unchanged offset a, with "v1:b" beside it
    divert     lines that are no events to chat.dead, until they are durable
    insert     the rest as one block, under a token made of its bytes
    done       commit b + 1

A crash before *announce* leaves nothing behind. After it, the next owner finds "v1:b", reads a to b
again and inserts under the same token. A member that was frozen meanwhile fails at its next commit.
"""

import asyncio
import random
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

import structlog

from backchannel.clock import Clock
from backchannel.probes.agent import AgentState
from backchannel_sinks.block import Block, intent
from backchannel_sinks.counters import Counters
from backchannel_sinks.errors import RowsRefusedError, StoreAwayError
from backchannel_sinks.feeds import FEEDS, Feed
from backchannel_sinks.lane import BlockLimits, Lane, Position
from backchannel_sinks.numbers import ProducerNumbers
from backchannel_sinks.records import Place, Record
from backchannel_sinks.rows import Rows
from backchannel_sinks.seams import DeadLetterTopic, Offsets, Store
from backchannel_sinks.state import sink_state
from backchannel_sinks.tombstones import Tombstones

__all__ = ["Sink"]

ANNOUNCEMENT_MAX_AGE_US = 5_000_000
"""An announcement older than this is made again before the insert: somebody who was frozen in
between then finds out that the partition is not his any more."""

INSERTS_AT_ONCE = 2
"""Blocks under way at once: while ClickHouse parses one, the next is built and sent."""

INSERTS_PERCENT = 10
"""What inserting may take of the time, before records wait longer for others to be inserted with:
a small block costs ClickHouse as much CPU as a thousand rows of a large one."""

RETRY_FIRST_US = 250_000
RETRY_MAX_US = 10_000_000

log = structlog.get_logger("backchannel.sink")


class Sink:
    """Holds a lane for each assigned partition and sees block after block through.

    Not itself concurrent: ``lock`` is taken by whoever calls it, for one bounded attempt at a
    time, so that no rebalance completes between *announce* and *done*.
    """

    def __init__(
        self,
        offsets: Offsets,
        store: Store,
        dead_letters: DeadLetterTopic,
        counters: Counters,
        clock: Clock,
        limits: BlockLimits,
        tombstones: Tombstones | None = None,
    ) -> None:
        self.lock = asyncio.Lock()
        self._committing = asyncio.Lock()
        self._offsets = offsets
        self._store = store
        self._dead_letters = dead_letters
        self._counters = counters
        self._clock = clock
        self._limits = limits
        self._tombstones = Tombstones() if tombstones is None else tombstones
        self._lanes: dict[Place, Lane] = {}
        self._away_since_us: int | None = None
        self._failures = 0
        self._retry_at_us = 0
        self._block_us = 0
        """How long it takes to store a block: the mean of the last few, two at once counted as half
        each."""

    # -- partitions come and go -------------------------------------------------------------------

    def assign(self, positions: dict[Place, Position], epochs: dict[str, int]) -> None:
        """Takes over partitions. What was held of any partition before is thrown away."""
        self._lanes = {
            place: Lane(place, position, epochs.get(place.topic, 0), self._limits)
            for place, position in positions.items()
        }

    def revoke(self) -> None:
        """Lets go of every partition; a block under way is left to the next owner."""
        self._lanes = {}

    # -- records ----------------------------------------------------------------------------------

    def offer(self, place: Place, records: Sequence[Record]) -> int | None:
        """Takes fetched records; returns an offset to seek back to when one is missing."""
        lane = self._lanes.get(place)
        if lane is None:
            return None  # fetched before the partition was given away
        return lane.offer(records, self._clock.monotonic_us())

    @property
    def is_away(self) -> bool:
        """ClickHouse can't be reached: what comes in waits."""
        return self._away_since_us is not None

    def state(self, ends: Mapping[Place, int]) -> AgentState:
        """Returns how it is now, given where the logs end."""
        return sink_state(self._counters, self._lanes.values(), ends, self._clock.now_us())

    @property
    def held_bytes(self) -> int:
        """Bytes of records that are fetched and not stored."""
        return sum(lane.held_bytes for lane in self._lanes.values())

    @property
    def _is_full(self) -> bool:
        return self.held_bytes >= self._limits.held_bytes_max

    def full(self) -> set[Place]:
        """Returns the partitions that nothing more should be fetched of for now. A block in doubt
        is always fetched to its end: until it is whole nothing can be stored."""
        everything = self._is_full
        return {
            place
            for place, lane in self._lanes.items()
            if not lane.waits_for_doubt
            and (
                everything
                or lane.failures
                or (lane.is_poisoned and lane.held)
                or lane.held_bytes >= 2 * self._limits.bytes_max
            )
        }

    def due_in_s(self, most_s: float) -> float:
        """Returns how long nothing has to be stored."""
        due = [at for at, _ in self._due()]
        if not due:
            return most_s
        next_us = max(min(due), self._retry_at_us)
        return min(max(0.0, (next_us - self._clock.monotonic_us()) / 1e6), most_s)

    def _due(self) -> list[tuple[int, Lane]]:
        """When the block of each lane is due."""
        linger_us = self._linger_us()
        return [
            (at, lane)
            for lane in self._lanes.values()
            if (at := lane.due_at_us(linger_us)) is not None
        ]

    def _linger_us(self) -> int:
        """How long a record waits for others: until inserting what is held takes its share of the
        time. When nothing more is fetched nothing is waited for: else a backlog in many partitions
        is stored once a linger, and the time between is idle."""
        if self._is_full:
            return 0
        blocks = sum(1 for lane in self._lanes.values() if lane.held)
        wanted_us = blocks * self._block_us * 100 // INSERTS_PERCENT
        limits = self._limits
        return max(limits.linger_us, min(wanted_us, limits.linger_max_us))

    # -- storing ----------------------------------------------------------------------------------

    async def store_due(self, *, everything: bool = False) -> None:
        """Stores the blocks that are due. Returns also when ClickHouse is away: then they are due
        again later.

        Raises:
            FencedError: the group was rebalanced; nothing is lost, the lanes will be taken over.
        """
        now_us = self._clock.monotonic_us()
        if now_us < self._retry_at_us:
            return
        lanes = [lane for at, lane in self._due() if at <= now_us or everything]
        stored: list[tuple[Lane, Rows]] = []
        away: StoreAwayError | None = None
        try:
            for lane in lanes:
                await self._prepare(lane)
            await self._announce(lanes)
            began_us = self._clock.monotonic_us()
            away = await self._store_side_by_side(lanes, stored)
            if away is None and stored:
                block_us = (self._clock.monotonic_us() - began_us) // len(stored)
                self._block_us += (block_us - self._block_us) // 4
        except StoreAwayError as error:
            away = error
        if away is not None:
            self._note_away(away)
        else:
            self._note_back(worked=bool(stored))
        if stored:
            await self._offsets.commit(
                {lane.place: (lane.next_block().last + 1, "") for lane, _ in stored}
            )
        for lane, rows in stored:
            self._finish(lane, rows)

    async def _prepare(self, lane: Lane) -> None:
        """Looks up what of the partition is stored, once for each assignment."""
        if lane.numbers is not None:
            return
        seen: Sequence[tuple[str, int]] = ()
        if FEEDS[lane.place.topic].numbered:
            number, first = lane.place.partition, lane.held[0].offset
            lane.stored_offset = await self._store.stored_offset(number, lane.epoch)
            # Of the block in doubt nothing is remembered: it is to be built as it was.
            before = first if lane.in_doubt is not None else max(first, lane.stored_offset + 1)
            seen = await self._store.producer_numbers(number, lane.epoch, before)
        lane.numbers = ProducerNumbers(seen)

    async def _announce(self, lanes: Iterable[Lane]) -> None:
        now_us = self._clock.monotonic_us()
        fresh = [
            lane
            for lane in lanes
            if not lane.is_known(lane.next_block())
            and (
                lane.announced_at_us is None
                or now_us - lane.announced_at_us > ANNOUNCEMENT_MAX_AGE_US
            )
        ]
        if not fresh:
            return
        blocks = {lane.place: lane.next_block() for lane in fresh}
        async with self._committing:
            await self._offsets.commit(
                {place: (block.first, intent(block.last)) for place, block in blocks.items()}
            )
        for lane in fresh:
            lane.announced_at_us = now_us

    async def _store_side_by_side(
        self, lanes: Sequence[Lane], stored: list[tuple[Lane, Rows]]
    ) -> StoreAwayError | None:
        """Stores the lanes' blocks, a few at once, and notes in ``stored`` which are. After one
        that ClickHouse can't take now no other is begun, so the lock is not held for long."""
        waiting = deque(lanes)
        away: list[StoreAwayError] = []

        async def work() -> None:
            while waiting and not away:
                lane = waiting.popleft()
                try:
                    rows = await self._store_one(lane)
                except StoreAwayError as error:
                    away.append(error)
                else:
                    if rows:
                        stored.append((lane, rows))

        # Both end before anybody goes on: a block under way is never left alone.
        ends = await asyncio.gather(
            *(work() for _ in range(min(INSERTS_AT_ONCE, len(lanes)))), return_exceptions=True
        )
        for end in ends:
            if end is not None:
                raise end
        return away[0] if away else None

    async def _store_one(self, lane: Lane) -> Rows | None:
        """Makes one attempt at a lane's block; returns what became of it when it is stored.

        Raises:
            StoreAwayError: ClickHouse can't take it now.
        """
        await self._announce([lane])  # again, if the lanes before it took long
        feed, block = FEEDS[lane.place.topic], lane.next_block()
        rows = self._rows(feed, lane, block, judge_all=False)
        try:
            try:
                await self._divert_and_insert(feed, block, rows)
            except RowsRefusedError as error:
                log.warning("block_refused", why=str(error), **_facts(block))
                rows = self._rows(feed, lane, block, judge_all=True)
                await self._divert_and_insert(feed, block, rows)
        except RowsRefusedError as error:
            # Refused although every line was judged: the table is not what this version writes.
            # Nothing is thrown away, other partitions go on, a person is told; it is tried again.
            pause_us = min(RETRY_FIRST_US * 2 ** min(lane.failures, 10), RETRY_MAX_US)
            lane.put_off(self._clock.monotonic_us() + pause_us)
            self._counters.retries += 1
            log.error("block_stuck", why=str(error), **_facts(block))
            return None
        return rows

    def _rows(self, feed: Feed, lane: Lane, block: Block, *, judge_all: bool) -> Rows:
        assert lane.numbers is not None
        if lane.is_known(block):
            # Kafka has forgotten what was committed; the table has not.
            lines = sum(record.lines for record in block.records)
            return Rows(lines=lines, duplicate=lines)
        rows = feed.build(block, lane.numbers, judge_all)
        if self._tombstones:
            rows.leave_out(self._tombstones)
        return rows

    async def _divert_and_insert(self, feed: Feed, block: Block, rows: Rows) -> None:
        if rows.dead:
            await self._dead_letters.send(rows.dead)
        for table, body in rows.bodies(feed.table):
            columns = rows.columns if table == feed.table else ()
            await self._store.insert(table, body, block.token, columns)

    def _finish(self, lane: Lane, rows: Rows) -> None:
        assert lane.numbers is not None
        block = lane.next_block()
        lane.numbers.update(rows.numbers.items())
        now_us, was_poisoned = self._clock.monotonic_us(), lane.is_poisoned
        lane.let_go(block, now_us)
        lane.note_lines(good=rows.lines - len(rows.dead), dead=len(rows.dead), now_us=now_us)
        if lane.is_poisoned and not was_poisoned:
            log.error("partition_poisoned", reason=rows.dead[-1].reason, **_facts(block))
        counters = self._counters
        counters.received += rows.lines
        counters.stored += rows.stored
        counters.duplicate += rows.duplicate
        counters.dead += len(rows.dead)
        counters.erased += rows.erased
        counters.unknown_fields += rows.unknown_fields
        counters.blocks += 1
        if rows.lost_records:
            counters.lost_records += rows.lost_records
            log.error("records_lost", records=rows.lost_records, **_facts(block))
        log.debug(
            "block_stored",
            rows=rows.stored,
            dead=len(rows.dead),
            duplicate=rows.duplicate,
            **_facts(block),
        )

    # -- ClickHouse away --------------------------------------------------------------------------

    def _note_away(self, error: StoreAwayError) -> None:
        now_us = self._clock.monotonic_us()
        pause_us = min(RETRY_FIRST_US * 2 ** min(self._failures, 10), RETRY_MAX_US)
        self._failures += 1
        self._counters.retries += 1
        self._retry_at_us = now_us + round(pause_us * (0.75 + random.random() / 2))
        if self._away_since_us is None:
            self._away_since_us = now_us
            log.error("clickhouse_lost", why=str(error), held_bytes=self.held_bytes)

    def _note_back(self, *, worked: bool) -> None:
        if worked and self._away_since_us is not None:
            seconds = (self._clock.monotonic_us() - self._away_since_us) / 1e6
            log.warning("clickhouse_returned", away_s=round(seconds, 1))
            self._away_since_us = None
        if worked:
            self._failures = 0


def _facts(block: Block) -> dict[str, str | int]:
    place = block.place
    return {
        "topic": place.topic,
        "partition": place.partition,
        "first": block.first,
        "last": block.last,
    }
