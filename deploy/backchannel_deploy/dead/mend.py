"""From a dead letter to an event, if it can be one. Pure."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from backchannel.events import Accepted, Rejected, SealedBatch, encode_event, judge, seal
from backchannel_deploy.dead.letters import Letter

__all__ = ["LETTERS_MAX", "Sorted", "changes_of", "mended", "sort_letters"]

LETTERS_MAX = 5_000
"""Letters that are sent back in one run. Each is a producer of its own, and the readers of a
partition remember 10,000 producers: the bots' own must not be forgotten for letters."""

BYTES_MAX = 64 * 1024 * 1024

_TOLD_MAX = 10


@dataclass(slots=True)
class Sorted:
    """What can be done with some letters."""

    records: list[tuple[int, SealedBatch]] = field(default_factory=list)
    """What goes back, each with its partition."""
    refused: int = 0
    """Letters that are still no events."""
    told: list[str] = field(default_factory=list)
    """Why, for the first of them."""
    stored: int = 0
    """Letters that were sent back before, and are stored."""
    more: bool = False
    """There are letters that were not looked at: the run is full."""


def sort_letters(
    letters: Iterable[Letter], changes: Mapping[str, Any], edited: bytes | None = None
) -> Sorted:
    """Mends letters, until enough for one run can be sent back."""
    done = Sorted()
    held_bytes = 0
    for letter in letters:
        if letter.requeued:
            done.stored += 1
            continue
        if len(done.records) >= LETTERS_MAX or held_bytes >= BYTES_MAX:
            done.more = True
            break
        record = mended(letter, changes, edited)
        if isinstance(record, str):
            done.refused += 1
            if len(done.told) < _TOLD_MAX:
                done.told.append(f"{letter.name}: {record}")
        else:
            done.records.append((letter.partition, record))
            held_bytes += len(record.value)
    return done


def changes_of(assignments: list[str]) -> dict[str, Any]:
    """Reads ``field=value``: the value as JSON where it is some, else as text; ``null`` takes the
    field away.

    Raises:
        ValueError: one has no ``=``, or no field before it.
    """
    changes: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not name or not equals:
            raise ValueError(f"{assignment!r} is not field=value")
        try:
            changes[name] = json.loads(value)
        except ValueError:
            changes[name] = value
    return changes


def mended(
    letter: Letter, changes: Mapping[str, Any], edited: bytes | None = None
) -> SealedBatch | str:
    """Returns the record that the letter becomes, with some fields changed, or with ``edited`` as
    its line; a sentence when that is no event either.

    The record is numbered 1 of a producer that is the letter itself. So however often it is sent,
    the first one counts, in the windows and in the table.
    """
    line = edited
    if line is None:
        if not letter.whole:
            return "its bytes are not kept as they were: give the line anew with --file"
        line = letter.value.encode()
    if changes:
        changed = _changed(line, changes)
        if changed is None:
            return "it is no JSON object, so no field can be set: give the line anew with --file"
        line = changed
    match judge(line):
        case Rejected(reason):
            return reason
        case Accepted(event):
            return seal([encode_event(event)], producer_id=letter.producer, pseq=1)


def _changed(line: bytes, changes: Mapping[str, Any]) -> bytes | None:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    fields.update(changes)
    for name, value in changes.items():
        if value is None:
            del fields[name]
    return json.dumps(fields, ensure_ascii=False).encode("utf-8", "replace")
