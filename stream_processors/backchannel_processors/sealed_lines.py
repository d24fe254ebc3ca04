"""Structs as one record of ``chat.metrics``: NDJSON, and headers by which it can be checked."""

from collections.abc import Sequence
from zlib import crc32

import msgspec

from backchannel.events import SealedBatch

__all__ = ["RECORD_BYTES_MAX", "seal_in_parts", "seal_lines"]

RECORD_BYTES_MAX = 1024 * 1024
"""A record with many things in it is divided beyond: topics take 4 MB, and a window of a large
group alone may be some 100 kB, most of it its distinct users and sessions."""

_encode = msgspec.json.Encoder().encode


def seal_lines(
    lines: Sequence[msgspec.Struct], schema: str, *headers: tuple[str, bytes]
) -> SealedBatch:
    """Returns the record; ``headers`` come after those that every record has."""
    return _sealed(list(map(_encode, lines)), schema, headers)


def seal_in_parts(
    lines: Sequence[msgspec.Struct], schema: str, *headers: tuple[str, bytes]
) -> list[SealedBatch]:
    """Returns as many records as it takes for none to be over ``RECORD_BYTES_MAX``, but for a line
    that is so alone."""
    parts: list[list[bytes]] = []
    room = 0
    for line in map(_encode, lines):
        if len(line) > room:
            parts.append([])
            room = RECORD_BYTES_MAX
        parts[-1].append(line)
        room -= len(line) + 1
    return [_sealed(part, schema, headers) for part in parts]


def _sealed(
    lines: Sequence[bytes], schema: str, headers: Sequence[tuple[str, bytes]]
) -> SealedBatch:
    value = b"\n".join(lines)
    checked = (
        ("schema", schema.encode()),
        ("count", b"%d" % len(lines)),
        ("crc32", b"%08x" % crc32(value)),
    )
    return SealedBatch(value, (*checked, *headers), len(lines))
