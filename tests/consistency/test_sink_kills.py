"""The sink is killed, frozen and cut off at random; then every count is held to the ledger."""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from backchannel.events.topics import EVENTS
from support.broker import BrokerProcess
from support.endpoint import ClickHouse, EndpointProcess, fresh_database
from support.sink_process import (
    SESSION_TIMEOUT_S,
    Feeder,
    SinkFactory,
    SinkProcess,
    feeder,
    prepare,
    sink_factory,
)
from support.stack import eventually

__all__ = ["sink_factory"]

pytestmark = [pytest.mark.consistency, pytest.mark.timeout(900)]

FULL = os.environ.get("BACKCHANNEL_FAULTS") == "full"
KILLS = 50 if FULL else 6
SEEDS = range(5) if FULL else range(1)
GARBAGE = (None, b"", b"{]", b"\xff\xfe", b'{"event_type":"exposure"}', b"good\nbad")
GARBAGE_LINES = sum(1 if not value else value.count(b"\n") + 1 for value in GARBAGE)

LEDGER = """
    SELECT count(), sum(input_tokens), sum(output_tokens),
           count() - uniqExact(_partition, _offset, _line), count() - uniqExact(event_id)
    FROM events
"""
DEAD = "SELECT uniqExact(topic, partition, offset, line) FROM dead_letters FINAL"


@pytest.mark.parametrize("seed", SEEDS)
async def test_kills_at_random_under_load_lose_and_double_nothing(
    private_kafka: Callable[[], BrokerProcess],
    clickhouse: ClickHouse,
    sink_factory: SinkFactory,
    seed: int,
) -> None:
    chance = random.Random(seed)
    bootstrap = private_kafka().bootstrap
    await prepare(bootstrap, clickhouse)
    sink = sink_factory(bootstrap, clickhouse, **SMALL_BLOCKS)
    async with feeder(bootstrap) as bot, under_load(bot) as load:
        for _ in range(KILLS):
            sink.start()
            stored = sink.logged("block_stored")
            await logged(sink, "block_stored", stored + 1)
            await asyncio.sleep(chance.uniform(0, 2))
            sink.kill()
        garbage = await load.end()
        sink.start()
        await settled(clickhouse, bot, garbage)


async def test_a_frozen_sink_that_wakes_after_another_took_over_doubles_nothing(
    private_kafka: Callable[[], BrokerProcess], clickhouse: ClickHouse, sink_factory: SinkFactory
) -> None:
    bootstrap = private_kafka().bootstrap
    await prepare(bootstrap, clickhouse)
    frozen = sink_factory(bootstrap, clickhouse, **SMALL_BLOCKS)
    other = sink_factory(bootstrap, clickhouse, **SMALL_BLOCKS)
    async with feeder(bootstrap) as bot, under_load(bot) as load:
        frozen.start()
        other.start()
        await logged(frozen, "block_stored", 5)
        await logged(other, "block_stored", 5)
        for _ in range(3 if FULL else 1):
            took_over = other.logged("partitions_assigned") + 1
            frozen.pause()
            await asyncio.sleep(SESSION_TIMEOUT_S)
            await logged(other, "partitions_assigned", took_over)
            await asyncio.sleep(2)
            again = frozen.logged("partitions_assigned") + 1
            frozen.resume()
            await logged(frozen, "partitions_assigned", again)
            await asyncio.sleep(2)
        garbage = await load.end()
        await settled(clickhouse, bot, garbage)
        assert (frozen.stop(), other.stop()) == (0, 0)


async def test_members_that_come_and_go_under_load_lose_and_double_nothing(
    private_kafka: Callable[[], BrokerProcess], clickhouse: ClickHouse, sink_factory: SinkFactory
) -> None:
    bootstrap = private_kafka().bootstrap
    await prepare(bootstrap, clickhouse)
    stays, comes = (sink_factory(bootstrap, clickhouse, **SMALL_BLOCKS) for _ in range(2))
    async with feeder(bootstrap) as bot, under_load(bot) as load:
        stays.start()
        for _ in range(10 if FULL else 2):
            comes.start()
            await logged(comes, "block_stored", comes.logged("block_stored") + 3)
            assert comes.stop() == 0
        garbage = await load.end()
        await settled(clickhouse, bot, garbage)
        assert stays.stop() == 0


async def test_a_broker_killed_and_back_loses_and_doubles_nothing_and_no_partition_stays_behind(
    private_kafka: Callable[[], BrokerProcess], clickhouse: ClickHouse, sink_factory: SinkFactory
) -> None:
    broker = private_kafka()
    await prepare(broker.bootstrap, clickhouse)
    sink = sink_factory(broker.bootstrap, clickhouse, **SMALL_BLOCKS)
    sink.start()
    async with feeder(broker.bootstrap) as bot:
        for _ in range(3 if FULL else 1):
            await bot.send_many(120, 20)
            await logged(sink, "block_stored", sink.logged("block_stored") + 1)
            await asyncio.to_thread(broker.kill)
            await asyncio.sleep(2)
            await asyncio.to_thread(broker.start)
        await bot.send_many(120, 20)
        await settled(clickhouse, bot, 0)


async def test_clickhouse_killed_in_the_middle_of_inserts_loses_and_doubles_nothing(
    private_kafka: Callable[[], BrokerProcess],
    private_clickhouse: Callable[..., EndpointProcess],
    sink_factory: SinkFactory,
) -> None:
    chance = random.Random(3)
    endpoint = private_clickhouse()
    with fresh_database(endpoint.url) as database:
        bootstrap = private_kafka().bootstrap
        await prepare(bootstrap, database)
        sink = sink_factory(bootstrap, database, **SMALL_BLOCKS)
        sink.start()
        async with feeder(bootstrap) as bot, under_load(bot) as load:
            for _ in range(10 if FULL else 3):
                await logged(sink, "block_stored", sink.logged("block_stored") + 3)
                await asyncio.sleep(chance.uniform(0, 1))
                await asyncio.to_thread(endpoint.kill)
                await asyncio.to_thread(endpoint.start)
            garbage = await load.end()
            await settled(database, bot, garbage)


SMALL_BLOCKS = {"sink_block_rows_max": "200", "sink_linger_ms": "100"}
"""Many blocks, so that a kill is likely to fall into every step of one."""


class Load:
    """Sends batches without pause, a hundredth of the records garbage."""

    def __init__(self, bot: Feeder) -> None:
        self._bot = bot
        self._garbage_lines = 0
        self._ended = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def end(self) -> int:
        """Ends it; returns how many garbage lines were sent."""
        self._ended.set()
        await self._task
        return self._garbage_lines

    async def _run(self) -> None:
        while not self._ended.is_set():
            await self._bot.send_many(96, 10)
            for number, value in enumerate(GARBAGE):
                await self._bot.kafka.send_and_wait(
                    EVENTS.name, value, key=b"k", partition=number % EVENTS.partitions
                )
            self._garbage_lines += GARBAGE_LINES
            await asyncio.sleep(0.2)


@asynccontextmanager
async def under_load(bot: Feeder) -> AsyncIterator[Load]:
    """Traffic for as long as the block lasts."""
    load = Load(bot)
    try:
        yield load
    finally:
        await load.end()


async def settled(clickhouse: ClickHouse, bot: Feeder, garbage_lines: int) -> None:
    """Waits until the tables hold what was sent, and holds every row against the ledger."""
    with closing(clickhouse.client(autogenerate_session_id=False)) as client:
        await asyncio.to_thread(
            eventually, lambda: row(client, LEDGER), (*bot.ledger.sums, 0, 0), timeout_s=120
        )
        await asyncio.to_thread(
            eventually, lambda: row(client, DEAD), (garbage_lines,), timeout_s=60
        )


async def logged(sink: SinkProcess, event: str, times: int) -> None:
    """Waits until the sink has logged something so many times."""
    await asyncio.to_thread(sink.wait_until_logged, event, times=times)


def row(client: Client, statement: str) -> Sequence[Any]:
    """The first row of the answer, as a tuple."""
    return tuple(client.query(statement).result_rows[0])
