"""Dead letters as ClickHouse has them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

__all__ = ["Letter", "letter_named", "letters_waiting"]

_NAMED = """
SELECT letter, topic, partition, stage, reason, value, whole, producer, requeued
FROM v_dead_letters
WHERE letter = {letter:String}
ORDER BY at DESC
LIMIT 1
"""

_WAITING = """
SELECT letter, topic, partition, stage, reason, value, whole, producer, requeued
FROM v_dead_letters
WHERE topic = {topic:String} AND NOT requeued
    AND positionCaseInsensitiveUTF8(reason, {reason:String}) > 0
ORDER BY at, partition, offset, line
"""


@dataclass(frozen=True, slots=True)
class Letter:
    """A line that could not be used."""

    name: str
    """Topic, partition, offset and line of the original."""
    topic: str
    partition: int
    stage: str
    reason: str
    value: str
    """The line; cut, or with its bytes spelled out, when it is not ``whole``."""
    whole: bool
    producer: str
    """Whose record it becomes when it is sent back: always the same, so that readers know a repeat
    as they know every other repeat."""
    requeued: bool
    """It was sent back, and is stored."""


def letter_named(client: "Client", name: str) -> Letter | None:
    """Returns the letter of that name, the newest where topics were made anew; ``None`` for none.
    Blocks."""
    found = client.query(_NAMED, parameters={"letter": name}).result_rows
    return Letter(*found[0]) if found else None


def letters_waiting(client: "Client", topic: str, reason: str) -> Iterator[Letter]:
    """Yields the letters of a topic that were not sent back and whose reason contains ``reason``,
    the oldest first, streamed. Blocks."""
    parameters = {"topic": topic, "reason": reason}
    with client.query_rows_stream(_WAITING, parameters=parameters) as answer:
        for row in answer:
            yield Letter(*row)
