"""Reading logs without a group: states at assignment, and where logs begin and end."""

import asyncio
from collections.abc import Collection
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

__all__ = ["LogReader"]

_POLL_MS = 100
_NEXT_MS = 2_000
_FETCH_BYTES_MAX = 4 * 1024 * 1024

Key = bytes | None
Value = bytes | None


class LogReader:
    """Reads what it is asked for. One call at a time; others wait."""

    def __init__(self, options: dict[str, Any], *, timeout_s: float = 30.0) -> None:
        self._options = options
        self._timeout_s = timeout_s
        self._lock = asyncio.Lock()
        self._consumer: AIOKafkaConsumer | None = None

    async def start(self) -> None:
        """Connects."""
        consumer = self._new_consumer()
        try:
            await consumer.start()
        except BaseException:
            await consumer.stop()  # else it complains, on standard error, of being forgotten
            raise
        self._consumer = consumer

    async def stop(self) -> None:
        """Disconnects."""
        if self._consumer is not None:
            await self._consumer.stop()

    async def partitions(self, topic: str) -> int:
        """Returns how many partitions a topic has; 0 when there is none of that name."""
        consumer = self._require()
        await consumer._client.force_metadata_update()  # topics made since are seen at once
        return len(consumer.partitions_for_topic(topic) or ())

    async def begins(self, topic: str, partitions: Collection[int]) -> dict[int, int]:
        """Returns the first offset of each partition."""
        tps = [TopicPartition(topic, partition) for partition in partitions]
        async with self._lock, asyncio.timeout(self._timeout_s):
            found = await self._require().beginning_offsets(tps)
        return {tp.partition: offset for tp, offset in found.items()}

    async def ends(self, topic: str, partitions: Collection[int]) -> dict[int, int]:
        """Returns for each partition the offset that the next record will get."""
        tps = [TopicPartition(topic, partition) for partition in partitions]
        async with self._lock, asyncio.timeout(self._timeout_s):
            found = await self._require().end_offsets(tps)
        return {tp.partition: offset for tp, offset in found.items()}

    async def read(
        self, topic: str, partitions: Collection[int]
    ) -> dict[int, list[tuple[Key, Value]]]:
        """Returns every record of the partitions, from their beginnings to their present ends.

        Raises:
            TimeoutError: nothing came for a while.
        """
        begins = await self.begins(topic, partitions)
        ends = await self.ends(topic, partitions)
        records: dict[int, list[tuple[Key, Value]]] = {partition: [] for partition in partitions}
        waiting = {
            TopicPartition(topic, partition)
            for partition in partitions
            if ends[partition] > begins[partition]
        }
        if not waiting:
            return records
        # Made for this one read: a consumer that stays assigned goes on fetching.
        async with self._new_consumer() as consumer:
            consumer.assign(sorted(waiting))
            for tp in waiting:
                consumer.seek(tp, begins[tp.partition])
            while waiting:
                async with asyncio.timeout(self._timeout_s):
                    waiting = await _read_some(consumer, waiting, ends, records)
        return records

    async def next_offset(self, topic: str, partition: int, offset: int) -> int | None:
        """Returns the offset of the first record at or above ``offset``; ``None`` when none
        comes soon."""
        tp = TopicPartition(topic, partition)
        async with self._new_consumer() as consumer:
            consumer.assign([tp])
            consumer.seek(tp, offset)
            fetched = await consumer.getmany(tp, timeout_ms=_NEXT_MS)
        batch = fetched.get(tp)
        return int(batch[0].offset) if batch else None

    def _new_consumer(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            **self._options,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=_FETCH_BYTES_MAX,
            fetch_max_wait_ms=_POLL_MS,
        )

    def _require(self) -> AIOKafkaConsumer:
        assert self._consumer is not None, "start it first"
        return self._consumer


async def _read_some(
    consumer: AIOKafkaConsumer,
    waiting: set[TopicPartition],
    ends: dict[int, int],
    records: dict[int, list[tuple[Key, Value]]],
) -> set[TopicPartition]:
    """Reads until something came, and returns the partitions that are not read to their ends."""
    while True:
        fetched = await consumer.getmany(*waiting, timeout_ms=_POLL_MS)
        for tp, batch in fetched.items():
            records[tp.partition] += [
                (record.key, record.value) for record in batch if record.offset < ends[tp.partition]
            ]
        # The position, not the last record: the end of a log may be compacted away.
        left = {tp for tp in waiting if await consumer.position(tp) < ends[tp.partition]}
        if fetched or left != waiting:
            return left
