"""One bot, one producer, one broker behind a proxy, and trouble by a seeded plan.

What must hold at the end: every event is stored exactly once or counted as dropped; memory, threads
and file descriptors are where they were when the load began.
"""

import asyncio
import gc
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import psutil

from backchannel import Producer, ProducerStats
from backchannel.events import Interaction
from support.broker import BrokerProcess
from support.proxy import Proxy, Trouble
from support.stored import create_events_topic, stored_seqs

__all__ = ["Plan", "Report", "Sample", "soak"]

_TROUBLES: tuple[Trouble, ...] = ("slow", "black_hole", "no_answers", "refuse", "drip")
_REST_S = 1.0
_WARM_SHARE = 4
"""The first quarter of the samples is the start: memory grows to its working size there."""
_RSS_GROWTH_MAX = 1.15
_RSS_SLACK_BYTES = 12 * 1024 * 1024
_BLOCKS_GROWTH_MAX = 1.02
_BLOCKS_SLACK = 5_000
"""Of some 400,000: far below one block for each event, and above what the samples take."""
_FILES_SLACK = 4
_THREADS_SLACK = 2


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, how hard, and with which luck."""

    seconds: float
    seed: int = 1
    events_per_s: int = 500
    trouble_s: tuple[float, float] = (1.0, 20.0)
    """Shortest and longest trouble."""
    calm_s: tuple[float, float] = (2.0, 20.0)
    kill: bool = True
    """Whether the broker is also killed and frozen, besides what the proxy does."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The process in a moment of calm, when everything is acknowledged."""

    at_s: float
    after: str
    """The trouble before it."""
    rss_bytes: int
    blocks: int
    """Pieces of memory that Python has in use. The process also keeps what was freed, and so the
    size of its largest outage so far; a leak shows here."""
    threads: int
    files: int
    stats: ProducerStats


@dataclass(frozen=True, slots=True)
class Report:
    """What was seen, and what of it must not be."""

    samples: tuple[Sample, ...]
    stats: ProducerStats
    stored: int
    """Different events in the topic."""
    missing: int
    """Acknowledged, and not there."""
    slowest_track_ms: float
    faults: tuple[str, ...]


def soak(plan: Plan, folder: Path, tell: Callable[[Sample], object] = lambda _: None) -> Report:
    """Runs the plan. Blocks for as long as it says, and a minute more at most."""
    with Proxy() as proxy:
        broker = BrokerProcess(folder / "kafka", advertised_port=proxy.port)
        try:
            broker.start()
            proxy.target_port = broker.proxied_port
            asyncio.run(create_events_topic(broker.bootstrap))
            return _Soak(plan, broker, proxy, tell).run()
        finally:
            broker.kill()


class _Soak:
    def __init__(
        self, plan: Plan, broker: BrokerProcess, proxy: Proxy, tell: Callable[[Sample], object]
    ) -> None:
        self._plan = plan
        self._chance = Random(plan.seed)
        self._broker = broker
        self._proxy = proxy
        self._tell = tell
        self._producer = Producer(
            f"127.0.0.1:{proxy.port}", request_timeout_ms=2_000, health_interval_s=1
        )
        self._stopping = threading.Event()
        self._resting = threading.Event()
        self._slowest_s = 0.0
        self._samples: list[Sample] = []
        self._began_s = time.monotonic()

    def run(self) -> Report:
        load = threading.Thread(target=self._load, name="soak-load")
        load.start()
        try:
            while time.monotonic() - self._began_s < self._plan.seconds:
                time.sleep(self._chance.uniform(*self._plan.calm_s))
                trouble = self._trouble(self._chance.uniform(*self._plan.trouble_s))
                self._sample(trouble)
        finally:
            self._stopping.set()
            load.join()
        self._producer.close_sync(30)
        return self._report()

    def _load(self) -> None:
        number, burst = 0, max(1, self._plan.events_per_s // 50)
        while not self._stopping.wait(0.02):
            if self._resting.is_set():
                continue
            for _ in range(burst):
                number += 1
                event = Interaction(conversation_id=f"c-{number % 100}", turn=number)
                before_s = time.perf_counter()
                self._producer.track(event)
                self._slowest_s = max(self._slowest_s, time.perf_counter() - before_s)

    def _trouble(self, seconds: float) -> str:
        choice = self._chance.choice([*_TROUBLES, *(("killed", "frozen") * 2 * self._plan.kill)])
        if choice == "killed":
            self._broker.kill()
            time.sleep(seconds)
            self._broker.start()
        elif choice == "frozen":
            self._broker.pause()
            time.sleep(seconds)
            self._broker.resume()
        else:
            self._proxy.trouble = next(each for each in _TROUBLES if each == choice)
            time.sleep(seconds)
            self._proxy.trouble = "none"
        return choice

    def _sample(self, after: str) -> None:
        """Lets everything be acknowledged, and looks."""
        self._resting.set()
        try:
            self._producer.flush_sync(60)
            time.sleep(_REST_S)
            gc.collect()
            process = psutil.Process()
            sample = Sample(
                at_s=time.monotonic() - self._began_s,
                after=after,
                rss_bytes=process.memory_info().rss,
                blocks=sys.getallocatedblocks(),
                threads=process.num_threads(),
                files=len(os.listdir("/dev/fd")),
                stats=self._producer.stats(),
            )
        finally:
            self._resting.clear()
        self._samples.append(sample)
        self._tell(sample)

    def _report(self) -> Report:
        stats = self._producer.stats()
        found = asyncio.run(stored_seqs(self._broker.bootstrap, stats.producer_id))
        lost_known = sum(stats.dropped.values())
        missing = stats.acked - len(found)
        faults = _growth(self._samples)
        if missing > 0 or len(found) > stats.acked + stats.dropped.get("unsent", 0):
            faults.append(f"{len(found)} events are stored, {stats.acked} were acknowledged")
        if stats.offered != stats.acked + stats.held + lost_known:
            faults.append("offered is not acked + held + dropped")
        return Report(
            tuple(self._samples),
            stats,
            len(found),
            max(0, missing),
            self._slowest_s * 1_000,
            tuple(faults),
        )


def _growth(samples: list[Sample]) -> list[str]:
    """Names what is higher in the last quarter than it was after the first one."""
    if len(samples) < 2:
        return ["there was no time for two samples"]
    share = max(1, len(samples) // _WARM_SHARE)
    early, late = samples[share - 1 : 2 * share], samples[-share:]
    faults = []
    rss = [min(each.rss_bytes for each in part) for part in (early, late)]
    if rss[1] > rss[0] * _RSS_GROWTH_MAX + _RSS_SLACK_BYTES:
        faults.append(f"memory grew from {rss[0] >> 20} to {rss[1] >> 20} MB")
    blocks = [min(each.blocks for each in part) for part in (early, late)]
    if blocks[1] > blocks[0] * _BLOCKS_GROWTH_MAX + _BLOCKS_SLACK:
        faults.append(f"blocks of memory in use grew from {blocks[0]:,} to {blocks[1]:,}")
    threads = [min(each.threads for each in part) for part in (early, late)]
    if threads[1] > threads[0] + _THREADS_SLACK:
        faults.append(f"threads grew from {threads[0]} to {threads[1]}")
    files = [min(each.files for each in part) for part in (early, late)]
    if files[1] > files[0] + _FILES_SLACK:
        faults.append(f"open files grew from {files[0]} to {files[1]}")
    return faults
