"""The sink as a process, between a real broker and a real ClickHouse."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from clickhouse_connect.driver.client import Client

from backchannel.events import DEAD_VALUE_BYTES_MAX, Interaction, encode_event, seal
from backchannel.events.topics import ALERTS, EVENTS, METRICS
from support.broker import BrokerProcess
from support.endpoint import ClickHouse, EndpointProcess, fresh_database
from support.sink_process import (
    SinkFactory,
    SinkProcess,
    feeder,
    prepare,
    sink_factory,
)
from support.stack import eventually

__all__ = ["sink_factory"]

pytestmark = pytest.mark.integration


Sql = Callable[[str], Any]
FIRST = TopicPartition(EVENTS.name, 0)


@dataclass(frozen=True)
class Place:
    """A broker with every topic, a database with every table, and a sink at work between them."""

    bootstrap: str
    clickhouse: ClickHouse
    sink: SinkProcess


@pytest.fixture(scope="module")
def place(
    shared_endpoint: EndpointProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """The sink that the tests of this file share: nobody stops it, nobody hurts it."""
    folder = tmp_path_factory.mktemp("shared")
    broker = BrokerProcess(folder / "kafka")
    with fresh_database(shared_endpoint.url) as database, ExitStack() as ending:
        ending.callback(broker.kill)
        broker.start()
        asyncio.run(prepare(broker.bootstrap, database))
        sink = SinkProcess(broker.bootstrap, database, folder / "sink.log")
        ending.callback(sink.kill)
        sink.start()
        sink.wait_until_logged("partitions_assigned")
        yield Place(broker.bootstrap, database, sink)


@pytest.fixture
def kafka_url(place: Place) -> str:
    """The broker of the shared sink."""
    return place.bootstrap


@pytest.fixture
def sql(place: Place) -> Iterator[Sql]:
    """Asks the tables of the shared sink, which are empty when a test begins."""
    with closing(place.clickhouse.client()) as client:
        for table in ("events", "dead_letters"):
            client.command(f"TRUNCATE TABLE {table}")
        yield lambda statement: one_row(client, statement)


@pytest.fixture
async def own_place(
    private_kafka: Callable[[], BrokerProcess], clickhouse: ClickHouse, sink_factory: SinkFactory
) -> Place:
    """A place of the test's own, whose sink may be stopped."""
    bootstrap = private_kafka().bootstrap
    await prepare(bootstrap, clickhouse)
    sink = sink_factory(bootstrap, clickhouse)
    sink.start()
    await logged(sink, "partitions_assigned")
    return Place(bootstrap, clickhouse, sink)


@pytest.fixture
def own_sql(own_place: Place) -> Iterator[Sql]:
    with closing(own_place.clickhouse.client()) as client:
        yield lambda statement: one_row(client, statement)


def one_row(client: Client, statement: str) -> Sequence[Any]:
    """The first row of the answer, as a tuple."""
    return tuple(client.query(statement).result_rows[0])


SUMS = "SELECT count(), sum(input_tokens), sum(output_tokens) FROM events"
PLACES = "SELECT count() - uniqExact(_partition, _offset, _line) FROM events"


async def until(ask: Callable[[], Any], expected: Any, *, every_s: float = 0.25) -> None:
    """Asks until the answer is the expected one; the event loop goes on meanwhile."""
    await asyncio.to_thread(eventually, ask, expected, every_s=every_s)


async def logged(sink: SinkProcess, event: str) -> None:
    """Waits until the sink has logged something under this name."""
    await asyncio.to_thread(sink.wait_until_logged, event)


async def test_stamped_batches_become_rows_with_exactly_their_sums(
    kafka_url: str, sql: Sql
) -> None:
    async with feeder(kafka_url) as bot:
        await bot.send_many(120, 50)

    await until(lambda: sql(SUMS), bot.ledger.sums)
    assert sql(PLACES) == (0,)


async def test_an_event_can_be_queried_within_three_seconds(kafka_url: str, sql: Sql) -> None:
    async with feeder(kafka_url) as bot:
        await bot.send(0, 1)
        await until(lambda: sql(SUMS)[0], 1)  # the first block also looks up what is stored
        sent_at = time.monotonic()
        await bot.send(0, 1)
        await until(lambda: sql(SUMS)[0], 2, every_s=0.05)

    assert time.monotonic() - sent_at < 3


async def test_a_record_that_came_twice_is_stored_once(own_place: Place, own_sql: Sql) -> None:
    sink = own_place.sink
    async with feeder(own_place.bootstrap) as bot:
        batch = await bot.send(3, 10)
        await bot.send_sealed(3, batch)
        await bot.send(3, 10)

    await until(lambda: own_sql(SUMS)[0], 20)
    sink.stop()
    assert '"duplicate": 10' in sink.log()
    assert own_sql(SUMS) == bot.ledger.sums


async def test_a_record_that_comes_again_after_a_restart_is_stored_once(
    own_place: Place, own_sql: Sql
) -> None:
    sink = own_place.sink
    async with feeder(own_place.bootstrap) as bot:
        batch = await bot.send(3, 10)
        await until(lambda: own_sql(SUMS)[0], 10)
        sink.stop()
        await bot.send_sealed(3, batch)
        await bot.send(3, 1)
        sink.start()
        await until(lambda: own_sql(SUMS)[0], 11)

    assert own_sql(SUMS) == bot.ledger.sums


async def test_a_repeat_is_known_by_its_header_whatever_producer_its_lines_name(
    own_place: Place, own_sql: Sql
) -> None:
    sink = own_place.sink
    async with feeder(own_place.bootstrap) as bot:
        batch = seal([encode_event(Interaction())], producer_id=bot.producer_id, pseq=1)
        await bot.send_sealed(3, batch)
        await until(lambda: own_sql(SUMS)[0], 1)
        sink.stop()
        await bot.send_sealed(3, batch)
        sink.start()
        stored = sink.logged("block_stored") + 1
        await asyncio.to_thread(sink.wait_until_logged, "block_stored", times=stored)

    assert own_sql(SUMS)[0] == 1


async def test_a_missing_record_of_a_producer_is_reported_as_lost(place: Place, sql: Sql) -> None:
    async with feeder(place.bootstrap) as bot:
        await bot.send(3, 1)
        bot.seal(3, bot.events(1))
        bot.seal(3, bot.events(1))
        await bot.send(3, 1)

    await logged(place.sink, "records_lost")
    await until(lambda: sql(SUMS)[0], 2)
    assert '"records": 2' in place.sink.log()


GARBAGE = {
    "null value": None,
    "empty": b"",
    "not JSON": b"{]",
    "bad UTF-8": b'{"event_type":"exposure","user_id":"\xff"}',
    "two objects on a line": b'{"event_type":"exposure"}{"event_type":"exposure"}',
    "text for a number": b'{"event_type":"interaction","input_tokens":"12"}',
    "a line of 2 MB": b'{"event_type":"exposure","user_id":"' + b"x" * 2_000_000 + b'"}',
}


async def test_garbage_of_every_kind_becomes_dead_letters_and_good_lines_rows(
    kafka_url: str, sql: Sql
) -> None:
    async with feeder(kafka_url) as bot:
        await bot.send(5, 10)
        for value in GARBAGE.values():
            await bot.kafka.send_and_wait(EVENTS.name, value, key=b"k", partition=5)
        await bot.send(5, 10)

    dead = "SELECT count(), uniqExact(partition, offset, line) FROM dead_letters FINAL"
    await until(lambda: sql(dead), (len(GARBAGE), len(GARBAGE)))
    await until(lambda: sql(SUMS), bot.ledger.sums)
    assert sql(
        "SELECT min(topic), min(partition), min(stage), countIf(reason = '') FROM dead_letters"
    ) == (
        "chat.events",
        5,
        "sink",
        0,
    )


@pytest.mark.parametrize(
    "wrong",
    [b'"input_tokens":1099511627777', b'"duration_us":-1', b'"status":"great"', b'"seq":"x"'],
)
async def test_a_stamp_that_promises_too_much_is_found_out(
    kafka_url: str, sql: Sql, wrong: bytes
) -> None:
    good = encode_event(Interaction())
    async with feeder(kafka_url) as feed:
        batch = seal([good, good[:-1] + b"," + wrong + b"}"], producer_id=feed.producer_id, pseq=1)
        await feed.send_sealed(5, batch)

    await until(lambda: sql("SELECT count() FROM events"), (1,))
    await until(lambda: sql("SELECT count(), any(line) FROM dead_letters"), (1, 1))


async def test_a_dead_letter_keeps_the_first_half_megabyte_with_length_and_hash(
    kafka_url: str, sql: Sql
) -> None:
    value = GARBAGE["a line of 2 MB"]
    assert value is not None
    async with feeder(kafka_url) as bot:
        await bot.kafka.send_and_wait(EVENTS.name, value, partition=0)

    await until(lambda: sql("SELECT count() FROM dead_letters FINAL"), (1,))
    assert sql("SELECT length(value), value_bytes, value_sha256 FROM dead_letters FINAL") == (
        DEAD_VALUE_BYTES_MAX,
        len(value),
        hashlib.sha256(value).hexdigest(),
    )


async def test_of_a_mixed_record_only_the_bad_line_is_dead(kafka_url: str, sql: Sql) -> None:
    async with feeder(kafka_url) as bot:
        good = [encode_event(event) for event in bot.events(2)]
        await bot.kafka.send_and_wait(
            EVENTS.name, b"\n".join([good[0], b"oops", good[1]]), partition=1
        )

    await until(lambda: sql("SELECT count(), max(line) FROM dead_letters FINAL"), (1, 1))
    assert sql("SELECT groupArray(_line) FROM (SELECT _line FROM events ORDER BY _line)") == (
        [0, 2],
    )


# An alert without a value is one that was forgotten.
@pytest.mark.parametrize(("topic", "letters"), [(METRICS.name, 4), (ALERTS.name, 3)])
async def test_what_is_no_window_and_no_alert_becomes_a_dead_letter(
    kafka_url: str, sql: Sql, topic: str, letters: int
) -> None:
    async with feeder(kafka_url) as bot:
        for value in (None, b"", b"{]", b'{"count":-1}'):
            await bot.kafka.send_and_wait(topic, value, key=b"k", partition=2)

    ask = f"SELECT count(), countIf(topic = '{topic}' AND reason != '') FROM dead_letters FINAL"
    await until(lambda: sql(ask), (letters, letters))


async def test_a_record_on_the_dead_letter_topic_is_never_diverted_again(
    kafka_url: str, sql: Sql
) -> None:
    async with feeder(kafka_url) as bot:
        sent = await bot.kafka.send_and_wait("chat.dead", b"\xff somebody else's", partition=0)

    eventually(
        lambda: sql("SELECT topic, offset FROM dead_letters FINAL LIMIT 1 UNION ALL SELECT '', 0"),
        ("chat.dead", sent.offset),
    )
    await asyncio.sleep(2)
    assert sql("SELECT count() FROM dead_letters FINAL") == (1,)


async def test_what_kafka_has_removed_is_told_and_the_rest_is_stored(
    private_kafka: Callable[[], BrokerProcess], clickhouse: ClickHouse, sink_factory: SinkFactory
) -> None:
    bootstrap = private_kafka().bootstrap
    await prepare(bootstrap, clickhouse)
    sink = sink_factory(bootstrap, clickhouse)
    async with feeder(bootstrap) as bot:
        await bot.send(0, 1)
        sink.start()
        await logged(sink, "block_stored")
        assert sink.stop() == 0
        for _ in range(5):
            await bot.send(0, 1)
    async with admin_of(bootstrap) as admin:
        await admin.delete_records({FIRST: RecordsToDelete(before_offset=4)})
    sink.start()

    with closing(clickhouse.client()) as client:
        offsets = "SELECT groupArray(_offset) FROM (SELECT _offset FROM events ORDER BY _offset)"
        await until(lambda: one_row(client, offsets), ([0, 4, 5],))
    assert '"records": 3, "event": "records_expired"' in sink.log()


async def test_a_log_that_ends_before_what_was_stored_stops_the_sink_with_a_sentence(
    private_kafka: Callable[[], BrokerProcess], clickhouse: ClickHouse, sink_factory: SinkFactory
) -> None:
    bootstrap = private_kafka().bootstrap
    await prepare(bootstrap, clickhouse)
    async with AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id="backchannel-sink", enable_auto_commit=False
    ) as consumer:
        consumer.assign([FIRST])
        await consumer.commit({FIRST: 1_000})
    sink = sink_factory(bootstrap, clickhouse)
    sink.start()

    assert await asyncio.to_thread(sink.wait, 120) == 1
    assert "chat.events[0] ends at 0, but 1000 was stored already" in sink.log()


@asynccontextmanager
async def admin_of(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """A client that may remove records."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def test_sigterm_ends_the_sink_in_time_although_clickhouse_hangs(
    private_kafka: Callable[[], BrokerProcess],
    private_clickhouse: Callable[..., EndpointProcess],
    sink_factory: SinkFactory,
) -> None:
    endpoint = private_clickhouse()
    with fresh_database(endpoint.url) as database:
        bootstrap = private_kafka().bootstrap
        await prepare(bootstrap, database)
        sink = sink_factory(bootstrap, database)
        sink.start()
        async with feeder(bootstrap) as bot:
            await bot.send(0, 1)
            await logged(sink, "block_stored")
            endpoint.pause()
            await bot.send(0, 1)
        await asyncio.sleep(2)
        stopping_at = time.monotonic()
        try:
            assert sink.stop() == 0
            assert time.monotonic() - stopping_at < 10
        finally:
            endpoint.resume()


async def test_the_sink_waits_for_tables_and_topics(
    private_kafka: Callable[[], BrokerProcess], clickhouse: ClickHouse, sink_factory: SinkFactory
) -> None:
    bootstrap = private_kafka().bootstrap
    sink = sink_factory(bootstrap, clickhouse)
    sink.start()
    await logged(sink, "sink_waiting")
    await prepare(bootstrap, clickhouse)
    async with feeder(bootstrap) as bot:
        await bot.send(0, 5)

    with closing(clickhouse.client()) as client:
        await until(lambda: one_row(client, SUMS), bot.ledger.sums)


async def test_a_line_that_tells_a_secret_is_in_no_log(place: Place, sql: Sql) -> None:
    async with feeder(place.bootstrap) as bot:
        secret = b'{"event_type":"exposure","user_id":"canary-7c1","x":canary-7c1}'
        await bot.kafka.send_and_wait(EVENTS.name, secret, partition=0)

    await until(lambda: sql("SELECT count() FROM dead_letters FINAL"), (1,))
    assert "canary-7c1" not in place.sink.log()
    assert sql("SELECT countIf(reason LIKE '%canary%') FROM dead_letters") == (0,)
