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
    "refused",  # Kafka will never take the batch
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
    """Accepted events that are neither acknowledged nor lost."""
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

    @property
    def refused(self) -> int:
        """Calls of ``track`` that returned ``False``: ``accepted + refused == offered``."""
        return self.offered - self.accepted
