"""A record or line that could not be used: where it came from and why, never thrown away.

On ``chat.dead`` the value is the original bytes; where it came from and why stand in headers.
"""

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["DEAD_VALUE_BYTES_MAX", "DeadLetter"]

DEAD_VALUE_BYTES_MAX = 512 * 1024
"""How much of the original is kept in the table; its length and SHA-256 stand beside it."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One line of a record that is not what its topic asks for."""

    topic: str
    partition: int
    offset: int
    line: int
    """Index of the line in the record."""
    reason: str
    """Why, for a person; holds no value out of the record."""
    stage: str
    """Who refused it: ``sink`` or ``notifier``."""
    broker_time_ms: int
    """When the broker had the original record."""
    value: bytes

    def headers(self) -> tuple[tuple[str, bytes], ...]:
        """Returns the record headers on ``chat.dead``."""
        return (
            ("topic", self.topic.encode()),
            ("partition", b"%d" % self.partition),
            ("offset", b"%d" % self.offset),
            ("line", b"%d" % self.line),
            ("reason", self.reason.encode()),
            ("stage", self.stage.encode()),
            ("broker_time_ms", b"%d" % self.broker_time_ms),
        )

    @classmethod
    def read(cls, value: bytes | None, headers: Iterable[tuple[str, bytes]]) -> "DeadLetter":
        """Reads a record of ``chat.dead``.

        Raises:
            ValueError: a header is missing or wrong: somebody else wrote the record.
        """
        known = {key: raw.decode("utf-8", "replace") for key, raw in headers if raw is not None}
        try:
            return cls(
                topic=known["topic"],
                partition=int(known["partition"]),
                offset=int(known["offset"]),
                line=int(known["line"]),
                reason=known["reason"],
                stage=known["stage"],
                broker_time_ms=int(known["broker_time_ms"]),
                value=value or b"",
            )
        except (KeyError, ValueError) as error:
            raise ValueError("not a dead letter: a header is missing or no number") from error
