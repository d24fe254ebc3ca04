"""How many rows a second one sink process stores in the embedded ClickHouse, and how large they
are there."""

import asyncio
import contextlib
import time
from collections.abc import Iterable
from pathlib import Path

from clickhouse_connect.driver.client import Client

from backchannel.clock import SYSTEM_CLOCK
from backchannel_sinks.block import Block
from backchannel_sinks.clickhouse.connection import connect
from backchannel_sinks.clickhouse.migrate import migrate
from backchannel_sinks.clickhouse.store import ClickHouseStore
from backchannel_sinks.numbers import ProducerNumbers
from backchannel_sinks.records import Place, Record
from backchannel_sinks.rows import event_rows
from benchmarks.prefilled import prefilled
from benchmarks.results import Result
from benchmarks.traffic import batches
from support.endpoint import ClickHouse, EndpointProcess
from support.sink_process import SinkProcess

ASK_EVERY_S = 0.25  # a question costs the engine some milliseconds of CPU, too
EVENTS = 1_000_000
DIRECT = 500_000
BLOCK = 50_000


def sink(home: Path) -> Iterable[Result]:
    """From a full topic to rows, beside inserts of ready bytes through the same endpoint."""
    return asyncio.run(_sink(home))


async def _sink(home: Path) -> list[Result]:
    endpoint = EndpointProcess(home / "clickhouse")
    await asyncio.to_thread(endpoint.start)
    try:
        direct = await _direct(endpoint.url)
        async with prefilled(home, EVENTS, 100) as kafka:
            rate = await asyncio.to_thread(_sink_rate, home, kafka, endpoint.url)
    finally:
        await asyncio.to_thread(endpoint.stop)
    return [
        Result("sink", "backchannel", "rows_per_s", rate, "rows_per_s"),
        *direct,
    ]


def _sink_rate(home: Path, kafka: str, url: str) -> float:
    with contextlib.closing(connect(url, "through_the_sink")) as client:
        migrate(client)
        process = SinkProcess(kafka, ClickHouse(url, "through_the_sink"), home / "sink.log")
        process.start()
        try:
            # The clock starts with the first block: connecting is not what is measured.
            while (first := _stored(client)) == 0:
                time.sleep(0.01)
            started = time.perf_counter()
            while (stored := _stored(client)) < EVENTS:
                time.sleep(ASK_EVERY_S)
            assert stored == EVENTS
            return (EVENTS - first) / (time.perf_counter() - started)
        finally:
            process.kill()


async def _direct(url: str) -> list[Result]:
    """Bodies as the sink builds them, made beforehand, inserted one after the other; then what a
    row takes on the disk, once it is merged, beside its line."""
    with contextlib.closing(connect(url, "direct")) as client:
        migrate(client)
        rate, line_bytes = await _direct_rate(url)
        client.command("OPTIMIZE TABLE events FINAL")
        row_bytes = float(
            client.query(
                "SELECT sum(bytes_on_disk) / sum(rows) FROM system.parts"
                " WHERE active AND database = 'direct' AND table = 'events'"
            ).result_rows[0][0]
        )
    return [
        Result("sink", "direct", "rows_per_s", rate, "rows_per_s"),
        Result("size", "events", "bytes_per_row", row_bytes, "B"),
        Result("size", "NDJSON", "bytes_per_row", line_bytes, "B"),
    ]


async def _direct_rate(url: str) -> tuple[float, float]:
    """Rows a second, and bytes of a line."""
    bodies: list[tuple[bytes, tuple[str, ...]]] = []
    records: list[Record] = []
    sent_bytes = 0
    began_us = SYSTEM_CLOCK.now_us()
    made = batches(DIRECT, start_us=began_us, step_us=100, events_a_record=100, partitions=1)
    for offset, (_, batch) in enumerate(made):
        # Of now: rows of long ago would expire at the first merge.
        records.append(Record(offset, began_us // 1000, batch.value, batch.headers))
        sent_bytes += len(batch.value)
        if len(records) * 100 == BLOCK:
            block = Block(Place("chat.events", 0), 0, records)
            rows = event_rows(block, ProducerNumbers())
            assert rows.stored == BLOCK
            bodies.append((rows.body, rows.columns))
            records = []
    store = ClickHouseStore(lambda: connect(url, "direct"), SYSTEM_CLOCK)
    started = time.perf_counter()
    for number, (body, columns) in enumerate(bodies):
        await store.insert("events", body, f"direct-{number}", columns)
    spent = time.perf_counter() - started
    store.close()
    return DIRECT / spent, sent_bytes / DIRECT


def _stored(client: Client) -> int:
    return int(str(client.query("SELECT count() FROM events").result_rows[0][0]))
