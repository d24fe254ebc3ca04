"""What a bot sees of the producer, with the transport in memory."""

import asyncio
import logging
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from backchannel import MemoryTransport, Producer
from backchannel.events import LINE_BYTES_MAX, Event, Interaction, LlmCall, Product, Retrieval
from backchannel.events.turns import Document


def law_holds(producer: Producer) -> bool:
    stats = producer.stats()
    return (
        stats.offered == stats.acked + stats.held + sum(stats.dropped.values())
        and stats.offered == stats.accepted + stats.refused
    )


async def delivered(event: Event, **settings: Any) -> Event:
    transport = MemoryTransport()
    async with Producer(transport=transport, **settings) as producer:
        assert producer.track(event)
    (found,) = transport.events()
    return found


async def test_a_tracked_event_arrives_as_it_is_but_for_producer_and_seq() -> None:
    event = Interaction(conversation_id="c", model="m", input_tokens=7, attributes={"a": "ü"})

    found = await delivered(event)

    assert found.producer_id
    assert found.seq == 1
    assert found.model_copy(update={"producer_id": "", "seq": 0}) == event


async def test_seq_counts_every_event_from_one() -> None:
    transport = MemoryTransport()
    async with Producer(transport=transport) as producer:
        for _ in range(100):
            producer.track(LlmCall())

    assert sorted(event.seq for event in transport.events()) == list(range(1, 101))
    assert producer.stats().last_seq == 100


async def test_an_event_that_was_sent_before_gets_a_number_of_this_producer() -> None:
    found = await delivered(Interaction(producer_id="another", seq=77))

    assert found.producer_id != "another"
    assert found.seq == 1


async def test_service_environment_and_tenant_are_stamped_where_the_event_has_none() -> None:
    settings = {"service": "bot", "environment": "prod", "tenant_id": "acme"}

    plain = await delivered(Interaction(), **settings)
    own = await delivered(Interaction(service="other", tenant_id="umbrella"), **settings)

    assert (plain.service, plain.environment, plain.tenant_id) == ("bot", "prod", "acme")
    assert (own.service, own.environment, own.tenant_id) == ("other", "prod", "umbrella")


async def test_a_bound_view_stamps_its_fields_and_the_producer_does_not() -> None:
    transport = MemoryTransport()
    async with Producer(transport=transport, service="bot") as producer:
        bound = producer.bind(user_id="u1").bind(conversation_id="c1", tags=["a"])
        bound.track(Interaction())
        producer.track(Interaction())

    view, plain = sorted(transport.events(), key=lambda event: event.seq)
    assert (view.user_id, view.conversation_id, view.tags) == ("u1", "c1", ("a",))
    assert (view.service, plain.service) == ("bot", "bot")
    assert plain.user_id == ""


async def test_binding_what_cannot_be_bound_is_counted_and_the_rest_is_bound() -> None:
    transport = MemoryTransport()
    async with Producer(transport=transport) as producer:
        producer.bind(user_id="u1", event_id="x", nonsense=1, tags=3).track(Interaction())

    assert transport.events()[0].user_id == "u1"
    assert producer.stats().fields_repaired == 3


async def test_events_of_a_conversation_arrive_in_one_partition_in_order() -> None:
    transport = MemoryTransport()
    async with Producer(transport=transport, linger_ms=0) as producer:
        for turn in range(1, 201):
            producer.track(Interaction(conversation_id=f"c{turn % 7}", turn=turn))
            if turn % 20 == 0:
                await asyncio.sleep(0.002)

    for number in range(7):
        turns = [e.turn for e in transport.events() if e.conversation_id == f"c{number}"]
        assert turns == [turn for turn in range(1, 201) if turn % 7 == number]


@pytest.mark.parametrize(
    "garbage", [None, 3, "event", {}, object, Interaction, Document(id="d")], ids=repr
)
async def test_what_is_no_event_is_invalid(garbage: Any) -> None:
    async with Producer(transport=MemoryTransport()) as producer:
        assert not producer.track(garbage)

        assert producer.stats().dropped == {"invalid": 1}
        assert law_holds(producer)


async def test_an_event_made_past_its_constructor_with_a_wrong_type_is_invalid() -> None:
    wrong: Any = "twelve"
    async with Producer(transport=MemoryTransport()) as producer:
        assert not producer.track(Interaction.model_construct(input_tokens=wrong))

        assert producer.stats().dropped == {"invalid": 1}


async def test_an_event_of_a_version_that_readers_do_not_take_is_invalid() -> None:
    later: Any = 2
    async with Producer(transport=MemoryTransport()) as producer:
        assert not producer.track(Interaction.model_construct(schema_version=later))

        assert producer.stats().dropped == {"invalid": 1}


async def test_a_line_longer_than_readers_take_is_too_large() -> None:
    documents = tuple(Document(id="🙂" * 256, source="🙂" * 256) for _ in range(256))
    event = Retrieval(documents=documents)
    assert len(event.model_dump_json().encode()) > LINE_BYTES_MAX
    async with Producer(transport=MemoryTransport()) as producer:
        assert not producer.track(event)

        assert producer.stats().dropped == {"too_large": 1}
        assert law_holds(producer)


async def test_at_the_bound_new_events_are_dropped_and_old_ones_are_delivered() -> None:
    transport = MemoryTransport()
    transport.away = True
    async with Producer(transport=transport, buffer_bytes_max=64 * 1024) as producer:
        taken = [producer.track(Interaction()) for _ in range(1000)]
        stats = producer.stats()
        assert stats.held_bytes <= 64 * 1024
        assert stats.dropped == {"buffer_full": taken.count(False)}
        assert taken == sorted(taken, reverse=True)
        transport.away = False

    assert [event.seq for event in transport.events()] != []
    assert len(transport.events()) == taken.count(True)
    assert producer.stats().last_seq == 1000


async def test_room_comes_back_when_events_are_acknowledged() -> None:
    transport = MemoryTransport()
    async with Producer(transport=transport, buffer_bytes_max=64 * 1024) as producer:
        for _ in range(5):
            assert all(producer.track(Interaction()) for _ in range(100))
            assert await producer.flush(2) == 0
        assert producer.stats().held_bytes == 0


async def test_flush_returns_what_is_not_acknowledged_and_keeps_to_its_time() -> None:
    transport = MemoryTransport()
    transport.away = True
    producer = Producer(transport=transport)
    for _ in range(5):
        producer.track(Interaction())
    started = time.monotonic()

    assert await producer.flush(0.2) == 5
    assert time.monotonic() - started < 1
    assert await producer.close(0.1) == 5


async def test_flush_counts_only_what_was_accepted_before_it() -> None:
    transport = MemoryTransport()
    transport.delay_s = 0.05
    async with Producer(transport=transport) as producer:
        producer.track(Interaction())
        flushing = asyncio.ensure_future(producer.flush(5))
        while not flushing.done():
            producer.track(Interaction())
            await asyncio.sleep(0.001)

        assert flushing.result() == 0
        assert producer.stats().held > 0


async def test_close_returns_what_was_lost_and_counts_it() -> None:
    transport = MemoryTransport()
    transport.away = True
    producer = Producer(transport=transport)
    for _ in range(7):
        producer.track(Interaction())

    assert await producer.close(0.2) == 7

    assert producer.stats().dropped == {"unsent": 7}
    assert producer.stats().held == producer.stats().held_bytes == 0
    assert law_holds(producer)


async def test_after_close_nothing_is_taken_and_closing_again_returns_nothing() -> None:
    producer = Producer(transport=MemoryTransport())
    producer.track(Interaction())
    assert await producer.close() == 0

    assert not producer.track(Interaction())
    with producer.interaction():
        pass

    assert producer.stats().dropped == {"closed": 2}
    assert producer.stats().last_seq == 1
    assert await producer.close() == 0
    assert await producer.flush() == 0


async def test_a_disabled_producer_has_the_same_calls_and_starts_nothing() -> None:
    before = set(threading.enumerate())
    async with Producer(disabled=True) as producer:
        assert not producer.track(Interaction())
        async with producer.interaction() as turn:
            turn.first_token()
        assert await producer.flush() == 0
        assert set(threading.enumerate()) <= before

    assert producer.stats().dropped == {"disabled": 2}
    assert producer.stats().last_seq == 0
    assert law_holds(producer)


def test_nothing_starts_before_the_first_event() -> None:
    before = set(threading.enumerate())
    producer = Producer("127.0.0.1:1")

    assert set(threading.enumerate()) <= before
    assert producer.close_sync() == 0


def test_the_thread_ends_when_it_is_closed() -> None:
    before = set(threading.enumerate())
    producer = Producer(transport=MemoryTransport())
    producer.track(Interaction())
    new = set(threading.enumerate()) - before
    # The price table may still be loading, in a thread that ends by itself.
    (thread,) = (each for each in new if each.name == "backchannel")

    assert producer.close_sync() == 0

    thread.join(1)
    assert not thread.is_alive()


def test_a_bot_without_an_event_loop_flushes_and_closes() -> None:
    transport = MemoryTransport()
    producer = Producer(transport=transport)
    producer.track(Interaction())

    assert producer.flush_sync(2) == 0
    assert len(transport.events()) == 1
    assert producer.close_sync(2) == 0


def test_many_threads_track_and_every_seq_is_given_once() -> None:
    transport = MemoryTransport()
    producer = Producer(transport=transport)
    threads = [
        threading.Thread(target=lambda: [producer.track(Interaction()) for _ in range(500)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert producer.close_sync() == 0
    assert sorted(event.seq for event in transport.events()) == list(range(1, 4001))


def test_a_signal_handler_may_track_in_the_middle_of_a_track() -> None:
    transport = MemoryTransport()
    producer = Producer(transport=transport)
    before = signal.signal(signal.SIGALRM, lambda *_: producer.track(Product(name="signal")))
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        for _ in range(5000):
            producer.track(Interaction())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert producer.close_sync() == 0
    assert law_holds(producer)
    assert sorted(e.seq for e in transport.events()) == list(range(1, producer.stats().offered + 1))


async def test_a_blocked_loop_of_the_bot_does_not_hold_up_delivery() -> None:
    transport = MemoryTransport()
    async with Producer(transport=transport) as producer:
        producer.track(Interaction())
        time.sleep(0.3)  # noqa: ASYNC251  # what a careless bot does

        assert len(transport.events()) == 1


async def test_events_share_a_batch_within_the_linger() -> None:
    transport = MemoryTransport()
    async with Producer(transport=transport, linger_ms=50) as producer:
        for _ in range(100):
            producer.track(Interaction(conversation_id="c"))
        await producer.flush(2)

        assert producer.stats().batches <= 2


async def test_a_batch_stays_below_its_bound() -> None:
    transport = MemoryTransport()
    async with Producer(transport=transport, batch_bytes_max=2000) as producer:
        for _ in range(50):
            producer.track(Interaction(conversation_id="c"))

    sizes = [len(record.value) for records in transport.records for record in records]
    assert max(sizes) <= 2000
    assert len(sizes) < 50


def test_a_secret_is_in_no_representation_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "s3cret-canary"
    transport = MemoryTransport()
    transport.break_next()
    producer = Producer(
        transport=transport,
        security_protocol="SASL_SSL",
        sasl_username="bot",
        sasl_password=secret,
    )
    producer.track(Interaction(user_id=secret, error_message=secret))
    wrong: Any = secret
    with producer.interaction(user_id=secret, turn=secret) as turn:
        turn.usage(input_tokens=wrong)
    producer.track(Interaction.model_construct(input_tokens=wrong))
    producer.close_sync()

    shown = f"{producer!r} {producer.settings!r} {producer.stats()!r} {caplog.text}"
    assert secret not in shown


def run_script(script: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, script], check=False, capture_output=True, text=True, timeout=30
    )


def test_a_script_that_forgets_to_close_still_delivers(tmp_path: Path) -> None:
    script = tmp_path / "bot.py"
    script.write_text(
        "import atexit\n"
        "from backchannel import MemoryTransport, Producer\n"
        "from backchannel.events import Interaction\n"
        "transport = MemoryTransport()\n"
        "atexit.register(lambda: print(len(transport.events())))\n"
        "producer = Producer(transport=transport, linger_ms=500)\n"
        "assert producer.track(Interaction())\n"
    )

    done = run_script(script)

    assert (done.stdout, done.stderr) == ("1\n", "")


def test_a_script_ends_soon_though_kafka_was_never_there(tmp_path: Path) -> None:
    script = tmp_path / "bot.py"
    script.write_text(
        "from backchannel import Producer\n"
        "from backchannel.events import Interaction\n"
        "assert Producer('localhost:1').track(Interaction())\n"
    )
    started = time.monotonic()

    done = run_script(script)

    assert done.returncode == 0
    assert done.stderr.count("\n") == 2, done.stderr  # Kafka is away; and what that has cost
    assert time.monotonic() - started < 10


def test_a_resolver_that_does_not_answer_does_not_hold_up_the_end(tmp_path: Path) -> None:
    script = tmp_path / "bot.py"
    script.write_text(
        "import socket, time\n"
        "socket.getaddrinfo = lambda *a, **k: time.sleep(60)\n"
        "from backchannel import Producer\n"
        "from backchannel.events import Interaction\n"
        "assert Producer('somewhere:9092').track(Interaction())\n"
    )
    started = time.monotonic()

    assert run_script(script).returncode == 0

    assert time.monotonic() - started < 15


def test_importing_leaves_the_kafka_client_for_later() -> None:
    code = "import sys, backchannel; print('aiokafka' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"


def test_who_pickles_a_producer_is_told_what_to_do_instead() -> None:
    producer = Producer(transport=MemoryTransport())

    for each in (producer, producer.bind(user_id="u")):
        with pytest.raises(TypeError, match="make one in each process"):
            pickle.dumps(each)
