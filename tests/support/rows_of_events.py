"""Puts events into the table as the sink does, without Kafka: for tests of questions."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from clickhouse_connect.driver.client import Client

from backchannel.events import Event, encode_event
from backchannel_sinks.clickhouse.connection import connect
from backchannel_sinks.clickhouse.migrate import migrate
from support.endpoint import fresh_database

__all__ = ["filled_by_hand", "insert_events"]

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


@contextmanager
def filled_by_hand(url: str) -> Iterator[Client]:
    """A client of a fresh database with all tables and views, dropped at the end. For a module:
    making all views takes longer than most of its tests."""
    with fresh_database(url) as database:
        client = connect(url, database.database)
        migrate(client)
        yield client
        client.close()
