"""A forked child has a producer of its own, and the parent keeps what is the parent's."""

import json
import multiprocessing
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backchannel import MemoryTransport, Producer
from backchannel.events import Interaction

pytestmark = pytest.mark.filterwarnings(
    # Python 3.12 warns of any fork in a process with threads: that is what is tested here.
    "ignore:This process .* is multi-threaded:DeprecationWarning"
)


def in_child(work: Callable[[], Any]) -> Any:
    """Runs something in a forked child and returns what it returned."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        said = json.loads(answer.read())
    os.waitpid(child, 0)
    return said


def counts(producer: Producer) -> list[Any]:
    stats = producer.stats()
    return [stats.producer_id, stats.offered, stats.acked, stats.held]


def deliver(producer: Producer, transport: MemoryTransport) -> list[Any]:
    transport.away = False
    for _ in range(3):
        producer.track(Interaction())
    producer.close_sync()
    return [*counts(producer), [[e.producer_id, e.seq] for e in transport.events()]]


def test_a_child_counts_from_zero_under_an_id_of_its_own_and_sends_only_its_own() -> None:
    transport = MemoryTransport(1)
    transport.away = True  # nothing of the parent's is stored by the time of the fork
    producer = Producer(transport=transport, linger_ms=5_000)
    for _ in range(7):
        producer.track(Interaction())

    producer_id, offered, acked, held, events = in_child(lambda: deliver(producer, transport))

    assert producer_id != producer.stats().producer_id
    assert (offered, acked, held) == (3, 3, 0)
    assert events == [[producer_id, 1], [producer_id, 2], [producer_id, 3]]
    transport.away = False
    assert producer.close_sync() == 0
    assert [event.seq for event in transport.events()] == list(range(1, 8))


def test_a_view_of_a_producer_goes_on_in_the_child() -> None:
    transport = MemoryTransport(1)
    view = Producer(transport=transport).bind(tenant_id="acme")

    def work() -> list[str]:
        view.track(Interaction())
        view._outlet.intake.wake()
        while not transport.events():
            pass
        return [event.tenant_id for event in transport.events()]

    assert in_child(work) == ["acme"]


def test_a_fork_while_other_threads_track_leaves_no_lock_behind() -> None:
    transport = MemoryTransport(1)
    producer = Producer(transport=transport)
    code = (
        "import os, threading\n"
        "from backchannel import MemoryTransport, Producer\n"
        "from backchannel.events import Interaction\n"
        "producer = Producer(transport=MemoryTransport(1), buffer_bytes_max=2**22)\n"
        "go_on = True\n"
        "def load():\n"
        "    while go_on: producer.track(Interaction())\n"
        "threads = [threading.Thread(target=load) for _ in range(3)]\n"
        "[each.start() for each in threads]\n"
        "for _ in range(20):\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        assert producer.track(Interaction())\n"
        "        assert producer.close_sync() == 0\n"
        "        os._exit(0 if producer.stats().acked == 1 else 3)\n"
        "    assert os.waitpid(child, 0)[1] == 0\n"
        "go_on = False\n"
        "[each.join() for each in threads]\n"
        "producer.close_sync()\n"
        "stats = producer.stats()\n"
        "assert stats.offered == stats.acked + sum(stats.dropped.values())\n"
    )

    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert producer.close_sync() == 0


def test_a_fork_while_the_kafka_client_is_imported_finds_it_whole() -> None:
    code = (
        "import os\n"
        "from backchannel import Producer\n"
        "from backchannel.events import Interaction\n"
        "producer = Producer('127.0.0.1:1')\n"
        "producer.track(Interaction())\n"  # its thread imports the client from now on
        "child = os.fork()\n"
        "if child == 0:\n"
        "    import aiokafka\n"
        "    assert aiokafka.AIOKafkaProducer\n"
        "    os._exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "producer.close_sync(0.1)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=30
    )

    assert done.returncode == 0
    assert "Traceback" not in done.stderr


def test_a_closed_producer_stays_closed_in_the_child() -> None:
    producer = Producer(transport=MemoryTransport())
    producer.close_sync()

    assert in_child(lambda: producer.track(Interaction())) is False


def _child_of_multiprocessing(producer: Producer, file: Path) -> None:
    class Noting(MemoryTransport):
        async def close(self) -> None:
            file.write_text(str(len(self.events())))  # noqa: ASYNC240  # in the sender's own loop  # noqa: ASYNC240  # in the sender's own loop

    producer._transport = Noting()
    producer._thread = producer._new_thread()
    producer.track(Interaction())  # and nobody closes it


def test_a_child_of_multiprocessing_that_forgets_to_close_still_delivers(tmp_path: Path) -> None:
    producer = Producer(transport=MemoryTransport(), linger_ms=500)
    producer.track(Interaction())
    file = tmp_path / "delivered"

    with warnings.catch_warnings():
        child = multiprocessing.get_context("fork").Process(
            target=_child_of_multiprocessing, args=(producer, file)
        )
        child.start()
        child.join(20)

    assert file.read_text() == "1"
    assert producer.close_sync() == 0
