"""``v_loss`` and ``v_events``, on a real engine: all that is missing is listed, and no more."""

from collections.abc import Iterable
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import Event, Health, Interaction, Tombstone, encode_event, seal
from backchannel_sinks.block import Block
from backchannel_sinks.clickhouse.store import INSERT_SETTINGS
from backchannel_sinks.numbers import ProducerNumbers
from backchannel_sinks.records import Place, Record
from backchannel_sinks.rows import event_rows
from backchannel_sinks.tombstones import Tombstones
from support.rows_of_events import insert_events

pytestmark = pytest.mark.integration

MINUTE_US = 60_000_000
DAY_US = 86_400_000_000


@pytest.fixture
def client(analyst: Client) -> Client:
    """The analyst's client."""
    return analyst


def sent(*numbers: int, producer: str = "bot-1", ago_us: int = 0) -> list[Event]:
    """Events of a producer with these numbers."""
    return [
        Interaction(
            producer_id=producer, seq=seq, ts_us=SYSTEM_CLOCK.now_us() - ago_us, service="support"
        )
        for seq in numbers
    ]


def last_health(seq: int, *, producer: str = "bot-1", ago_us: int = 0, **told: Any) -> Health:
    fields = {"producer_id": producer, "seq": seq, "ts_us": SYSTEM_CLOCK.now_us() - ago_us, **told}
    return Health.model_validate(fields)


def store(client: Client, events: Iterable[Event]) -> None:
    """Stores each event as a record of its own, in the order given."""
    for offset, event in enumerate(events):
        insert_events(client, [event], offset=offset)


def ranges(client: Client) -> list[tuple[Any, ...]]:
    asked = client.query(
        "SELECT producer_id, kind, first_seq, last_seq, missing FROM v_loss"
        " ORDER BY producer_id, first_seq"
    )
    return [tuple(row) for row in asked.result_rows]


def test_where_nothing_is_missing_nothing_is_listed(client: Client) -> None:
    insert_events(client, [*sent(1, 2, 3), last_health(4, final_seq=4)])

    assert ranges(client) == []


def test_every_missing_range_is_listed(client: Client) -> None:
    insert_events(client, sent(3, 4, 7, 12))

    assert ranges(client) == [
        ("bot-1", "gap", 1, 2, 2),
        ("bot-1", "gap", 5, 6, 2),
        ("bot-1", "gap", 8, 11, 4),
    ]


def test_order_and_copies_do_not_matter(client: Client) -> None:
    store(client, sent(5, 1, 2, 2, 4, 1, 5))

    assert ranges(client) == [("bot-1", "gap", 3, 3, 1)]


def test_as_many_copies_as_losses_hide_nothing(client: Client) -> None:
    store(client, sent(1, 2, 2, 4))

    assert ranges(client) == [("bot-1", "gap", 3, 3, 1)]


def test_producers_are_told_apart(client: Client) -> None:
    insert_events(client, [*sent(1, 3), *sent(1, 2, 3, producer="bot-2")])

    assert ranges(client) == [("bot-1", "gap", 2, 2, 1)]


def test_what_came_before_the_last_number_is_missing_at_the_end(client: Client) -> None:
    insert_events(client, [*sent(1, 2), last_health(3, final_seq=6)])

    assert ranges(client) == [("bot-1", "end", 4, 6, 3)]


def test_a_producer_that_fell_silent_without_a_word_ended_uncleanly(client: Client) -> None:
    insert_events(client, sent(1, 2, ago_us=11 * MINUTE_US))
    insert_events(client, sent(1, producer="bot-2", ago_us=9 * MINUTE_US))

    assert ranges(client) == [("bot-1", "unclean_end", None, None, None)]


def test_a_producer_that_said_goodbye_did_not_end_uncleanly(client: Client) -> None:
    ago_us = 11 * MINUTE_US
    insert_events(client, [*sent(1, ago_us=ago_us), last_health(2, ago_us=ago_us, final_seq=2)])

    assert ranges(client) == []


def test_the_end_of_a_replay_is_the_end_of_its_file(client: Client) -> None:
    insert_events(client, sent(1, 3, ago_us=11 * MINUTE_US), origin="replay:trace")

    assert ranges(client) == [("bot-1", "gap", 2, 2, 1)]


def test_the_first_numbers_of_a_producer_older_than_the_table_are_not_missed(
    client: Client,
) -> None:
    insert_events(client, sent(500, ago_us=89 * DAY_US + MINUTE_US))
    insert_events(client, [last_health(502, final_seq=502)])

    assert ranges(client) == [("bot-1", "gap", 501, 501, 1)]


def test_a_range_says_what_it_knows_of_its_loss(client: Client) -> None:
    insert_events(client, sent(1, ago_us=5 * MINUTE_US))
    insert_events(client, sent(4, ago_us=2 * MINUTE_US))
    insert_events(client, [last_health(5, service="support", sdk_dropped={"full": 1})])
    client.command(
        "INSERT INTO dead_letters (topic, partition, offset, line, value, broker_time) SELECT"
        """ 'chat.events', 0, 7, 0, '{"producer_id":"bot-1","seq":3,"ts_us":-1}', now()"""
    )

    row = next(iter(client.query("SELECT * FROM v_loss").named_results()))

    assert (row["missing"], row["dead_letters"], row["sdk_dropped"]) == (2, 1, {"full": 1})
    assert (row["before_at"] - row["after_at"]).total_seconds() == pytest.approx(180, abs=30)
    assert (row["service"], row["settled"]) == ("support", True)


def test_what_may_be_under_way_is_not_settled(client: Client) -> None:
    insert_events(client, sent(1, 3))

    assert client.query("SELECT settled FROM v_loss").result_rows == [(False,)]


def test_an_event_that_came_twice_without_a_number_is_shown_once(client: Client) -> None:
    event = Interaction(input_tokens=5)
    for offset in (3, 9):
        insert_events(client, [event], pseq=0, offset=offset)
    insert_events(client, [event], pseq=0, offset=1, origin="replay:again")

    rows = client.query("SELECT origin, _offset, input_tokens FROM v_events ORDER BY origin")
    assert rows.result_rows == [("live", 3, 5), ("replay:again", 1, 5)]


def test_a_question_about_an_hour_reads_no_other_partition(client: Client) -> None:
    """`v_events` lets conditions through to the table."""
    insert_events(client, sent(1, ago_us=70 * DAY_US))
    insert_events(client, sent(2))

    plan = client.query(
        "EXPLAIN indexes = 1 SELECT count() FROM v_events WHERE broker_time > now() - 3600"
    )
    told = "\n".join(str(row[0]) for row in plan.result_rows)
    assert "Parts: 1/2" in told, told


def test_what_the_sink_leaves_out_for_somebody_who_was_erased_is_not_missing(
    client: Client,
) -> None:
    events = sent(1, 2, 3)
    gone = Interaction(producer_id="bot-1", seq=2, ts_us=events[1].ts_us, user_id="jo")
    lines = [encode_event(each) for each in (events[0], gone, events[2])]
    batch = seal(lines, producer_id="bot-1", pseq=1)
    record = Record(0, SYSTEM_CLOCK.now_us() // 1_000, batch.value, batch.headers)
    rows = event_rows(Block(Place("chat.events", 0), 1, [record]), ProducerNumbers())
    erased = Tombstone(
        erasure_id="e", subject="user", keys=("jo",), requested_at_us=SYSTEM_CLOCK.now_us()
    )
    rows.leave_out(Tombstones([erased]))
    for table, body in rows.bodies("events"):
        client.raw_insert(table, insert_block=body, fmt="JSONEachRow", settings=INSERT_SETTINGS)

    assert client.command("SELECT count() FROM events") == 2
    assert ranges(client) == []
