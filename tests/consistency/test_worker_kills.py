"""Workers that are killed, frozen and added under load: every row is exact in the end, and no
alert says two different things."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from random import Random

import pytest

from backchannel.events.topics import EVENTS
from support.broker import BrokerProcess
from support.ledger import Ledger, rows_of, traffic
from support.worker_process import (
    Bot,
    Listener,
    WorkerFactory,
    WorkerProcess,
    bot,
    create_topics,
    listener,
)

pytestmark = [pytest.mark.consistency, pytest.mark.integration, pytest.mark.timeout(900)]

FULL = os.environ.get("BACKCHANNEL_FAULTS") == "full"
FAULTS = 12 if FULL else 3
SEEDS = range(5) if FULL else range(1)
SETTLE_S = 90

Fault = Callable[[], Awaitable[None]]


async def load(sender: Bot, ledger: Ledger, chance: Random, stop: asyncio.Event) -> None:
    """Sends about 60 records a second, some of them twice, until told to stop."""
    while not stop.is_set():
        for partition in range(EVENTS.partitions):
            events = traffic(chance, most=20)
            ledger.note(events)
            batch = sender.seal(partition, events)
            for _ in range(1 + (chance.random() < 0.05)):
                await sender.resend(partition, batch)
        await sender.flush()
        await asyncio.sleep(0.2)


async def listen(heard: Listener, stop: asyncio.Event) -> None:
    while not stop.is_set():
        await heard.read(0.2)


async def supervise(workers: list[WorkerProcess], stop: asyncio.Event) -> None:
    """Starts again what has ended."""
    while not stop.is_set():
        for worker in workers:
            if not worker.is_running:
                worker.start()
        await asyncio.sleep(0.1)


async def settle(heard: Listener, ledger: Ledger) -> None:
    deadline = time.monotonic() + SETTLE_S
    while rows_of(heard) != ledger.rows() and time.monotonic() < deadline:
        await heard.read(0.5)
    assert rows_of(heard) == ledger.rows()


async def under_load(
    bootstrap: str, workers: list[WorkerProcess], chance: Random, faults: Fault
) -> Listener:
    """Runs load while faults happen, and returns what was heard when every row was exact."""
    ledger, stop = Ledger(), asyncio.Event()
    async with bot(bootstrap) as sender, listener(bootstrap) as heard:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(load(sender, ledger, chance, stop))
            tasks.create_task(listen(heard, stop))
            tasks.create_task(supervise(workers, stop))
            try:
                await faults()
            finally:
                stop.set()
        stop.clear()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(supervise(workers, stop))
            try:
                await settle(heard, ledger)
            finally:
                stop.set()
        return heard


async def started(workers: list[WorkerProcess]) -> None:
    for worker in workers:
        worker.start()
    for worker in workers:
        await worker.is_at_work()


def assert_alerts_say_one_thing(heard: Listener) -> None:
    assert heard.alerts
    said = dict(
        zip(
            ((alert.alert_id, alert.transition) for alert in heard.alerts),
            heard.alert_values,
            strict=True,
        )
    )
    for alert, value in zip(heard.alerts, heard.alert_values, strict=True):
        assert said[alert.alert_id, alert.transition] == value
        assert alert.transition == 1 or (alert.alert_id, alert.transition - 1) in said


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_killed_worker_loses_and_doubles_nothing(
    private_kafka: Callable[[], BrokerProcess], worker_factory: WorkerFactory, seed: int
) -> None:
    chance, bootstrap = Random(seed), private_kafka().bootstrap
    await create_topics(bootstrap)
    worker = worker_factory(bootstrap, slot="one")
    await started([worker])

    async def kills() -> None:
        for _ in range(FAULTS):
            await asyncio.sleep(chance.uniform(1, 5))
            worker.kill()
        await asyncio.sleep(2)

    assert_alerts_say_one_thing(await under_load(bootstrap, [worker], chance, kills))


@pytest.mark.parametrize("seed", SEEDS)
async def test_workers_that_come_go_and_freeze_lose_and_double_nothing(
    private_kafka: Callable[[], BrokerProcess], worker_factory: WorkerFactory, seed: int
) -> None:
    chance, bootstrap = Random(seed), private_kafka().bootstrap
    await create_topics(bootstrap)
    workers = [worker_factory(bootstrap) for _ in range(2)]
    await started(workers)

    async def faults() -> None:
        for number in range(FAULTS):
            await asyncio.sleep(chance.uniform(2, 6))
            worker = chance.choice([each for each in workers if each.is_running])
            match number % 3:
                case 0:
                    worker.kill()
                case 1:
                    worker.pause()
                    await asyncio.sleep(9)  # beyond the session timeout: the other one takes over
                    worker.resume()
                case 2:
                    await asyncio.to_thread(worker.stop)
        await asyncio.sleep(2)

    assert_alerts_say_one_thing(await under_load(bootstrap, workers, chance, faults))
