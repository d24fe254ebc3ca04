"""The producer on a real broker: what was accepted is stored once and in order, come what may."""

import asyncio
import logging
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from backchannel import Producer, ProducerSettings
from backchannel.errors import BrokenError
from backchannel.events import (
    Interaction,
    SealedBatch,
    partition_key,
    partition_of,
)
from backchannel.events.topics import EVENTS
from backchannel.sending.kafka import KafkaTransport
from support.broker import BrokerProcess, free_ports
from support.stored import (
    Load,
    assert_counts_add_up,
    assert_stored_exactly,
    counted,
    create_events_topic,
    records_of,
    track_all,
    turn,
)

pytestmark = pytest.mark.integration

StartBroker = Callable[[], BrokerProcess]

LOST_ANSWERS = 5


class LostAnswers(KafkaTransport):
    """Loses the connection now and then, when a batch is stored and before anybody hears of it."""

    def __init__(self, settings: ProducerSettings) -> None:
        super().__init__(settings)
        self.lost: list[tuple[int, SealedBatch]] = []
        self._sent = 0

    async def send(self, partition: int, batch: SealedBatch) -> None:
        await super().send(partition, batch)
        self._sent += 1
        if self._sent % 7 == 0 and len(self.lost) < LOST_ANSWERS:
            self.lost.append((partition, batch))
            raise BrokenError("the answer was lost")


async def until(reached: Callable[[], bool], timeout_s: float = 30) -> None:
    async with asyncio.timeout(timeout_s):
        while not reached():  # noqa: ASYNC110 - counts, which nobody announces
            await asyncio.sleep(0.02)


async def test_what_was_accepted_is_stored_once_and_in_order(kafka: BrokerProcess) -> None:
    await create_events_topic(kafka.bootstrap)
    async with Producer(kafka.bootstrap) as producer:
        accepted = track_all(producer, range(5_000))

        assert await producer.flush(30) == 0
        assert producer.stats().acked == 5_000
        await assert_stored_exactly(kafka.bootstrap, producer, accepted)


async def test_records_are_sealed_so_that_readers_trust_them(kafka: BrokerProcess) -> None:
    await create_events_topic(kafka.bootstrap)
    async with Producer(kafka.bootstrap, origin="replay:trust") as producer:
        track_all(producer, range(500))
    records = await records_of(kafka.bootstrap, producer.stats().producer_id)

    assert len(records) == producer.stats().batches
    assert all(record.batch.trusted for record in records)
    assert {record.batch.origin for record in records} == {"replay:trust"}
    numbers = sorted(event.seq for _, event in counted(records))
    assert numbers == list(range(1, 501))


async def test_an_event_lies_in_the_partition_of_its_key(kafka: BrokerProcess) -> None:
    await create_events_topic(kafka.bootstrap)
    async with Producer(kafka.bootstrap) as producer:
        for number in range(60):
            producer.track(Interaction(conversation_id=f"c-{number}"))
            producer.track(Interaction(session_id=f"s-{number}"))
            producer.track(Interaction(user_id=f"u-{number}"))
            producer.track(Interaction(tenant_id=f"t-{number}"))
        producer.track(Interaction())
    events = counted(await records_of(kafka.bootstrap, producer.stats().producer_id))

    assert len(events) == 241
    for partition, event in events:
        assert partition == partition_of(partition_key(event), EVENTS.partitions)


async def test_bound_fields_and_settings_are_stamped_and_an_events_own_value_wins(
    kafka: BrokerProcess,
) -> None:
    await create_events_topic(kafka.bootstrap)
    async with Producer(kafka.bootstrap, service="support-bot", environment="prod") as producer:
        bound = producer.bind(tenant_id="acme", user_id="u-7")
        bound.track(Interaction(user_id="u-8"))
    ((_, event),) = counted(await records_of(kafka.bootstrap, producer.stats().producer_id))

    assert (event.service, event.environment) == ("support-bot", "prod")
    assert (event.tenant_id, event.user_id) == ("acme", "u-8")
    assert (event.producer_id, event.seq) == (producer.stats().producer_id, 1)


async def test_an_event_as_large_as_readers_take_is_stored_and_a_larger_one_is_refused(
    kafka: BrokerProcess,
) -> None:
    await create_events_topic(kafka.bootstrap)
    async with Producer(kafka.bootstrap) as producer:
        for letters in (950, 1_024):  # of four bytes each, in 64 attributes: 243 and 262 KB
            attributes = {str(number): "🙂" * letters for number in range(64)}
            producer.track(Interaction(attributes=attributes))
    records = await records_of(kafka.bootstrap, producer.stats().producer_id)

    assert producer.stats().dropped == {"too_large": 1}
    ((_, event),) = counted(records)
    assert set(map(len, event.attributes.values())) == {950}


async def test_many_threads_share_a_producer(kafka: BrokerProcess) -> None:
    await create_events_topic(kafka.bootstrap)
    async with Producer(kafka.bootstrap) as producer:
        shares = [range(start, 4_000, 4) for start in range(4)]
        await asyncio.gather(*(asyncio.to_thread(track_all, producer, share) for share in shares))
    events = [
        e for _, e in counted(await records_of(kafka.bootstrap, producer.stats().producer_id))
    ]

    assert sorted(event.seq for event in events) == list(range(1, 4_001))
    assert sorted(event.input_tokens for event in events) == list(range(4_000))


async def test_events_wait_for_a_broker_that_is_not_there_yet(private_kafka: StartBroker) -> None:
    broker = private_kafka()
    await create_events_topic(broker.bootstrap)
    broker.stop()
    async with Producer(broker.bootstrap) as producer:
        accepted = track_all(producer, range(1_000))
        assert await producer.flush(0.5) == 1_000
        await asyncio.to_thread(broker.start)

        assert await producer.flush(30) == 0
        await assert_stored_exactly(broker.bootstrap, producer, accepted)


async def test_events_wait_for_a_topic_that_is_not_there_yet(private_kafka: StartBroker) -> None:
    broker = private_kafka()
    async with Producer(broker.bootstrap) as producer:
        accepted = track_all(producer, range(100))
        assert await producer.flush(1) == 100
        await create_events_topic(broker.bootstrap)

        assert await producer.flush(30) == 0
        await assert_stored_exactly(broker.bootstrap, producer, accepted)


async def test_nothing_is_lost_or_doubled_when_the_broker_is_killed_under_load(
    private_kafka: StartBroker,
) -> None:
    broker = private_kafka()
    await create_events_topic(broker.bootstrap)
    async with Producer(broker.bootstrap) as producer:
        async with Load(producer, events_per_s=2_000) as load:
            for _ in range(2):
                await until(lambda: producer.stats().acked > 0 and producer.stats().held < 500)
                await asyncio.to_thread(broker.kill)
                await asyncio.sleep(0.5)
                await asyncio.to_thread(broker.start)
        assert await producer.flush(60) == 0

        assert len(load.accepted) == load.offered
        await assert_stored_exactly(broker.bootstrap, producer, load.accepted)


async def test_a_frozen_broker_makes_nobody_wait(private_kafka: StartBroker) -> None:
    broker = private_kafka()
    await create_events_topic(broker.bootstrap)
    async with Producer(broker.bootstrap) as producer:
        before = track_all(producer, range(200))
        assert await producer.flush(30) == 0
        broker.pause()
        began = time.perf_counter()
        during = track_all(producer, range(200, 5_200))
        assert time.perf_counter() - began < 2  # 5,000 events, their making included

        began = time.perf_counter()
        assert await producer.flush(1) == 5_000
        assert time.perf_counter() - began < 2
        broker.resume()
        assert await producer.flush(60) == 0
        await assert_stored_exactly(broker.bootstrap, producer, before + during)


async def test_what_is_sent_again_since_its_answer_was_lost_counts_once(
    kafka: BrokerProcess,
) -> None:
    await create_events_topic(kafka.bootstrap)
    transport = LostAnswers(ProducerSettings.load(kafka.bootstrap))
    async with Producer(kafka.bootstrap, transport=transport, batch_bytes_max=4096) as producer:
        accepted = track_all(producer, range(3_000))
        assert await producer.flush(60) == 0

    records = await records_of(kafka.bootstrap, producer.stats().producer_id)
    assert len(transport.lost) == LOST_ANSWERS
    # Answers come for several partitions at once: those that are lost together break it once.
    assert 1 <= producer.stats().reconnects <= LOST_ANSWERS
    assert len(records) >= producer.stats().batches + LOST_ANSWERS
    for partition, batch in transport.lost:
        values = [each.batch.lines for each in records if each.partition == partition]
        assert values.count(batch.value.split(b"\n")) >= 2, "the same bytes, twice"
    await assert_stored_exactly(kafka.bootstrap, producer, accepted)


async def test_a_full_buffer_refuses_and_counts_while_the_broker_is_frozen(
    private_kafka: StartBroker,
) -> None:
    broker = private_kafka()
    await create_events_topic(broker.bootstrap)
    async with Producer(broker.bootstrap, buffer_bytes_max=256 * 1024) as producer:
        track_all(producer, range(1))
        assert await producer.flush(30) == 0
        broker.pause()
        events = [turn(number) for number in range(1, 5_000)]
        accepted = [event for event in events if producer.track(event)]

        stats = producer.stats()
        assert stats.dropped == {"buffer_full": len(events) - len(accepted)}
        assert 0 < stats.held_bytes <= 256 * 1024
        broker.resume()
        assert await producer.flush(60) == 0
        await assert_stored_exactly(broker.bootstrap, producer, [turn(0), *accepted])
        assert_counts_add_up(producer)


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_close_keeps_to_its_time_and_counts_what_is_lost(
    private_kafka: StartBroker, how: str
) -> None:
    broker = private_kafka()
    await create_events_topic(broker.bootstrap)
    producer = Producer(broker.bootstrap)
    track_all(producer, range(10))
    assert await producer.flush(30) == 0
    if how == "killed":
        await asyncio.to_thread(broker.kill)
    else:
        broker.pause()
    track_all(producer, range(10, 310))

    began = time.perf_counter()
    assert await producer.close(1) == 300
    assert time.perf_counter() - began < 2.5
    assert producer.stats().dropped == {"unsent": 300}
    assert not producer.track(turn(310))
    assert producer.stats().dropped == {"unsent": 300, "closed": 1}
    assert_counts_add_up(producer)


async def test_one_line_when_the_broker_goes_and_one_when_it_returns(
    private_kafka: StartBroker, caplog: pytest.LogCaptureFixture
) -> None:
    broker = private_kafka()
    await create_events_topic(broker.bootstrap)
    async with Producer(broker.bootstrap) as producer:
        async with Load(producer, events_per_s=200):
            await until(lambda: producer.stats().acked > 0)
            caplog.set_level(logging.INFO)
            caplog.clear()
            await asyncio.to_thread(broker.kill)
            await until(lambda: len(caplog.records) > 0)
            await asyncio.sleep(2)
            await asyncio.to_thread(broker.start)
            await until(lambda: "answers again" in caplog.text)
        await producer.flush(30)

    # Whoever logs in the sender's thread, the Kafka client and asyncio too: these two and no more.
    ours = [each for each in caplog.records if each.threadName == "backchannel"]
    gone, back = [each.getMessage() for each in ours]
    assert "does not answer" in gone
    assert "answers again" in back


SCRIPT = """
import backchannel, sys
producer = backchannel.Producer(sys.argv[1])
for number in range(200):
    producer.track(backchannel.events.Interaction(request_id=str(number)))
print(producer.stats().producer_id)
"""


def run_script(bootstrap: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, bootstrap],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_a_script_that_forgets_to_close_still_delivers(kafka: BrokerProcess) -> None:
    await create_events_topic(kafka.bootstrap)
    done = await asyncio.to_thread(run_script, kafka.bootstrap)

    assert (done.returncode, done.stderr) == (0, "")
    assert len(counted(await records_of(kafka.bootstrap, done.stdout.strip()))) == 200


def test_a_script_that_forgets_to_close_ends_without_a_broker() -> None:
    (port,) = free_ports(1)
    began = time.perf_counter()
    done = run_script(f"127.0.0.1:{port}")

    assert done.returncode == 0
    assert time.perf_counter() - began < 15
    assert "Traceback" not in done.stderr


def test_a_bot_without_a_loop_delivers_too(kafka: BrokerProcess) -> None:
    asyncio.run(create_events_topic(kafka.bootstrap))
    producer = Producer(kafka.bootstrap)
    for _ in range(100):
        with producer.interaction(conversation_id="c-1", model="m") as each:
            each.usage(input_tokens=3, output_tokens=2)
    assert producer.flush_sync(30) == 0
    assert producer.close_sync(5) == 0
    records = asyncio.run(records_of(kafka.bootstrap, producer.stats().producer_id))

    assert [(e.input_tokens, e.llm_calls) for _, e in counted(records)] == [(3, 1)] * 100
