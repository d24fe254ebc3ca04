"""How a process ends, or freezes, and what is delivered before it does."""

import signal
import subprocess
import sys
import threading
import time

import pytest

from backchannel import MemoryTransport, Producer
from backchannel.events import Interaction

BOT = """
import os, signal, sys
from backchannel import MemoryTransport, Producer
from backchannel.events import Interaction

class Telling(MemoryTransport):
    async def send(self, partition, batch):
        await super().send(partition, batch)
        os.write(1, b"stored\\n")

producer = Producer(transport=Telling(1), linger_ms=5_000)
{setup}
producer.track(Interaction())
os.kill(os.getpid(), signal.SIGTERM)
os.write(1, b"lives on\\n")
"""


def run_bot(setup: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", BOT.format(setup=setup)],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.split("\n")[:-1]


def test_a_script_that_asked_for_it_delivers_at_sigterm_and_then_ends_by_it() -> None:
    assert run_bot("assert producer.flush_on_sigterm()") == (-signal.SIGTERM, ["stored"])


def test_a_script_that_did_not_ask_ends_at_once() -> None:
    assert run_bot("") == (-signal.SIGTERM, [])


def test_a_function_of_the_host_is_called_after_the_flush_and_decides() -> None:
    setup = (
        "signal.signal(signal.SIGTERM, lambda *_: os.write(1, b'host\\n'))\n"
        "assert producer.flush_on_sigterm()"
    )

    assert run_bot(setup) == (0, ["stored", "host", "lives on"])


def test_where_sigterm_is_ignored_it_stays_ignored() -> None:
    setup = (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "assert not producer.flush_on_sigterm()\n"
        "assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN"
    )

    assert run_bot(setup) == (0, ["lives on", "stored"])  # the interpreter's exit delivers


def test_only_the_main_thread_can_install_it() -> None:
    producer = Producer(transport=MemoryTransport())
    said: list[bool] = []
    thread = threading.Thread(target=lambda: said.append(producer.flush_on_sigterm()))
    thread.start()
    thread.join()

    assert said == [False]


def test_when_a_request_ends_its_events_are_stored() -> None:
    transport = MemoryTransport()
    producer = Producer(transport=transport, linger_ms=5_000)

    with producer.request() as request, producer.interaction(conversation_id="c"):
        pass

    assert len(transport.events()) == 1
    assert request.unacknowledged == 0
    producer.close_sync()


async def test_a_request_keeps_to_its_time_and_says_what_it_left_behind() -> None:
    transport = MemoryTransport()
    transport.away = True
    producer = Producer(transport=transport)
    began = time.monotonic()

    async with producer.request(timeout=0.1) as request:
        producer.track(Interaction())

    assert request.unacknowledged == 1
    assert time.monotonic() - began < 2
    await producer.close(0.1)


def track_and_hold_back_the_wake(producer: Producer) -> tuple[threading.Thread, threading.Event]:
    """A thread whose first event is taken in, but which has not come to wake the sender yet."""
    taken_in, go_on = threading.Event(), threading.Event()
    wake = producer._intake.wake

    def wake_later() -> None:
        taken_in.set()
        go_on.wait(5)
        wake()

    producer._intake.wake = wake_later
    thread = threading.Thread(target=producer.track, args=(Interaction(),))
    thread.start()
    assert taken_in.wait(5)
    producer._intake.wake = wake
    return thread, go_on


def test_closing_delivers_the_first_event_of_another_thread_that_is_still_in_track() -> None:
    producer = Producer(transport=MemoryTransport(), health_interval_s=0)
    thread, go_on = track_and_hold_back_the_wake(producer)

    assert producer.close_sync() == 0

    go_on.set()
    thread.join()
    assert (producer.stats().acked, dict(producer.stats().dropped)) == (1, {})


def test_flushing_delivers_the_first_event_of_another_thread_that_is_still_in_track() -> None:
    producer = Producer(transport=MemoryTransport(), health_interval_s=0)
    thread, go_on = track_and_hold_back_the_wake(producer)

    assert producer.flush_sync() == 0

    go_on.set()
    thread.join()
    producer.close_sync()


def test_what_could_not_be_delivered_in_time_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    transport = MemoryTransport()
    transport.away = True
    producer = Producer(transport=transport, health_interval_s=0)
    producer.track(Interaction())

    assert (producer.close_sync(0.1), producer.close_sync(0.1)) == (1, 0)

    said = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert said == ["the producer ended before Kafka had acknowledged 1 events"]
