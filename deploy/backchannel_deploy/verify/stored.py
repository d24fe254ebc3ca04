"""What ClickHouse holds: events as the stream reads them, windows, offsets, losses. Blocks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import IOBase
from typing import Any

import msgspec
from clickhouse_connect.driver.client import Client

from backchannel_processors.measures import Measures
from backchannel_processors.observations import OBSERVED_FIELDS, Observation, read_rows
from backchannel_processors.rows import Row

__all__ = [
    "HOUR_S",
    "Hour",
    "Offsets",
    "StoredWindow",
    "counted_hours",
    "dead_letters",
    "erased",
    "erased_series",
    "groupings",
    "heard_s",
    "hours",
    "kept_since_s",
    "known_records",
    "lost",
    "observations",
    "repeats_by_month",
    "stored_offsets",
    "windows",
]

HOUR_S = 3_600
_CHUNK_BYTES = 1 << 20
_JSON = {
    "output_format_json_quote_64bit_integers": 0,
    "output_format_json_named_tuples_as_objects": 1,
}

# The time that the stream counts an event at: a live one that is too far from the broker's clock is
# counted at the broker's.
_COUNTED_AT = """if(_origin = 'live' AND (
    e.ts_us < toUnixTimestamp64Milli(_broker_time) * 1000 - {behind_s:Int64} * 1000000
    OR e.ts_us > toUnixTimestamp64Milli(_broker_time) * 1000 + {ahead_s:Int64} * 1000000
), toUnixTimestamp64Milli(_broker_time) * 1000, e.ts_us)"""

# As v_events has it: a record without a number may come twice, and its events count once.
_ONCE = """(_pseq > 0 OR (_epoch, _partition, _offset, _line) IN (
    SELECT min((_epoch, _partition, _offset, _line)) FROM events WHERE _pseq = 0
    GROUP BY _origin, event_id))"""

_HOURS = """
SELECT origin, toInt64(intDiv(at_us, 3600000000) * 3600) AS start, sum(events) FROM
(
    SELECT _origin AS origin, toInt64({counted_at}) AS at_us, count() AS events FROM events AS e
    WHERE at_us >= {since:Int64} * 1000000 AND at_us < {until:Int64} * 1000000
    GROUP BY ALL
    UNION ALL
    SELECT origin, toInt64(toUnixTimestamp(window_start)) * 1000000, toUInt64(0) FROM metric_windows
    WHERE toUnixTimestamp(window_start) >= {since:Int64}
        AND toUnixTimestamp(window_start) < {until:Int64}
    GROUP BY ALL
)
GROUP BY origin, start ORDER BY origin, start
""".replace("{counted_at}", _COUNTED_AT)

_EVENTS = """
SELECT {columns}, at_us AS ts_us FROM
(
    SELECT {columns}, {counted_at} AS at_us FROM events AS e
    WHERE _origin = {origin:String} AND ({where}) AND {once}
        AND at_us >= {since:Int64} * 1000000 AND at_us < {until:Int64} * 1000000
)
FORMAT JSONEachRow
""".replace("{counted_at}", _COUNTED_AT)

_COUNTED_HOURS = """
SELECT _origin, toInt64(intDiv(toInt64({counted_at}), 3600000000) * 3600) AS start, count()
FROM events AS e WHERE {where} GROUP BY _origin, start ORDER BY _origin, start
""".replace("{counted_at}", _COUNTED_AT)

_ERASED = """
SELECT toInt64(toUnixTimestamp(e.window_start)) AS start, dims, measures
FROM erased_windows AS e FINAL
WHERE origin = {origin:String} AND start >= {since:Int64} AND start < {until:Int64}
"""

_WINDOWS = """
SELECT {columns}, toUnixTimestamp(w.window_start) AS window_start,
    count() OVER (PARTITION BY grouping, series, w.window_start) AS epochs
FROM metric_windows AS w FINAL
WHERE origin = {origin:String} AND window_s = {width:UInt32}
    AND toUnixTimestamp(w.window_start) >= {since:Int64}
    AND toUnixTimestamp(w.window_start) < {until:Int64}
FORMAT JSONEachRow
"""


@dataclass(frozen=True, slots=True)
class Hour:
    """An hour of an origin in which there is something."""

    origin: str
    start_s: int
    events: int


class StoredWindow(Row, kw_only=True):
    """A window as it stands in the table."""

    epochs: int
    """Rows of it, one for each time that its topic was made: they add up."""


@dataclass(frozen=True, slots=True)
class Offsets:
    """Offsets of a partition that follow each other, all of them stored or in ``dead_letters``."""

    partition: int
    first: int
    last: int


def hours(client: Client, since_s: int, until_s: int, clock: dict[str, int]) -> list[Hour]:
    """Returns the hours that hold events or windows; ``clock`` are ``ahead_s`` and ``behind_s``."""
    parameters = {"since": since_s, "until": until_s, **clock}
    return [Hour(*row) for row in client.query(_HOURS, parameters=parameters).result_rows]


def groupings(client: Client, hour: Hour) -> set[str]:
    """Returns by what windows were grouped in an hour."""
    rows = client.query(
        "SELECT DISTINCT grouping FROM metric_windows WHERE origin = {origin:String}"
        " AND toUnixTimestamp(window_start) >= {start:Int64}"
        " AND toUnixTimestamp(window_start) < {start:Int64} + 3600",
        parameters={"origin": hour.origin, "start": hour.start_s},
    ).result_rows
    return {str(grouping) for (grouping,) in rows}


def counted_hours(
    client: Client, where: str, parameters: Mapping[str, Any], clock: dict[str, int]
) -> list[Hour]:
    """Returns the hours in which the stream counts some events, chosen by a condition."""
    statement = _COUNTED_HOURS.replace("{where}", where)
    rows = client.query(statement, parameters={**parameters, **clock}).result_rows
    return [Hour(*row) for row in rows]


def erased(
    client: Client, origin: str, since_s: int, until_s: int
) -> Iterator[tuple[int, dict[str, str], Measures]]:
    """Yields what events that were erased since came to: start of a 10 s window, values of
    dimensions, measures."""
    parameters = {"origin": origin, "since": since_s, "until": until_s}
    for start, dims, measures in client.query(_ERASED, parameters=parameters).result_rows:
        yield int(start), dims, msgspec.json.decode(measures, type=Measures)


def erased_series(client: Client) -> dict[tuple[str, str], int]:
    """Returns until when, in microseconds, nothing may be stored of a user or tenant, by dimension
    and value."""
    rows = client.query(
        "SELECT subject, arrayJoin(subject_keys) AS key, max(requested_at_us) FROM erasures FINAL"
        " WHERE subject IN ('user', 'tenant') GROUP BY subject, key"
    ).result_rows
    return {(str(subject), str(key)): int(until_us) for subject, key, until_us in rows}


def observations(
    client: Client,
    origin: str,
    since_s: int,
    until_s: int,
    clock: dict[str, int],
    where: str = "1",
    parameters: Mapping[str, Any] | None = None,
) -> Iterator[Sequence[Observation]]:
    """Yields the events that the stream counts in [since, until), some thousands at a time; with
    ``where``, a condition with ``parameters``, only some of them."""
    without_number = client.query(
        "SELECT 1 FROM events WHERE _origin = {origin:String} AND _pseq = 0 LIMIT 1",
        parameters={"origin": origin},
    ).result_rows
    columns = ", ".join(sorted(OBSERVED_FIELDS - {"ts_us"}))
    statement = _EVENTS.replace("{columns}", columns)
    statement = statement.replace("{once}", _ONCE if without_number else "1")
    statement = statement.replace("{where}", where)
    asked = {**(parameters or {}), "origin": origin, "since": since_s, "until": until_s, **clock}
    for lines in _lines(client, statement, asked):
        yield read_rows(lines)


def windows(
    client: Client, origin: str, width_s: int, since_s: int, until_s: int
) -> Iterator[StoredWindow]:
    """Yields the windows of a width that begin in [since, until)."""
    columns = ", ".join(name for name in Row.__struct_fields__ if name != "window_start")
    statement = _WINDOWS.replace("{columns}", columns)
    parameters = {"origin": origin, "width": width_s, "since": since_s, "until": until_s}
    decode = msgspec.json.Decoder(StoredWindow).decode_lines
    for lines in _lines(client, statement, parameters):
        yield from decode(lines)


def kept_since_s(client: Client, table: str, now_s: int) -> int:
    """Returns from when on no row of a table has gone by age: the shortest life that it gives."""
    rows = client.query(
        "SELECT min(toUInt32(days)) FROM (SELECT arrayJoin(extractAll(create_table_query,"
        " 'toIntervalDay\\\\((\\\\d+)\\\\)')) AS days FROM system.tables"
        " WHERE database = currentDatabase() AND name = {table:String}) HAVING count() > 0",
        parameters={"table": table},
    ).result_rows
    return now_s - int(rows[0][0]) * 24 * HOUR_S if rows else 0


def heard_s(client: Client, origin: str) -> tuple[int, int]:
    """Returns when the broker had the oldest and the newest event of an origin; 0 for none."""
    rows = client.query(
        "SELECT toUnixTimestamp(min(_broker_time)), toUnixTimestamp(max(_broker_time)) FROM events"
        " WHERE _origin = {origin:String}",
        parameters={"origin": origin},
    ).result_rows
    return int(rows[0][0]), int(rows[0][1])


# -- offsets, losses, dead letters -----------------------------------------------------------------


def stored_offsets(client: Client, epoch: int) -> list[Offsets]:
    """Returns the offsets of ``chat.events`` that are stored, or have a dead letter."""
    rows = client.query(
        """
        SELECT partition, min(offset), max(offset) FROM
        (
            SELECT partition, offset, toInt64(offset)
                - toInt64(row_number() OVER (PARTITION BY partition ORDER BY offset)) AS island
            FROM
            (
                SELECT _partition AS partition, _offset AS offset FROM events
                WHERE _epoch = {epoch:UInt64}
                UNION DISTINCT
                SELECT _partition, _offset FROM erased_events WHERE _epoch = {epoch:UInt64}
                UNION DISTINCT
                SELECT partition, offset FROM dead_letters WHERE topic = 'chat.events'
                    AND broker_time >= fromUnixTimestamp64Milli({epoch:Int64})
            )
        )
        GROUP BY partition, island ORDER BY partition, min(offset)
        """,
        parameters={"epoch": epoch},
    ).result_rows
    return [Offsets(*map(int, row)) for row in rows]


def known_records(client: Client, numbers: Sequence[tuple[str, int]]) -> set[tuple[str, int, int]]:
    """Returns which (producer, partition, number) of some records are stored, asked by producer and
    number."""
    if not numbers:
        return set()
    rows = client.query(
        "SELECT DISTINCT _producer, _partition, _pseq FROM events"
        " WHERE (_producer, _pseq) IN {numbers:Array(Tuple(String, UInt64))}",
        parameters={"numbers": list(numbers)},
    ).result_rows
    return {(str(producer), int(partition), int(number)) for producer, partition, number in rows}


def repeats_by_month(client: Client, since_s: int) -> dict[str, int]:
    """Returns how many rows of events stand there once more, by partition of the table."""
    rows = client.query(
        "SELECT month, sum(n - 1) FROM (SELECT _partition_id AS month, count() AS n FROM events"
        " WHERE _broker_time >= fromUnixTimestamp({since:Int64})"
        " GROUP BY month, _epoch, _partition, _offset, _line HAVING n > 1)"
        " GROUP BY month ORDER BY month",
        parameters={"since": since_s},
    ).result_rows
    return {str(month): int(count) for month, count in rows}


def lost(client: Client, since_s: int) -> tuple[int, int]:
    """Returns how many numbers of producers are missing for good, and how many producers ended
    without saying so."""
    rows = client.query(
        "SELECT sum(ifNull(missing, 0) - dead_letters), countIf(kind = 'unclean_end') FROM v_loss"
        " WHERE settled AND coalesce(before_at, after_at) >= fromUnixTimestamp({since:Int64})",
        parameters={"since": since_s},
    ).result_rows
    return int(rows[0][0] or 0), int(rows[0][1])


def dead_letters(client: Client, since_s: int) -> dict[str, int]:
    """Returns lines that could not be used, by topic."""
    rows = client.query(
        "SELECT topic, count() FROM dead_letters FINAL"
        " WHERE broker_time >= fromUnixTimestamp({since:Int64}) GROUP BY topic ORDER BY topic",
        parameters={"since": since_s},
    ).result_rows
    return {str(topic): int(count) for topic, count in rows}


def _number(client: Client, statement: str, parameters: dict[str, Any]) -> int:
    return int(client.query(statement, parameters=parameters).result_rows[0][0] or 0)


def _lines(client: Client, statement: str, parameters: dict[str, Any]) -> Iterator[bytes]:
    """Yields whole lines, about a megabyte at a time."""
    stream = client.raw_stream(statement, parameters=parameters, settings=_JSON)
    assert isinstance(stream, IOBase)
    rest = b""
    while chunk := stream.read(_CHUNK_BYTES):
        whole, newline, rest = (rest + chunk).rpartition(b"\n")
        if newline:
            yield whole
    if rest:
        yield rest
