"""What the producer costs the bot, and how much one process delivers, beside its peers."""

import asyncio
import contextlib
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path

from aiokafka import AIOKafkaProducer

from backchannel import Producer, ProducerSettings
from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import Interaction, SealedBatch, encode_event
from backchannel.sending.kafka import KafkaTransport
from backchannel_deploy.topics import ensure_topics
from benchmarks.peers import OURSELVES, PEERS, figures_of_python
from benchmarks.results import Result, percentile
from benchmarks.swallow import swallow
from benchmarks.traffic import batches, interactions
from support.broker import BrokerProcess

DELIVERED = 400_000

SUBJECTS = {
    # name: (module under benchmarks.subjects, interpreter)
    "floor": ("floor", OURSELVES),
    "backchannel": ("ours", OURSELVES),
    "opentelemetry-sdk": ("opentelemetry_sdk", PEERS),
    "posthog": ("posthog_sdk", PEERS),
    "langfuse": ("langfuse_sdk", PEERS),
}
IMPORTS = 7


def track(home: Path) -> Iterable[Result]:
    """One call with an event that exists, 5,000 a second, while they are sent: its time, the
    process's time for each delivered event, and how late a timer of the same loop is."""
    for name, found in _beside_peers(home, "call"):
        yield from _rows("track", name, found, "call")
        yield Result("cpu", name, "per_event", found["cpu_us"], "us")
        yield Result("cpu", name, "delivered", 100 * found["delivered"], "percent")
    for name, found in _beside_peers(home, "delay"):
        yield from _rows("loop_delay", name, found, "delay")


def interaction(home: Path) -> Iterable[Result]:
    """The whole block around a turn that does nothing, at the same pace."""
    for name, found in _beside_peers(home, "block"):
        yield from _rows("interaction", name, found, "block")


def imports(home: Path) -> Iterable[Result]:
    """`import` of each in a fresh interpreter, beside an interpreter that imports nothing.

    All from compiled files, as where a bot runs: the first run of each makes them, uncounted.
    """
    compiling = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    for name, (interpreter, statement) in {
        "floor": (OURSELVES, ""),
        "backchannel": (OURSELVES, "import backchannel"),
        "opentelemetry-sdk": (PEERS, "import opentelemetry.sdk.trace.export"),
        "posthog": (PEERS, "import posthog"),
        "langfuse": (PEERS, "import langfuse"),
    }.items():
        spent_ms = []
        for _ in range(1 + IMPORTS):
            started = time.perf_counter()
            subprocess.run([interpreter, "-c", statement], check=True, cwd=home, env=compiling)
            spent_ms.append((time.perf_counter() - started) * 1000)
        yield Result("import", name, "p50", percentile(spent_ms[1:], 500), "ms")


def _beside_peers(home: Path, phase: str) -> Iterator[tuple[str, dict[str, float]]]:
    broker = BrokerProcess(home / f"kafka-{phase}")
    broker.start()
    try:
        asyncio.run(ensure_topics(broker.bootstrap, clock=SYSTEM_CLOCK))
        with swallow() as endpoint:
            for name, (module, interpreter) in SUBJECTS.items():
                where = broker.bootstrap if name == "backchannel" else endpoint
                yield name, figures_of_python(interpreter, module, where, phase)
    finally:
        broker.stop()


def _rows(bench: str, name: str, found: dict[str, float], phase: str) -> Iterator[Result]:
    for metric in ("p50", "p99"):
        if f"{phase}_{metric}" in found:
            yield Result(bench, name, metric, found[f"{phase}_{metric}"], "us")


def produce(home: Path) -> Iterable[Result]:
    """Acknowledged events a second: sealed batches, `track()` of events that exist, and beside it
    aiokafka and confluent-kafka with a record for each event."""
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
        lines = home / "lines.jsonl"
        lines.write_bytes(b"\n".join(encode_event(event) for event in events))
        found = await asyncio.to_thread(
            figures_of_python, PEERS, "confluent", kafka, str(DELIVERED // 2), str(lines)
        )
        rate = found["events_per_s"]
        results.append(Result("produce", "confluent-kafka", "events_per_s", rate, "events_per_s"))
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


@contextlib.asynccontextmanager
async def _broker(home: Path) -> AsyncIterator[str]:
    broker = BrokerProcess(home / "kafka")
    await asyncio.to_thread(broker.start)
    try:
        await ensure_topics(broker.bootstrap, clock=SYSTEM_CLOCK)
        yield broker.bootstrap
    finally:
        await asyncio.to_thread(broker.stop)
