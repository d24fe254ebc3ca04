"""Workers under load while something goes wrong; then every row is held to the ledger."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import Interaction, SealedBatch
from backchannel.events.topics import EVENTS, PARTIALS
from backchannel_deploy.topics import ensure_topics
from backchannel_processors.topics import APP_ID, SOURCES
from faults.result import Result
from faults.rewind import rewind
from faults.tasks import cancelled, first_failure, waited
from support.broker import BrokerProcess
from support.cluster import BrokerCluster
from support.ledger import Ledger, conversations_of, rows_of, traffic
from support.worker_process import Bot, Listener, WorkerProcess, bot, listener

__all__ = ["FAULTS", "KILLS", "MIXED", "StreamFault", "StreamStage", "Traffic", "under_fault"]

Traffic = Literal["orderly", "disorderly", "skewed"]
"""``disorderly``: events come out of order and many of them twice. ``skewed``: some clocks are off
by a day or a century."""

_SETTLE_S = 90.0
_FROZEN_S = 9.0
"""Beyond the session timeout of the tests: another worker takes over."""
_BEHIND_US = 30_000_000
"""How far events out of order are behind: within the lateness, so they belong to their window."""
_DAY_US = 86_400_000_000
_CENTURY_US = 36_525 * _DAY_US
_SKEWS_US = tuple(
    sign * (off + _DAY_US // 24) for sign in (1, -1) for off in (_DAY_US, _CENTURY_US)
)
"""More than is believed, ahead and behind."""


@dataclass
class StreamStage:
    """What a fault can be done to."""

    broker: BrokerProcess | BrokerCluster
    workers: list[WorkerProcess]
    chance: Random
    sender: Bot
    heard: Listener
    ledger: Ledger = field(default_factory=Ledger)
    wanted: list[WorkerProcess] = field(default_factory=list)
    """Workers that are started again when they end."""
    sent: list[tuple[int, SealedBatch]] = field(default_factory=list)
    sending: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Records of a partition leave in the order of their numbers."""
    partitions: int = EVENTS.partitions
    """Of ``chat.events``."""
    is_over: bool = False
    """No more load is wanted."""
    recoveries: list[asyncio.Task[float]] = field(default_factory=list)

    async def rest(self, least_s: float, most_s: float) -> None:
        """Lets load go on for a while."""
        await asyncio.sleep(self.chance.uniform(least_s, most_s))

    def watch(self) -> None:
        """Begins to measure how long it takes until what is sent now is in windows."""
        self.recoveries.append(asyncio.create_task(self._recovery(f"probe-{len(self.recoveries)}")))

    async def send(self, partition: int, events: list[Interaction], *, times: int = 1) -> None:
        """Sends events as one record, noted in the ledger."""
        batch = self.sender.seal(partition, events)
        self.sent.append((partition, batch))
        acknowledged = [await self.sender.resend(partition, batch) for _ in range(times)]
        if any(_is_skewed(each) for each in events):
            # Whose clock is not believed counts when the broker has it.
            broker_us = (await acknowledged[0]).timestamp * 1_000
            self.ledger.note(
                each.model_copy(update={"ts_us": broker_us}) if _is_skewed(each) else each
                for each in events
            )
        else:
            self.ledger.note(events)

    async def _recovery(self, tenant: str) -> float:
        began_s, partitions = time.monotonic(), self.partitions
        async with self.sending:
            for partition in range(partitions):
                event = Interaction(ts_us=SYSTEM_CLOCK.now_us(), tenant_id=tenant)
                await self.send(partition, [event])
        while self._counted(tenant) < partitions:  # noqa: ASYNC110 -- read elsewhere
            await asyncio.sleep(0.05)
        return time.monotonic() - began_s

    def _counted(self, tenant: str) -> int:
        return sum(
            row.count
            for (_, grouping, dims, width_s, _), row in self.heard.rows.items()
            if (grouping, dims, width_s) == ("tenant", tenant, 10)
        )


@dataclass(frozen=True, slots=True)
class StreamFault:
    """Something that goes wrong, ``times`` times over."""

    name: str
    happen: Callable[[StreamStage, int], Coroutine[Any, Any, None]]
    workers: int = 1
    """At work when load begins."""
    spare: int = 0
    """That can join them."""
    traffic: Traffic = "orderly"
    silence_s: int = 30
    """After which a conversation is closed: with this, none is late in the fault."""
    needs_cluster: bool = False
    """Whether there are to be three brokers."""


async def under_fault(
    fault: StreamFault,
    times: int,
    seed: int,
    broker: BrokerProcess | BrokerCluster,
    new_worker: Callable[..., WorkerProcess],
) -> tuple[Result, Listener]:
    """Has a fault happen under load, and returns what became of the events when every row is
    exact, or when it is not after a minute and a half."""
    chance = Random(seed)
    await ensure_topics(broker.bootstrap, clock=SYSTEM_CLOCK)
    settings = {"conversation_silence_s": str(fault.silence_s)}
    if fault.workers + fault.spare == 1:
        settings["slot"] = (
            "one"  # that is alone keeps its name: it gets its partitions back at once
        )
    workers = [new_worker(broker.bootstrap, **settings) for _ in range(fault.workers + fault.spare)]
    wanted = workers[: fault.workers]
    for worker in wanted:
        worker.start()
    for worker in wanted:
        await worker.is_at_work()
    async with bot(broker.bootstrap) as sender, listener(broker.bootstrap) as heard:
        stage = StreamStage(broker, workers, chance, sender, heard, wanted=wanted)
        background = [asyncio.create_task(work) for work in (_listen(heard), _supervise(stage))]
        loading = asyncio.create_task(_load(stage, fault.traffic))
        try:
            await first_failure(fault.happen(stage, times), loading, *background)
            stage.is_over = True
            await loading
            result = await first_failure(_judged(fault, times, stage), *background)
        finally:
            await cancelled(loading, *background, *stage.recoveries)
        return result, heard


async def _judged(fault: StreamFault, times: int, stage: StreamStage) -> Result:
    await waited(stage.recoveries, _SETTLE_S)  # what they send counts, too
    deadline = time.monotonic() + _SETTLE_S
    expected, found = stage.ledger.rows(), rows_of(stage.heard)
    said, closed = stage.ledger.conversations, conversations_of(stage.heard)
    while (found, closed) != (expected, said) and time.monotonic() < deadline:
        await asyncio.sleep(0.5)
        found, closed = rows_of(stage.heard), conversations_of(stage.heard)
    finest = [
        (numbers.get("count", 0), found.get(key, {}).get("count", 0))
        for key, numbers in expected.items()
        if (key[1], key[3]) == ("tenant,endpoint,model", 10)
    ]
    recoveries = [each.result() for each in stage.recoveries if each.done()]
    missing = len(stage.recoveries) - len(recoveries)
    return Result(
        f"{fault.name} × {times}" if times > 1 else fault.name,
        stage.ledger.events,
        sum(max(0, wanted - got) for wanted, got in finest),
        sum(max(0, got - wanted) for wanted, got in finest),
        sum(found.get(key) != expected.get(key) for key in {*found, *expected})
        + sum(closed.get(key) != said.get(key) for key in {*closed, *said})
        + missing,
        max(recoveries, default=0.0),
    )


async def _load(stage: StreamStage, kind: Traffic) -> None:
    """Sends about 60 records a second, some of them twice, until it is over."""
    chance, twice = stage.chance, 0.3 if kind == "disorderly" else 0.05
    while not stage.is_over:
        async with stage.sending:
            for partition in range(stage.partitions):
                events = [_told(each, kind, partition, chance) for each in traffic(chance, most=20)]
                await stage.send(partition, events, times=1 + (chance.random() < twice))
            await stage.sender.flush()
        await asyncio.sleep(0.2)


def _told(event: Interaction, kind: Traffic, partition: int, chance: Random) -> Interaction:
    """What a bot tells of a turn, whose clock may be wrong or who may be late."""
    at_us = event.ts_us
    if kind == "disorderly":
        return event.model_copy(update={"ts_us": at_us - chance.randrange(_BEHIND_US)})
    if kind == "skewed":
        off_us = chance.choice(_SKEWS_US) if chance.random() < 0.2 else 0
        return event.model_copy(update={"ts_us": max(1, at_us + off_us)})
    # Every conversation lasts some seconds, and is in one partition, as with the SDK.
    return event.model_copy(update={"conversation_id": f"{partition}-{at_us // 4_000_000}"})


def _is_skewed(event: Interaction) -> bool:
    return abs(event.ts_us - SYSTEM_CLOCK.now_us()) > _DAY_US


async def _listen(heard: Listener) -> None:
    while True:
        await heard.read(0.2)


async def _supervise(stage: StreamStage) -> None:
    """Starts again what has ended."""
    while True:
        for worker in stage.wanted:
            if not worker.is_running:
                worker.start()
        await asyncio.sleep(0.1)


# -- faults ----------------------------------------------------------------------------------------


async def _kill(stage: StreamStage, times: int) -> None:
    for _ in range(times):
        await stage.rest(1, 5)
        stage.chance.choice([each for each in stage.wanted if each.is_running]).kill()
        stage.watch()
    await asyncio.sleep(2)


async def _freeze(stage: StreamStage, times: int) -> None:
    for _ in range(times):
        await stage.rest(2, 6)
        worker = stage.chance.choice([each for each in stage.wanted if each.is_running])
        worker.pause()
        stage.watch()
        await asyncio.sleep(_FROZEN_S)
        worker.resume()
    await asyncio.sleep(2)


async def _stop(stage: StreamStage, times: int) -> None:
    for _ in range(times):
        await stage.rest(2, 6)
        worker = stage.chance.choice([each for each in stage.wanted if each.is_running])
        await asyncio.to_thread(worker.stop)
        stage.watch()


async def _in_turn(stage: StreamStage, times: int) -> None:
    for number in range(times):
        await (_kill, _freeze, _stop)[number % 3](stage, 1)
    await asyncio.sleep(2)


async def _grow_and_shrink(stage: StreamStage, times: int) -> None:
    for _ in range(times):
        stage.wanted = list(stage.workers)
        stage.watch()
        await asyncio.sleep(15)
        stage.wanted, leaving = stage.workers[:1], stage.workers[1:]
        await asyncio.gather(*(asyncio.to_thread(each.stop) for each in leaving))
        stage.watch()
        await asyncio.sleep(15)


async def _kill_broker(stage: StreamStage, times: int) -> None:
    for _ in range(times):
        await stage.rest(2, 6)
        await asyncio.to_thread(stage.broker.kill)
        await asyncio.sleep(2)
        stage.watch()
        await asyncio.to_thread(stage.broker.start)
        await asyncio.sleep(8)


async def _kill_one_of_three(stage: StreamStage, times: int) -> None:
    """Each broker in turn; load goes on, what is sent meanwhile is counted meanwhile."""
    assert isinstance(stage.broker, BrokerCluster)
    for number in range(times):
        await stage.rest(4, 8)
        broker = stage.broker.brokers[number % 3]
        await asyncio.to_thread(broker.kill)
        stage.watch()
        await waited(stage.recoveries, _SETTLE_S)
        await asyncio.to_thread(broker.start)


async def _pause_broker(stage: StreamStage, times: int) -> None:
    assert isinstance(stage.broker, BrokerProcess)
    for _ in range(times):
        await stage.rest(2, 6)
        await asyncio.to_thread(stage.broker.pause)
        stage.watch()
        await asyncio.sleep(_FROZEN_S)
        stage.broker.resume()
        await asyncio.sleep(5)


async def _send_all_again(stage: StreamStage, times: int) -> None:
    for _ in range(times):
        await asyncio.sleep(8)
        async with stage.sending:
            for partition, batch in list(stage.sent):
                await stage.sender.resend(partition, batch)
            await stage.sender.flush()
        stage.watch()


async def _rewind_offsets(stage: StreamStage, times: int) -> None:
    """Whoever follows begins at offset 0 of every partition, with the states there are."""
    for _ in range(times):
        await asyncio.sleep(8)
        leaving, stage.wanted = stage.wanted, []
        await asyncio.gather(*(asyncio.to_thread(each.stop) for each in leaving))
        await rewind(stage.broker.bootstrap, APP_ID, (EVENTS, PARTIALS))
        stage.wanted = leaving
        stage.watch()
        await asyncio.sleep(5)


async def _grow(stage: StreamStage, times: int) -> None:
    """As docs/sizing.md says: stop the workers, add partitions, start the workers."""
    for _ in range(times):
        await asyncio.sleep(8)
        leaving, stage.wanted = stage.wanted, []
        await asyncio.gather(*(asyncio.to_thread(each.stop) for each in leaving))
        more = stage.partitions * 2
        admin = AIOKafkaAdminClient(bootstrap_servers=stage.broker.bootstrap)
        await admin.start()
        await admin.create_partitions({name: NewPartitions(more) for name in SOURCES})
        await admin.close()
        await stage.sender.sees(more)
        stage.partitions = more
        stage.wanted = leaving
        stage.watch()
        await asyncio.sleep(8)


async def _nothing(stage: StreamStage, times: int) -> None:
    for _ in range(times):
        await asyncio.sleep(10)
        stage.watch()


KILLS = StreamFault("a worker killed (SIGKILL)", _kill, silence_s=6)
MIXED = StreamFault("of two workers one killed, frozen, stopped", _in_turn, workers=2, silence_s=6)
FAULTS: tuple[tuple[StreamFault, int, int], ...] = (
    # the fault; how often for a look, how often in full
    (KILLS, 5, 50),
    (StreamFault("of two workers one frozen for 9 s (SIGSTOP)", _freeze, workers=2), 2, 10),
    (StreamFault("1 → 3 → 1 workers, 15 s each", _grow_and_shrink, spare=2), 1, 6),
    (StreamFault("the broker killed", _kill_broker), 1, 5),
    (StreamFault("the broker frozen for 9 s", _pause_broker), 1, 5),
    (StreamFault("every record sent again", _send_all_again), 1, 3),
    (StreamFault("the group's offsets set back to 0", _rewind_offsets), 1, 3),
    (StreamFault("12 more partitions: stop, grow, start", _grow), 1, 1),
    (StreamFault("out of order by 30 s, a third twice", _nothing, traffic="disorderly"), 1, 6),
    (StreamFault("clocks off by a day, by a century", _nothing, traffic="skewed"), 1, 6),
    (StreamFault("of three brokers one killed", _kill_one_of_three, needs_cluster=True), 0, 6),
)
