"""The same paced loop for every subject, and what is measured in it."""

import asyncio
import gc
import json
import random
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol

__all__ = ["Subject", "facts", "report"]

PACE = 5_000
"""Events a second, in bursts of fifty: as a bot that serves many at once."""
BURST = 50
EVENTS = 20_000
"""In each phase: four seconds."""
WARM = 1_000
TICK_S = 0.001


class Subject(Protocol):
    """Something that a bot tells its events to."""

    def call(self, index: int) -> object:
        """Tells one event that has happened."""
        ...

    def block(self, index: int) -> Coroutine[Any, Any, None] | None:
        """Runs the block around a turn that does nothing; ``None`` if the subject has none."""
        ...

    def close(self) -> int:
        """Delivers everything; returns how many events have been delivered since the start."""
        ...


def facts(count: int) -> list[dict[str, Any]]:
    """Returns what is told of turns: some twenty facts each, about 400 bytes of JSON."""
    rng = random.Random(1)
    return [
        {
            "tenant_id": f"tenant-{rng.randrange(5)}",
            "user_id": f"user-{rng.randrange(10_000)}",
            "session_id": f"session-{rng.randrange(5_000)}",
            "conversation_id": f"conversation-{rng.randrange(5_000)}",
            "service": "bench",
            "service_version": "1.2.3",
            "environment": "prod",
            "endpoint": "/chat",
            "provider": "openai",
            "model": rng.choice(["gpt-4o-mini", "gpt-4o", "claude-sonnet-4-5"]),
            "http_status": 200,
            "status": "ok",
            "duration_us": rng.randrange(100_000, 9_000_000),
            "ttft_us": rng.randrange(10_000, 900_000),
            "input_tokens": rng.randrange(50, 4_000),
            "output_tokens": rng.randrange(5, 800),
            "usage_source": "provider",
        }
        for _ in range(count)
    ]


def report(make: Callable[[str], Subject]) -> None:
    """Measures the phases that the command line names, and prints the figures as JSON.

    The command line: where to send, then any of ``call``, ``block``, ``delay``.
    """
    where, *phases = sys.argv[1:]
    print(json.dumps(asyncio.run(_measure(make(where), phases))))


async def _measure(subject: Subject, phases: Sequence[str]) -> Mapping[str, float]:
    found: dict[str, float] = {}
    events = 0
    for index in range(WARM):
        subject.call(index)
        await _keep_pace(time.perf_counter(), 0)
    events += WARM
    await asyncio.sleep(1)
    gc.collect()
    cpu_s = time.process_time()
    for phase in phases:
        match phase:
            case "call":
                spent = await _paced(subject.call)
                events += EVENTS
                found |= _percentiles("call", spent)
            case "block":
                spent = await _paced_blocks(subject)
                events += len(spent)
                found |= _percentiles("block", spent)
            case "delay":
                found |= _percentiles("delay", await _delays(subject))
                events += EVENTS
    delivered = await asyncio.to_thread(subject.close)
    # Ticks cost, too: the figure is right where `call` or `block` is measured alone.
    found["cpu_us"] = (time.process_time() - cpu_s) * 1e6 / max(1, delivered)
    found["delivered"] = delivered / events
    return found


async def _paced(call: Callable[[int], object]) -> list[float]:
    spent: list[float] = []
    started = time.perf_counter()
    for index in range(EVENTS):
        before = time.perf_counter_ns()
        call(index)
        spent.append((time.perf_counter_ns() - before) / 1000)
        await _keep_pace(started, index)
    return spent


async def _paced_blocks(subject: Subject) -> list[float]:
    spent: list[float] = []
    started = time.perf_counter()
    for index in range(EVENTS):
        before = time.perf_counter_ns()
        block = subject.block(index)
        if block is None:
            break
        await block
        spent.append((time.perf_counter_ns() - before) / 1000)
        await _keep_pace(started, index)
    return spent


async def _delays(subject: Subject) -> list[float]:
    """How much too late a timer of the same loop is, in microseconds."""
    late: list[float] = []

    async def tick() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(TICK_S)
            late.append((time.perf_counter() - before - TICK_S) * 1e6)

    ticking = asyncio.create_task(tick())
    started = time.perf_counter()
    for index in range(EVENTS):
        subject.call(index)
        await _keep_pace(started, index)
    ticking.cancel()
    return late


async def _keep_pace(started: float, index: int) -> None:
    """Sleeps once in a burst, as long as it takes to be on time."""
    if index % BURST == BURST - 1:
        ahead = (index + 1) / PACE - (time.perf_counter() - started)
        await asyncio.sleep(max(0.0, ahead))


def _percentiles(phase: str, values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    ordered = sorted(values)
    return {
        f"{phase}_p{permille // 10}": ordered[max(1, -(-permille * len(ordered) // 1000)) - 1]
        for permille in (500, 990)
    }
