"""Between the SDK and a real broker everything goes wrong: nobody waits, nothing is lost uncounted.

The broker is reached through a proxy; topics and producers are the tests' own. Time limits here
are only to find what hangs: how fast ``track`` is, the benchmarks say.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.producer.transaction_manager import PidAndEpoch
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest

from backchannel import Producer, ProducerSettings
from backchannel.errors import BrokenError
from backchannel.events import SealedBatch
from backchannel.sending.kafka import KafkaTransport
from support.broker import BrokerProcess, unique
from support.proxy import Proxy, Trouble
from support.stored import (
    assert_counts_add_up,
    assert_stored_exactly,
    create_topic,
    track_all,
)

pytestmark = pytest.mark.integration

PARTITIONS = 3
DENY, ALLOW, WRITE, TOPIC, LITERAL = 2, 3, 4, 2, 3


class Chaos:
    """A broker behind a proxy."""

    def __init__(self, broker: BrokerProcess, proxy: Proxy) -> None:
        self.broker = broker
        self.proxy = proxy

    def producer(self, topic: str, **settings: Any) -> Producer:
        """A producer that reaches the topic through the proxy, and notices trouble soon."""
        given = {"request_timeout_ms": 500, **settings}
        address = f"127.0.0.1:{self.proxy.port}"
        transport = Sent(ProducerSettings(kafka=address, **given), topic)
        return Producer(address, transport=transport, **given)


class Sent(KafkaTransport):
    """Notes what it was given to send, and how that ended."""

    def __init__(self, settings: ProducerSettings, topic: str) -> None:
        super().__init__(settings, topic)
        self.sent: list[tuple[int, SealedBatch, str]] = []

    async def send(self, partition: int, batch: SealedBatch) -> None:
        try:
            await super().send(partition, batch)
        except BrokenError as error:
            self.sent.append((partition, batch, str(error)))
            raise
        self.sent.append((partition, batch, ""))


@pytest.fixture(scope="module")
def chaos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chaos]:
    with Proxy() as proxy:
        broker = BrokerProcess(
            tmp_path_factory.mktemp("chaos") / "kafka",
            advertised_port=proxy.port,
            properties={
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "allow.everyone.if.no.acl.found": "true",
                "super.users": "User:nobody",
            },
        )
        try:
            broker.start()
            proxy.target_port = broker.proxied_port
            yield Chaos(broker, proxy)
        finally:
            broker.kill()


@pytest.fixture
async def topic(chaos: Chaos) -> AsyncIterator[str]:
    name = unique("chaos")
    await create_topic(chaos.broker.bootstrap, name, PARTITIONS)
    yield name
    chaos.proxy.trouble = "none"


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not reached():  # noqa: ASYNC110 - counts, which nobody announces
            await asyncio.sleep(0.02)


def transport_of(producer: Producer) -> Sent:
    transport = producer._transport
    assert isinstance(transport, Sent)
    return transport


@pytest.mark.parametrize("trouble", ["slow", "black_hole", "no_answers", "refuse", "drip"])
async def test_nobody_waits_in_trouble_and_afterwards_everything_is_stored_once(
    chaos: Chaos, topic: str, trouble: Trouble
) -> None:
    async with chaos.producer(topic) as producer:
        accepted = track_all(producer, range(100))
        assert await producer.flush(20) == 0
        chaos.proxy.trouble = trouble
        began = time.perf_counter()
        accepted += track_all(producer, range(100, 1_100))
        assert time.perf_counter() - began < 1

        began = time.perf_counter()
        left = await producer.flush(0.5)
        assert time.perf_counter() - began < 1.5
        assert left > 0 or trouble in ("slow", "drip")
        await asyncio.sleep(0.7)  # longer than the client waits for an answer
        chaos.proxy.trouble = "none"

        assert await producer.flush(30) == 0
        assert producer.stats().dropped == {}
        await assert_stored_exactly(chaos.broker.bootstrap, producer, accepted, topic)


@pytest.mark.parametrize("trouble", ["black_hole", "no_answers", "refuse"])
async def test_trouble_from_the_start_makes_nobody_wait(
    chaos: Chaos, topic: str, trouble: Trouble
) -> None:
    chaos.proxy.trouble = trouble
    producer = chaos.producer(topic)
    track_all(producer, range(100))
    began = time.perf_counter()

    assert await producer.flush(0.3) == 100
    assert await producer.close(0.5) == 100

    assert time.perf_counter() - began < 2
    assert producer.stats().dropped == {"unsent": 100}
    assert_counts_add_up(producer)


async def test_a_process_ends_in_time_though_nothing_gets_through(
    chaos: Chaos, topic: str, tmp_path: Path
) -> None:
    chaos.proxy.trouble = "black_hole"
    script = tmp_path / "bot.py"
    script.write_text(
        "import backchannel, sys\n"
        "producer = backchannel.Producer(sys.argv[1])\n"
        "assert producer.track(backchannel.events.Interaction())\n"
    )
    began = time.perf_counter()

    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-W", "error", str(script), f"127.0.0.1:{chaos.proxy.port}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0
    (said,) = done.stderr.splitlines()
    assert "ended before Kafka had acknowledged" in said
    assert time.perf_counter() - began < 20  # 2 s, and an interpreter's start


async def set_right(bootstrap: str, topic: str, *, denied: bool) -> None:
    """Takes the right to write to the topic from everybody, or gives it back."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        kind = CreateAclsRequest if denied else DeleteAclsRequest
        await admin._send_request(kind(TOPIC, topic, LITERAL, "User:*", "*", WRITE, DENY))
    finally:
        await admin.close()


async def test_without_the_right_to_write_events_wait_until_it_is_granted(
    chaos: Chaos, topic: str
) -> None:
    async with chaos.producer(topic) as producer:
        accepted = track_all(producer, range(50))
        assert await producer.flush(20) == 0
        await set_right(chaos.broker.bootstrap, topic, denied=True)
        accepted += track_all(producer, range(50, 100))
        assert await producer.flush(1.5) == 50
        assert producer.stats().reconnects > 0
        await set_right(chaos.broker.bootstrap, topic, denied=False)

        assert await producer.flush(20) == 0
        await assert_stored_exactly(chaos.broker.bootstrap, producer, accepted, topic)


async def test_a_batch_that_the_topic_never_takes_is_counted_and_the_next_ones_go_on(
    chaos: Chaos,
) -> None:
    small = unique("small")
    await create_topic(chaos.broker.bootstrap, small, PARTITIONS, {"max.message.bytes": "3000"})
    async with chaos.producer(small, batch_bytes_max=1024) as producer:
        large = producer.interaction(conversation_id="c-1", error_message="x " * 2_000)
        with large:
            pass
        assert await producer.flush(20) == 1
        track_all(producer, range(30))

        assert await producer.flush(20) == 0
        assert producer.stats().dropped == {"refused": 1}


async def rob(producer: Producer, bootstrap: str, topic: str, *, epoch: int, records: int) -> None:
    """Writes under the identity of a producer's connection, to every partition, as a broker sees it
    when an answer was lost and its memory of the producer with it, or when another one took over.
    """
    ours = transport_of(producer)._producer
    assert ours is not None
    numbers = ours._txn_manager
    thief = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True, acks="all")
    await thief.start()
    try:
        theirs = thief._txn_manager
        theirs._pid_and_epoch = PidAndEpoch(numbers.producer_id, numbers.producer_epoch + epoch)
        if not epoch:
            theirs._sequence_numbers.update(numbers._sequence_numbers)
        for _ in range(records):
            for partition in range(PARTITIONS):
                await thief.send_and_wait(topic, b"{}", partition=partition)
    finally:
        await thief.stop()


@pytest.mark.parametrize(
    ("epoch", "error"), [(0, "OutOfOrderSequenceNumber"), (1, "ProducerFenced")]
)
async def test_a_fatal_error_makes_a_new_producer_that_sends_the_same_bytes_in_order(
    chaos: Chaos, topic: str, epoch: int, error: str
) -> None:
    async with chaos.producer(topic) as producer:
        accepted = track_all(producer, range(100))
        assert await producer.flush(20) == 0
        await rob(producer, chaos.broker.bootstrap, topic, epoch=epoch, records=8)
        accepted += track_all(producer, range(100, 400))
        assert await producer.flush(20) == 0

        sent = transport_of(producer).sent
        failed = [(partition, batch) for partition, batch, why in sent if why == error]
        stored = [(partition, batch) for partition, batch, why in sent if not why]
        assert failed
        assert all(each in stored for each in failed)  # the same bytes and headers
        assert producer.stats().reconnects >= 1
        await assert_stored_exactly(chaos.broker.bootstrap, producer, accepted, topic)


async def test_a_topic_that_is_made_anew_gets_what_comes_after(chaos: Chaos, topic: str) -> None:
    async with chaos.producer(topic) as producer:
        track_all(producer, range(50))
        assert await producer.flush(20) == 0
        admin = AIOKafkaAdminClient(bootstrap_servers=chaos.broker.bootstrap)
        await admin.start()
        await admin.delete_topics([topic])
        await asyncio.sleep(0.5)
        await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
        await admin.close()
        track_all(producer, range(50, 100))

        assert await producer.flush(30) == 0
        assert producer.stats().acked == 100


async def test_spilled_batches_go_to_a_real_broker_in_their_order(
    chaos: Chaos, topic: str, tmp_path: Path
) -> None:
    async with chaos.producer(
        topic, on_full="spill", spill_directory=str(tmp_path), buffer_bytes_max=256 * 1024
    ) as producer:
        accepted = track_all(producer, range(10))
        assert await producer.flush(20) == 0
        chaos.proxy.trouble = "refuse"
        for start in range(10, 2_010, 200):
            accepted += track_all(producer, range(start, start + 200))
            await asyncio.sleep(0.1)
        assert producer.stats().spilled > 500
        chaos.proxy.trouble = "none"

        assert await producer.flush(30) == 0
        assert producer.stats().dropped == {}
        await assert_stored_exactly(chaos.broker.bootstrap, producer, accepted, topic)
