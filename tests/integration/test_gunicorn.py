"""A bot behind gunicorn that loads it before it forks: every worker delivers under its own id."""

import asyncio
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from backchannel.events import Health, Interaction
from support.broker import BrokerProcess, free_ports
from support.stored import create_events_topic, events_of

pytestmark = pytest.mark.integration

REQUESTS = 12
APP = """
import backchannel
from backchannel.events import Interaction

producer = backchannel.init({kafka!r}, service="bot", health_interval_s=15)
producer.track(Interaction(request_id="at import"))  # so that the parent has a thread

def app(environ, start_response):
    with producer.interaction(request_id=environ["PATH_INFO"]):
        pass
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [producer.stats().producer_id.encode()]
"""


@pytest.fixture
def server(kafka: BrokerProcess, tmp_path: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    asyncio.run(create_events_topic(kafka.bootstrap))
    (tmp_path / "bot.py").write_text(APP.format(kafka=kafka.bootstrap))
    (port,) = free_ports(1)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "gunicorn", "--preload", "--workers", "2"),
                *("--bind", f"127.0.0.1:{port}", "--chdir", str(tmp_path), "bot:app"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
    try:
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def answers(url: str) -> str:
    for _ in range(300):
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            time.sleep(0.1)
    raise AssertionError("gunicorn does not answer")


async def test_each_worker_of_a_preloaded_app_delivers_all_it_tracked_and_ends_cleanly(
    kafka: BrokerProcess, server: "tuple[str, subprocess.Popen[bytes]]", tmp_path: Path
) -> None:
    url, process = server
    first = await asyncio.to_thread(answers, url)
    answered = [first]
    while len(answered) < REQUESTS or len(set(answered)) < 2:
        answered.append(await asyncio.to_thread(answers, url))
    process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(process.wait, 30)

    for producer_id in set(answered):
        events = await events_of(kafka.bootstrap, producer_id)
        requests = [event for event in events if isinstance(event, Interaction)]
        assert len(requests) == answered.count(producer_id)
        assert {event.request_id for event in requests} == {"/"}  # nothing of the parent's
        assert sorted(event.seq for event in events) == list(range(1, len(events) + 1))
        (last,) = [event for event in events if isinstance(event, Health)]
        assert last.final_seq == len(events)
    assert "Traceback" not in (tmp_path / "log").read_text()
