"""What the producer costs the bot, and how much one process delivers."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from pathlib import Path

from aiokafka import AIOKafkaProducer

from backchannel import Producer, ProducerSettings
from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import Interaction, SealedBatch, encode_event
from backchannel.kafka import KafkaTransport
from backchannel_deploy.topics import ensure_topics
from benchmarks.results import Result, percentile
from benchmarks.traffic import batches, interactions
from support.broker import BrokerProcess

PACE = 5_000  # events a second while calls are timed
TIMED = 50_000
DELIVERED = 400_000


def track(home: Path) -> Iterable[Result]:
    """One call of `track()` with an event that exists, 5,000 a second, while they are sent."""
    events = list(interactions(2_000, start_us=SYSTEM_CLOCK.now_us(), step_us=1_000))

    async def timed(producer: Producer) -> list[float]:
        return await _paced(lambda index: producer.track(events[index % len(events)]))

    return _costs("track", asyncio.run(_with_producer(home, timed)))


def interaction(home: Path) -> Iterable[Result]:
    """The whole `async with producer.interaction(...)` block around nothing, at the same pace."""

    async def timed(producer: Producer) -> list[float]:
        spent: list[float] = []
        started = time.perf_counter()
        for index in range(TIMED):
            before = time.perf_counter_ns()
            async with producer.interaction(
                conversation_id=f"c-{index % 500}", model="m", endpoint="/chat"
            ) as turn:
                turn.usage(input_tokens=300, output_tokens=40)
            spent.append((time.perf_counter_ns() - before) / 1000)
            await _keep_pace(started, index)
        return spent

    return _costs("interaction", asyncio.run(_with_producer(home, timed)))


def produce(home: Path) -> Iterable[Result]:
    """Acknowledged events a second: sealed batches, `track()` of events that exist, and beside it
    aiokafka with a record for each of the same events."""
    return asyncio.run(_produce(home))


async def _produce(home: Path) -> list[Result]:
    results: list[Result] = []
    async with _broker(home) as kafka:
        sealed = list(
            batches(DELIVERED, start_us=SYSTEM_CLOCK.now_us(), step_us=100, events_a_record=400)
        )
        rate = await _sealed_rate(kafka, sealed)
        results.append(
            Result("produce", "backchannel", "sealed_events_per_s", rate, "events_per_s")
        )
        events = list(interactions(10_000, start_us=SYSTEM_CLOCK.now_us(), step_us=100))
        rate = await _track_rate(kafka, events)
        results.append(Result("produce", "backchannel", "events_per_s", rate, "events_per_s"))
        rate = await _aiokafka_rate(kafka, events)
        results.append(Result("produce", "aiokafka", "events_per_s", rate, "events_per_s"))
    return results


async def _sealed_rate(kafka: str, sealed: Sequence[tuple[int, SealedBatch]]) -> float:
    transport = KafkaTransport(ProducerSettings.load(kafka, arguments={}))
    await transport.connect()
    lanes: dict[int, list[SealedBatch]] = {}
    for partition, batch in sealed:
        lanes.setdefault(partition, []).append(batch)

    async def send(partition: int) -> None:
        for batch in lanes[partition]:
            await transport.send(partition, batch)

    started = time.perf_counter()
    await asyncio.gather(*(send(partition) for partition in lanes))
    spent = time.perf_counter() - started
    await transport.close()
    return DELIVERED / spent


async def _track_rate(kafka: str, events: Sequence[Interaction]) -> float:
    """From an event that exists to its acknowledgement."""
    started = time.perf_counter()
    async with Producer(kafka, buffer_bytes_max=64 * 1024 * 1024) as producer:
        for index in range(DELIVERED):
            while not producer.track(events[index % len(events)]):
                await asyncio.sleep(0.01)
        assert await producer.flush(120) == 0
        assert producer.stats().acked == DELIVERED
        return DELIVERED / (time.perf_counter() - started)


async def _aiokafka_rate(kafka: str, events: Sequence[Interaction]) -> float:
    """The same with a record for each event, as aiokafka's users send."""
    count = DELIVERED // 4
    async with AIOKafkaProducer(
        bootstrap_servers=kafka, acks="all", enable_idempotence=True, linger_ms=20
    ) as producer:
        started = time.perf_counter()
        for index in range(count):
            await producer.send("chat.events", encode_event(events[index % len(events)]))
        await producer.flush()
        return count / (time.perf_counter() - started)


async def _with_producer(
    home: Path, timed: Callable[[Producer], Awaitable[list[float]]]
) -> list[float]:
    async with _broker(home) as kafka, Producer(kafka) as producer:
        producer.track(next(iter(interactions(1, start_us=SYSTEM_CLOCK.now_us(), step_us=1))))
        await producer.flush(10)
        return await timed(producer)


async def _paced(call: Callable[[int], object]) -> list[float]:
    spent: list[float] = []
    started = time.perf_counter()
    for index in range(TIMED):
        before = time.perf_counter_ns()
        call(index)
        spent.append((time.perf_counter_ns() - before) / 1000)
        await _keep_pace(started, index)
    return spent


async def _keep_pace(started: float, index: int) -> None:
    """Sleeps once in fifty events, as long as it takes to be on time."""
    if index % 50 == 49:
        ahead = (index + 1) / PACE - (time.perf_counter() - started)
        await asyncio.sleep(max(0.0, ahead))


def _costs(bench: str, spent_us: Sequence[float]) -> list[Result]:
    return [
        Result(bench, "backchannel", "p50", percentile(spent_us, 500), "us"),
        Result(bench, "backchannel", "p99", percentile(spent_us, 990), "us"),
    ]


@contextlib.asynccontextmanager
async def _broker(home: Path) -> AsyncIterator[str]:
    broker = BrokerProcess(home / "kafka")
    await asyncio.to_thread(broker.start)
    try:
        await ensure_topics(broker.bootstrap, clock=SYSTEM_CLOCK)
        yield broker.bootstrap
    finally:
        await asyncio.to_thread(broker.stop)
