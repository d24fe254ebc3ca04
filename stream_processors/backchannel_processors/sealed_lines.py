"""Structs as one record of ``chat.metrics``: NDJSON, and headers by which it can be checked."""

from collections.abc import Sequence
from zlib import crc32

import msgspec

from backchannel.events import SealedBatch

__all__ = ["seal_lines"]

_encode = msgspec.json.Encoder().encode


def seal_lines(
    lines: Sequence[msgspec.Struct], schema: str, *headers: tuple[str, bytes]
) -> SealedBatch:
    """Returns the record; ``headers`` come after those that every record has."""
    value = b"\n".join(map(_encode, lines))
    checked = (
        ("schema", schema.encode()),
        ("count", b"%d" % len(lines)),
        ("crc32", b"%08x" % crc32(value)),
    )
    return SealedBatch(value, (*checked, *headers), len(lines))
