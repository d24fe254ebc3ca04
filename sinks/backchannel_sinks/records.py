"""A record of a topic, as the sink holds it."""

from dataclasses import dataclass

__all__ = ["Place", "Record"]


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A partition of a topic."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class Record:
    """One record: its offset, when the broker had it, and its bytes."""

    offset: int
    broker_time_ms: int
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]

    @property
    def size(self) -> int:
        """Bytes it holds in memory, roughly."""
        return len(self.value or b"") + 200

    @property
    def lines(self) -> int:
        """Lines in it, at least one."""
        return (self.value or b"").count(b"\n") + 1
