"""A lane: what the sink holds of one partition, between Kafka's commit and the next insert.

    committed a ─────────────────────────────▶ offset
      a ════════ block in doubt ════════ b │ held records …
      └ commit (a, "v1:b") says so           └ next_offset

After a crash the commit tells the next owner which block may be stored already: it is built again
from the same records, has the same token, and ClickHouse drops it if it has it.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from backchannel_sinks.block import Block
from backchannel_sinks.errors import SinkStoppedError
from backchannel_sinks.numbers import ProducerNumbers
from backchannel_sinks.records import Place, Record

__all__ = ["BlockLimits", "Lane", "Position", "starting_position"]

POISONED_PAUSE_US = 60_000_000
"""Between two blocks of a partition that only bad lines come from: whoever sends them is told of
long before ``chat.dead`` is full of them."""


@dataclass(frozen=True, slots=True)
class BlockLimits:
    """When a block is full, and how long a record waits for it to become so: from ``linger_us`` to
    ``linger_max_us``."""

    rows_max: int = 50_000
    bytes_max: int = 24 * 1024 * 1024
    linger_us: int = 500_000
    held_bytes_max: int = 128 * 1024 * 1024
    """Records held in all partitions: from then on nothing more is fetched, and no record waits for
    others to be inserted with."""
    dead_in_a_row_max: int = 1_000
    """Of a partition whose last lines, so many in a row, were all bad, that many are taken in
    ``POISONED_PAUSE_US``, until a good one comes; 0 for no such bound."""
    linger_max_us: int = 1_500_000
    """Where inserting takes long, records wait longer for others: never longer than this."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where to go on in a partition."""

    offset: int
    in_doubt: int | None
    """Last offset of the block that may be stored already."""
    lost: int = 0
    """Records that Kafka had removed before they were read."""


def starting_position(
    place: Place, *, committed: int | None, in_doubt: int | None, beginning: int, end: int
) -> Position:
    """Says where a new owner begins: at the commit, else at the beginning of the log.

    Raises:
        SinkStoppedError: the log ends before what was committed, so it is another log: the topic
            was made anew, or its data was lost.
    """
    reached = max(committed or 0, (in_doubt or -1) + 1)
    if end < reached:
        raise SinkStoppedError(
            f"{place.topic}[{place.partition}] ends at {end}, but {reached} was stored already: "
            "the topic was made anew or has lost records. If that is meant, delete the consumer "
            "group of the sink and start it again."
        )
    offset = beginning if committed is None else committed
    if in_doubt is not None and in_doubt < offset:
        in_doubt = None
    if offset < beginning:
        # A block in doubt that is partly gone can't be built again: what is left of it is new.
        return Position(beginning, None, beginning - offset)
    return Position(offset, in_doubt)


class Lane:
    """The records of one partition that are fetched and not stored. Owned by one task."""

    def __init__(self, place: Place, position: Position, epoch: int, limits: BlockLimits) -> None:
        self.place = place
        self.epoch = epoch
        self.next_offset = position.offset
        """Offset of the record that has to come next."""
        self.in_doubt = position.in_doubt
        self.numbers: ProducerNumbers | None = None
        """Record numbers stored so far; looked up when the first block is built."""
        self.stored_offset = -1
        """Largest offset that is stored already: more than was committed when Kafka has forgotten
        the group's offsets."""
        self.block: Block | None = None
        """The block under way: announced, and perhaps stored."""
        self.failures = 0
        self.retry_at_us = 0
        self.announced_at_us: int | None = None
        self.held: deque[Record] = deque()
        self.held_bytes = 0
        self._limits = limits
        self._dead_in_a_row = 0
        self._resting_until_us = 0
        self._held_lines = 0
        self._oldest_at_us = 0
        self._sought: int | None = None

    def offer(self, records: Sequence[Record], now_us: int) -> int | None:
        """Takes fetched records. Returns an offset to seek back to when one is missing.

        A record that came before is skipped. A hole in the offsets (a compacted topic, an aborted
        transaction) is looked at once more before it is believed.
        """
        for record in records:
            if record.offset < self.next_offset:
                continue
            if record.offset > self.next_offset and self._sought != self.next_offset:
                self._sought = self.next_offset
                return self.next_offset
            if not self.held:
                self._oldest_at_us = now_us
            self.held.append(record)
            self.held_bytes += record.size
            self._held_lines += record.lines
            self.next_offset = record.offset + 1
        return None

    def due_at_us(self, linger_us: int) -> int | None:
        """Returns when the next block is to be stored, if records wait for others for
        ``linger_us``; ``None`` when there is nothing to store."""
        if self.block is not None:
            return self.retry_at_us
        if not self.held:
            return None
        if self.in_doubt is not None:
            return None if self.waits_for_doubt else 0
        limits = self._limits
        if self._held_lines >= limits.rows_max or self.held_bytes >= limits.bytes_max:
            return self._resting_until_us
        return max(self._oldest_at_us + linger_us, self._resting_until_us)

    @property
    def waits_for_doubt(self) -> bool:
        """The block in doubt is not read to its end yet."""
        return self.in_doubt is not None and self.next_offset <= self.in_doubt

    def next_block(self) -> Block:
        """Returns the block under way, or cuts a new one from the records held.

        The block in doubt is exactly what it was; any other one is as large as the limits allow.
        """
        if self.block is None:
            self.block = Block(self.place, self.epoch, self._cut())
        return self.block

    def is_known(self, block: Block) -> bool:
        """Says whether all of the block is stored already. The block in doubt never counts as
        known: it may be stored in part, and its token settles that."""
        return self.in_doubt is None and block.last <= self.stored_offset

    def let_go(self, block: Block, now_us: int) -> None:
        """The block is stored and committed: forget its records."""
        assert self.block is block
        for record in block.records:
            assert self.held.popleft() is record
            self.held_bytes -= record.size
            self._held_lines -= record.lines
        self.block = None
        self.in_doubt = None
        self.announced_at_us = None
        self.failures = 0
        self.retry_at_us = 0
        self._oldest_at_us = now_us

    @property
    def is_poisoned(self) -> bool:
        """Nothing but bad lines came for long: there is a rest between its blocks."""
        return 0 < self._limits.dead_in_a_row_max <= self._dead_in_a_row

    def note_lines(self, *, good: int, dead: int, now_us: int) -> None:
        """Takes in what became of the lines of a block that is done."""
        self._dead_in_a_row = 0 if good else self._dead_in_a_row + dead
        self._resting_until_us = now_us + POISONED_PAUSE_US if self.is_poisoned else 0

    def put_off(self, until_us: int) -> None:
        """The block could not be stored now: the same one again, later."""
        self.failures += 1
        self.retry_at_us = until_us

    def _cut(self) -> list[Record]:
        records: list[Record] = []
        lines = size = 0
        rows_max = self._limits.rows_max
        if self.is_poisoned:
            rows_max = min(rows_max, self._limits.dead_in_a_row_max)
        for record in self.held:
            if self.in_doubt is not None:
                if record.offset > self.in_doubt:
                    break
            elif records and (
                lines + record.lines > rows_max
                or size + record.size > self._limits.bytes_max
                or records[-1].offset <= self.stored_offset < record.offset
            ):
                break
            records.append(record)
            lines += record.lines
            size += record.size
        return records
