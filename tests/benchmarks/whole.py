"""The whole pipeline on this machine: alert delay, time to query, query, memory, idle CPU."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Iterable
from pathlib import Path

import psutil
from aiokafka import AIOKafkaConsumer

from backchannel import Producer
from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import Alert, Interaction
from benchmarks.results import Result, percentile
from benchmarks.traffic import interactions
from support.stack import Stack, eventually

ALERTS = 20
QUERIED = 30
LOAD = 2_000  # events a second beside what is measured
IDLE_S = 20.0


def whole(home: Path) -> Iterable[Result]:
    """One stack serves all of it, in this order: idle, alerts, queryable, query, memory."""
    stack = Stack(home / "data")
    try:
        stack.start()
        results = _idle_cpu(stack)
        results += asyncio.run(_under_load(stack))
        results += _queries(stack)
        results += _memory(stack)
        assert stack.stop() == 0
    finally:
        stack.kill()
    return results


async def _under_load(stack: Stack) -> list[Result]:
    async with Producer(stack.kafka) as producer:
        load = asyncio.create_task(_load(producer))
        try:
            await asyncio.sleep(5)
            return [*await _alert_delays(stack, producer), *await _queryable(stack, producer)]
        finally:
            load.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await load


async def _load(producer: Producer) -> None:
    started, sent = time.perf_counter(), 0
    while True:
        batch = interactions(LOAD // 20, start_us=SYSTEM_CLOCK.now_us(), step_us=500, seed=sent)
        for event in batch:
            producer.track(event)
            sent += 1
        await asyncio.sleep(max(0.0, sent / LOAD - (time.perf_counter() - started)))


async def _alert_delays(stack: Stack, producer: Producer) -> list[Result]:
    """From `track()` of the event that crosses to the alert in a plain consumer's hand."""
    delays_ms: list[float] = []
    async with AIOKafkaConsumer("chat.alerts", bootstrap_servers=stack.kafka) as consumer:
        await consumer.seek_to_end()
        for _ in range(ALERTS):
            tenant = f"slow-{uuid.uuid4().hex[:8]}"
            for _ in range(200):
                producer.track(Interaction(tenant_id=tenant, duration_us=30_000_000, model="m"))
            crossed = time.perf_counter()
            async with asyncio.timeout(30):
                async for record in consumer:
                    if tenant in Alert.model_validate_json(record.value).dims.values():
                        break
            delays_ms.append((time.perf_counter() - crossed) * 1000)
    return _delays("alert_delay", delays_ms)


async def _queryable(stack: Stack, producer: Producer) -> list[Result]:
    """From `track()` to the first SELECT that finds the event; one SELECT each 10 ms."""
    client = stack.client()

    def found(request_id: str) -> bool:
        answer = client.query(f"SELECT count() FROM events WHERE request_id = '{request_id}'")
        return bool(answer.result_rows[0][0])

    delays_ms: list[float] = []
    for _ in range(QUERIED):
        request_id = uuid.uuid4().hex
        started = time.perf_counter()
        producer.track(Interaction(request_id=request_id, tenant_id=request_id))
        while not await asyncio.to_thread(found, request_id):
            await asyncio.sleep(0.01)
        delays_ms.append((time.perf_counter() - started) * 1000)
    client.close()
    return _delays("queryable_delay", delays_ms)


def _queries(stack: Stack) -> list[Result]:
    """What a dashboard asks: percentiles of every tenant, minute by minute."""
    statement = (
        "SELECT window_start, tenant, n, p50_ms, p95_ms, p99_ms FROM v_latency"
        " WHERE grouping = 'tenant' AND window_s = 60"
    )
    client = stack.client()
    spent_ms: list[float] = []
    for _ in range(30):
        started = time.perf_counter()
        assert client.query(statement).result_rows
        spent_ms.append((time.perf_counter() - started) * 1000)
    client.close()
    return _delays("query", spent_ms)


def _delays(bench: str, values_ms: list[float]) -> list[Result]:
    return [
        Result(bench, "backchannel", "p50", percentile(values_ms, 500), "ms"),
        Result(bench, "backchannel", "p99", percentile(values_ms, 990), "ms"),
    ]


def _roles(stack: Stack) -> dict[str, psutil.Process]:
    return {each["name"]: psutil.Process(each["pid"]) for each in stack.state["processes"]}


def _memory(stack: Stack) -> list[Result]:
    return [
        Result("memory", "backchannel", name, process.memory_info().rss / 2**20, "MB")
        for name, process in _roles(stack).items()
    ]


def _idle_cpu(stack: Stack) -> list[Result]:
    """Share of one core while nothing is sent."""
    eventually(lambda: set(stack.sql("SELECT 1")), {1})
    time.sleep(15)  # until the worker has its partitions
    roles = _roles(stack)
    for process in roles.values():
        process.cpu_percent()
    time.sleep(IDLE_S)
    return [
        Result("idle_cpu", "backchannel", name, process.cpu_percent(), "percent")
        for name, process in roles.items()
    ]
