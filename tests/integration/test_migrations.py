"""The tables, on a real engine: made once, and every event reads back as it was."""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import EVENT_TYPES, Accepted, Event, encode_event, judge
from backchannel_sinks.clickhouse import migrate as module
from backchannel_sinks.clickhouse.connection import connect
from backchannel_sinks.clickhouse.migrate import Migration, MigrationError, migrate, migrations
from support.endpoint import ClickHouse

pytestmark = pytest.mark.integration

WIRE = Path(__file__).parents[1] / "wire" / "v1.json"
FULL = json.loads(WIRE.read_text("utf-8"))["value"].encode().split(b"\n")

# As the sink inserts.
SETTINGS = {
    "async_insert": 0,
    "input_format_skip_unknown_fields": 1,
    "input_format_null_as_default": 0,
    "input_format_defaults_for_omitted_fields": 1,
}


@pytest.fixture
def client(clickhouse: ClickHouse) -> Iterator[Client]:
    """A client of a database that has all tables."""
    client = connect(clickhouse.url, clickhouse.database)
    migrate(client)
    yield client
    client.close()


def insert(client: Client, table: str, *rows: Mapping[str, Any] | bytes) -> None:
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    client.raw_insert(
        table, insert_block=b"\n".join(lines), fmt="JSONEachRow", settings={**SETTINGS}
    )


def placed(line: bytes, number: int) -> bytes:
    """An event's line with its coordinates in front, as the sink writes it."""
    seconds = SYSTEM_CLOCK.now_us() // 1_000_000
    place = (3, 2**40, number, seconds, 7, b"live", 1_700_000_000_000)
    return (
        b'{"_partition":%d,"_offset":%d,"_line":%d,"_broker_time":%d.123,"_pseq":%d,'
        b'"_origin":"%b","_epoch":%d,' % place + line[1:]
    )


def stored(client: Client, table: str) -> list[dict[str, Any]]:
    answer = client.raw_query(
        f"SELECT * FROM {table} ORDER BY _line",
        fmt="JSONEachRow",
        settings={"output_format_json_quote_64bit_integers": 0},
    )
    return [json.loads(line) for line in answer.splitlines()]


def minimal(full: bytes) -> bytes:
    """The same event with nothing but what it must have."""
    fields = json.loads(full)
    model = EVENT_TYPES[fields["event_type"]]
    required = {name for name, field in model.model_fields.items() if field.is_required()}
    kept = required | {"event_type", "event_id", "ts_us"}
    return json.dumps({name: fields[name] for name in fields if name in kept}).encode()


def event_of(line: bytes) -> Event:
    verdict = judge(line)
    assert isinstance(verdict, Accepted), verdict
    return verdict.event


@pytest.mark.parametrize("lines", [FULL, [minimal(line) for line in FULL]], ids=["full", "minimal"])
def test_an_event_of_every_type_reads_back_equal(client: Client, lines: list[bytes]) -> None:
    events = [event_of(line) for line in lines]
    assert {event.event_type for event in events} == set(EVENT_TYPES)

    insert(client, "events", *(placed(encode_event(e), n) for n, e in enumerate(events)))

    rows = stored(client, "events")
    for event, row in zip(events, rows, strict=True):
        found = {name: row[name] for name in type(event).model_fields}
        assert found == event.model_dump(mode="json")


def test_the_fields_that_an_event_does_not_have_are_empty(client: Client) -> None:
    feedback = next(line for line in FULL if b'"event_type":"feedback"' in line)

    insert(client, "events", placed(feedback, 0))

    row = stored(client, "events")[0]
    assert (row["status"], row["operation"], row["level"], row["duration_us"]) == ("", "", "", 0)


def test_an_event_keeps_its_coordinates_and_both_its_times(client: Client) -> None:
    insert(client, "events", placed(FULL[0], 5))

    row = client.query(
        "SELECT _partition, _offset, _line, _pseq, _origin, _epoch, toString(ts),"
        " toUnixTimestamp64Milli(_broker_time) % 1000 FROM events"
    ).result_rows[0]
    assert row == (
        *(3, 2**40, 5, 7, "live", 1_700_000_000_000),
        *("2023-11-14 22:13:20.123456", 123),
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"event_type": "unheard-of"},
        {"event_id": "00000000-0000-0000-0000-000000000000"},
        {"ts_us": -1},
        {"sample_weight": 0},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_the_backstop_keeps_out_what_is_no_event(client: Client, wrong: dict[str, Any]) -> None:
    line = placed(json.dumps({**json.loads(FULL[0]), **wrong}).encode(), 0)

    with pytest.raises(DatabaseError, match="VIOLATED_CONSTRAINT"):
        insert(client, "events", line)
    assert stored(client, "events") == []


def test_a_repeated_block_is_stored_once(client: Client) -> None:
    for _ in range(2):
        client.raw_insert(
            "events",
            insert_block=placed(FULL[0], 0),
            fmt="JSONEachRow",
            settings={**SETTINGS, "insert_deduplication_token": "chat.events-3-1-1-abc"},
        )

    assert len(stored(client, "events")) == 1


def test_a_dead_letter_that_comes_twice_is_one(client: Client) -> None:
    letter = {
        "topic": "chat.events",
        "partition": 3,
        "offset": 17,
        "line": 2,
        "reason": "not JSON",
        "stage": "sink",
        "broker_time": SYSTEM_CLOCK.now_us() / 1e6,
        "value": "{\\xff",
        "value_bytes": 2,
        "value_sha256": "00",
        "_partition": 0,
        "_epoch": 1,
    }
    for offset in (8, 9):
        insert(client, "dead_letters", {**letter, "_offset": offset})

    rows = client.query("SELECT topic, partition, offset, line, _offset FROM dead_letters FINAL")
    assert rows.result_rows == [("chat.events", 3, 17, 2, 9)]


def test_every_table_and_column_says_what_it_is(client: Client) -> None:
    silent = client.query(
        "SELECT table, name FROM system.columns"
        " WHERE database = currentDatabase() AND comment = ''"
        " UNION ALL SELECT name, '' FROM system.tables"
        " WHERE database = currentDatabase() AND comment = ''"
    )
    assert silent.result_rows == []


def test_migrations_are_applied_once_and_noted(clickhouse: ClickHouse) -> None:
    client = connect(clickhouse.url, clickhouse.database)

    assert migrate(client) == migrations()
    assert migrate(client) == []
    noted = client.query("SELECT version, name FROM schema_migrations ORDER BY version")
    assert noted.result_rows == [(each.version, each.name) for each in migrations()]


def test_a_database_that_is_missing_is_made(clickhouse: ClickHouse) -> None:
    client = connect(clickhouse.url, f"{clickhouse.database}_new")
    try:
        migrate(client)
        assert client.command("SELECT count() FROM events") == 0
    finally:
        client.command(f"DROP DATABASE {client.database}", use_database=False)


def test_two_that_migrate_at_once_do_no_harm(clickhouse: ClickHouse) -> None:
    def run(_: int) -> None:
        migrate(connect(clickhouse.url, clickhouse.database))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(run, range(3)))

    assert migrate(connect(clickhouse.url, clickhouse.database)) == []


def test_a_migration_that_was_cut_short_goes_on(
    clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect(clickhouse.url, clickhouse.database)
    first, second = "CREATE TABLE IF NOT EXISTS t (a UInt8) ENGINE = Memory", "SELECT nothing"
    broken = Migration(1, "cut_short", f"{first};\n{second};\n")
    monkeypatch.setattr(module, "migrations", lambda: [broken])
    with pytest.raises(DatabaseError):
        migrate(client)

    whole = Migration(1, "cut_short", f"{first};\nSELECT 1;\n")
    monkeypatch.setattr(module, "migrations", lambda: [whole])
    assert migrate(client) == [whole]


def test_a_migration_that_was_changed_since_is_refused(
    clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect(clickhouse.url, clickhouse.database)
    migrate(client)
    changed = Migration(1, "events", "SELECT 1;\n")
    monkeypatch.setattr(module, "migrations", lambda: [changed])

    with pytest.raises(MigrationError, match="0001 events is another one"):
        migrate(client)
