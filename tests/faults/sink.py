"""Sinks under load while something goes wrong; then every row is held to the ledger."""

import asyncio
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import psutil
from clickhouse_connect.driver.exceptions import ClickHouseError

from backchannel.events.topics import EVENTS, TOPICS
from backchannel_deploy.disk import FREE_BYTES_MIN
from backchannel_sinks.feeds import FEEDS
from faults.result import Result
from faults.rewind import rewind
from faults.tasks import cancelled, first_failure, waited
from support.broker import BrokerProcess
from support.cluster import BrokerCluster
from support.endpoint import ClickHouse, EndpointProcess, fresh_database
from support.proxy import Proxy, Trouble
from support.sink_process import SESSION_TIMEOUT_S, Feeder, SinkProcess, feeder, prepare

__all__ = ["FAULTS", "SHORT", "SinkFault", "SinkStage", "small_disk", "under_fault"]

GARBAGE = (None, b"", b"{]", b"\xff\xfe", b'{"event_type":"exposure"}', b"good\nbad")
GARBAGE_LINES = sum(1 if not value else value.count(b"\n") + 1 for value in GARBAGE)

_SMALL_BLOCKS = {
    "sink_block_rows_max": "300",
    "sink_linger_ms": "100",
    "sink_linger_max_ms": "100",
    "sink_insert_timeout_s": "5",
}
"""Many blocks, so that a kill is likely to fall into every step of one."""
_SETTLE_S = 120.0
_AWAY_GROWTH_BYTES_MAX = 192 * 1024 * 1024
"""By how much a sink may grow while ClickHouse is away: what it holds, parsed and raw."""
_SMALL_DISK_BYTES = 2 * FREE_BYTES_MIN
_LEDGER = """
    SELECT count(), sum(input_tokens), sum(output_tokens), uniqExact(_partition, _offset, _line),
           uniqExact(event_id)
    FROM events
"""
_DEAD = "SELECT uniqExact(topic, partition, offset, line) FROM dead_letters FINAL"


@dataclass
class SinkStage:
    """What a fault can be done to."""

    broker: BrokerProcess | BrokerCluster
    endpoint: EndpointProcess
    clickhouse: ClickHouse
    proxy: Proxy
    """Between the sinks and ClickHouse."""
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

    async def command(self, statement: str) -> None:
        """Has ClickHouse carry out a statement."""

        def carry_out() -> None:
            with closing(self.clickhouse.client(autogenerate_session_id=False)) as client:
                client.command(statement)

        await asyncio.to_thread(carry_out)

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
    needs_cluster: bool = False
    """Whether there are to be three brokers."""
    needs_small_disk: bool = False
    """Whether ClickHouse is to have a small disk of its own."""


async def under_fault(
    fault: SinkFault,
    times: int,
    seed: int,
    broker: BrokerProcess | BrokerCluster,
    endpoint: EndpointProcess,
    new_sink: Callable[..., SinkProcess],
) -> Result:
    """Has a fault happen under load, and returns what became of the events when every row is
    exact, or when nothing has changed for two minutes and it is not."""
    with fresh_database(endpoint.url) as clickhouse, Proxy() as proxy:
        proxy.target_port = endpoint.port
        await prepare(broker.bootstrap, clickhouse)
        proxied = ClickHouse(f"http://127.0.0.1:{proxy.port}", clickhouse.database)
        sinks = [new_sink(broker.bootstrap, proxied, **_SMALL_BLOCKS) for _ in range(fault.sinks)]
        async with feeder(broker.bootstrap) as bot:
            stage = SinkStage(broker, endpoint, clickhouse, proxy, sinks, Random(seed), bot)
            for sink in sinks:
                sink.start()
            loading = asyncio.create_task(_load(stage))
            try:
                await first_failure(fault.happen(stage, times), loading)
                stage.is_over = True
                await loading
                result = await _judged(fault, times, stage)
                ends = [await asyncio.to_thread(sink.stop) for sink in sinks]
                assert not any(ends), "a sink did not end as it should when it was asked to"
                return result
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
            await stage.bot.send_many(12, 10)
            for number, value in enumerate(GARBAGE):
                await stage.bot.kafka.send_and_wait(
                    EVENTS.name, value, key=b"k", partition=number % EVENTS.partitions
                )
            stage.garbage_lines += GARBAGE_LINES
        await asyncio.sleep(0.5)


# -- faults ----------------------------------------------------------------------------------------


async def _kill(stage: SinkStage, times: int) -> None:
    sink = stage.sinks[0]
    for _ in range(times):
        await stage.more_blocks(sink, 1)
        await asyncio.sleep(stage.chance.uniform(0, 2))
        sink.kill()
        stage.watch()
        sink.start()


async def _freeze(stage: SinkStage, times: int) -> None:
    frozen, other = stage.sinks
    for _ in range(times):
        await stage.more_blocks(frozen, 3)
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
        assert await asyncio.to_thread(comes.stop) == 0
        stage.watch()
        comes.start()


async def _begin_again(stage: SinkStage, times: int) -> None:
    """All offsets that the group has committed are set back to 0."""
    (sink,) = stage.sinks
    for _ in range(times):
        await stage.more_blocks(sink, 20)
        assert await asyncio.to_thread(sink.stop) == 0
        fed = [topic for topic in TOPICS if topic.name in FEEDS]
        await rewind(stage.broker.bootstrap, "backchannel-sink", fed)
        sink.start()
        stage.watch()


async def _kill_broker(stage: SinkStage, times: int) -> None:
    sink = stage.sinks[0]
    for _ in range(times):
        await stage.more_blocks(sink, 1)
        async with stage.sending:  # what a producer makes of it is not of interest here
            await asyncio.to_thread(stage.broker.kill)
            await asyncio.sleep(2)
            await asyncio.to_thread(stage.broker.start)
        stage.watch()
    await stage.more_blocks(sink, 1)


async def _kill_one_of_three(stage: SinkStage, times: int) -> None:
    """Each broker in turn; load goes on, what is sent meanwhile is stored meanwhile."""
    assert isinstance(stage.broker, BrokerCluster)
    (sink,) = stage.sinks
    for number in range(times):
        await stage.more_blocks(sink, 3)
        broker = stage.broker.brokers[number % 3]
        await asyncio.to_thread(broker.kill)
        stage.watch()
        await waited(stage.recoveries, _SETTLE_S)
        await asyncio.to_thread(broker.start)


async def _kill_broker_in_doubt(stage: SinkStage, times: int) -> None:
    """Blocks are announced and inserted, and the broker is gone before the next commit; each
    second time the sink that knows of it is gone, too."""
    (sink,) = stage.sinks
    for number in range(times):
        await stage.more_blocks(sink, 3)
        stage.endpoint.pause()
        await asyncio.sleep(1)  # until an insert is under way
        async with stage.sending:
            await asyncio.to_thread(stage.broker.kill)
            stage.endpoint.resume()
            await asyncio.sleep(1)  # until it is done
            if number % 2 == 0:
                sink.kill()
            await asyncio.to_thread(stage.broker.start)
        if number % 2 == 0:
            sink.start()
        stage.watch()


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


def _away(
    *troubles: Trouble, seconds: float
) -> Callable[[SinkStage, int], Coroutine[Any, Any, None]]:
    """Between sink and ClickHouse nothing gets through, in each of these ways in turn."""

    async def happen(stage: SinkStage, times: int) -> None:
        (sink,) = stage.sinks
        for number in range(times):
            await stage.more_blocks(sink, 3)
            with _nothing_grows(sink):
                stage.proxy.trouble = troubles[number % len(troubles)]
                await asyncio.sleep(seconds)
            stage.proxy.trouble = "none"
            stage.watch()
            await stage.more_blocks(sink, 1)

    return happen


async def _refuse(stage: SinkStage, times: int) -> None:
    """ClickHouse answers each insert with an error: the table is not there."""
    (sink,) = stage.sinks
    for _ in range(times):
        await stage.more_blocks(sink, 3)
        with _nothing_grows(sink):
            await stage.command("RENAME TABLE events TO elsewhere")
            await asyncio.sleep(6)
            await stage.command("RENAME TABLE elsewhere TO events")
        stage.watch()
        await stage.more_blocks(sink, 1)


async def _fill_disk(stage: SinkStage, times: int) -> None:
    (sink,) = stage.sinks
    filler = stage.endpoint.data_dir / "filler"
    for _ in range(times):
        await stage.more_blocks(sink, 3)
        with _nothing_grows(sink):
            with filler.open("wb", buffering=0) as file, suppress(OSError):
                while file.write(bytes(64 * 1024)):
                    pass
            await asyncio.sleep(6)
            assert await stage.ask("SELECT 1") == (1,), "ClickHouse no longer answers"
            filler.unlink()
        stage.watch()
        await stage.more_blocks(sink, 1)


async def _poison(stage: SinkStage, times: int) -> None:
    """A bot sends nothing but garbage to one partition: the others go on, ``chat.dead`` is not
    flooded, and in the end each bad line is there."""
    (sink,) = stage.sinks
    bad = b"\n".join([b"oops"] * 100)
    for number in range(times):
        poisoned = sink.logged("partition_poisoned")
        async with stage.sending:
            for _ in range(15):
                await stage.bot.kafka.send_and_wait(EVENTS.name, bad, partition=0)
            stage.garbage_lines += 1_500
        await stage.logged(sink, "partition_poisoned", poisoned + 1)
        while (stored := await _bad_lines(stage)) < 1_500 * number + 1_000:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        await stage.more_blocks(sink, EVENTS.partitions)  # of the others
        assert await _bad_lines(stage) < stored + 300, "it was taken as fast as it came"
        stage.watch()


async def _bad_lines(stage: SinkStage) -> int:
    count = await stage.ask("SELECT count() FROM dead_letters FINAL WHERE value = 'oops'")
    return sum(count)


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Makes a folder a file system of its own that is soon full; only root may."""
    folder.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_SMALL_DISK_BYTES}", "tmpfs", str(folder)],
        check=True,
    )
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def _nothing_grows(sink: SinkProcess) -> Iterator[None]:
    """While the block lasts, the sink keeps its partitions and does not pile up what comes in."""
    process, assigned = psutil.Process(sink.pid), sink.logged("partitions_assigned")
    before = process.memory_info().rss
    yield
    assert sink.logged("clickhouse_lost"), "the sink has not noticed anything"
    assert sink.logged("partitions_assigned") == assigned, "the group was rebalanced"
    assert process.memory_info().rss - before < _AWAY_GROWTH_BYTES_MAX


def _one_after_the_other(
    *faults: Callable[[SinkStage, int], Coroutine[Any, Any, None]],
) -> Callable[[SinkStage, int], Coroutine[Any, Any, None]]:
    async def happen(stage: SinkStage, times: int) -> None:
        for fault in faults:
            await fault(stage, times)

    return happen


FAULTS: tuple[tuple[SinkFault, int, int], ...] = (
    # the fault; how often for a look, how often in full
    (SinkFault("the sink killed (SIGKILL)", _kill), 6, 50),
    (SinkFault("of two sinks one frozen, the other takes over", _freeze, sinks=2), 1, 5),
    (SinkFault("a second sink comes and goes", _come_and_go, sinks=2), 2, 10),
    (SinkFault("the group's offsets set back to 0", _begin_again), 1, 3),
    (SinkFault("the broker killed", _kill_broker), 1, 5),
    (SinkFault("of three brokers one killed", _kill_one_of_three, needs_cluster=True), 0, 6),
    (SinkFault("the broker killed between intent and done", _kill_broker_in_doubt), 2, 10),
    (SinkFault("ClickHouse killed in the middle of inserts", _kill_clickhouse), 3, 10),
    (SinkFault("ClickHouse frozen beyond the time-out", _freeze_clickhouse), 1, 5),
    (SinkFault("ClickHouse refuses connections", _away("refuse", seconds=8)), 1, 5),
    (SinkFault("ClickHouse in a black hole", _away("black_hole", seconds=8)), 1, 5),
    (SinkFault("ClickHouse takes rows, its answers vanish", _away("no_answers", seconds=8)), 1, 5),
    (SinkFault("ClickHouse answers errors", _refuse), 1, 5),
    (
        SinkFault(
            "ClickHouse away, minute by minute",
            _away("refuse", "black_hole", "no_answers", seconds=60),
        ),
        0,
        10,
    ),
    (SinkFault("nothing but garbage in one partition", _poison), 1, 3),
    (SinkFault("ClickHouse's disk full, and freed", _fill_disk, needs_small_disk=True), 1, 5),
)
SHORT: tuple[SinkFault, ...] = (
    SinkFault(
        "sink, ClickHouse and broker in turn",
        _one_after_the_other(
            _kill, _kill_clickhouse, _away("no_answers", seconds=6), _kill_broker_in_doubt
        ),
    ),
    SinkFault(
        "of two sinks one stopped, frozen", _one_after_the_other(_come_and_go, _freeze), sinks=2
    ),
)
"""What ``make test`` has happen, each once."""
