"""A broker with a topic full of events, so that a reader can show how fast it reads."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from backchannel import ProducerSettings
from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import SealedBatch
from backchannel.sending.kafka import KafkaTransport
from backchannel_deploy.topics import ensure_topics
from benchmarks.traffic import batches
from support.broker import BrokerProcess

__all__ = ["broker_of", "committed", "prefilled", "send"]


@contextlib.asynccontextmanager
async def prefilled(
    home: Path, events: int, events_a_record: int, *, step_us: int = 1_000
) -> AsyncIterator[str]:
    """A broker whose `chat.events` holds this many events, `step_us` apart, up to now."""
    async with broker_of(home) as kafka:
        start_us = SYSTEM_CLOCK.now_us() - events * step_us
        made = batches(events, start_us=start_us, step_us=step_us, events_a_record=events_a_record)
        await send(kafka, made)
        yield kafka


@contextlib.asynccontextmanager
async def broker_of(home: Path) -> AsyncIterator[str]:
    """A broker with all topics, and nothing on them."""
    broker = BrokerProcess(home / "kafka")
    await asyncio.to_thread(broker.start)
    try:
        await ensure_topics(broker.bootstrap, clock=SYSTEM_CLOCK)
        yield broker.bootstrap
    finally:
        await asyncio.to_thread(broker.stop)


async def send(kafka: str, made: Iterable[tuple[int, SealedBatch]]) -> None:
    """Sends batches, each to its partition of `chat.events`, and waits until Kafka has them."""
    transport = KafkaTransport(ProducerSettings.load(kafka, arguments={}))
    await transport.connect()
    lanes: dict[int, list[SealedBatch]] = {}
    for partition, batch in made:
        lanes.setdefault(partition, []).append(batch)

    async def send_lane(partition: int) -> None:
        for batch in lanes[partition]:
            await transport.send(partition, batch)

    await asyncio.gather(*(send_lane(partition) for partition in lanes))
    await transport.close()


async def committed(kafka: str, group: str, topic: str) -> int:
    """How many records of a topic a group has committed."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        try:
            offsets = await admin.list_consumer_group_offsets(group)
        except GroupCoordinatorNotAvailableError:
            return 0  # nobody has joined a group yet
        return sum(
            max(0, position.offset)
            for partition, position in offsets.items()
            if partition.topic == topic
        )
    finally:
        await admin.close()
