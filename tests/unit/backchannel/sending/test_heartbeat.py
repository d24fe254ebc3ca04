"""``Health``: the producer says how it is, by itself, and a last time when it ends."""

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

from backchannel import MemoryTransport, Producer
from backchannel.clock import ManualClock
from backchannel.events import Health, Interaction
from backchannel.sending.heartbeat import Heartbeat
from backchannel.sending.intake import HEALTH_RESERVE_BYTES, Intake
from backchannel.shaping.stamps import Stamps


def health_of(transport: MemoryTransport) -> list[Health]:
    return [event for event in transport.events() if isinstance(event, Health)]


async def test_the_last_event_of_a_closed_producer_is_a_health_with_its_own_seq() -> None:
    transport = MemoryTransport()
    async with Producer(transport=transport, service="bot", health_interval_s=15) as producer:
        for number in range(10):
            producer.track(Interaction(conversation_id=f"c{number}"))

    (last,) = health_of(transport)
    assert last.final_seq == last.seq == producer.stats().last_seq == 11
    assert (last.sdk_offered, last.sdk_acked, last.sdk_buffered) == (10, 10, 0)
    assert last.service == "bot"


async def test_a_bot_that_is_idle_says_how_it_is_at_every_interval_without_a_thread_more() -> None:
    transport = MemoryTransport()
    async with Producer(transport=transport, health_interval_s=1):
        started = threading.active_count()
        await asyncio.sleep(1.2)
        assert threading.active_count() <= started

    assert [event.final_seq for event in health_of(transport)] == [None, 2]


async def test_health_says_what_was_dropped_and_why() -> None:
    transport = MemoryTransport()
    nothing: Any = None
    async with Producer(transport=transport, health_interval_s=15) as producer:
        producer.track(nothing)

    assert health_of(transport)[0].sdk_dropped == {"invalid": 1}


async def test_health_gets_through_when_the_buffer_is_full() -> None:
    transport = MemoryTransport()
    transport.away = True
    producer = Producer(transport=transport, buffer_bytes_max=64 * 1024, health_interval_s=1)
    while producer.track(Interaction()):
        pass
    offered = producer.stats().offered
    await asyncio.sleep(1.2)
    assert producer.stats().accepted > offered - 1
    transport.away = False

    assert await producer.close() == 0
    assert health_of(transport)[0].sdk_dropped == {"buffer_full": 1}


def test_the_room_for_health_is_bounded_and_what_does_not_fit_is_counted() -> None:
    intake = Intake("p", 64 * 1024)
    for _ in range(2_000):
        intake.offer_health(Health(), Stamps.none())

    stats = intake.stats()
    assert stats.held_bytes <= 64 * 1024 + HEALTH_RESERVE_BYTES
    assert stats.offered == 2_000 == stats.held + stats.dropped["buffer_full"]


async def gauges(*sources: Any) -> tuple[dict[str, Any], int]:
    intake = Intake("p", 64 * 1024)
    heartbeat = Heartbeat(intake, Stamps.none(), list(sources), ManualClock())
    return await heartbeat._gauges(), intake.stats().fields_repaired


async def test_sources_fill_the_event_together_and_may_wait() -> None:
    async def queue() -> Mapping[str, Any]:
        await asyncio.sleep(0)
        return {"queues": {"celery": 3}}

    found, failed = await gauges(lambda: {"cpu": 500_000, "queues": {"rq": 1}}, queue)

    assert found == {"cpu": 500_000, "queues": {"rq": 1, "celery": 3}}
    assert failed == 0


async def test_a_source_that_fails_is_counted_and_the_others_are_heard() -> None:
    def broken() -> Mapping[str, Any]:
        raise ZeroDivisionError

    async def given_up() -> Mapping[str, Any]:
        raise asyncio.CancelledError

    assert await gauges(broken, given_up, lambda: None, lambda: {"cpu": 1}) == ({"cpu": 1}, 3)


async def test_what_a_source_says_wrong_is_left_out_of_the_event() -> None:
    transport = MemoryTransport()
    producer = Producer(transport=transport, health_interval_s=1)
    producer.health_sources.append(lambda: {"cpu": "much", "memory": 7, "nonsense": 1})
    producer.start()
    await asyncio.sleep(1.2)
    await producer.close()

    first = health_of(transport)[0]
    assert (first.cpu, first.memory) == (None, 7)
    assert producer.stats().fields_repaired == 2


async def test_a_replay_has_no_health_since_its_clock_is_another_one() -> None:
    transport = MemoryTransport()
    async with Producer(transport=transport, origin="replay:r", health_interval_s=15) as producer:
        producer.track(Interaction())

    assert health_of(transport) == []


async def test_a_disabled_producer_says_nothing() -> None:
    transport = MemoryTransport()
    async with Producer(transport=transport, disabled=True, health_interval_s=15):
        pass

    assert transport.connections == 0
