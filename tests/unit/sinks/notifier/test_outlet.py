"""One target: when it is told, what becomes of what it does not take."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from structlog.testing import capture_logs

from backchannel.clock import ManualClock
from backchannel_sinks.notifier.counters import Counters
from backchannel_sinks.notifier.dispatch import Dispatch
from backchannel_sinks.notifier.errors import DeliveryError
from backchannel_sinks.notifier.message import Message, Origin
from backchannel_sinks.notifier.outlet import Outlet
from backchannel_sinks.notifier.plan import Plan
from support.alerts import NOON_US, an_alert

HOUR_S = 3_600
PLAN = Plan.model_validate(
    {
        "target": {"team": {"apprise": "json://localhost"}},
        "route": [{"to": ["team"], "group_by": ["alert_id"]}],
    }
)


class World:
    """A target, dead letters and a clock, in memory."""

    def __init__(self, per_minute_max: int = 30) -> None:
        self.clock = ManualClock(NOON_US)
        self.counters = Counters()
        self.dispatch = Dispatch(PLAN, self.counters, chance=lambda: 1.0)
        self.taken: list[str] = []
        self.tried = 0
        self.refuses = False
        self.dead: list[Message] = []
        self.dead_is_away = False
        self.outlet = Outlet(
            "team", self, per_minute_max, self.dispatch, self, self.clock, lambda: None
        )

    async def send(self, message: Message) -> None:
        self.tried += 1
        if self.refuses:
            raise DeliveryError("answered 500")
        self.taken.append(message.title)

    async def put_aside(self, message: Message, why: str) -> bool:
        if not self.dead_is_away:
            self.dead.append(message)
        return not self.dead_is_away

    def offer(self, *tenants: str) -> None:
        for tenant in tenants:
            origin = Origin(partition=0, offset=0)
            self.dispatch.offer(an_alert(tenant=tenant), origin, self.clock.now_us())
        self.outlet.wake()

    def after(self, seconds: float) -> None:
        self.clock.advance(seconds=seconds)
        self.outlet.wake()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.ensure_future(self.outlet.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 -- what is awaited has no event
            await asyncio.sleep(0)


async def test_so_many_messages_go_out_in_a_minute() -> None:
    world = World(per_minute_max=2)
    async with world.running():
        world.offer("a", "b", "c")
        await until(lambda: len(world.taken) == 2)
        world.after(59)
        await asyncio.sleep(0.02)
        assert len(world.taken) == 2
        world.after(1)
        await until(lambda: len(world.taken) == 3)


async def test_a_message_that_is_refused_is_tried_again_until_it_is_taken() -> None:
    world = World()
    world.refuses = True
    async with world.running():
        world.offer("a")
        await until(lambda: world.counters.failed == 1)
        world.refuses = False
        world.after(1)
        await until(lambda: world.counters.delivered == 1)

    assert world.tried == 2


async def test_a_message_that_nobody_takes_for_a_day_is_put_aside() -> None:
    world = World()
    world.refuses = True
    async with world.running():
        world.offer("a")
        await until(lambda: world.counters.failed == 1)
        world.after(24 * HOUR_S)
        await until(lambda: world.counters.dead == 1)

    assert [message.title for message in world.dead] == ["[FIRING] latency-p95 tenant=a"]


async def test_it_is_not_given_up_before_it_is_durable_elsewhere() -> None:
    world = World()
    world.refuses = world.dead_is_away = True
    async with world.running():
        world.offer("a")
        await until(lambda: world.counters.failed == 1)
        world.after(24 * HOUR_S)
        await until(lambda: world.counters.failed == 2)
        assert world.counters.dead == 0
        world.dead_is_away = False
        world.after(300)
        await until(lambda: world.counters.dead == 1)


async def test_a_target_that_fails_is_logged_once_and_when_it_is_back() -> None:
    world = World()
    world.refuses = True
    with capture_logs() as logged:
        async with world.running():
            world.offer("a")
            await until(lambda: world.counters.failed == 1)
            world.after(300)
            await until(lambda: world.counters.failed == 2)
            world.refuses = False
            world.after(300)
            await until(lambda: world.counters.delivered == 1)

    told = [entry["event"] for entry in logged if entry["log_level"] != "debug"]
    assert told == ["delivery_failed", "target_recovered"]
