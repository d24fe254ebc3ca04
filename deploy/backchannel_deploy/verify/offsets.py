"""Which offsets of ``chat.events`` are stored, and why the others are not."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from clickhouse_connect.driver.client import Client

from backchannel.events import open_batch
from backchannel.events.topics import EVENTS
from backchannel_deploy.verify import stored
from backchannel_deploy.verify.log import Log, Reach
from backchannel_deploy.verify.stored import Offsets
from backchannel_sinks.block import Block
from backchannel_sinks.numbers import ProducerNumbers
from backchannel_sinks.records import Place, Record
from backchannel_sinks.rows import event_rows
from backchannel_sinks.tombstones import Tombstones

__all__ = ["LOOKED_AT_MAX", "Gap", "OffsetsFound", "check_offsets", "gaps"]

LOOKED_AT_MAX = 100_000
"""Offsets without a row whose records are looked at; beyond, they are only counted."""

_READ_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Gap:
    """Offsets that follow each other and have no row, ``last`` included."""

    partition: int
    first: int
    last: int

    @property
    def offsets(self) -> int:
        return self.last - self.first + 1


@dataclass(slots=True)
class OffsetsFound:
    """What became of the offsets that the sink says are done."""

    stored: int = 0
    repeats: int = 0
    """Records that were there already, under another offset."""
    holes: int = 0
    """Offsets at which the log has no record."""
    erased: int = 0
    """Records of which every line is of somebody who was erased."""
    unknown: int = 0
    """Offsets that Kafka has no record of any more, or that were too many to look at."""
    shrunk: dict[int, int] = field(default_factory=dict)
    """Records that the log has lost although they were stored, by partition."""
    lost: dict[int, list[Record]] = field(default_factory=dict)
    """Records that should be stored and are not, by partition."""

    @property
    def lost_count(self) -> int:
        return sum(map(len, self.lost.values()))


def gaps(reach: Reach, known: Sequence[Offsets]) -> Iterator[Gap]:
    """Yields the offsets between what is stored of a partition, up to what the sink committed."""
    begin = min([reach.beginning, *(each.first for each in known)])
    for each in known:
        if each.first > begin:
            yield Gap(reach.partition, begin, each.first - 1)
        begin = max(begin, each.last + 1)
    if reach.committed > begin:
        yield Gap(reach.partition, begin, reach.committed - 1)


async def check_offsets(client: Client, log: Log, tombstones: Tombstones) -> OffsetsFound:
    """Looks at every offset that has no row: a repeat, a hole, or a record that is lost."""
    found = OffsetsFound()
    known: dict[int, list[Offsets]] = {}
    for each in stored.stored_offsets(client, await log.epoch()):
        known.setdefault(each.partition, []).append(each)
    looked_at = 0
    for reach in await log.reach():
        mine = known.get(reach.partition, [])
        found.stored += sum(each.last - each.first + 1 for each in mine)
        reached = max([reach.committed, *(each.last + 1 for each in mine)])
        if reach.end < reached:
            found.shrunk[reach.partition] = reached - reach.end
        for gap in gaps(reach, mine):
            still_there = _later_part(gap, reach.beginning)
            found.unknown += gap.offsets - (still_there.offsets if still_there else 0)
            if still_there is None:
                continue
            if looked_at + still_there.offsets > LOOKED_AT_MAX:
                found.unknown += still_there.offsets
                continue
            looked_at += still_there.offsets
            for part in _parts(still_there):
                await _look_at(client, log, part, found, tombstones)
    return found


async def _look_at(
    client: Client, log: Log, gap: Gap, found: OffsetsFound, tombstones: Tombstones
) -> None:
    records = await log.read(gap.partition, gap.first, gap.last)
    found.holes += gap.offsets - len(records)
    opened = {each.offset: open_batch(each.value, each.headers) for each in records}
    numbers = {
        offset: (batch.producer_id, batch.pseq)
        for offset, batch in opened.items()
        if batch.pseq is not None
    }
    there = stored.known_records(client, sorted(set(numbers.values())))
    for record in records:
        number = numbers.get(record.offset)
        if number is not None and (number[0], gap.partition, number[1]) in there:
            found.repeats += 1
        elif _is_erased(record, tombstones):
            found.erased += 1
        else:
            found.lost.setdefault(gap.partition, []).append(record)


def _is_erased(record: Record, tombstones: Tombstones) -> bool:
    """Says whether the sink left out every line of a record."""
    if not tombstones:
        return False
    rows = event_rows(Block(Place(EVENTS.name, 0), 0, [record]), ProducerNumbers())
    rows.leave_out(tombstones)
    return rows.erased > 0 and not rows.parts and not rows.dead


def _later_part(gap: Gap, beginning: int) -> Gap | None:
    """Returns what of a gap the log still holds."""
    if gap.last < beginning:
        return None
    return Gap(gap.partition, max(gap.first, beginning), gap.last)


def _parts(gap: Gap) -> Iterable[Gap]:
    for first in range(gap.first, gap.last + 1, _READ_AT_ONCE):
        yield Gap(gap.partition, first, min(first + _READ_AT_ONCE - 1, gap.last))


def totals(found: OffsetsFound) -> Mapping[str, int]:
    """Returns everything in numbers."""
    return {
        "stored": found.stored,
        "repeats": found.repeats,
        "holes": found.holes,
        "erased": found.erased,
        "unknown": found.unknown,
        "shrunk": sum(found.shrunk.values()),
        "lost": found.lost_count,
    }
