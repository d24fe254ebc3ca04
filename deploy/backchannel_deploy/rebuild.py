"""Has the workers count anew, from ``chat.events``, what their states hold: after a version that
cannot read the old ones, or when a topic was made anew.

Windows are counted from a midnight (UTC) on, so that those of every width come out whole. What
ClickHouse has of them is replaced by the same, under the same revision; what is older stays as it
is. Alerts are decided again once all that is in the log by now is counted; until then they stay as
they are on ``chat.alerts``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import OffsetAndMetadata

from backchannel.clock import Clock
from backchannel.events.topics import EVENTS, PARTIALS
from backchannel_deploy.errors import UserError
from backchannel_deploy.topics import partition_counts
from backchannel_deploy.worker_group import wait_until_no_worker_runs
from backchannel_processors import merge_partition, source_partition
from backchannel_processors.settings import WorkerSettings
from backchannel_processors.states import Entry
from backchannel_processors.topics import APP_ID, CHANGELOGS, MERGE_CHANGELOG, WINDOWS_CHANGELOG

__all__ = ["Reach", "Recount", "begin_of_recount", "rebuild"]

_DAY_MS = 86_400_000
_MARGIN_MS = 3_600_000
"""How long before what was counted last a window may have been open still."""
_POLL_MS = 2_000


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a partition of ``chat.events`` goes, in offsets and in the broker's time."""

    begin: int
    counted: int
    end: int
    counted_ms: int | None = None
    """When its first record came that was not counted; else when its last one came."""
    begin_ms: int | None = None
    """When the first record came that is still there."""


@dataclass(frozen=True, slots=True)
class Recount:
    """What the workers are to do when they start."""

    from_ms: int
    """Windows are counted from here on."""
    records: int
    """Records of ``chat.events`` to be read again."""


def begin_of_recount(reaches: Iterable[Reach], now_ms: int, ahead_ms: int) -> int:
    """Returns the midnight (UTC, milliseconds) from which on windows are to be counted: before all
    windows that may not be closed yet, and after what the log has lost already. Pure."""
    reaches = list(reaches)
    behind = [each.counted_ms for each in reaches if each.counted < each.end]
    newest = [each.counted_ms for each in reaches if each.counted >= each.end]
    known = [ms for ms in behind if ms is not None]
    counted_ms = min(known, default=max((ms for ms in newest if ms is not None), default=now_ms))
    wanted_ms = (counted_ms - _MARGIN_MS) // _DAY_MS * _DAY_MS
    cut_ms = [each.begin_ms for each in reaches if each.begin > 0 and each.begin_ms is not None]
    whole_ms = -(-(max(cut_ms, default=0) + ahead_ms) // _DAY_MS) * _DAY_MS if cut_ms else 0
    return max(wanted_ms, whole_ms)


async def rebuild(
    kafka: str, *, clock: Clock, settings: WorkerSettings, security: Mapping[str, Any]
) -> Recount:
    """Takes the states away and leaves word of where to begin. No worker may run.

    Safe to repeat; killed half-way, it is to be done again before a worker starts.

    Raises:
        UserError: workers run, or topics are missing.
        aiokafka.errors.KafkaError: Kafka is away, or refuses this user.
    """
    options = {"bootstrap_servers": kafka, **security}
    admin = AIOKafkaAdminClient(**options)
    consumer = AIOKafkaConsumer(enable_auto_commit=False, **options)
    try:
        await admin.start()
        await consumer.start()
        await wait_until_no_worker_runs(
            admin, "States can be rebuilt", with_up="backchannel up --rebuild"
        )
        needed = (EVENTS, PARTIALS, *CHANGELOGS)
        counts = await partition_counts(admin, needed)
        if missing := [each.name for each in needed if each.name not in counts]:
            raise UserError(f"Topics are missing: {', '.join(missing)}. First: backchannel migrate")
        reaches = await _reaches(admin, consumer, counts[EVENTS.name])
        now_ms, ahead_ms = clock.now_us() // 1_000, settings.clock_ahead_s * 1_000
        from_ms = begin_of_recount(reaches.values(), now_ms, ahead_ms)
        # An event may be ahead of the broker's clock by that much.
        found = await consumer.offsets_for_times(dict.fromkeys(reaches, from_ms - ahead_ms))
        first = {tp: at.offset if (at := found[tp]) else reaches[tp].end for tp in reaches}
        entries: dict[TopicPartition, Entry] = {
            TopicPartition(WINDOWS_CHANGELOG.name, tp.partition): source_partition.recount_entry(
                offset,
                reaches[tp].end,
                from_ms * 1_000,
                lateness_s=settings.lateness_s,
                silence_s=settings.conversation_silence_s,
            )
            for tp, offset in first.items()
        }
        # What was counted goes with it, so that the next one who rebuilds knows.
        committed = {
            tp: OffsetAndMetadata(offset, str(reaches[tp].counted)) for tp, offset in first.items()
        }
        partials = [TopicPartition(PARTIALS.name, n) for n in range(counts[PARTIALS.name])]
        for tp, end in (await consumer.end_offsets(partials)).items():
            place = TopicPartition(MERGE_CHANGELOG.name, tp.partition)
            entries[place] = merge_partition.recount_entry(end, now_ms * 1_000)
            await admin.delete_records({tp: RecordsToDelete(end)})
            committed[tp] = OffsetAndMetadata(end, "")
        await _commit(options, committed)
        await _replace(admin, options, entries)
        return Recount(from_ms, sum(reaches[tp].end - at for tp, at in first.items()))
    finally:
        await consumer.stop()
        await admin.close()


async def _reaches(
    admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer, partitions: int
) -> dict[TopicPartition, Reach]:
    places = [TopicPartition(EVENTS.name, number) for number in range(partitions)]
    begins = await consumer.beginning_offsets(places)
    ends = await consumer.end_offsets(places)
    committed = await admin.list_consumer_group_offsets(APP_ID)
    reaches: dict[TopicPartition, Reach] = {}
    for tp in places:
        begin, end = begins[tp], ends[tp]
        known = committed.get(tp, OffsetAndMetadata(begin, ""))
        at = int(known.metadata) if known.metadata.isdecimal() else known.offset
        counted = min(max(at, begin), end)
        if begin < end:
            times = [
                await _time_ms(consumer, tp, offset) for offset in (min(counted, end - 1), begin)
            ]
        else:
            times = [None, None]
        reaches[tp] = Reach(begin, counted, end, *times)
    return reaches


async def _time_ms(consumer: AIOKafkaConsumer, tp: TopicPartition, offset: int) -> int | None:
    """Returns when the broker had a record."""
    consumer.assign([tp])
    consumer.seek(tp, offset)
    records = (await consumer.getmany(tp, timeout_ms=_POLL_MS, max_records=1)).get(tp, [])
    return int(records[0].timestamp) if records else None


async def _commit(
    options: Mapping[str, Any], offsets: Mapping[TopicPartition, OffsetAndMetadata]
) -> None:
    """Has the group go on from here: Kafka hands out records from what was committed last."""
    group = AIOKafkaConsumer(group_id=APP_ID, enable_auto_commit=False, **options)
    group.assign(list(offsets))
    async with group:
        await group.commit(dict(offsets))


async def _replace(
    admin: AIOKafkaAdminClient, options: Mapping[str, Any], entries: Mapping[TopicPartition, Entry]
) -> None:
    """Leaves of each partition of the changelogs one entry alone."""
    producer = AIOKafkaProducer(acks="all", enable_idempotence=True, **options)
    async with producer:
        for tp, (key, value) in entries.items():
            # First the new, then away with the old: killed in between, nothing has changed yet.
            written = await producer.send_and_wait(tp.topic, value, key, tp.partition)
            await admin.delete_records({tp: RecordsToDelete(written.offset)})
