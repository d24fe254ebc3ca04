"""What a bot gives us to call may call us back, fail, or take its time: nobody is held up by it."""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from backchannel import MemoryTransport, Producer
from backchannel.events import ErrorEvent, Interaction

NOTHING: Any = None
"""No event, so that it is dropped."""


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not reached():  # noqa: ASYNC110  # what is waited for happens in another thread
            await asyncio.sleep(0.005)


def test_what_a_mask_tells_itself_has_no_text_and_is_not_masked_again() -> None:
    transport, asked = MemoryTransport(1), list[str]()

    def mask(text: str) -> str:
        asked.append(text)
        producer.capture_message(f"seen {text}")
        producer.capture_message("twice, which would double at every depth")
        return text

    producer = Producer(transport=transport, health_interval_s=0, mask=mask)
    producer.track(Interaction(error_message="secret"))
    producer.close_sync()

    errors = [event for event in transport.events() if isinstance(event, ErrorEvent)]
    assert [event.message for event in errors] == ["", ""]
    assert asked == ["secret"]
    assert producer.stats().masking_failures == 2


def test_a_mask_in_one_thread_leaves_the_texts_of_another_alone() -> None:
    transport, inside, go_on = MemoryTransport(1), threading.Event(), threading.Event()

    def mask(text: str) -> str:
        if text == "slow":
            inside.set()
            go_on.wait(10)
        return text

    producer = Producer(transport=transport, health_interval_s=0, mask=mask)
    slow = threading.Thread(target=producer.capture_message, args=("slow",))
    slow.start()
    inside.wait(10)
    producer.capture_message("quick")
    go_on.set()
    slow.join()
    producer.close_sync()

    assert [e.message for e in transport.events() if isinstance(e, ErrorEvent)] == ["quick", "slow"]


@pytest.mark.parametrize("call", ["flush_sync", "close_sync", "stats", "start"])
async def test_on_drop_may_call_the_producer(call: str) -> None:
    transport, began = MemoryTransport(1), time.monotonic()
    called = threading.Event()

    def on_drop(reason: str, count: int) -> None:
        producer.track(Interaction())
        getattr(producer, call)()
        called.set()

    producer = Producer(transport=transport, health_interval_s=0, on_drop=on_drop)
    producer.track(NOTHING)
    producer.start()
    await until(called.is_set)
    await producer.close()

    assert time.monotonic() - began < 3
    assert len(transport.events()) == producer.stats().acked == 1


@pytest.mark.parametrize("call", ["flush_sync", "close_sync"])
async def test_a_source_of_health_that_flushes_or_closes_waits_not_for_itself(call: str) -> None:
    transport, took = MemoryTransport(1), list[float]()

    def source() -> Mapping[str, Any]:
        producer.track(Interaction())
        began = time.monotonic()
        getattr(producer, call)()
        took.append(time.monotonic() - began)
        return {}

    producer = Producer(transport=transport, health_interval_s=1)
    producer.health_sources.append(source)
    producer.track(Interaction())
    await until(lambda: bool(took))
    await producer.close()

    assert took[0] < 0.5
    stats = producer.stats()
    assert sum(isinstance(event, Interaction) for event in transport.events()) == 2
    assert stats.dropped == {}
