"""What became of every event that was offered to a producer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["ContentStats", "DropReason", "ProducerStats"]

DropReason = Literal[
    # At the offer: track() returned False.
    "buffer_full",  # everything that is not acknowledged yet has reached its bound in bytes
    "too_large",  # the event's line is longer than any reader takes
    "invalid",  # not an event of the contract, or one that was never validated
    "closed",  # offered after close()
    "disabled",  # offered to a producer that is switched off
    # Later: track() had returned True.
    "displaced",  # made room for a newer event (on_full="drop_oldest")
    "refused",  # Kafka will never take the batch
    "spill_damaged",  # the disk did not give back what was spilled to it
    "unsent",  # not acknowledged when close() had to give up
]
"""Why an event was not delivered."""


@dataclass(frozen=True, slots=True)
class ContentStats:
    """What became of the prompts and replies. Always
    ``offered == acked + held + sum(dropped.values())``."""

    offered: int = 0
    acked: int = 0
    held: int = 0
    dropped: Mapping[DropReason, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProducerStats:
    """Counts since the producer was made, taken at one moment.

    Always ``offered == acked + held + sampled_out + sum(dropped.values())``.
    """

    producer_id: str
    offered: int
    """Calls of ``track``, also those that a turn makes when it ends, and ``Health`` events."""
    accepted: int
    """Calls that returned ``True``."""
    acked: int
    """Events that Kafka has acknowledged."""
    held: int
    """Accepted events that are neither acknowledged nor lost, in memory or on disk."""
    held_bytes: int
    """Their memory, which ``buffer_bytes_max`` bounds."""
    dropped: Mapping[DropReason, int]
    """Events that were not delivered, by reason; reasons that never were are left out."""
    sampled_out: int
    """Accepted events that were left out since others stand for them: no loss, and no ``seq``."""
    last_seq: int
    """``seq`` of the newest event that got one."""
    fields_repaired: int
    """Fields that were cut or left out because they did not fit the contract."""
    masking_failures: int
    """Texts that were left out because the bot's ``mask`` failed on them."""
    batches: int
    """Records that Kafka has acknowledged."""
    reconnects: int
    """How often a connection broke and was made anew."""
    partitions: int
    """Partitions of the topic; 0 until the broker has answered for the first time."""
    content: ContentStats = field(default_factory=ContentStats)
    """Prompts and replies, which count apart; zero where they are not captured."""

    spilled: int = 0
    """Those of ``held`` that are on disk. After ``close`` they are there for the next process."""
    spill_bytes: int = 0
    """Their files, and those taken over from earlier processes; ``spill_bytes_max`` bounds them."""
    spill_failures: int = 0
    """How often the disk could not be used. What was to be written stayed in memory."""
    spill_damaged: int = 0
    """Batches on disk that were of no use, of this producer or of earlier ones: torn, for a
    partition that is not there any more, or left by an earlier one and refused."""
    recovered: int = 0
    """Events of earlier processes, found on disk and acknowledged. In no other count."""

    @property
    def refused(self) -> int:
        """Calls of ``track`` that returned ``False``: ``accepted + refused == offered``."""
        return self.offered - self.accepted
