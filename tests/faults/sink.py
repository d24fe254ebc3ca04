"""Sinks under load while something goes wrong; then every row is held to the ledger."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from random import Random
from typing import Any

from clickhouse_connect.driver.exceptions import ClickHouseError

from backchannel.events.topics import EVENTS
from faults.result import Result
from faults.tasks import cancelled, first_failure, waited
from support.broker import BrokerProcess
from support.endpoint import ClickHouse, EndpointProcess, fresh_database
from support.sink_process import SESSION_TIMEOUT_S, Feeder, SinkProcess, feeder, prepare

__all__ = [
    "BROKER",
    "CLICKHOUSE",
    "FAULTS",
    "FREEZE",
    "KILLS",
    "MEMBERS",
    "SinkFault",
    "SinkStage",
    "under_fault",
]

GARBAGE = (None, b"", b"{]", b"\xff\xfe", b'{"event_type":"exposure"}', b"good\nbad")
GARBAGE_LINES = sum(1 if not value else value.count(b"\n") + 1 for value in GARBAGE)

_SMALL_BLOCKS = {
    "sink_block_rows_max": "200",
    "sink_linger_ms": "100",
    "sink_insert_timeout_s": "5",
}
"""Many blocks, so that a kill is likely to fall into every step of one."""
_SETTLE_S = 120.0
_LEDGER = """
    SELECT count(), sum(input_tokens), sum(output_tokens), uniqExact(_partition, _offset, _line),
           uniqExact(event_id)
    FROM events
"""
_DEAD = "SELECT uniqExact(topic, partition, offset, line) FROM dead_letters FINAL"


@dataclass
class SinkStage:
    """What a fault can be done to."""

    broker: BrokerProcess
    endpoint: EndpointProcess
    clickhouse: ClickHouse
    sinks: Sequence[SinkProcess]
    chance: Random
    bot: Feeder
    garbage_lines: int = 0
    is_over: bool = False
    """No more load is wanted."""
    sending: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Records of a partition leave in the order of their numbers."""
    recoveries: list[asyncio.Task[float]] = field(default_factory=list)

    def watch(self) -> None:
        """Begins to measure how long it takes until what is sent now is stored."""
        self.recoveries.append(asyncio.create_task(self._recovery()))

    async def more_blocks(self, sink: SinkProcess, count: int) -> None:
        """Waits until a sink has stored so many blocks more."""
        await self.logged(sink, "block_stored", sink.logged("block_stored") + count)

    async def logged(self, sink: SinkProcess, event: str, times: int) -> None:
        """Waits until a sink has logged something so many times."""
        await asyncio.to_thread(sink.wait_until_logged, event, times=times)

    async def ask(self, statement: str) -> Sequence[Any]:
        """Returns the first row of the answer; nothing while ClickHouse is away."""

        def row() -> Sequence[Any]:
            try:
                with closing(self.clickhouse.client(autogenerate_session_id=False)) as client:
                    return tuple(client.query(statement).result_rows[0])
            except (ClickHouseError, OSError):
                return ()

        return await asyncio.to_thread(row)

    async def _recovery(self) -> float:
        began_s = time.monotonic()
        async with self.sending:
            first = self.bot.events_made + 1
            for number in range(EVENTS.partitions):
                await self.bot.send(number, 1)
        ours = f"producer_id = '{self.bot.producer_id}' AND seq >= {first}"
        statement = f"SELECT count() FROM events WHERE {ours} AND seq < {first + EVENTS.partitions}"
        while await self.ask(statement) != (EVENTS.partitions,):  # noqa: ASYNC110 -- a table
            await asyncio.sleep(0.1)
        return time.monotonic() - began_s


@dataclass(frozen=True, slots=True)
class SinkFault:
    """Something that goes wrong, ``times`` times over."""

    name: str
    happen: Callable[[SinkStage, int], Coroutine[Any, Any, None]]
    sinks: int = 1


async def under_fault(
    fault: SinkFault,
    times: int,
    seed: int,
    broker: BrokerProcess,
    endpoint: EndpointProcess,
    new_sink: Callable[..., SinkProcess],
) -> Result:
    """Has a fault happen under load, and returns what became of the events when every row is
    exact, or when nothing has changed for two minutes and it is not."""
    with fresh_database(endpoint.url) as clickhouse:
        await prepare(broker.bootstrap, clickhouse)
        sinks = [
            new_sink(broker.bootstrap, clickhouse, **_SMALL_BLOCKS) for _ in range(fault.sinks)
        ]
        async with feeder(broker.bootstrap) as bot:
            stage = SinkStage(broker, endpoint, clickhouse, sinks, Random(seed), bot)
            for sink in sinks:
                sink.start()
            loading = asyncio.create_task(_load(stage))
            try:
                await first_failure(fault.happen(stage, times), loading)
                stage.is_over = True
                await loading
                return await _judged(fault, times, stage)
            finally:
                await cancelled(loading, *stage.recoveries)
                for sink in sinks:
                    sink.kill()


async def _judged(fault: SinkFault, times: int, stage: SinkStage) -> Result:
    await waited(stage.recoveries, _SETTLE_S)  # what they send counts, too
    deadline = time.monotonic() + _SETTLE_S
    count, input_tokens, output_tokens = stage.bot.ledger.sums
    expected = (count, input_tokens, output_tokens, count, count)
    before: object = None
    while time.monotonic() < deadline:
        stored, dead = await stage.ask(_LEDGER), await stage.ask(_DEAD)
        if (stored, dead) != before:
            # On a slow machine what is not stored yet must not look like lost.
            before, deadline = (stored, dead), time.monotonic() + _SETTLE_S
        if (stored, dead) == (expected, (stage.garbage_lines,)):
            break
        await asyncio.sleep(0.25)
    rows, _, _, places, ids = stored or (0,) * 5
    done = [each.result() for each in stage.recoveries if each.done()]
    return Result(
        f"{fault.name} × {times}" if times > 1 else fault.name,
        count,
        count - ids,
        rows - min(places, ids),
        abs(stage.garbage_lines - sum(dead))
        + len(stage.recoveries)
        - len(done)
        + (tuple(stored[:3]) != expected[:3]),
        max(done, default=0.0),
    )


async def _load(stage: SinkStage) -> None:
    """Sends batches without pause, a part of the records garbage, until it is over."""
    while not stage.is_over:
        async with stage.sending:
            await stage.bot.send_many(96, 10)
            for number, value in enumerate(GARBAGE):
                await stage.bot.kafka.send_and_wait(
                    EVENTS.name, value, key=b"k", partition=number % EVENTS.partitions
                )
            stage.garbage_lines += GARBAGE_LINES
        await asyncio.sleep(0.2)


# -- faults ----------------------------------------------------------------------------------------


async def _kill(stage: SinkStage, times: int) -> None:
    (sink,) = stage.sinks
    for _ in range(times):
        await stage.more_blocks(sink, 1)
        await asyncio.sleep(stage.chance.uniform(0, 2))
        sink.kill()
        stage.watch()
        sink.start()


async def _freeze(stage: SinkStage, times: int) -> None:
    frozen, other = stage.sinks
    await stage.more_blocks(frozen, 5)
    await stage.more_blocks(other, 5)
    for _ in range(times):
        took_over = other.logged("partitions_assigned") + 1
        frozen.pause()
        stage.watch()
        await asyncio.sleep(SESSION_TIMEOUT_S)
        await stage.logged(other, "partitions_assigned", took_over)
        await asyncio.sleep(2)
        again = frozen.logged("partitions_assigned") + 1
        frozen.resume()
        await stage.logged(frozen, "partitions_assigned", again)
        await asyncio.sleep(2)


async def _come_and_go(stage: SinkStage, times: int) -> None:
    _, comes = stage.sinks
    for _ in range(times):
        await stage.more_blocks(comes, 3)
        assert comes.stop() == 0
        stage.watch()
        comes.start()


async def _kill_broker(stage: SinkStage, times: int) -> None:
    (sink,) = stage.sinks
    for _ in range(times):
        await stage.more_blocks(sink, 1)
        async with stage.sending:  # what a producer makes of it is not of interest here
            await asyncio.to_thread(stage.broker.kill)
            await asyncio.sleep(2)
            await asyncio.to_thread(stage.broker.start)
        stage.watch()
    await stage.more_blocks(sink, 1)


async def _kill_clickhouse(stage: SinkStage, times: int) -> None:
    (sink,) = stage.sinks
    for _ in range(times):
        await stage.more_blocks(sink, 3)
        await asyncio.sleep(stage.chance.uniform(0, 1))
        await asyncio.to_thread(stage.endpoint.kill)
        stage.watch()
        await asyncio.to_thread(stage.endpoint.start)


async def _freeze_clickhouse(stage: SinkStage, times: int) -> None:
    """Inserts run into their time-out, also after the rows were written."""
    (sink,) = stage.sinks
    for _ in range(times):
        await stage.more_blocks(sink, 3)
        await asyncio.sleep(stage.chance.uniform(0, 1))
        stage.endpoint.pause()
        await asyncio.sleep(8)
        stage.endpoint.resume()
        stage.watch()


KILLS = SinkFault("the sink killed (SIGKILL)", _kill)
FREEZE = SinkFault("of two sinks one frozen, the other takes over", _freeze, sinks=2)
MEMBERS = SinkFault("a second sink comes and goes", _come_and_go, sinks=2)
BROKER = SinkFault("the broker killed", _kill_broker)
CLICKHOUSE = SinkFault("ClickHouse killed in the middle of inserts", _kill_clickhouse)
FAULTS: tuple[tuple[SinkFault, int, int], ...] = (
    # the fault; how often for a look, how often in full
    (KILLS, 6, 50),
    (FREEZE, 1, 5),
    (MEMBERS, 2, 10),
    (BROKER, 1, 5),
    (CLICKHOUSE, 3, 10),
    (SinkFault("ClickHouse frozen beyond the time-out", _freeze_clickhouse), 1, 5),
)
