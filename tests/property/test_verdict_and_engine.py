"""Contract, processors and engine come to the same verdict: what is accepted is counted and is a
row that reads back equal, what is rejected is neither. Many lines go in one insert, so the real
engine is quick enough."""

import json
import random
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any
from uuid import UUID

import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import EVENT_TYPES, Accepted, Event, judge, open_batch
from backchannel_processors.observations import read
from backchannel_sinks.block import Block
from backchannel_sinks.clickhouse.connection import connect
from backchannel_sinks.clickhouse.store import ClickHouseStore
from backchannel_sinks.numbers import ProducerNumbers
from backchannel_sinks.records import Place, Record
from backchannel_sinks.rows import Rows, event_rows
from support.endpoint import EndpointProcess, fresh_database
from support.sink_process import create_tables

pytestmark = pytest.mark.integration

EDGES: tuple[Any, ...] = (
    *(None, True, False, "", "12", " ", "x" * 256, "x" * 257, "\0", "\t\n\r\\\"'", "ü🙂", "null"),
    *(0, 1, -1, 2**31, 2**32, 2**40, 2**40 + 1, 2**53, 2**63 - 1, 2**63, 2**64, 10**20),
    *(0.0, 1.0, 1.5, -0.0, 1e300, float("inf"), float("nan")),
    *([], {}, ["a"], [""], {"a": "b"}, {"a": 1}, {"": "b"}, [{"id": "d", "score": -1}], [{}]),
    *("ok", "error", "cancelled", "llm_judge", "00000000-0000-0000-0000-000000000000"),
    *("018BCFE5-6800-7000-8000-00000000000A", "018bcfe5-6800-7000-8000-00000000000g"),
)
"""What the bounds of some field are about."""

GOOD = {
    "event_id": "018bcfe5-6800-7000-8000-000000000000",
    "ts_us": 1_700_000_000_000_000,
    "name": "n",
    "kind": "comment",
}


def fields_of(event_type: str) -> list[str]:
    return sorted(EVENT_TYPES[event_type].model_fields)


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """A good event with some fields changed, sometimes with its bytes damaged too."""
    event_type = draw(st.sampled_from(sorted(EVENT_TYPES)))
    values = st.sampled_from(EDGES) | st.text(max_size=12) | st.integers(-(2**65), 2**65)
    names = st.sampled_from(fields_of(event_type)) | st.sampled_from(["extra", "_offset"])
    changes = draw(st.dictionaries(names, values, max_size=4))
    line = json.dumps({"event_type": event_type, **GOOD, **changes}).encode()
    match draw(st.integers(0, 9)):
        case 0:
            cut = draw(st.integers(0, len(line)))
            return line[:cut]
        case 1:
            at = draw(st.integers(0, len(line) - 1))
            return line[:at] + bytes([draw(st.integers(0, 255))]) + line[at + 1 :]
        case 2:
            return line + draw(st.sampled_from([line, b",", b"}", b" ", b"\xff", b"//"]))
    return line


@pytest.fixture(scope="module")
def tables(shared_endpoint: EndpointProcess) -> Iterator[tuple[str, str]]:
    with fresh_database(shared_endpoint.url) as database:
        create_tables(database)
        yield database.url, database.database


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(batch=st.lists(lines(), min_size=1, max_size=60))
async def test_a_line_is_a_row_exactly_when_the_contract_accepts_it(
    tables: tuple[str, str], batch: list[bytes]
) -> None:
    await hold_to_each_other(tables, [line.replace(b"\n", b" ") for line in batch])


async def test_every_field_at_every_edge_reads_back_as_the_contract_has_it(
    tables: tuple[str, str],
) -> None:
    batch = [
        json.dumps({"event_type": event_type, **GOOD, field: value}).encode()
        for event_type in EVENT_TYPES
        for field in fields_of(event_type)
        for value in EDGES
        if field != "event_type"
    ]
    random.Random(1).shuffle(batch)
    await hold_to_each_other(tables, batch)


async def hold_to_each_other(tables: tuple[str, str], batch: Sequence[bytes]) -> None:
    """Stores the lines as the sink does, then compares each with its verdict."""
    accepted = {
        number: verdict.event
        for number, line in enumerate(batch)
        if isinstance(verdict := judge(line), Accepted)
    }
    offset = SYSTEM_CLOCK.monotonic_us()
    rows = built(batch, offset)
    verdicts = (len(accepted), len(batch) - len(accepted))
    assert (rows.stored, len(rows.dead)) == verdicts
    counted = read(open_batch(joined(batch), ()))
    assert (len(counted.observations), counted.rejected) == verdicts
    await insert(tables, rows, token=str(offset))
    with closing(connect(*tables)) as client:
        assert stored(client, offset) == {
            number: as_row(event) for number, event in accepted.items()
        }


def built(batch: Sequence[bytes], offset: int) -> Rows:
    """The rows of one unstamped record."""
    record = Record(offset, SYSTEM_CLOCK.now_us() // 1000, joined(batch), ())
    return event_rows(Block(Place("chat.events", 0), 0, [record]), ProducerNumbers())


def joined(batch: Sequence[bytes]) -> bytes:
    """The value of a record. With a line end after the last line too: else an empty last line would
    be none."""
    return b"".join(line + b"\n" for line in batch)


async def insert(tables: tuple[str, str], rows: Rows, token: str) -> None:
    if rows.parts:
        with closing(ClickHouseStore(lambda: connect(*tables), SYSTEM_CLOCK)) as store:
            await store.insert("events", rows.body, token, rows.columns)


def stored(client: Client, offset: int) -> dict[int, dict[str, Any]]:
    """The rows of one record by their line, each with the fields of its own event type."""
    answer = client.query(
        "SELECT * FROM events WHERE _offset = {offset:UInt64}", parameters={"offset": offset}
    )
    return {
        row["_line"]: {name: plain(row[name]) for name in fields_of(row["event_type"])}
        for row in answer.named_results()
    }


def as_row(event: Event) -> dict[str, Any]:
    """An event as its row reads."""
    fields = event.model_dump()
    fields["event_id"] = fields["event_id"].lower()
    return {name: plain(value) for name, value in fields.items()}


def plain(value: Any) -> Any:
    """A value without the difference between the driver's types and the model's."""
    match value:
        case UUID():
            return str(value)
        case tuple() | list():
            return [plain(each) for each in value]
    return value
