"""How long a worker that was killed takes until it goes on, with many series in its state."""

import asyncio
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import Interaction, SealedBatch, encode_event, seal
from benchmarks.in_the_stream import GROUP
from benchmarks.prefilled import broker_of, committed, send
from benchmarks.results import OURS, Result
from support.worker_process import WorkerProcess

SERIES = 100_000
PARTITIONS = 12
A_RECORD = 100
PATIENCE_S = 120
SETTINGS = {"BACKCHANNEL_SLOT": "one", "BACKCHANNEL_SESSION_TIMEOUT_S": "10"}
"""As `up` runs a worker."""


def recovery(home: Path) -> Iterable[Result]:
    """From the start of a worker until it has the states of 100,000 series in 12 partitions back,
    one window of each, and takes records again. Its predecessor, of the same slot, was killed."""
    try:
        seconds = asyncio.run(_seconds(home))
    except TimeoutError:
        print(f"recovery is not measured: it took longer than {PATIENCE_S} s")
        return []
    return [Result("recovery", OURS, "100,000_series", seconds, "s")]


async def _seconds(home: Path) -> float:
    async with broker_of(home) as kafka:
        await send(kafka, _batches())
        worker = WorkerProcess(kafka, home / "worker.log", SETTINGS)
        worker.start()
        try:
            async with asyncio.timeout(PATIENCE_S):
                while await committed(kafka, GROUP, "chat.events") < SERIES // A_RECORD:
                    if not worker.is_running:
                        worker.start()  # as a supervisor does
                    await asyncio.sleep(0.2)
            worker.kill()
            before = worker.log().count("partitions_assigned")
            started = time.perf_counter()
            worker.start()
            await worker.is_at_work(times=before + 1, timeout_s=PATIENCE_S)
            return time.perf_counter() - started
        finally:
            worker.kill()


def _batches() -> Iterator[tuple[int, SealedBatch]]:
    """An event of each series, all of the same ten seconds."""
    now_us = SYSTEM_CLOCK.now_us()
    ts_us = now_us - now_us % 10_000_000
    for record in range(SERIES // A_RECORD):
        events = [
            Interaction(
                ts_us=ts_us,
                tenant_id=f"tenant-{record % 10}",
                endpoint=f"/{number}",
                model=f"model-{record}",
                duration_us=number * 1_000,
            )
            for number in range(A_RECORD)
        ]
        lines = [encode_event(event) for event in events]
        number, partition = divmod(record, PARTITIONS)
        yield partition, seal(lines, producer_id="bench", pseq=number + 1)
