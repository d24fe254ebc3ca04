"""A bot whose turns run in Celery's pool of forked processes, which leave without `atexit`."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from backchannel.events import Health, Interaction
from support.broker import BrokerProcess
from support.stored import create_events_topic, events_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

TASKS = 4
BOT = """
import backchannel
from celery import Celery

app = Celery("bot", broker="filesystem://", backend="file://" + {folder!r})
app.conf.update(broker_transport_options={folders!r})
producer = backchannel.init({kafka!r}, service="bot", health_interval_s=15)

@app.task(name="answer")
def answer(number):
    with producer.interaction(request_id=str(number)):
        return producer.stats().producer_id
"""


@pytest.fixture
def bot(kafka: BrokerProcess, tmp_path: Path) -> Iterator[tuple[Celery, "subprocess.Popen[bytes]"]]:
    """A client, and a worker whose first child leaves after three tasks and whose second stays."""
    asyncio.run(create_events_topic(kafka.bootstrap))
    folder = tmp_path / "jobs"
    folder.mkdir()
    # Without one of its own it writes a file into the working directory.
    folders = dict.fromkeys(("data_folder_in", "data_folder_out", "control_folder"), str(folder))
    source = BOT.format(folder=str(folder), folders=folders, kafka=kafka.bootstrap)
    (tmp_path / "bot.py").write_text(source)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "celery", "--app", "bot", "worker", "--pool", "prefork"),
                *("--concurrency", "1", "--max-tasks-per-child", "3"),
                *("--without-gossip", "--without-mingle"),
            ],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
    client = Celery("bot", broker="filesystem://", backend=f"file://{folder}")
    client.conf.update(broker_transport_options=folders)
    try:
        yield client, process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        client.close()


async def test_each_child_of_the_pool_delivers_all_its_turns_and_ends_with_a_word(
    kafka: BrokerProcess, bot: tuple[Celery, "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    client, process = bot

    def ask() -> list[str]:
        tasks = [client.send_task("answer", [number]) for number in range(TASKS)]
        return [task.get(timeout=60) for task in tasks]

    answered = await asyncio.to_thread(ask)
    assert len(set(answered)) == 2
    process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(process.wait, 30)

    for producer_id in set(answered):
        events = await events_of(kafka.bootstrap, producer_id)
        turns = [event for event in events if isinstance(event, Interaction)]
        assert len(turns) == answered.count(producer_id)
        (last,) = [event for event in events if isinstance(event, Health)]
        assert last.final_seq == len(events)
    assert "Traceback" not in (tmp_path / "log").read_text()
