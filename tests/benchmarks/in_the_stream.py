"""How many events a second one worker turns into windows, merge included.

All measures, all widths, the default groupings (everything, tenant, tenant+endpoint+model: 66
series). The events lie 50 us apart: what a fleet of 20,000 events a second has left behind.
"""

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition

from backchannel.events import open_batch
from backchannel_processors.observations import read
from benchmarks.prefilled import committed, prefilled
from benchmarks.results import Result
from support.worker_process import WorkerProcess

EVENTS = 1_000_000
RECORDS = 60_000
STEP_US = 50
GROUP = "backchannel-processors"


def windows(home: Path) -> Iterable[Result]:
    """At 100 events a record and at 1, beside the bare loop that only polls and decodes."""
    results: list[Result] = []
    for events, each, metric in (
        (EVENTS, 100, "events_per_s"),
        (RECORDS, 1, "events_per_s_at_1_a_record"),
    ):
        rate, decode = asyncio.run(_rates(home / str(each), events, each))
        results.append(Result("windows", "backchannel", metric, rate, "events_per_s"))
        results.append(Result("windows", "decode-only", metric, decode, "events_per_s"))
    return results


async def _rates(home: Path, events: int, each: int) -> tuple[float, float]:
    home.mkdir()
    async with prefilled(home, events, each, step_us=STEP_US) as kafka:
        decode = await _decode_rate(kafka, events)
        worker = WorkerProcess(kafka, home / "worker.log", {})
        worker.start()
        try:
            return await _worker_rate(kafka, events, each), decode
        finally:
            worker.kill()


async def _worker_rate(kafka: str, events: int, each: int) -> float:
    """From the first commit to the last one: starting is not what is measured."""
    records = events // each
    first, started = 0, 0.0
    while True:
        done = await committed(kafka, GROUP, "chat.events")
        if done and not started:
            first, started = done, time.perf_counter()
        if done >= records:
            return (done - first) * each / (time.perf_counter() - started)
        await asyncio.sleep(0.05)


async def _decode_rate(kafka: str, events: int) -> float:
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, max_partition_fetch_bytes=4 * 1024 * 1024)
    async with consumer:
        partitions = [TopicPartition("chat.events", number) for number in range(12)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        seen, started = 0, time.perf_counter()
        while seen < events:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                for record in records:
                    reading = read(open_batch(record.value, record.headers))
                    seen += len(reading.observations)
        return events / (time.perf_counter() - started)
