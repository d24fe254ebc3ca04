"""A broker with a topic full of events, so that a reader can show how fast it reads."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
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

__all__ = ["committed", "prefilled"]


@contextlib.asynccontextmanager
async def prefilled(
    home: Path, events: int, events_a_record: int, *, step_us: int = 1_000
) -> AsyncIterator[str]:
    """A broker whose `chat.events` holds this many events, `step_us` apart, up to now."""
    broker = BrokerProcess(home / "kafka")
    await asyncio.to_thread(broker.start)
    try:
        await ensure_topics(broker.bootstrap, clock=SYSTEM_CLOCK)
        await fill(broker.bootstrap, events, events_a_record, step_us)
        yield broker.bootstrap
    finally:
        await asyncio.to_thread(broker.stop)


async def fill(kafka: str, events: int, events_a_record: int, step_us: int) -> None:
    """Sends them."""
    transport = KafkaTransport(ProducerSettings.load(kafka, arguments={}))
    await transport.connect()
    lanes: dict[int, list[SealedBatch]] = {}
    start_us = SYSTEM_CLOCK.now_us() - events * step_us
    for partition, batch in batches(
        events, start_us=start_us, step_us=step_us, events_a_record=events_a_record
    ):
        lanes.setdefault(partition, []).append(batch)

    async def send(partition: int) -> None:
        for batch in lanes[partition]:
            await transport.send(partition, batch)

    await asyncio.gather(*(send(partition) for partition in lanes))
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
