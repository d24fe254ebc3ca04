"""The events that ClickHouse holds, as lines, in the order of their times."""

import json
from collections.abc import Iterator
from io import IOBase

from backchannel_deploy.cli.clickhouse import connected

__all__ = ["stored_events"]

# What was replayed raised no alerts when it came, so it is left out here. DateTime and Decimal
# columns are there for people; readers of events pass over what else a view adds.
_QUERY = """
SELECT COLUMNS('^[a-z]') EXCEPT ({without})
FROM v_events
WHERE ts_us >= {{start:Int64}} AND ts_us < {{end:Int64}} AND origin = 'live'
ORDER BY ts_us
FORMAT JSONEachRow
"""
_CHUNK_BYTES = 1 << 20
_SETTINGS = {
    "output_format_json_quote_64bit_integers": 0,
    "output_format_json_named_tuples_as_objects": 1,
}


def stored_events(start_us: int, end_us: int) -> Iterator[tuple[int, bytes]]:
    """Yields time and line of every live event in [start, end), streamed.

    Raises:
        UserError: there is no ClickHouse to talk to, or it has no such table.
    """
    with connected() as client:
        computed = client.query(
            "SELECT name FROM system.columns WHERE database = currentDatabase()"
            " AND table = 'v_events' AND (type LIKE '%DateTime%' OR type LIKE '%Decimal%')"
        ).result_rows
        query = _QUERY.format(without=", ".join(str(name) for (name,) in computed) or "''")
        parameters = {"start": start_us, "end": end_us}
        rest = b""
        stream = client.raw_stream(query, parameters=parameters, settings=_SETTINGS)
        assert isinstance(stream, IOBase)
        while chunk := stream.read(_CHUNK_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from map(_event, lines)


def _event(line: bytes) -> tuple[int, bytes]:
    """What an event left out is NULL in the table, or empty; a line leaves out both."""
    fields = {name: value for name, value in json.loads(line).items() if value not in (None, "")}
    return fields["ts_us"], json.dumps(fields, separators=(",", ":")).encode()
