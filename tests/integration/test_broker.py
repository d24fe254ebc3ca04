"""The broker as a process: it boots, keeps what it was given, and comes back after a kill."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import UnknownTopicOrPartitionError

from backchannel_deploy.broker import default_cache_dir, fetch_jars
from backchannel_deploy.broker.jars import PinnedJar
from support.broker import BrokerProcess, unique

pytestmark = pytest.mark.integration


async def create_topic(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


async def publish(bootstrap: str, topic: str, values: list[bytes], **settings: int) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", **settings) as producer:
        for value in values:
            await producer.send_and_wait(topic, value)


async def read(bootstrap: str, topic: str, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    async with consumer, asyncio.timeout(30):
        return [(await consumer.getone()).value for _ in range(count)]


async def test_records_survive_a_kill(private_kafka: Callable[[], BrokerProcess]) -> None:
    broker, topic = private_kafka(), unique("survivors")
    await create_topic(broker.bootstrap, topic)
    await publish(broker.bootstrap, topic, [b"one", b"two"])
    before = broker.bootstrap
    broker.kill()
    broker.start()
    assert broker.bootstrap == before
    assert await read(broker.bootstrap, topic, 2) == [b"one", b"two"]


class MachineCache:
    """Serves the jars that this machine has already: no test depends on a network."""

    def __init__(self) -> None:
        self.downloads: list[str] = []
        self._jars = fetch_jars(default_cache_dir())

    def download(self, jar: PinnedJar, folder: Path, on_bytes: Callable[[int], None]) -> Path:
        self.downloads.append(jar.filename)
        path = Path(shutil.copy(self._jars / jar.filename, folder))
        on_bytes(path.stat().st_size)
        return path


def test_a_broker_boots_from_a_new_cache_and_from_one_that_was_damaged(
    private_kafka: Callable[[], BrokerProcess], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = MachineCache()
    jars = fetch_jars(tmp_path / "cache", repository=machine)
    assert len(machine.downloads) == 46
    with (jars / "kafka_2.13-4.3.1.jar").open("r+b") as jar:
        jar.truncate(1000)
    machine.downloads.clear()
    fetch_jars(tmp_path / "cache", repository=machine)
    assert machine.downloads == ["kafka_2.13-4.3.1.jar"]
    monkeypatch.setenv("BACKCHANNEL_CACHE_DIR", str(tmp_path / "cache"))
    assert "Kafka Server started" in private_kafka().log()


def test_a_format_that_was_cut_short_is_done_again(
    private_kafka: Callable[[], BrokerProcess],
) -> None:
    broker = private_kafka()
    broker.stop()
    (broker.data_dir / "topics" / "meta.properties").unlink()  # Kafka writes it last
    shutil.rmtree(broker.data_dir / "topics" / "__cluster_metadata-0")
    broker.start()
    assert "Kafka Server started" in broker.log()


async def test_a_group_continues_where_it_was_before_the_kill(
    private_kafka: Callable[[], BrokerProcess],
) -> None:
    broker, topic, group = private_kafka(), unique("topic"), unique("group")
    await create_topic(broker.bootstrap, topic)
    await publish(broker.bootstrap, topic, [b"one", b"two"])

    async def next_value() -> bytes:
        consumer = AIOKafkaConsumer(
            topic,
            bootstrap_servers=broker.bootstrap,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        async with consumer, asyncio.timeout(30):
            value: bytes = (await consumer.getone()).value
            await consumer.commit()
            return value

    assert await next_value() == b"one"
    broker.kill()
    broker.start()
    assert await next_value() == b"two"


async def test_a_paused_broker_goes_on_when_it_is_resumed(
    private_kafka: Callable[[], BrokerProcess],
) -> None:
    broker, topic = private_kafka(), unique("paused")
    await create_topic(broker.bootstrap, topic)
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap) as producer:
        await producer.send_and_wait(topic, b"before")
        broker.pause()
        sending = asyncio.ensure_future(producer.send_and_wait(topic, b"after"))
        await asyncio.sleep(0.5)
        assert not sending.done()
        broker.resume()
        await sending
    assert await read(broker.bootstrap, topic, 2) == [b"before", b"after"]


async def test_topics_are_not_created_by_accident(kafka: BrokerProcess) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, request_timeout_ms=1000)
    async with producer:
        with pytest.raises(UnknownTopicOrPartitionError):
            await producer.send_and_wait(unique("absent"), b"value")


async def test_a_record_as_large_as_a_dead_letter_is_taken(kafka: BrokerProcess) -> None:
    topic, value = unique("large"), b"x" * (8 * 1024 * 1024)
    await create_topic(kafka.bootstrap, topic)
    await publish(kafka.bootstrap, topic, [value], max_request_size=9 * 1024 * 1024)
    assert await read(kafka.bootstrap, topic, 1) == [value]


def test_a_folder_with_letters_beyond_ascii_is_as_good_as_another(tmp_path: Path) -> None:
    broker = BrokerProcess(tmp_path / "dätä \N{ROCKET}")
    try:
        broker.start()
        assert (broker.data_dir / "topics" / "__cluster_metadata-0").is_dir()
    finally:
        broker.kill()


def test_the_broker_logs_to_a_file_of_its_own(kafka: BrokerProcess) -> None:
    assert "Kafka Server started" in kafka.log()
