"""A worker as a process of its own, to be killed, frozen and started again; and what it reads
and writes, through plain aiokafka clients."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from zlib import crc32

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import RecordMetadata

from backchannel.events import (
    AgentReport,
    Alert,
    ClosedConversation,
    Interaction,
    SealedBatch,
    Window,
    encode_event,
    seal,
)
from backchannel.events.topics import ALERTS, EVENTS, METRICS
from backchannel_processors.settings import WorkerSettings
from support.child import start_child

STOP_TIMEOUT_S = 20.0
SETTLE_S = 40.0

SLOW_RULES = """
[[rule]]
name = "slow"
metric = "latency_ms"
agg = "p95"
threshold = 5000
window = "10s"
min_samples = 5
by = ["tenant"]
"""
"""One rule, which a slow tenant crosses with five turns."""

# A rebalance waits for its members; tests do not want to wait for long.
TEST_SETTINGS = {
    "BACKCHANNEL_SESSION_TIMEOUT_S": "6",
    "BACKCHANNEL_IDLE_CHECK_S": "2",
    "BACKCHANNEL_IDLE_S": "2",
    "BACKCHANNEL_ROWS_S_MAX": "2",
}

SHIPPED_SETTINGS = {
    name: str(WorkerSettings.model_fields[name.removeprefix("BACKCHANNEL_").lower()].default)
    for name in TEST_SETTINGS
}
"""What a worker of a user has instead: for whatever is measured."""

RowKey = tuple[str, str, str, int, int]
"""origin, grouping, dims, window_s, window_start."""


class WorkerProcess:
    """One worker. Always ended by its process id."""

    def __init__(self, bootstrap: str, log: Path, settings: dict[str, str]) -> None:
        self.log_path = log
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("BACKCHANNEL_")},
            "BACKCHANNEL_KAFKA": bootstrap,
            **TEST_SETTINGS,
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "start the worker first"
        return self._process.pid

    def start(self) -> None:
        """Starts it. It is at work some seconds later."""
        assert not self.is_running, "it runs already"
        with self.log_path.open("ab") as output:
            self._process = start_child(
                [sys.executable, "-m", "backchannel_processors"],
                env=self._environment,
                stdout=output,
                stderr=output,
            )

    @property
    def is_running(self) -> bool:
        """It was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Ends it at once (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> int:
        """Ends it as an operator would (SIGTERM), and returns its exit code."""
        process = self._process
        assert process is not None, "it does not run"
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            return process.wait(STOP_TIMEOUT_S)
        finally:
            self.kill()

    def pause(self) -> None:
        """Freezes it (SIGSTOP)."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Lets it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def log(self) -> str:
        """What it has logged since it was first started."""
        return self.log_path.read_text(encoding="utf-8") if self.log_path.exists() else ""

    async def has_logged(self, text: str, timeout_s: float = 40) -> None:
        """Waits until it has logged something."""
        async with asyncio.timeout(timeout_s):
            while text not in self.log():  # noqa: ASYNC110 -- another process has no event to wait for
                await asyncio.sleep(0.1)

    async def has_ended(self, timeout_s: float = 40) -> int:
        """Waits until it has ended by itself, and returns its exit code."""
        async with asyncio.timeout(timeout_s):
            while self.is_running:  # noqa: ASYNC110 -- another process has no event to wait for
                await asyncio.sleep(0.1)
        assert self._process is not None
        return int(self._process.returncode)

    async def is_at_work(self, times: int = 1, timeout_s: float = 40) -> None:
        """Waits until it has been given partitions for the ``times``-th time."""
        async with asyncio.timeout(timeout_s):
            while self.log().count("partitions_assigned") < times:
                assert self.is_running, f"the worker ended: {self.log()[-2000:]}"
                await asyncio.sleep(0.1)


WorkerFactory = Callable[..., WorkerProcess]


@pytest.fixture
def worker_factory(tmp_path: Path) -> Iterator[WorkerFactory]:
    """Makes workers: ``worker_factory(bootstrap, slot="a", **settings)``; not started yet."""
    with workers_in(tmp_path) as make:
        yield make


@contextmanager
def workers_in(folder: Path) -> Iterator[WorkerFactory]:
    """Makes workers that log to a folder, and ends them with the block."""
    workers: list[WorkerProcess] = []

    def make(bootstrap: str, **settings: str) -> WorkerProcess:
        environment = {f"BACKCHANNEL_{name.upper()}": value for name, value in settings.items()}
        worker = WorkerProcess(bootstrap, folder / f"worker-{len(workers)}.log", environment)
        workers.append(worker)
        return worker

    try:
        yield make
    finally:
        for worker in workers:
            worker.kill()


class Bot:
    """A producer of sealed batches, numbered by partition as the SDK does it."""

    def __init__(self, producer: AIOKafkaProducer, producer_id: str, origin: str) -> None:
        self._producer = producer
        self.producer_id = producer_id
        self._origin = origin
        self._pseq: Counter[int] = Counter()

    async def send(self, partition: int, events: Sequence[Interaction]) -> None:
        """Seals events into one record and sends it; ``flush`` waits for it."""
        await self.resend(partition, self.seal(partition, events))

    def seal(self, partition: int, events: Sequence[Interaction]) -> SealedBatch:
        """Seals events into the next record of a partition."""
        self._pseq[partition] += 1
        return seal(
            [encode_event(event) for event in events],
            producer_id=self.producer_id,
            pseq=self._pseq[partition],
            origin=self._origin,
        )

    async def resend(self, partition: int, batch: SealedBatch) -> "asyncio.Future[RecordMetadata]":
        """Sends a sealed batch, whether it was sent before or not; what is returned is done when
        Kafka has it, and says when that was."""
        sent: asyncio.Future[RecordMetadata] = await self._producer.send(
            EVENTS.name, batch.value, partition=partition, headers=list(batch.headers)
        )
        return sent

    async def send_raw(self, partition: int, value: bytes | None) -> None:
        """Sends what is no sealed batch."""
        await self._producer.send(EVENTS.name, value, key=b"any", partition=partition)

    async def sees(self, partitions: int) -> None:
        """Waits until it knows of so many partitions."""
        while len(await self._producer.partitions_for(EVENTS.name)) < partitions:
            await self._producer.client.force_metadata_update()

    async def flush(self) -> None:
        """Waits until everything is acknowledged."""
        await self._producer.flush()


@asynccontextmanager
async def bot(
    bootstrap: str, producer_id: str = "bot-1", origin: str = "live"
) -> AsyncIterator[Bot]:
    """A bot that sends to ``chat.events``."""
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", enable_idempotence=True
    ) as producer:
        yield Bot(producer, producer_id, origin)


class Listener:
    """Reads a topic from its beginning, for as long as a test wants."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self.rows: dict[RowKey, Window] = {}
        self.conversations: dict[tuple[str, str, str], ClosedConversation] = {}
        self.reports: list[AgentReport] = []
        self.alerts: list[Alert] = []
        self.alert_values: list[bytes] = []
        self.erased_alerts: list[str] = []

    async def read(self, seconds: float) -> None:
        """Takes in what comes in this time; returns early after the first records."""
        fetched = await self._consumer.getmany(timeout_ms=round(seconds * 1000))
        for tp, batch in fetched.items():
            for record in batch:
                kind = dict(record.headers).get("kind")
                if kind == b"conversation.closed":
                    self._take_closed(record.value)
                elif kind == b"agent":
                    self.reports.append(AgentReport.model_validate_json(record.value))
                elif tp.topic == METRICS.name:
                    self._take_rows(record.value, dict(record.headers))
                elif record.value is None:
                    self.erased_alerts.append(record.key.decode())
                else:
                    self.alerts.append(Alert.model_validate_json(record.value))
                    self.alert_values.append(record.value)

    def _take_rows(self, value: bytes, headers: dict[str, bytes]) -> None:
        lines = value.split(b"\n")
        assert headers["count"] == b"%d" % len(lines)
        assert headers["crc32"] == b"%08x" % crc32(value)
        for line in lines:
            window = Window.model_validate_json(line)
            key = row_key(window)
            known = self.rows.get(key)
            if known is not None and known.revision == window.revision:
                assert content(known) == content(window), "one revision has two contents"
            if known is None or window.revision > known.revision:
                self.rows[key] = window

    def _take_closed(self, value: bytes) -> None:
        for line in value.split(b"\n"):
            closed = ClosedConversation.model_validate_json(line)
            key = (closed.tenant_id, closed.conversation_id, closed.segment)
            known = self.conversations.setdefault(key, closed)
            assert known == closed or known.revision != closed.revision, (
                "one revision, two contents"
            )
            if closed.revision > known.revision:
                self.conversations[key] = closed

    def total(self, grouping: str, window_s: int, origin: str = "live") -> int:
        """Returns how many interactions the newest rows of a grouping and width count."""
        return sum(
            row.count
            for row in self.rows.values()
            if (row.origin, row.grouping, row.window_s) == (origin, grouping, window_s)
        )


def row_key(window: Window) -> RowKey:
    """Returns which row it is."""
    dims = "|".join(window.dims.values())
    return window.origin, window.grouping, dims, window.window_s, window.window_start


def content(window: Window) -> dict[str, object]:
    """Returns what a row says of the events in it."""
    return window.model_dump(exclude={"published_at_us", "complete", "final", "revision"})


@asynccontextmanager
async def listener(bootstrap: str, *topics: str) -> AsyncIterator[Listener]:
    """A plain consumer of ``chat.metrics`` or ``chat.alerts``, from the beginning."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    async with consumer:
        names = topics or (METRICS.name, ALERTS.name)
        tps = [
            TopicPartition(topic.name, partition)
            for topic in (METRICS, ALERTS)
            if topic.name in names
            for partition in range(topic.partitions)
        ]
        consumer.assign(tps)
        await consumer.seek_to_beginning(*tps)
        yield Listener(consumer)


async def until(
    condition: Callable[[], bool], heard: Listener, timeout_s: float = SETTLE_S
) -> None:
    """Listens until the condition holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await heard.read(0.2)
