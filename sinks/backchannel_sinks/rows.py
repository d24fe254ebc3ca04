"""From records to the body of an insert. Pure: the same records give the same bytes.

A record that our own code stamped is not decoded: its lines are JSON rows already, and each gets
its coordinates put in front. Any other record is judged line by line; what is accepted is written
anew from the model, so ClickHouse never sees a byte that was not understood.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count
from typing import TypeVar
from zlib import crc32

from pydantic import BaseModel, ValidationError

from backchannel.events import (
    AGENT_SCHEMA,
    ALERT_SCHEMA,
    BATCH_BYTES_MAX,
    CONVERSATION_SCHEMA,
    DEAD_VALUE_BYTES_MAX,
    EVENT_TYPES,
    WINDOW_SCHEMA,
    AgentReport,
    Alert,
    ClosedConversation,
    Content,
    DeadLetter,
    Rejected,
    Window,
    encode_event,
    open_batch,
)
from backchannel_sinks.block import Block
from backchannel_sinks.numbers import ProducerNumbers
from backchannel_sinks.records import Record
from backchannel_sinks.tombstones import Tombstones

__all__ = [
    "BuildRows",
    "Rows",
    "alert_rows",
    "content_rows",
    "dead_letter_rows",
    "event_rows",
    "window_rows",
]

STAGE = "sink"

_PLACE = (
    "_partition",
    "_offset",
    "_broker_time",
    "_producer",
    "_pseq",
    "_origin",
    "_epoch",
    "_line",
)
"""What is put in front of an event."""

_FIELDS = {name.encode(): dict.fromkeys(model.model_fields) for name, model in EVENT_TYPES.items()}
_BEFORE_TYPE = b'{"event_type":"'
_NUMBERS = tuple(b"%d," % number for number in range(1_000))
"""Numbers of lines, ready to be put in front of them."""


@dataclass(frozen=True, slots=True)
class _Beside:
    """Something that stands on ``chat.metrics`` beside windows."""

    table: str
    model: type[BaseModel]
    schema: str


_BESIDE = {
    b"conversation.closed": _Beside("conversations", ClosedConversation, CONVERSATION_SCHEMA),
    b"agent": _Beside("agents", AgentReport, AGENT_SCHEMA),
}
"""By the header ``kind`` of its records."""

_OF_NOBODY = "agents"
"""The table whose rows are of no tenant: not even of the one that rows without a name are of."""

_Model = TypeVar("_Model", bound=BaseModel)

BuildRows = Callable[[Block, ProducerNumbers, bool], "Rows"]


@dataclass(slots=True)
class Rows:
    """What became of a block: ``lines == stored + duplicate + len(dead) + erased``."""

    parts: list[bytes] = field(default_factory=list)
    """Lines of the insert body."""
    lines: int = 0
    duplicate: int = 0
    erased: int = 0
    unknown_fields: int = 0
    lost_records: int = 0
    """Records that are missing between the numbers of their producers."""
    beside: dict[str, list[bytes]] = field(default_factory=dict)
    """Lines for other tables than that of the feed, by table."""
    event_types: set[bytes] = field(default_factory=set)
    """Types of the events in the body; ``b""`` for lines that do not begin with one of ours."""
    dead: list[DeadLetter] = field(default_factory=list)
    places: list[bytes] = field(default_factory=list)
    """Lines for ``erased_events``: where each event that is left out stood."""
    numbers: dict[str, int] = field(default_factory=dict)
    """The last record number of each producer in the block."""

    @property
    def stored(self) -> int:
        return len(self.parts) + sum(map(len, self.beside.values()))

    @property
    def body(self) -> bytes:
        """What goes into the table of the feed."""
        return b"\n".join(self.parts)

    def bodies(self, table: str) -> Iterator[tuple[str, bytes]]:
        """Yields what goes into ``table``, the one of the feed, and into others."""
        tables = {table: self.parts, **self.beside, "erased_events": self.places}
        for name, parts in tables.items():
            if parts:
                yield name, b"\n".join(parts)

    def leave_out(self, tombstones: Tombstones) -> None:
        """Takes out what is of somebody who was erased; of a dead letter its line alone, and of an
        event everything but its place."""
        before = self.stored
        kept: list[bytes] = []
        for part in self.parts:
            left = tombstones.left_of(part)
            if left is not None:
                kept.append(left)
            elif (place := tombstones.place_of(part)) is not None:
                self.places.append(place)
        self.parts = kept
        self.beside = {
            table: parts if table == _OF_NOBODY else _left(parts, tombstones)
            for table, parts in self.beside.items()
        }
        self.erased += before - self.stored
        self.dead = [
            replace(each, value=b"")
            if tombstones.quoted_in(
                each.value.decode("utf-8", "replace"), each.broker_time_ms * 1000
            )
            else each
            for each in self.dead
        ]

    @property
    def columns(self) -> tuple[str, ...]:
        """Every field of the rows, for events; empty when they may have any. An event has a fifth
        of the table's columns, and ClickHouse is a sixth faster when it knows which."""
        if not self.event_types or not self.event_types <= _FIELDS.keys():
            return ()
        named = dict.fromkeys(_PLACE)
        for event_type in sorted(self.event_types):
            named |= _FIELDS[event_type]
        return tuple(named)


def event_rows(block: Block, numbers: ProducerNumbers, judge_all: bool = False) -> Rows:
    """Builds the rows of ``events``. ``judge_all`` takes no stamp on trust: for a block that
    ClickHouse refused."""
    rows = Rows()
    for record in block.records:
        opened = open_batch(record.value, record.headers)
        rows.lines += len(opened.lines)
        if opened.pseq is not None and not _is_new(rows, numbers, opened.producer_id, opened.pseq):
            rows.duplicate += len(opened.lines)
            continue
        prefix = (
            b'{"_partition":%d,"_offset":%d,"_broker_time":%b,"_producer":%b,"_pseq":%d,'
            b'"_origin":"%b","_epoch":%d,"_line":'
            % (
                block.place.partition,
                record.offset,
                _instant(record.broker_time_ms),
                json.dumps(opened.producer_id).encode(),
                opened.pseq or 0,
                opened.origin.encode(),
                block.epoch,
            )
        )
        if opened.trusted and not judge_all:
            types = _types(opened.lines)
            if b"" not in types or _are_objects(opened.lines):
                rows.parts += _placed(prefix, opened.lines)
                rows.event_types |= types
                continue
        for number, verdict in enumerate(opened.verdicts()):
            if isinstance(verdict, Rejected):
                rows.dead.append(_dead(block, record, number, verdict.reason, opened.lines[number]))
            else:
                rows.unknown_fields += verdict.unknown_fields
                line = encode_event(verdict.event)
                rows.parts.append(b"%b%d,%b" % (prefix, number, line[1:]))
                rows.event_types.add(verdict.event.event_type.encode())
    return rows


def window_rows(block: Block, numbers: ProducerNumbers, judge_all: bool = False) -> Rows:
    """Builds the rows of ``metric_windows``, and of what stands beside windows."""
    rows = Rows()
    for record in block.records:
        lines = (record.value or b"").split(b"\n")
        rows.lines += len(lines)
        beside = _BESIDE.get(dict(record.headers).get("kind", b""))
        if beside is not None:
            _add_beside(rows, block, record, beside, judge_all=judge_all)
            continue
        prefix = b'{"_partition":%d,"_offset":%d,"_epoch":%d,"_line":' % (
            block.place.partition,
            record.offset,
            block.epoch,
        )
        if not judge_all and _is_stamped(record, lines, WINDOW_SCHEMA) and _are_objects(lines):
            rows.parts += _placed(prefix, lines)
            continue
        for number, line in enumerate(lines):
            read = _read(Window, line)
            if isinstance(read, str):
                rows.dead.append(_dead(block, record, number, read, line))
            else:
                canonical = read.model_dump_json().encode()
                rows.parts.append(b"%b%d,%b" % (prefix, number, canonical[1:]))
    return rows


def _add_beside(
    rows: Rows, block: Block, record: Record, beside: _Beside, *, judge_all: bool
) -> None:
    lines = (record.value or b"").split(b"\n")
    prefix = b'{"_partition":%d,"_offset":%d,"_epoch":%d,"_broker_time":%b,"_line":' % (
        block.place.partition,
        record.offset,
        block.epoch,
        _instant(record.broker_time_ms),
    )
    stamped = not judge_all and _is_stamped(record, lines, beside.schema)
    trusted = stamped and _are_objects(lines)
    for number, line in enumerate(lines):
        read = line if trusted else _read(beside.model, line)
        if isinstance(read, str):
            rows.dead.append(_dead(block, record, number, read, line))
            continue
        row = read if isinstance(read, bytes) else read.model_dump_json().encode()
        rows.beside.setdefault(beside.table, []).append(b"%b%d,%b" % (prefix, number, row[1:]))


def alert_rows(block: Block, numbers: ProducerNumbers, judge_all: bool = False) -> Rows:
    """Builds the rows of ``alerts``."""
    rows = Rows()
    for record in block.records:
        if record.value is None:
            continue  # what stood under this key is of somebody who was erased
        rows.lines += 1
        read = _read(Alert, record.value)
        major = dict(record.headers).get("schema", ALERT_SCHEMA.encode()).split(b".")[0]
        if isinstance(read, str):
            rows.dead.append(_dead(block, record, 0, read, record.value or b""))
        elif major != ALERT_SCHEMA.encode().split(b".")[0]:
            reason = f"an alert of another schema version: this reader knows {ALERT_SCHEMA}"
            rows.dead.append(_dead(block, record, 0, reason, record.value or b""))
        else:
            rows.parts.append(
                b'{"_partition":%d,"_offset":%d,"_epoch":%d,%b'
                % (
                    block.place.partition,
                    record.offset,
                    block.epoch,
                    read.model_dump_json().encode()[1:],
                )
            )
    return rows


def content_rows(block: Block, numbers: ProducerNumbers, judge_all: bool = False) -> Rows:
    """Builds the rows of ``content``. A line that is none becomes a dead letter without its value:
    what was kept out of the events must not come back there."""
    rows = Rows()
    for record in block.records:
        opened = open_batch(record.value, record.headers)
        rows.lines += len(opened.lines)
        prefix = b'{"_partition":%d,"_offset":%d,"_broker_time":%b,"_epoch":%d,"_line":' % (
            block.place.partition,
            record.offset,
            _instant(record.broker_time_ms),
            block.epoch,
        )
        if opened.trusted and not judge_all and _are_objects(opened.lines):
            rows.parts += _placed(prefix, opened.lines)
            continue
        for number, line in enumerate(opened.lines):
            read = opened.refusal or _read(Content, line)
            if isinstance(read, str):
                rows.dead.append(_dead(block, record, number, read, b""))
            else:
                canonical = read.model_dump_json().encode()
                rows.parts.append(b"%b%d,%b" % (prefix, number, canonical[1:]))
    return rows


def dead_letter_rows(block: Block, numbers: ProducerNumbers, judge_all: bool = False) -> Rows:
    """Builds the rows of ``dead_letters``. A dead letter is never diverted again: a record that
    nobody of ours wrote is kept under its own coordinates."""
    rows = Rows()
    for record in block.records:
        rows.lines += 1
        try:
            letter = DeadLetter.read(record.value, record.headers)
        except ValueError as error:
            letter = _dead(block, record, 0, str(error), record.value or b"")
        rows.parts.append(
            json.dumps(
                {
                    "topic": letter.topic,
                    "partition": letter.partition,
                    "offset": letter.offset,
                    "line": letter.line,
                    "reason": letter.reason,
                    "stage": letter.stage,
                    "broker_time": letter.broker_time_ms / 1000,
                    # Text for people; the bytes themselves stay on chat.dead.
                    "value": letter.value[:DEAD_VALUE_BYTES_MAX].decode(
                        "utf-8", "backslashreplace"
                    ),
                    "value_bytes": len(letter.value),
                    "value_sha256": hashlib.sha256(letter.value).hexdigest(),
                    "_partition": block.place.partition,
                    "_offset": record.offset,
                    "_epoch": block.epoch,
                }
            ).encode()
        )
    return rows


def _left(parts: Iterable[bytes], tombstones: Tombstones) -> list[bytes]:
    return [kept for part in parts if (kept := tombstones.left_of(part)) is not None]


def _is_new(rows: Rows, numbers: ProducerNumbers, producer_id: str, pseq: int) -> bool:
    last = rows.numbers.get(producer_id)
    if last is None:
        last = numbers.last(producer_id)
    if last is not None and pseq <= last:
        return False
    if last is not None:
        rows.lost_records += pseq - last - 1
    rows.numbers[producer_id] = pseq
    return True


def _are_objects(lines: Iterable[bytes]) -> bool:
    return all(line.startswith(b'{"') for line in lines)


def _placed(prefix: bytes, lines: Iterable[bytes]) -> list[bytes]:
    """Puts the place of each line in front of it: ``prefix``, which ends before its number."""
    numbers = chain(_NUMBERS, (b"%d," % number for number in count(len(_NUMBERS))))
    return [prefix + number + line[1:] for number, line in zip(numbers, lines, strict=False)]


def _types(lines: Sequence[bytes]) -> set[bytes]:
    """The types that the lines begin with; with ``b""`` when a line begins with none of ours."""
    types: set[bytes] = set()
    while lines:
        if not lines[0].startswith(_BEFORE_TYPE):
            return types | {b""}
        beginning = lines[0][: lines[0].find(b'"', len(_BEFORE_TYPE)) + 1]
        event_type = beginning[len(_BEFORE_TYPE) : -1]
        if event_type not in _FIELDS:
            return types | {b""}  # at most a look for each type that there is
        types.add(event_type)
        # A record has few types: a look at all that is left for each is quicker than one at each.
        lines = [line for line in lines if not line.startswith(beginning)]
    return types


def _is_stamped(record: Record, lines: Sequence[bytes], schema: str) -> bool:
    """Says whether our own code wrote the record and its bytes are intact."""
    value = record.value or b""
    headers = dict(record.headers)
    return (
        len(value) <= BATCH_BYTES_MAX
        and headers.get("schema") == schema.encode()
        and headers.get("count") == b"%d" % len(lines)
        and headers.get("crc32") == b"%08x" % crc32(value)
    )


def _read(model: type[_Model], line: bytes) -> _Model | str:
    try:
        return model.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = str(first["loc"][0]) if first["loc"] else model.__name__.lower()
        return f"not a {model.__name__.lower()}: {place}: {first['msg']}"


def _dead(block: Block, record: Record, line: int, reason: str, value: bytes) -> DeadLetter:
    return DeadLetter(
        topic=block.place.topic,
        partition=block.place.partition,
        offset=record.offset,
        line=line,
        reason=reason,
        stage=STAGE,
        broker_time_ms=record.broker_time_ms,
        value=value,
    )


def _instant(ms: int) -> bytes:
    """Returns an instant as ClickHouse reads it in JSON: seconds with three decimals."""
    return b"%d.%03d" % divmod(max(ms, 0), 1000)
