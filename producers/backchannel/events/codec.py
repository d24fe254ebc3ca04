"""Events to bytes and back: lines, and the sealed batches of lines that are Kafka records.

A record on ``chat.events`` is a *sealed batch*: NDJSON whose bytes are frozen when it is sealed,
and sent again byte for byte if need be. Its headers say who sealed it and let a reader check it.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from zlib import crc32

from backchannel.events.envelope import SCHEMA_VERSION
from backchannel.events.event import EVENT_TYPES, Event
from backchannel.events.verdict import Accepted, Rejected, judge

__all__ = [
    "BATCH_BYTES_MAX",
    "LIVE",
    "SCHEMA",
    "OpenedBatch",
    "SealedBatch",
    "encode_event",
    "line_prefix",
    "open_batch",
    "seal",
]

SCHEMA = f"{SCHEMA_VERSION}.0"
"""Major and minor version that this code writes, in the header ``schema``."""

BATCH_BYTES_MAX = 1024 * 1024
"""Largest value of a record that readers take on trust; the SDK seals far below it."""

LIVE = "live"
"""The origin of traffic as it happens; a replay's origin is ``replay:<id>``."""

_REPLAY = re.compile(r"replay:[A-Za-z0-9_.-]{1,64}")
_MAJOR_MINOR = re.compile(r"(\d{1,4})\.(\d{1,4})")

Headers = Iterable[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class SealedBatch:
    """A record, ready to be sent: its bytes never change again."""

    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    count: int
    """Events in it."""


@dataclass(frozen=True)
class OpenedBatch:
    """A record as a reader finds it, before any line is decoded."""

    value: bytes
    """The lines, not split."""
    count: int
    """How many lines there are."""
    trusted: bool
    """The writer validated every line (this schema, bytes intact): no line needs a verdict."""
    producer_id: str
    pseq: int | None
    """Number of the record within its producer and partition; ``None`` when not to be relied on."""
    origin: str
    refusal: str
    """Why no line of the record can be read; empty when they can."""

    @cached_property
    def lines(self) -> Sequence[bytes]:
        """The raw split at line ends; the index in it is the ``_line`` of a row."""
        lines = self.value.split(b"\n")
        return lines[: self.count]

    def verdicts(self) -> list[Accepted | Rejected]:
        """Judges every line, in order. One verdict a line."""
        if self.refusal:
            return [Rejected(self.refusal)] * self.count
        return [judge(line) for line in self.lines]


def encode_event(event: Event) -> bytes:
    """Returns the canonical line of an event: UTF-8 JSON, fields with their defaults left out."""
    body = event.__pydantic_serializer__.to_json(event, exclude_defaults=True)
    return b'{"event_type":"%b",%b' % (event.event_type.encode(), body[1:])


def line_prefix(event_type: str, producer_id: str) -> bytes:
    """Returns what a producer puts in front of an event's line: the line is this, the decimal
    ``seq``, a comma, and the event's own JSON without its brace. Made once for each type."""
    if event_type not in EVENT_TYPES:
        raise ValueError("not an event type of this contract")
    return b'{"event_type":"%b","producer_id":"%b","seq":' % (
        event_type.encode(),
        producer_id.encode(),
    )


def seal(lines: Sequence[bytes], *, producer_id: str, pseq: int, origin: str = LIVE) -> SealedBatch:
    """Freezes validated lines into one record, numbered ``pseq`` for its producer and partition."""
    value = b"\n".join(lines)
    headers = (
        ("schema", SCHEMA.encode()),
        ("producer", producer_id.encode()),
        ("pseq", b"%d" % pseq),
        ("count", b"%d" % len(lines)),
        ("crc32", b"%08x" % crc32(value)),
        ("origin", origin.encode()),
    )
    return SealedBatch(value, headers, len(lines))


def open_batch(value: bytes | None, headers: Headers) -> OpenedBatch:
    """Opens a record that anybody may have written. A pure function of its bytes; raises nothing.

    A null value and an empty one count as one line that can't be read.
    """
    known = {key: raw for key, raw in headers if raw is not None}
    origin = _origin(known)
    if not value:
        refusal = "the record has a null value" if value is None else "the record is empty"
        return OpenedBatch(b"", 1, False, "", None, origin, refusal)
    count = value.count(b"\n") + (not value.endswith(b"\n"))
    schema = _MAJOR_MINOR.fullmatch(known.get("schema", b"").decode("ascii", "replace"))
    if schema is not None and int(schema[1]) != SCHEMA_VERSION:
        refusal = f"the record has schema {schema[0]}, this reader knows {SCHEMA_VERSION}"
        return OpenedBatch(value, count, False, "", None, origin, refusal)
    if not _intact(value, count, known):
        return OpenedBatch(value, count, False, "", None, origin, "")
    producer_id, pseq = _sender(known)
    trusted = (
        (known["schema"] == SCHEMA.encode() and pseq is not None and len(value) <= BATCH_BYTES_MAX)
        if schema
        else False
    )
    return OpenedBatch(value, count, trusted, producer_id, pseq, origin, "")


def _intact(value: bytes, count: int, headers: dict[str, bytes]) -> bool:
    return headers.get("count") == b"%d" % count and headers.get("crc32") == b"%08x" % crc32(value)


def _sender(headers: dict[str, bytes]) -> tuple[str, int | None]:
    producer, pseq = headers.get("producer", b""), headers.get("pseq", b"")
    if not 0 < len(producer) <= 256 or not producer.isascii():
        return "", None
    if not 0 < len(pseq) <= 18 or not pseq.isdigit():
        return "", None
    return producer.decode(), int(pseq)


def _origin(headers: dict[str, bytes]) -> str:
    origin = headers.get("origin", b"").decode("ascii", "replace")
    return origin if _REPLAY.fullmatch(origin) else LIVE
