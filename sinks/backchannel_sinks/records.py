"""A record of a topic, as the sink holds it."""

from dataclasses import dataclass, field

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

    size: int = field(init=False, compare=False)
    """Bytes it holds in memory, roughly."""
    lines: int = field(init=False, compare=False)
    """Lines in it, at least one."""

    def __post_init__(self) -> None:
        value = self.value or b""
        object.__setattr__(self, "size", len(value) + 200)
        # Counted once: the sink asks for it at every step.
        object.__setattr__(self, "lines", value.count(b"\n") + 1)
