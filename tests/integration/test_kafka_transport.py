"""The Kafka transport keeps the contract on a real broker."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from backchannel import ProducerSettings
from backchannel.errors import RefusedError, UnreachableError
from backchannel.events import SealedBatch, seal
from backchannel.sending.kafka import KafkaTransport
from contract.transport import *  # noqa: F403  # pytest collects the contract's tests here
from contract.transport import PARTITIONS, Record, Wire, batch
from support.broker import BrokerProcess, free_ports, unique

pytestmark = pytest.mark.integration


async def create(kafka: BrokerProcess, topic: str, **configs: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, PARTITIONS, 1, topic_configs=configs)])
    finally:
        await admin.close()


async def records(kafka: BrokerProcess, topic: str, partition: int) -> list[Record]:
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap)
    await consumer.start()
    try:
        place = TopicPartition(topic, partition)
        consumer.assign([place])
        await consumer.seek_to_beginning(place)
        end = (await consumer.end_offsets([place]))[place]
        found: list[Record] = []
        while len(found) < end:
            record = await consumer.getone(place)
            found.append((record.value, tuple(record.headers)))
        return found
    finally:
        await consumer.stop()


@pytest.fixture
async def wire(kafka: BrokerProcess) -> AsyncIterator[Wire]:
    topic = unique("transport")
    await create(kafka, topic)
    transport = KafkaTransport(ProducerSettings(kafka=kafka.bootstrap), topic)

    async def stored(partition: int) -> list[Record]:
        return await records(kafka, topic, partition)

    yield Wire(transport, stored)
    await transport.close()


async def test_nobody_at_the_address_is_unreachable() -> None:
    transport = KafkaTransport(ProducerSettings(kafka=f"127.0.0.1:{free_ports(1)[0]}"))

    with pytest.raises(
        UnreachableError, match=r"connecting: (ConnectionRefused|KafkaConnection)Error"
    ):
        await transport.connect()


async def test_a_batch_larger_than_the_topic_takes_is_refused(kafka: BrokerProcess) -> None:
    topic = unique("small")
    await create(kafka, topic, **{"max.message.bytes": "2000"})
    transport = KafkaTransport(ProducerSettings(kafka=kafka.bootstrap), topic)
    await transport.connect()
    try:
        with pytest.raises(RefusedError, match="MessageSizeTooLargeError"):
            await transport.send(0, seal([b"x" * 5000], producer_id="p", pseq=1))
    finally:
        await transport.close()


async def test_the_largest_batch_of_any_settings_fits_into_a_request(
    kafka: BrokerProcess,
) -> None:
    topic = unique("large")
    await create(kafka, topic, **{"max.message.bytes": str(4 * 2**20)})
    settings = ProducerSettings(kafka=kafka.bootstrap, batch_bytes_max=512 * 1024)
    transport = KafkaTransport(settings, topic)
    await transport.connect()
    try:
        sealed: SealedBatch = seal([b"x" * settings.batch_bytes_max], producer_id="p", pseq=1)
        await transport.send(0, sealed)
        assert [value for value, _ in await records(kafka, topic, 0)] == [sealed.value]
    finally:
        await transport.close()


async def test_a_paused_broker_does_not_hold_up_closing(
    private_kafka: Callable[[], BrokerProcess],
) -> None:
    kafka = await asyncio.to_thread(private_kafka)
    topic = unique("paused")
    await create(kafka, topic)
    transport = KafkaTransport(ProducerSettings(kafka=kafka.bootstrap), topic)
    await transport.connect()
    kafka.pause()
    try:
        sending = asyncio.ensure_future(transport.send(0, batch(1)))
        await asyncio.sleep(0.1)
        sending.cancel()
        async with asyncio.timeout(1.5):
            await transport.close()
    finally:
        kafka.resume()
