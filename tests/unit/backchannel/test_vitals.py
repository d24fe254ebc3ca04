"""What Health says of the process: gauges, queues and the loop, and what happens when one fails."""

import asyncio
import os
import threading
import time
from typing import Any

import pytest

from backchannel.events import Health
from support.bot import Bot


async def said(bot: Bot) -> dict[str, Any]:
    return dict(await bot.producer.health())


async def test_the_machine_and_the_process_are_measured() -> None:
    bot = Bot()
    await said(bot)  # the share of the CPU is that since the last time

    found = await said(bot)

    for name in ("cpu", "memory", "disk"):
        assert 0 <= found[name] <= 1_000_000
    assert found["process_rss_bytes"] > 10_000_000
    Health(**found)


async def test_turns_under_way_are_counted_also_in_threads() -> None:
    bot = Bot()
    with bot.producer.interaction(), bot.producer.bind(user_id="u").interaction():
        by_hand = bot.producer.interaction().start()
        assert (await said(bot))["in_flight_requests"] == 3
        threads = [threading.Thread(target=by_hand.end) for _ in range(2)]
        for thread in threads:
            thread.start()
            thread.join()
        assert (await said(bot))["in_flight_requests"] == 2

    assert (await said(bot))["in_flight_requests"] == 0


async def test_a_loop_that_is_blocked_shows_its_delay() -> None:
    bot = Bot(health_interval_s=60)
    async with bot.producer:
        await asyncio.sleep(0)
        time.sleep(0.7)  # noqa: ASYNC251  # the bot blocks its loop

        assert (await said(bot))["event_loop_lag_us"] > 100_000
        await asyncio.sleep(0.02)
        assert (await said(bot))["event_loop_lag_us"] > 100_000
        assert (await said(bot))["event_loop_lag_us"] < 500_000


async def test_without_a_loop_there_is_no_delay_to_tell() -> None:
    bot = Bot()
    thread = threading.Thread(target=bot.producer.health.watch_loop)
    thread.start()
    thread.join()

    assert "event_loop_lag_us" not in await said(bot)


async def test_queues_and_own_gauges_are_asked() -> None:
    bot = Bot()

    async def slow_lane() -> int:
        await asyncio.sleep(0)
        return 7

    bot.producer.health.queue("celery", lambda: 3)
    bot.producer.health.queue("slow", slow_lane)
    bot.producer.health.gauge("temperature", lambda: 0.7)

    found = await said(bot)

    assert found["queues"] == {"celery": 3, "slow": 7}
    assert found["gauges"] == {"temperature": 700_000}


async def test_what_fails_is_left_out_and_counted_and_the_rest_is_told() -> None:
    bot = Bot()

    async def fails() -> int:
        raise OSError("secret")

    def fails_too() -> int:
        raise OSError("secret")

    for name, probe in (("a", fails), ("b", fails_too)):
        bot.producer.health.queue(name, probe)
    bot.producer.health.queue("c", lambda: 1)
    bot.producer.health.gauge("wrong", lambda: float("nan"))

    assert (await said(bot))["queues"] == {"c": 1}
    assert bot.producer.stats().fields_repaired == 3


async def test_a_probe_that_hangs_holds_nobody_up_and_is_not_asked_again() -> None:
    bot = Bot()
    asked, gate = [], threading.Event()

    def hangs() -> int:
        asked.append(True)
        gate.wait(10)
        return 5

    bot.producer.health.queue("stuck", hangs)
    bot.producer.health.queue("fine", lambda: 1)
    assert (await said(bot))["queues"] == {"fine": 1}
    assert (await said(bot))["queues"] == {"fine": 1}
    gate.set()

    assert (await said(bot))["queues"]["stuck"] == 5
    assert len(asked) == 1


async def test_queues_and_gauges_are_bounded() -> None:
    bot = Bot()
    for number in range(70):
        bot.producer.health.queue(f"q{number}", lambda: 1)
        bot.producer.health.gauge(f"g{number}", lambda: 1)

    found = await said(bot)

    assert (len(found["queues"]), len(found["gauges"])) == (64, 64)
    assert bot.producer.stats().fields_repaired == 12


async def test_a_health_event_carries_all_of_it() -> None:
    bot = Bot(health_interval_s=1)
    bot.producer.health.queue("celery", lambda: 3)
    async with bot.producer:
        await asyncio.sleep(1.2)

    health = [event for event in bot.transport.events() if isinstance(event, Health)]
    assert health[0].queues == {"celery": 3}
    assert health[0].process_rss_bytes
    assert health[0].event_loop_lag_us is not None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_after_a_fork_the_child_measures_itself() -> None:
    bot = Bot()
    asyncio.run(said(bot))
    bot.producer.health.restart()

    assert asyncio.run(said(bot))["process_rss_bytes"] > 0
