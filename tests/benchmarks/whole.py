"""The whole pipeline on this machine: alert delay, time to query, query, memory, idle CPU."""

import asyncio
import contextlib
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import psutil
from aiokafka import AIOKafkaConsumer
from clickhouse_connect.driver.client import Client

from backchannel import Producer
from backchannel.events import Alert, Interaction, new_event_id
from backchannel.events.topics import ALERTS as ALERTS_TOPIC
from backchannel.events.topics import EVENTS
from benchmarks.load import load
from benchmarks.results import OURS, Result, percentile
from support.stack import Stack, eventually

RATES = (2_000, 8_000, 20_000)
"""Events a second beside what is measured."""
SETTLE_S = 8.0
ALERTS = 25
BUDGETS = 10
QUERIED = 20
ASK_EVERY_S = 0.05
GAP_S = (0.1, 0.5)
LATEST_S = 20.0
"""What takes longer stands here with this, and is not tried again: at that rate the machine does
not keep up, and everything is later than what came before."""
BUDGET_TOKENS = 1_000_000_000  # of a tenant a day: the shipped rule
IDLE_S = 20.0


def whole(home: Path) -> Iterable[Result]:
    """One stack serves all of it, in this order: idle, then at each rate alerts, budgets and what
    can be queried, then queries and memory."""
    stack = Stack(home / "data")
    try:
        stack.start()
        results = _idle_cpu(stack)
        for rate in RATES:
            results += asyncio.run(_under_load(stack, rate))
        results += _queries(stack)
        results += _memory(stack)
        assert stack.stop() == 0
    finally:
        stack.kill()
    return results


async def _under_load(stack: Stack, rate: int) -> list[Result]:
    partitions = await _partitions(stack.kafka)
    async with Producer(stack.kafka) as bot, load(stack.kafka, rate, partitions=partitions):
        await asyncio.sleep(SETTLE_S)
        roles = _roles(stack)
        for process in roles.values():
            process.cpu_percent()
        alerts_ms = await _repeated(ALERTS, lambda: _crossed(stack, bot, _slow_turns, "latency"))
        budgets_ms = await _repeated(
            BUDGETS, lambda: _crossed(stack, bot, _spent_budget, "token-budget")
        )
        busy = {name: process.cpu_percent() for name, process in roles.items()}
        client = stack.client()
        queryable_ms = await _repeated(QUERIED, lambda: _queryable(client, bot))
        client.close()
        return [
            *_delays(f"alert_delay_{rate}", alerts_ms),
            *_delays(f"budget_delay_{rate}", budgets_ms),
            *_delays(f"queryable_delay_{rate}", queryable_ms),
            *(
                Result(f"cpu_{rate}", OURS, name, percent, "percent")
                for name, percent in busy.items()
            ),
        ]


async def _partitions(kafka: str) -> int:
    async with AIOKafkaConsumer(EVENTS.name, bootstrap_servers=kafka) as consumer:
        return len(consumer.partitions_for_topic(EVENTS.name) or ())


def _slow_turns(tenant: str) -> list[Interaction]:
    return [Interaction(tenant_id=tenant, duration_us=30_000_000, model="m") for _ in range(200)]


def _spent_budget(tenant: str) -> list[Interaction]:
    turn = Interaction(tenant_id=tenant, duration_us=100_000, input_tokens=BUDGET_TOKENS // 2)
    return [turn, turn.model_copy(update={"event_id": new_event_id()})]


async def _crossed(
    stack: Stack, bot: Producer, turns: Callable[[str], list[Interaction]], rule: str
) -> float:
    """Milliseconds from `track()` of the event that crosses to the alert in a plain consumer's
    hand."""
    await asyncio.sleep(random.uniform(*GAP_S))
    tenant = f"crossed-{uuid.uuid4().hex[:8]}"
    async with AIOKafkaConsumer(ALERTS_TOPIC.name, bootstrap_servers=stack.kafka) as consumer:
        await consumer.seek_to_end()
        for turn in turns(tenant):
            bot.track(turn)
        crossed = time.perf_counter()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LATEST_S):
                async for record in consumer:
                    alert = Alert.model_validate_json(record.value)
                    if alert.rule.startswith(rule) and tenant in alert.dims.values():
                        return (time.perf_counter() - crossed) * 1000
        return LATEST_S * 1000


async def _queryable(client: Client, bot: Producer) -> float:
    """Milliseconds from `track()` to the first SELECT that finds the event."""
    tenant = uuid.uuid4().hex

    def found() -> bool:
        answer = client.query(
            "SELECT count() FROM events WHERE event_type = 'interaction'"
            f" AND tenant_id = '{tenant}' AND ts > now() - 600"
        )
        return bool(answer.result_rows[0][0])

    started = time.perf_counter()
    bot.track(Interaction(tenant_id=tenant))
    while not await asyncio.to_thread(found):
        if time.perf_counter() - started > LATEST_S:
            return LATEST_S * 1000
        await asyncio.sleep(ASK_EVERY_S)
    return (time.perf_counter() - started) * 1000


async def _repeated(times: int, measure: Callable[[], Awaitable[float]]) -> list[float]:
    delays_ms: list[float] = []
    while len(delays_ms) < times and LATEST_S * 1000 not in delays_ms:
        delays_ms.append(await measure())
    return delays_ms


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
        Result(bench, OURS, "p50", percentile(values_ms, 500), "ms"),
        Result(bench, OURS, "p99", percentile(values_ms, 990), "ms"),
    ]


def _roles(stack: Stack) -> dict[str, psutil.Process]:
    return {each["name"]: psutil.Process(each["pid"]) for each in stack.state["processes"]}


def _memory(stack: Stack) -> list[Result]:
    return [
        Result("memory", OURS, name, process.memory_info().rss / 2**20, "MB")
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
        Result("idle_cpu", OURS, name, process.cpu_percent(), "percent")
        for name, process in roles.items()
    ]
