"""An alert's way, hop by hop: broker and one worker alone, beside a given load.

    track ──▶ chat.events ──▶ taken, counted, told ──▶ chat.partials ──▶ decided ──▶ chat.alerts
        sent                     flushed                          decided         posted, read

Each hop is timed by the clock of this machine: of the record that holds the event, of the first
partial that holds its series, of the alert's own ``evaluated_at_us``, of its record.
"""

import asyncio
import contextlib
import random
import time
import uuid
from collections.abc import AsyncIterator, Iterable
from itertools import pairwise
from pathlib import Path

import psutil
from aiokafka import AIOKafkaConsumer

from backchannel import Producer
from backchannel.events import Alert, Interaction
from backchannel.events.topics import ALERTS, EVENTS, PARTIALS, PARTITIONS
from benchmarks.load import load
from benchmarks.prefilled import broker_of
from benchmarks.results import OURS, Result, percentile
from support.worker_process import SHIPPED_SETTINGS, WorkerProcess

__all__ = ["alert_way"]

RATES = (200, 2_000, 8_000)
ALERTS_EACH = 30
EVENTS_EACH = 150
SETTLE_S = 5.0
GAP_S = (0.2, 0.6)
LATEST_S = 30.0
HOPS = ("sent", "flushed", "decided", "posted", "read")
_TOPICS = (EVENTS.name, PARTIALS.name, ALERTS.name)


def alert_way(home: Path, rates: Iterable[int] = RATES) -> Iterable[Result]:
    """From `track()` of the event that crosses to the alert in a plain consumer's hand."""
    results: list[Result] = []
    for rate in rates:
        folder = home / str(rate)
        folder.mkdir()
        results += asyncio.run(_at(folder, rate))
    return results


async def _at(home: Path, rate: int) -> list[Result]:
    async with _worker(home) as (kafka, worker):
        process = psutil.Process(worker.pid)
        async with (
            Producer(kafka) as producer,
            _followed(kafka) as way,
            load(kafka, rate, partitions=PARTITIONS),
        ):
            await asyncio.sleep(SETTLE_S)
            process.cpu_percent()
            traces = [await _trace(producer, way) for _ in range(ALERTS_EACH)]
        bench = f"alert_way_{rate}"
        memory_mb = process.memory_info().rss / 2**20
        return [
            *_hops(bench, traces),
            Result(bench, OURS, "worker_cpu", process.cpu_percent(), "percent"),
            Result(bench, OURS, "worker_memory", memory_mb, "MB"),
        ]


@contextlib.asynccontextmanager
async def _worker(home: Path) -> AsyncIterator[tuple[str, WorkerProcess]]:
    async with broker_of(home) as kafka:
        worker = WorkerProcess(kafka, home / "worker.log", SHIPPED_SETTINGS)
        worker.start()
        try:
            await worker.is_at_work()
            yield kafka, worker
        finally:
            worker.kill()


class _Way:
    """What the topics show of one series."""

    def __init__(self) -> None:
        self.name = b""
        self.seen_ms: dict[str, float] = {}
        self.alert = asyncio.Event()

    def look_for(self, name: str) -> None:
        self.name = name.encode()
        self.seen_ms = {}
        self.alert.clear()

    def take(self, topic: str, at_ms: float, value: bytes) -> None:
        if not self.name or self.name not in value:
            return
        if topic == EVENTS.name:
            self.seen_ms["sent"] = at_ms
        elif topic == PARTIALS.name:
            self.seen_ms.setdefault("flushed", at_ms)
        elif not self.alert.is_set():
            alert = Alert.model_validate_json(value)
            self.seen_ms["decided"] = alert.evaluated_at_us / 1000
            self.seen_ms["posted"] = at_ms
            self.seen_ms["read"] = time.time() * 1000
            self.alert.set()


@contextlib.asynccontextmanager
async def _followed(kafka: str) -> AsyncIterator[_Way]:
    way = _Way()
    consumers = [
        AIOKafkaConsumer(topic, bootstrap_servers=kafka, fetch_max_wait_ms=100) for topic in _TOPICS
    ]

    async def follow(consumer: AIOKafkaConsumer) -> None:
        async for record in consumer:
            way.take(record.topic, record.timestamp, record.value)

    async with contextlib.AsyncExitStack() as stack:
        for consumer in consumers:
            await stack.enter_async_context(consumer)
            await consumer.seek_to_end()
        tasks = [asyncio.create_task(follow(each)) for each in consumers]
        try:
            yield way
        finally:
            for task in tasks:
                task.cancel()


async def _trace(producer: Producer, way: _Way) -> dict[str, float]:
    """Returns the instants of one alert, in milliseconds."""
    await asyncio.sleep(random.uniform(*GAP_S))
    tenant = f"slow-{uuid.uuid4().hex[:8]}"
    way.look_for(tenant)
    conversation = uuid.uuid4().hex  # all in one source partition
    for _ in range(EVENTS_EACH):
        producer.track(
            Interaction(
                tenant_id=tenant, conversation_id=conversation, duration_us=30_000_000, model="m"
            )
        )
    accepted_ms = time.time() * 1000
    async with asyncio.timeout(LATEST_S):
        await way.alert.wait()
    return {"track": accepted_ms, **way.seen_ms}


def _hops(bench: str, traces: list[dict[str, float]]) -> list[Result]:
    whole = [trace["read"] - trace["track"] for trace in traces]
    results = [
        Result(bench, OURS, "delay_p50", percentile(whole, 500), "ms"),
        Result(bench, OURS, "delay_p99", percentile(whole, 990), "ms"),
    ]
    for before, after in pairwise(("track", *HOPS)):
        spent = [trace[after] - trace[before] for trace in traces if {before, after} <= set(trace)]
        results += [
            Result(bench, OURS, f"{after}_p50", percentile(spent, 500), "ms"),
            Result(bench, OURS, f"{after}_p99", percentile(spent, 990), "ms"),
        ]
    return results
