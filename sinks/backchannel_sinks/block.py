"""A block: the records of one partition from one offset to another, inserted as one and once.

Its name is made from its bytes, so whoever builds the block again after a crash finds the same
name, and ClickHouse knows whether it has it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

from backchannel_sinks.records import Place, Record

__all__ = ["Block", "intent", "read_intent"]

_INTENT = re.compile(r"v1:(\d{1,18})")


@dataclass(frozen=True, slots=True)
class Block:
    """Records ``first`` to ``last`` of a partition, holes included, nothing in between missing."""

    place: Place
    epoch: int
    """Which life of the topic: offsets begin again when a topic is made anew."""
    records: Sequence[Record]

    @property
    def first(self) -> int:
        return self.records[0].offset

    @property
    def last(self) -> int:
        return self.records[-1].offset

    @property
    def token(self) -> str:
        """The insert's deduplication token."""
        crc = 0
        for record in self.records:
            crc = crc32(record.value or b"\0", crc)
        place = self.place
        return f"{place.topic}-{place.partition}-{self.epoch}-{self.first}-{self.last}-{crc:08x}"


def intent(last: int) -> str:
    """Returns what is committed beside the unchanged offset before a block is inserted."""
    return f"v1:{last}"


def read_intent(metadata: str) -> int | None:
    """Returns the last offset of the block in doubt, or ``None`` when no block is."""
    found = _INTENT.fullmatch(metadata)
    return int(found[1]) if found else None
