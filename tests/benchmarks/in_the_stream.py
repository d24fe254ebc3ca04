"""How many events a second one worker turns into windows, merge included, beside other stream
processors with a mean of one measure.

All measures, all widths, the default groupings (everything, tenant, tenant+endpoint+model: 66
series). The events lie 50 us apart: what a fleet of 20,000 events a second has left behind.
"""

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import encode_event, open_batch
from backchannel_processors.observations import read
from backchannel_processors.topics import APP_ID
from benchmarks.peers import PEERS, figures_of_java, figures_of_python
from benchmarks.prefilled import committed, prefilled
from benchmarks.results import OURS, Result
from benchmarks.traffic import interactions
from support.worker_process import SHIPPED_SETTINGS, WorkerProcess

EVENTS = 1_000_000
RECORDS = 60_000
STEP_US = 50
GROUP = APP_ID
PEER_TOPIC = "bench.events"
PYTHON_PEERS = {
    "faust": "faust_windows",
    "quixstreams": "quixstreams_windows",
    "bytewax": "bytewax_windows",
}
PEER_NAMES = {*PYTHON_PEERS, "kafka-streams"}


def windows(home: Path) -> Iterable[Result]:
    """At 100 events a record and at 1, beside the bare loop that only polls and decodes, and
    beside what others make of a record an event, which is how they are used."""
    results: list[Result] = []
    peers: dict[str, float] = {}
    for events, each, metric in (
        (RECORDS, 1, "events_per_s_at_1_a_record"),
        (EVENTS, 100, "events_per_s"),
    ):
        rates = asyncio.run(_rates(home / str(each), events, each))
        peers = peers or {name: rates[name] for name in rates.keys() & PEER_NAMES}
        results += [
            Result("windows", name, metric, rate, "events_per_s")
            for name, rate in {**rates, **peers}.items()
        ]
    return results


async def _rates(home: Path, events: int, each: int) -> dict[str, float]:
    home.mkdir()
    async with prefilled(home, events, each, step_us=STEP_US) as kafka:
        decode = await _decode_rate(kafka, events)
        peers = await _peer_rates(home, kafka, events) if each == 1 else {}
        worker = WorkerProcess(kafka, home / "worker.log", SHIPPED_SETTINGS)
        worker.start()
        try:
            ours = await _worker_rate(kafka, events, worker)
        finally:
            worker.kill()
        return {OURS: ours, "decode-only": decode, **peers}


async def _peer_rates(home: Path, kafka: str, events: int) -> dict[str, float]:
    """One after the other, on the same events in a topic of their own, by tenant."""
    await _fill_for_peers(kafka, events)
    given = (kafka, PEER_TOPIC, str(events))
    rates: dict[str, float] = {}
    for name, module in PYTHON_PEERS.items():
        found = await asyncio.to_thread(figures_of_python, PEERS, module, *given)
        rates[name] = found["events_per_s"]
    try:
        found = await asyncio.to_thread(
            figures_of_java, home, "KafkaStreamsWindows", *given, str(home)
        )
        rates["kafka-streams"] = found["events_per_s"]
    except LookupError as error:
        print(f"kafka-streams is not measured: {error}")
    return rates


async def _fill_for_peers(kafka: str, events: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(PEER_TOPIC, 12, 1)])
    await admin.close()
    start_us = SYSTEM_CLOCK.now_us() - events * STEP_US
    async with AIOKafkaProducer(bootstrap_servers=kafka, linger_ms=20) as producer:
        for event in interactions(events, start_us=start_us, step_us=STEP_US):
            await producer.send(PEER_TOPIC, encode_event(event), key=event.tenant_id.encode())


async def _worker_rate(kafka: str, events: int, worker: WorkerProcess) -> float:
    """From the moment it has its partitions until all they hold is in windows: every record read
    and its partials too, with the states of both written. Starting is not what is measured."""
    await worker.is_at_work()
    started = time.perf_counter()
    await _is_read(kafka, "chat.events", worker)
    await _is_read(kafka, "chat.partials", worker)
    return events / (time.perf_counter() - started)


async def _is_read(kafka: str, topic: str, worker: WorkerProcess) -> None:
    """Waits until the worker has committed what stands on a topic now."""
    async with AIOKafkaConsumer(bootstrap_servers=kafka) as consumer:
        partitions = [TopicPartition(topic, number) for number in range(12)]
        ends = await consumer.end_offsets(partitions)
    while await committed(kafka, GROUP, topic) < sum(ends.values()):
        assert worker.is_running, f"the worker ended: {worker.log()[-500:]}"
        await asyncio.sleep(0.2)


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
