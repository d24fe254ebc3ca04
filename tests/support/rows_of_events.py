"""Puts events into the table as the sink does, without Kafka: for tests of questions."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from backchannel.events import Event, encode_event
from backchannel_sinks.block import Block
from backchannel_sinks.clickhouse.connection import connect
from backchannel_sinks.clickhouse.migrate import migrate
from backchannel_sinks.numbers import ProducerNumbers
from backchannel_sinks.records import Place, Record
from backchannel_sinks.rows import window_rows
from support.endpoint import EndpointProcess, fresh_database

__all__ = ["analyst", "analyst_database", "insert_events", "rows", "store_metrics"]

TABLES = (
    *("events", "erased_events", "metric_windows", "conversations", "agents"),
    *("alerts", "dead_letters", "prices"),
)

SETTINGS = {
    "async_insert": 0,
    "input_format_skip_unknown_fields": 1,
    "input_format_null_as_default": 0,
    "input_format_defaults_for_omitted_fields": 1,
}


def insert_events(
    client: Client,
    events: Iterable[Event],
    *,
    pseq: int = 1,
    offset: int = 0,
    origin: str = "live",
    broker_us: int | None = None,
) -> None:
    """Inserts events as one record at ``offset``; the broker has each when it happens, unless told.

    ``pseq`` 0 is a record without a number, as other languages send it.
    """
    lines = []
    for number, event in enumerate(events):
        at_us = event.ts_us if broker_us is None else broker_us
        prefix = (
            b'{"_partition":0,"_offset":%d,"_line":%d,"_broker_time":%d.%03d,"_pseq":%d,'
            b'"_origin":"%b","_epoch":1,'
            % (offset, number, *divmod(at_us // 1000, 1000), pseq, origin.encode())
        )
        lines.append(prefix + encode_event(event)[1:])
    client.raw_insert(
        "events", insert_block=b"\n".join(lines), fmt="JSONEachRow", settings={**SETTINGS}
    )


@pytest.fixture(scope="session")
def analyst_database(shared_endpoint: EndpointProcess) -> Iterator[Client]:
    """A database with all tables and views, made once: that takes longer than most tests of it."""
    with fresh_database(shared_endpoint.url) as database:
        client = connect(database.url, database.database)
        migrate(client)
        yield client
        client.close()


@pytest.fixture
def analyst(analyst_database: Client) -> Client:
    """A client of a database with all views, whose tables are empty."""
    for table in TABLES:
        analyst_database.command(f"TRUNCATE TABLE {table}")
    return analyst_database


def rows(client: Client, sql: str, **parameters: Any) -> list[dict[str, Any]]:
    """The answer to a question, a mapping a row."""
    return list(client.query(sql, parameters=parameters).named_results())


def store_metrics(client: Client, record: Record) -> None:
    """Stores a record of ``chat.metrics`` as the sink does."""
    built = window_rows(Block(Place("chat.metrics", 0), 1, [record]), ProducerNumbers())
    assert not built.dead
    for table, body in built.bodies("metric_windows"):
        client.raw_insert(table, insert_block=body, fmt="JSONEachRow", settings=SETTINGS)
