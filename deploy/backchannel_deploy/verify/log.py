"""The topics in Kafka, as the check of offsets needs them: how far they go, and single records."""

import logging
import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from backchannel.events import read_tombstone
from backchannel.events.topics import CONTROL, DEAD, EVENTS, METRICS, Topic
from backchannel.security import KafkaSecurity
from backchannel_deploy.cli.settings import checked
from backchannel_deploy.errors import UserError
from backchannel_deploy.topics import partition_counts, read_epochs, topic_settings
from backchannel_sinks.records import Record
from backchannel_sinks.tombstones import Tombstones

__all__ = ["Log", "Reach", "opened_log"]

_SINK_GROUP = "backchannel-sink"
_POLL_MS = 500
_POLLS_MAX = 20
_DEAD_REQUEST_BYTES = DEAD.message_bytes_max + 1024 * 1024


@dataclass(frozen=True, slots=True)
class Reach:
    """One partition: what the log holds, and how far the sink says that it has stored it."""

    partition: int
    beginning: int
    committed: int
    end: int


class Log:
    """A connection to Kafka for one look; nothing is committed."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        admin: AIOKafkaAdminClient,
        options: dict[str, Any],
        sink_group: str,
    ) -> None:
        self._consumer = consumer
        self._admin = admin
        self._options = options
        self._sink_group = sink_group

    async def epoch(self) -> int:
        """Returns which creation of ``chat.events`` there is now; 0 when not known."""
        options = dict(self._options)
        kafka = options.pop("bootstrap_servers")
        return (await read_epochs(kafka, security=options)).get(EVENTS.name, 0)

    async def reach(self) -> list[Reach]:
        """Returns the partitions of ``chat.events``."""
        partitions = await self.partitions(EVENTS)
        beginnings = await self._consumer.beginning_offsets(partitions)
        ends = await self._consumer.end_offsets(partitions)
        committed = await self._committed()
        return [
            Reach(tp.partition, beginnings[tp], committed.get(tp, beginnings[tp]), ends[tp])
            for tp in partitions
        ]

    async def settings(self, topics: Sequence[Topic]) -> dict[str, dict[str, str]]:
        """Returns the settings of topics, as the broker has them."""
        known = await self._consumer.topics()
        return await topic_settings(self._admin, [each for each in topics if each.name in known])

    async def ends(self, topics: Iterable[Topic]) -> dict[TopicPartition, int]:
        """Returns for each partition the offset that the next record will get."""
        partitions = [tp for topic in topics for tp in await self.partitions(topic)]
        found: dict[TopicPartition, int] = await self._consumer.end_offsets(partitions)
        return found

    async def not_stored(self, wanted: Mapping[TopicPartition, int]) -> int:
        """Returns how many records below some offsets the sink has not stored."""
        committed = await self._committed()
        beginnings = await self._consumer.beginning_offsets(list(wanted))
        return sum(
            max(0, offset - max(committed.get(tp, 0), beginnings[tp]))
            for tp, offset in wanted.items()
        )

    async def not_stored_since(self, before_ms: int) -> int:
        """Returns how many records of events and windows that were there before an instant the sink
        has not stored."""
        wanted = await self.ends((EVENTS, METRICS))
        first_after = await self._consumer.offsets_for_times(dict.fromkeys(wanted, before_ms))
        wanted |= {tp: after.offset for tp, after in first_after.items() if after is not None}
        return await self.not_stored(wanted)

    async def read(self, partition: int, first: int, last: int) -> list[Record]:
        """Returns the records of ``chat.events`` in a range of offsets that are still there."""
        tp = TopicPartition(EVENTS.name, partition)
        self._consumer.assign([tp])
        self._consumer.seek(tp, first)
        found: list[Record] = []
        for _ in range(_POLLS_MAX):
            fetched = await self._consumer.getmany(tp, timeout_ms=_POLL_MS)
            found += [
                Record(each.offset, each.timestamp, each.value, tuple(each.headers))
                for each in fetched.get(tp, ())
                if each.offset <= last
            ]
            if await self._consumer.position(tp) > last:
                break
        return found

    async def tombstones(self) -> Tombstones:
        """Returns who was erased."""
        tp = TopicPartition(CONTROL.name, 0)
        self._consumer.assign([tp])
        await self._consumer.seek_to_beginning(tp)
        end = (await self._consumer.end_offsets([tp]))[tp]
        found = Tombstones()
        while await self._consumer.position(tp) < end:
            for each in (await self._consumer.getmany(tp, timeout_ms=_POLL_MS)).get(tp, ()):
                if (tombstone := read_tombstone(each.key, each.value)) is not None:
                    found.add(tombstone)
        return found

    async def send(
        self,
        records: Iterable[tuple[str, int | None, bytes, tuple[tuple[str, bytes], ...]]],
    ) -> None:
        """Writes records (topic, partition, value, headers); returns when they are durable."""
        producer = AIOKafkaProducer(
            acks="all",
            enable_idempotence=True,
            max_request_size=_DEAD_REQUEST_BYTES,
            **self._options,
        )
        async with producer:
            sent = [
                await producer.send(topic, value, partition=partition, headers=list(headers))
                for topic, partition, value, headers in records
            ]
            for each in sent:
                await each

    async def partitions(self, topic: Topic) -> list[TopicPartition]:
        """Returns the partitions of a topic."""
        counts = await partition_counts(self._admin, [topic])
        if topic.name not in counts:
            raise UserError(f"Kafka has no topic {topic.name}. Create it: backchannel migrate")
        return [TopicPartition(topic.name, number) for number in range(counts[topic.name])]

    async def _committed(self) -> dict[TopicPartition, int]:
        found = await self._admin.list_consumer_group_offsets(self._sink_group)
        return {tp: each.offset for tp, each in found.items() if each.offset >= 0}


@asynccontextmanager
async def opened_log(kafka: str) -> AsyncIterator[Log]:
    """Connects. The sink's group is that of BACKCHANNEL_SINK_GROUP, as the sink has it.

    Raises:
        UserError: Kafka gives no answer.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what it has to say is said here
    sink_group = os.environ.get("BACKCHANNEL_SINK_GROUP", "") or _SINK_GROUP
    with checked():
        options = {"bootstrap_servers": kafka, **KafkaSecurity.from_env().aiokafka()}
    admin = AIOKafkaAdminClient(**options)
    consumer = AIOKafkaConsumer(
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=EVENTS.message_bytes_max,
        **options,
    )
    try:
        await admin.start()
        await consumer.start()
        yield Log(consumer, admin, options, sink_group)
    except (KafkaError, OSError) as error:  # a TimeoutError is an OSError
        raise UserError(
            f"Kafka at {kafka} gives no answer ({type(error).__name__}). "
            "What is wrong with it: backchannel doctor"
        ) from error
    finally:
        await consumer.stop()
        await admin.close()
