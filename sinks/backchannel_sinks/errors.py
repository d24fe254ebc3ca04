"""Errors of the sink.

SinkError
├── StoreAwayError      ClickHouse can't take a block now: the same block again, later
├── RowsRefusedError    ClickHouse can't read a row of the block: judge every line
├── FencedError         the partition belongs to somebody else by now: let go of it
└── SinkStoppedError    a person is needed: the process ends and says why
"""

__all__ = [
    "FencedError",
    "RowsRefusedError",
    "SinkError",
    "SinkStoppedError",
    "StoreAwayError",
]


class SinkError(Exception):
    """Any error of this package. No message holds a value out of a record, or a secret."""


class StoreAwayError(SinkError):
    """Not now."""


class RowsRefusedError(SinkError):
    """A row is not what the table takes; nothing of the block was stored."""


class FencedError(SinkError):
    """A commit was refused: another member owns the partition."""


class SinkStoppedError(SinkError):
    """Going on could lose or double rows."""
