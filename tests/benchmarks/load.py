"""A fleet of bots that sends at a given rate, so cheaply that the pipeline alone is measured.

Batches are made ahead, with the instant and the first digits of every event's id left open; they
are filled in when a batch is sent.
"""

import asyncio
import contextlib
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator

from backchannel import ProducerSettings
from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import SealedBatch, encode_event, partition_of, seal
from backchannel.sending.kafka import KafkaTransport
from benchmarks.traffic import interactions

__all__ = ["load"]

_EVENTS = 24_000
_FLUSHES_A_SECOND = 20  # of each partition: the SDK's linger
_BATCH_MAX = 100
_OPEN_US = 10**15
_OPEN_ID = "0" * 8


@contextlib.asynccontextmanager
async def load(kafka: str, rate: int, *, partitions: int) -> AsyncIterator[None]:
    """Sends `rate` events a second meanwhile, in the batches that the SDK would make of them."""
    made = list(_batches(rate, partitions))
    transport = KafkaTransport(ProducerSettings.load(kafka, arguments={}))
    await transport.connect()
    sending = asyncio.create_task(_send(transport, made, rate))
    try:
        yield
    finally:
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending
        await transport.close()


async def _send(transport: KafkaTransport, made: list[tuple[int, list[bytes]]], rate: int) -> None:
    producer_id = str(uuid.uuid4())
    pseq: Counter[int] = Counter()
    started, sent, passes = time.perf_counter(), 0, 0
    async with asyncio.TaskGroup() as tasks:
        while True:
            passes += 1
            for partition, lines in made:
                sent += len(lines)
                wait_s = sent / rate - (time.perf_counter() - started)
                if wait_s > 0.001:
                    await asyncio.sleep(wait_s)
                pseq[partition] += 1
                batch = _filled(lines, passes, producer_id, pseq[partition])
                tasks.create_task(transport.send(partition, batch))


def _filled(lines: list[bytes], passes: int, producer_id: str, pseq: int) -> SealedBatch:
    instant = b'"ts_us":%d' % SYSTEM_CLOCK.now_us()
    event_id = b'"event_id":"%08x' % passes
    known = [
        line.replace(b'"ts_us":%d' % _OPEN_US, instant).replace(
            b'"event_id":"' + _OPEN_ID.encode(), event_id
        )
        for line in lines
    ]
    return seal(known, producer_id=producer_id, pseq=pseq)


def _batches(rate: int, partitions: int) -> Iterator[tuple[int, list[bytes]]]:
    """Yields (partition, lines), in the order in which they are full."""
    each = max(1, min(_BATCH_MAX, rate // partitions // _FLUSHES_A_SECOND))
    lines: list[list[bytes]] = [[] for _ in range(partitions)]
    for number, event in enumerate(interactions(_EVENTS, start_us=_OPEN_US, step_us=0)):
        event_id = f"{_OPEN_ID}-0000-4000-8000-{number:012x}"
        line = encode_event(event.model_copy(update={"event_id": event_id}))
        partition = partition_of(event.conversation_id, partitions)
        lines[partition].append(line)
        if len(lines[partition]) == each:
            yield partition, lines[partition]
            lines[partition] = []
