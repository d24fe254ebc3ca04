"""The file transport keeps every line whole, the file bounded, and says what it could not write."""

import asyncio
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backchannel import JsonlTransport, Producer
from backchannel.errors import BrokenError, RefusedError, UnreachableError
from backchannel.events import Interaction, encode_event, seal
from backchannel_deploy.replay.trace import read_rows
from contract.transport import batch


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "folder" / "events.jsonl"


async def sent(path: Path, *conversations: str) -> None:
    transport = JsonlTransport(path)
    await transport.connect()
    for conversation in conversations:
        await transport.send(0, batch(1, conversation))
    await transport.close()


def size_of(path: Path) -> int:
    return path.stat().st_size


def conversations_in(path: Path) -> list[str]:
    return [row.conversation_id for row in read_rows(path) if isinstance(row, Interaction)]


async def test_a_producer_writes_its_events_in_the_order_they_were_tracked(path: Path) -> None:
    tracked = [Interaction(conversation_id=f"c-{number}") for number in range(500)]

    async with Producer(transport=JsonlTransport(path)) as producer:
        for event in tracked:
            producer.track(event)

    rows = [row for row in read_rows(path) if isinstance(row, Interaction)]
    assert [row.event_id for row in rows] == [event.event_id for event in tracked]
    assert [row.seq for row in rows] == list(range(1, 501))


async def test_what_stands_in_the_file_stays_there(path: Path) -> None:
    await sent(path, "first")
    await sent(path, "second")

    assert conversations_in(path) == ["first", "second"]


async def test_a_line_that_a_killed_writer_left_torn_spoils_no_other(path: Path) -> None:
    await sent(path, "first")
    with path.open("ab") as file:
        file.write(b'{"event_type":"intera')

    await sent(path, "second")

    assert conversations_in(path) == ["first", "second"]


async def test_many_writers_share_a_file_and_every_line_stays_whole(path: Path) -> None:
    async def writes(writer: int) -> None:
        async with Producer(transport=JsonlTransport(path), batch_bytes_max=1024) as producer:
            for number in range(200):
                producer.track(Interaction(conversation_id=f"{writer}-{number}"))

    await asyncio.gather(*map(writes, range(4)))

    assert len(set(conversations_in(path))) == 800


async def test_at_its_bound_a_batch_is_refused_and_the_file_stays_as_it_is(path: Path) -> None:
    await sent(path, "first")
    transport = JsonlTransport(path, bytes_max=size_of(path) + 10)
    await transport.connect()

    with pytest.raises(RefusedError):
        await transport.send(0, batch(1, "second"))
    await transport.close()

    assert conversations_in(path) == ["first"]


async def test_what_the_bound_refuses_is_counted(path: Path) -> None:
    async with Producer(transport=JsonlTransport(path, bytes_max=100)) as producer:
        producer.track(Interaction(request_id="r" * 200))
        assert await producer.flush(5) == 1

        assert producer.stats().dropped == {"refused": 1}


@contextmanager
def files_of_at_most(bytes_max: int) -> Iterator[None]:
    """A full disk, for any one file of this process: held no longer than the write it is for.

    The limit is the whole process's, so a test runner that prints into a longer file
    would fail beside it, and could not even say so.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


async def test_a_batch_that_finds_no_room_leaves_no_part_of_it(path: Path) -> None:
    await sent(path, "first")
    transport = JsonlTransport(path)
    await transport.connect()
    size = size_of(path)
    long = encode_event(Interaction(error_message="é" * 2048))

    with pytest.raises(BrokenError), files_of_at_most(4096):
        await transport.send(0, seal([long], producer_id="somebody", pseq=1))
    await transport.close()

    assert size_of(path) == size


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")  # newer Pythons
async def test_a_forked_child_and_its_parent_share_the_file(path: Path) -> None:
    async with Producer(transport=JsonlTransport(path), batch_bytes_max=1024) as producer:
        producer.track(Interaction(conversation_id="before"))
        await producer.flush(5)
        child = os.fork()
        who = "parent" if child else "child"
        for number in range(300):
            producer.track(Interaction(conversation_id=f"{who}-{number}"))
        if not child:
            os._exit(producer.flush_sync(5))
        await producer.flush(5)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert len(set(conversations_in(path))) == 601


async def test_a_folder_in_the_files_place_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="is a directory"):
        await JsonlTransport(tmp_path).connect()


async def test_a_file_that_cannot_be_written_is_told_as_such(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    producer = Producer(transport=JsonlTransport(tmp_path))
    producer.track(Interaction())
    await producer.flush(0.3)
    await producer.close(0.1)

    told = [record.getMessage() for record in caplog.records if record.name == "backchannel"]
    assert told[0].startswith("The transport does not answer (the file: is a directory)")
    assert producer.stats().dropped == {"unsent": 1}


async def test_sending_without_a_connection_says_that_it_is_broken(path: Path) -> None:
    with pytest.raises(BrokenError):
        await JsonlTransport(path).send(0, batch(1))
