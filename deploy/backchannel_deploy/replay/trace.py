"""Recorded traffic in a file: which rows it has, and which of them can't be used.

Two kinds are known by their first line. A *trace* is CSV with the columns ``TIMESTAMP``,
``ContextTokens`` and ``GeneratedTokens`` (others are ignored). *Events* are JSON lines as they
stand on ``chat.events``. Files are read line by line, so their size does not matter.
"""

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from backchannel.events import COUNT_MAX, LINE_BYTES_MAX, TS_US_MAX, Accepted, Event, judge
from backchannel_deploy.errors import UserError

__all__ = ["COLUMNS", "BadRow", "Request", "Row", "read_rows", "timestamp_us"]

COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Request:
    """A row of a trace: when somebody asked, and how many tokens went in and came out."""

    ts_us: int
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that can't be published."""

    line: int
    """Its number in the file, from 1."""
    reason: str
    """Why, for a person."""


Row = Request | Event | BadRow


def read_rows(path: Path, seen: Callable[[bytes], object] = len) -> Iterator[Row]:
    """Yields every row of the file, in its order; blank lines are none.

    ``seen`` gets every line as it was read (to hash the file on the way).

    Raises:
        UserError: the file can't be read, is empty, or is of neither kind.
    """
    try:
        with path.open("rb") as file:
            yield from _rows(path, _lines(file, seen))
    except OSError as error:
        raise UserError(
            f"Cannot read {path}: {(error.strerror or 'unknown error').lower()}."
        ) from error


def timestamp_us(text: str) -> int:
    """Returns the instant that ``2023-11-16 18:15:46.6805900`` names, in microseconds; a seventh
    decimal is cut off, and no time zone means UTC.

    Raises:
        ValueError: it names none, or one that an event can't have.
    """
    at = datetime.fromisoformat(text.strip())
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    ts_us = (at - _EPOCH) // timedelta(microseconds=1)
    if not 0 <= ts_us < TS_US_MAX:
        raise ValueError("outside of the years 1970 to 2199")
    return ts_us


def _lines(file: BinaryIO, seen: Callable[[bytes], object]) -> Iterator[tuple[int, bytes]]:
    """Numbers the lines. Of one that is too long for an event only the beginning is kept."""
    number = 0
    while part := file.readline(LINE_BYTES_MAX + 2):
        number += 1
        seen(part)
        line = part
        while part and not part.endswith(b"\n"):
            part = file.readline(LINE_BYTES_MAX + 2)
            seen(part)
        if line := line.rstrip(b"\r\n"):
            yield number, line


def _rows(path: Path, lines: Iterator[tuple[int, bytes]]) -> Iterator[Row]:
    number, first = next(lines, (0, b""))
    first = first.removeprefix(_BOM)
    if first.lstrip().startswith(b"{"):
        yield _event(number, first)
        yield from (_event(number, line) for number, line in lines)
    elif (places := _places(first)) is not None:
        yield from (_request(number, line, places) for number, line in lines)
    else:
        raise UserError(
            f"{path} is neither a trace nor events. A trace is CSV with the columns "
            f"{', '.join(COLUMNS)} in its first line; events are JSON objects, one a line."
        )


def _event(number: int, line: bytes) -> Row:
    verdict = judge(line)
    return verdict.event if isinstance(verdict, Accepted) else BadRow(number, verdict.reason)


def _places(header: bytes) -> tuple[int, ...] | None:
    names = [name.strip() for name in _cells(header)]
    return tuple(names.index(name) for name in COLUMNS) if {*COLUMNS} <= {*names} else None


def _request(number: int, line: bytes, places: Iterable[int]) -> Request | BadRow:
    cells = _cells(line)
    try:
        when, context, generated = (cells[place].strip() for place in places)
    except IndexError:
        return BadRow(number, f"has {len(cells)} columns, fewer than the first line")
    try:
        ts_us = timestamp_us(when)
    except ValueError:
        return BadRow(number, "TIMESTAMP is not a time such as 2023-11-16 18:15:46.6805900")
    for name, value in (("ContextTokens", context), ("GeneratedTokens", generated)):
        if not _is_count(value):
            return BadRow(number, f"{name} is not a whole number from 0 to {COUNT_MAX}")
    return Request(ts_us, int(context), int(generated))


def _cells(line: bytes) -> list[str]:
    return next(csv.reader([line.decode("utf-8", "replace")]), [])


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 13 and int(text) <= COUNT_MAX
