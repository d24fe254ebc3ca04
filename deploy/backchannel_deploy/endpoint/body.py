"""Takes in a request's body: the statement into memory, an INSERT's data into a file.

Blocks on the disk; knows no HTTP.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self
from uuid import uuid4

from backchannel_deploy.endpoint.compression import decompressor
from backchannel_deploy.endpoint.errors import ClickHouseError
from backchannel_deploy.endpoint.statement import NEED_MORE, Insert, NeedMore, split_insert

__all__ = ["Body", "BodyLimits", "BodyReader"]


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How large a request may be; beyond it the answer is QUERY_IS_TOO_LARGE (413)."""

    head_bytes: int = 1 << 20  # within which an INSERT must show where its data starts
    statement_bytes: int = 16 << 20  # any other statement
    data_bytes: int = 16 << 30  # an INSERT's data, unfolded


@dataclass(frozen=True, slots=True)
class Body:
    """A whole request: what the client said, without data, and what the engine is to run."""

    statement: bytes
    sql: bytes
    has_file: bool = False


class BodyReader:
    """Reads one body, piece by piece; the file with its data goes when the block ends."""

    def __init__(
        self,
        query: str,
        coding: str,
        folder: Path,
        limits: BodyLimits | None = None,
        *,
        native: bool = False,
    ) -> None:
        """`query` is the URL's part of the statement; the body goes on from there, in ClickHouse's
        `native` compression below the coding where the URL says so."""
        self._limits = limits or BodyLimits()
        # As the server: the URL's part ends in a line of its own.
        self._text = bytearray(query.encode(errors="surrogateescape") + b"\n" if query else b"")
        self._unfold = decompressor(coding, native=native)
        # No suffix: the engine would take `.gz` for compressed.
        self._path = folder / uuid4().hex
        self._file: BinaryIO | None = None
        self._data_bytes = 0
        self._split: Insert | NeedMore | None = NEED_MORE

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._file is not None:
            self._file.close()
            self._path.unlink(missing_ok=True)

    def feed(self, raw: bytes) -> None:
        """Takes the next piece, compressed as the request says.

        Raises:
            ClickHouseError: too large, not compressed as it says, or a form that is not served.
        """
        for piece in self._unfold.feed(raw):
            if self._file is not None:
                self._write(piece)
                continue
            self._text += piece
            if isinstance(self._split, NeedMore):
                self._look(complete=False)
            if self._file is None:
                self._check_text()

    def finish(self) -> Body:
        """The whole request, once every piece was fed.

        Raises:
            ClickHouseError: the body ends too early, or as for `feed`.
        """
        self._unfold.finish()
        if isinstance(self._split, NeedMore):
            self._look(complete=True)
        if isinstance(self._split, Insert):
            assert self._file is not None
            self._file.close()
            statement = self._split.target + b"\n" + self._split.settings
            return Body(statement, self._split.from_file(str(self._path)), has_file=True)
        return Body(bytes(self._text), bytes(self._text))

    def _look(self, *, complete: bool) -> None:
        self._split = split_insert(bytes(self._text), complete=complete)
        if isinstance(self._split, Insert):
            self._file = self._path.open("wb")
            data = bytes(self._text[self._split.data_start :])
            self._text.clear()
            self._write(data)

    def _check_text(self) -> None:
        undecided = isinstance(self._split, NeedMore)
        limit = self._limits.head_bytes if undecided else self._limits.statement_bytes
        if len(self._text) > limit:
            raise _too_large("statement", limit)

    def _write(self, data: bytes) -> None:
        assert self._file is not None
        self._data_bytes += len(data)
        if self._data_bytes > self._limits.data_bytes:
            raise _too_large("data of an INSERT", self._limits.data_bytes)
        self._file.write(data)


def _too_large(what: str, limit: int) -> ClickHouseError:
    return ClickHouseError.named("QUERY_IS_TOO_LARGE", f"The {what} is larger than {limit} bytes")
