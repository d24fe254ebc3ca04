"""A sink as a process of its own, to be killed, frozen and started again; and what it is fed."""

import os
import random
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import Interaction, SealedBatch, encode_event, seal
from backchannel.events.topics import EVENTS, TOPICS
from backchannel_deploy.topics import ensure_topics
from backchannel_sinks.clickhouse.connection import connect
from backchannel_sinks.clickhouse.migrate import migrate
from support.child import start_child
from support.endpoint import ClickHouse
from support.stack import eventually

STOP_TIMEOUT_S = 30.0

SESSION_TIMEOUT_S = 6.0
"""The least that a broker allows: a member that is silent for longer loses its partitions."""

NOON_US = 1_700_000_000_000_000


class SinkProcess:
    """One sink. Always ended by its process id."""

    def __init__(self, bootstrap: str, clickhouse: ClickHouse, log: Path, **settings: str) -> None:
        self.log_path = log
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("BACKCHANNEL_")},
            "BACKCHANNEL_KAFKA": bootstrap,
            "BACKCHANNEL_CLICKHOUSE": clickhouse.url,
            "BACKCHANNEL_DATABASE": clickhouse.database,
            "BACKCHANNEL_SINK_SESSION_TIMEOUT_MS": str(round(SESSION_TIMEOUT_S * 1000)),
            "BACKCHANNEL_LOG": "debug",
            **{f"BACKCHANNEL_{name.upper()}": value for name, value in settings.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "start the sink first"
        return self._process.pid

    def start(self) -> None:
        """Starts it. It is at work some seconds later."""
        assert self._process is None, "it runs already"
        with self.log_path.open("ab") as output:
            self._process = start_child(
                [sys.executable, "-m", "backchannel_sinks"],
                env=self._environment,
                stdout=output,
                stderr=output,
            )

    def poll(self) -> int | None:
        """Returns the exit code, or ``None`` while it runs."""
        return None if self._process is None else self._process.poll()

    def kill(self) -> None:
        """Ends it at once (SIGKILL)."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def stop(self) -> int:
        """Ends it as an operator would (SIGTERM), and returns its exit code."""
        assert self._process is not None, "it does not run"
        self._process.terminate()
        return self.wait(STOP_TIMEOUT_S)

    def wait(self, timeout_s: float) -> int:
        """Waits until it ends by itself, and returns its exit code."""
        assert self._process is not None, "it does not run"
        try:
            return self._process.wait(timeout_s)
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

    def logged(self, event: str) -> int:
        """How many times it has logged something, under its name in the log."""
        return self.log().count(f'"event": "{event}"')

    def wait_until_logged(self, event: str, *, times: int = 1, timeout_s: float = 60) -> None:
        """Waits until it has logged something at least so many times."""

        def enough() -> bool:
            assert self.poll() is None, f"the sink ended: {self.log()[-3000:]}"
            return self.logged(event) >= times

        eventually(enough, True, timeout_s=timeout_s)


SinkFactory = Callable[..., SinkProcess]


@pytest.fixture
def sink_factory(tmp_path: Path) -> Iterator[SinkFactory]:
    """Makes sinks: ``sink_factory(bootstrap, clickhouse, **settings)``; not started yet."""
    with sinks_in(tmp_path) as make:
        yield make


@contextmanager
def sinks_in(folder: Path) -> Iterator[SinkFactory]:
    """Makes sinks that log to a folder, and ends them with the block."""
    sinks: list[SinkProcess] = []

    def make(bootstrap: str, clickhouse: ClickHouse, **settings: str) -> SinkProcess:
        log = folder / f"sink-{len(sinks)}.log"
        sink = SinkProcess(bootstrap, clickhouse, log, **settings)
        sinks.append(sink)
        return sink

    try:
        yield make
    finally:
        for sink in sinks:
            sink.kill()


async def prepare(bootstrap: str, clickhouse: ClickHouse) -> None:
    """Creates the topics and the tables that a sink needs."""
    await ensure_topics(bootstrap, clock=SYSTEM_CLOCK, topics=TOPICS)
    create_tables(clickhouse)


def create_tables(clickhouse: ClickHouse) -> None:
    """Creates the tables in the test's database."""
    with closing(connect(clickhouse.url, clickhouse.database)) as client:
        migrate(client)


@dataclass
class Ledger:
    """What was sent and acknowledged."""

    count: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    records: int = 0

    def add(self, events: Sequence[Interaction]) -> None:
        """Notes the events of one record."""
        self.records += 1
        self.count += len(events)
        self.input_tokens += sum(event.input_tokens for event in events)
        self.output_tokens += sum(event.output_tokens for event in events)

    @property
    def sums(self) -> tuple[int, int, int]:
        return self.count, self.input_tokens, self.output_tokens


@dataclass
class Feeder:
    """Sends sealed batches as the SDK does: lines stamped, records numbered by partition."""

    kafka: AIOKafkaProducer
    producer_id: str = field(default_factory=lambda: f"bot-{uuid.uuid4().hex[:8]}")
    ledger: Ledger = field(default_factory=Ledger)
    _numbers: list[int] = field(default_factory=lambda: [0] * EVENTS.partitions)
    _seq: int = 0
    _random: random.Random = field(default_factory=lambda: random.Random(7))

    @property
    def events_made(self) -> int:
        """How many events there are so far: the number of the last one."""
        return self._seq

    def events(self, count: int) -> list[Interaction]:
        """Makes events, stamped with this producer and their number."""
        made = []
        for _ in range(count):
            self._seq += 1
            made.append(
                Interaction(
                    ts_us=NOON_US + self._seq,
                    producer_id=self.producer_id,
                    seq=self._seq,
                    tenant_id="acme",
                    endpoint="/chat",
                    model="m-1",
                    input_tokens=self._random.randrange(4_000),
                    output_tokens=self._random.randrange(1_000),
                )
            )
        return made

    def seal(self, partition: int, events: Sequence[Interaction]) -> SealedBatch:
        """Seals events into the next record of a partition."""
        self._numbers[partition] += 1
        return seal(
            [encode_event(event) for event in events],
            producer_id=self.producer_id,
            pseq=self._numbers[partition],
        )

    async def send(self, partition: int, count: int) -> SealedBatch:
        """Sends one record of new events, notes it in the ledger and waits for Kafka."""
        events = self.events(count)
        batch = self.seal(partition, events)
        await self.send_sealed(partition, batch)
        self.ledger.add(events)
        return batch

    async def send_sealed(self, partition: int, batch: SealedBatch) -> None:
        """Sends a record as it is, also for the second time."""
        await self.kafka.send_and_wait(
            EVENTS.name, batch.value, partition=partition, headers=list(batch.headers)
        )

    async def send_many(self, records: int, count: int) -> None:
        """Sends records over all partitions in turn; returns when Kafka has them."""
        for number in range(records):
            events = self.events(count)
            partition = number % EVENTS.partitions
            batch = self.seal(partition, events)
            await self.kafka.send(
                EVENTS.name, batch.value, partition=partition, headers=list(batch.headers)
            )
            self.ledger.add(events)
        await self.kafka.flush()


@asynccontextmanager
async def feeder(bootstrap: str) -> AsyncIterator[Feeder]:
    """A producer of sealed batches that notes what it sent."""
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        acks="all",
        enable_idempotence=True,
        max_request_size=4 * 1024 * 1024,
    ) as kafka:
        yield Feeder(kafka)
