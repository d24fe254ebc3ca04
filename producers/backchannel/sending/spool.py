"""Sealed batches on disk: what did not fit into memory, kept for when Kafka is back.

A directory may be shared by any number of processes. Each producer has a folder of its own in it,
named by its id and locked while its process lives; the folder of a process that is gone is adopted
by the next one. A folder holds segments, files of batches one after the other, each deleted when
all its batches are settled::

    spill_directory/
    ├── partitions                     of the topic, when a broker last said
    └── 0193a4c1-…/                    one producer
        ├── lock
        └── 000001.batches

What is written here survives the end of the process in any way, SIGKILL too. It does not promise
to survive the machine: nothing is flushed to the disk itself (``fsync``), as Kafka does not either.
"""

import fcntl
import json
import os
import struct
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from backchannel.events import BATCH_BYTES_MAX, SealedBatch

__all__ = ["NoRoomError", "Spool", "Spooled"]

_SEGMENT_BYTES_MAX = 8 * 1024 * 1024
_MAGIC = b"bcb1"
_HEAD = struct.Struct(">4sIIIII")
"""Magic, CRC-32 of all that follows it, partition, events, bytes of headers and of the value."""
_HEADERS_BYTES_MAX = 16 * 1024
_LOCK_TRIES = 100
_UNKNOWN = 1
"""Partitions as long as no broker has said how many: every topic has a first one."""


class NoRoomError(OSError):
    """The bound on the directory's bytes is reached."""


@dataclass(slots=True)
class _Folder:
    """What one producer has, or had, in the directory. Locked for as long as it is ours."""

    path: Path
    lock: int
    segments: int = 0


@dataclass(slots=True)
class _Segment:
    path: Path
    folder: _Folder
    size: int = 0
    unsettled: int = 0
    full: bool = False


@dataclass(frozen=True, slots=True)
class Spooled:
    """A batch on disk: where it is, and what must be known without reading it."""

    partition: int
    count: int
    pseq: int
    segment: _Segment
    offset: int
    length: int


class Spool:
    """One producer's share of a spill directory. Blocks on the disk; used from one thread.

    ``damaged`` counts batches that are of no use: the last write of a process that was killed in
    the middle of it, what a failing disk does not give back, what no partition is there for.
    """

    def __init__(self, directory: Path, producer_id: str, bytes_max: int) -> None:
        self.damaged = 0
        self._directory = directory
        self._producer_id = producer_id
        self._bytes_max = bytes_max
        self._bytes = 0
        self._own: _Folder | None = None
        self._folders: list[_Folder] = []
        self._open: tuple[_Segment, int] | None = None
        self._numbers = 0

    @property
    def size(self) -> int:
        """Bytes on disk that are ours: our own segments, and those adopted."""
        return self._bytes

    def append(self, partition: int, batch: SealedBatch) -> Spooled:
        """Writes a batch behind all others. It is there for the next process when this returns.

        Raises:
            NoRoomError: the bound is reached.
            OSError: the disk is full, or not there. Nothing of the batch is left behind.
        """
        record = _record(partition, batch)
        if self._bytes + len(record) > self._bytes_max:
            raise NoRoomError("the spill directory is full")
        segment, file = self._segment()
        offset = segment.size
        try:
            _write(file, record, offset)
        except OSError:
            with suppress(OSError):
                os.ftruncate(file, offset)
            raise
        segment.size += len(record)
        segment.unsettled += 1
        self._bytes += len(record)
        if segment.size >= min(_SEGMENT_BYTES_MAX, self._bytes_max // 4):
            self._close_segment()
        return Spooled(partition, batch.count, _pseq(batch), segment, offset, len(record))

    def read(self, place: Spooled) -> SealedBatch | None:
        """Returns a batch, byte for byte; ``None`` if it is damaged or gone."""
        try:
            with place.segment.path.open("rb") as file:
                file.seek(place.offset)
                record = file.read(place.length)
        except OSError:
            record = b""
        parsed = _parsed(record)
        if parsed is None:
            self.damaged += 1
            return None
        return parsed[1]

    def settle(self, place: Spooled) -> None:
        """Forgets a batch that is acknowledged or given up."""
        segment = place.segment
        segment.unsettled -= 1
        if segment.unsettled:
            return
        if self._open is not None and self._open[0] is segment:
            self._close_segment()
        elif segment.full:
            self._delete(segment)

    def adopt(self) -> list[Spooled]:
        """Takes over what producers left behind whose processes are gone: in the order in which it
        is to be sent, partition by partition. Folders of processes that live are left alone.

        Raises:
            OSError: the directory cannot be read.
        """
        found: list[Spooled] = []
        if not self._directory.is_dir():
            return found
        for path in sorted(self._directory.iterdir()):
            if path.is_dir() and path.name != self._producer_id:
                with suppress(OSError):
                    found += self._adopt_folder(path)
        return found

    def partitions(self) -> int:
        """Returns how many partitions the topic had when a broker was last there; 1 as long as none
        was."""
        try:
            text = (self._directory / "partitions").read_text("ascii").strip()
        except (OSError, ValueError):
            return _UNKNOWN
        return int(text) if text.isdigit() and 0 < int(text) < 100_000 else _UNKNOWN

    def note_partitions(self, partitions: int) -> None:
        """Keeps that number for a start without a broker.

        Raises:
            OSError: it cannot be written.
        """
        if partitions != self.partitions():
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft = self._directory / f"partitions.{self._producer_id}"
            draft.write_text(f"{partitions}\n", "ascii")
            draft.replace(self._directory / "partitions")

    def close(self) -> None:
        """Lets go of all folders: what is in them is for the next process. In a forked child it
        leaves the locks with the parent."""
        if self._open is not None:
            os.close(self._open[1])
            self._open = None
        folders, self._folders, self._own = self._folders, [], None
        for folder in folders:
            with suppress(OSError):
                os.close(folder.lock)

    def _segment(self) -> tuple[_Segment, int]:
        """The segment that is written to, and its file."""
        if self._open is not None:
            return self._open
        if self._own is not None and not self._own.path.is_dir():
            # Somebody removed it while we live: what was in it is lost, what comes is not.
            self._folders.remove(self._own)
            os.close(self._own.lock)
            self._own = None
        if self._own is None:
            self._own = _create_folder(self._directory / self._producer_id)
            self._folders.append(self._own)
        self._numbers += 1
        path = self._own.path / f"{self._numbers:06}.batches"
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._own.segments += 1
        self._open = _Segment(path, self._own), file
        return self._open

    def _close_segment(self) -> None:
        assert self._open is not None
        segment, file = self._open
        self._open = None
        os.close(file)
        segment.full = True
        if not segment.unsettled:
            self._delete(segment)

    def _delete(self, segment: _Segment) -> None:
        with suppress(OSError):
            segment.path.unlink()
        self._bytes -= segment.size
        folder = segment.folder
        folder.segments -= 1
        if not folder.segments and folder in self._folders:
            self._release(folder)

    def _release(self, folder: _Folder) -> None:
        """Removes a folder that is empty."""
        self._folders.remove(folder)
        if folder is self._own:
            self._own = None
        _remove_folder(folder.path)
        os.close(folder.lock)

    def _adopt_folder(self, path: Path) -> list[Spooled]:
        lock = _lock(path)
        if lock is None:
            return []
        folder, found = _Folder(path, lock), deque[Spooled]()
        for file in sorted(path.glob("*.batches")):
            segment = _Segment(file, folder, size=file.stat().st_size, full=True)
            found += self._scan(segment)
            if segment.unsettled:
                folder.segments += 1
                self._bytes += segment.size
            else:
                file.unlink()
        self._folders.append(folder)
        if not folder.segments:
            self._release(folder)
        # A batch that was under way when its process ended was written after those behind it.
        return sorted(found, key=lambda place: (place.partition, place.pseq))

    def _scan(self, segment: _Segment) -> Iterator[Spooled]:
        content = segment.path.read_bytes()
        offset = 0
        while offset < len(content):
            length = _length(content, offset)
            parsed = _parsed(content[offset : offset + length]) if length else None
            if parsed is None:
                self.damaged += 1
            else:
                partition, batch = parsed
                segment.unsettled += 1
                yield Spooled(partition, batch.count, _pseq(batch), segment, offset, length)
            if not length:  # torn, or nothing says where the next one begins
                return
            offset += length


def _record(partition: int, batch: SealedBatch) -> bytes:
    headers = json.dumps([(name, value.decode("latin-1")) for name, value in batch.headers])
    rest = headers.encode() + batch.value
    sizes = struct.pack(">IIII", partition, batch.count, len(headers.encode()), len(batch.value))
    return _MAGIC + struct.pack(">I", crc32(rest, crc32(sizes))) + sizes + rest


def _length(content: bytes, offset: int) -> int:
    """The length of the record there; 0 when there is no whole one."""
    if len(content) - offset < _HEAD.size:
        return 0
    magic, _, _, _, headers, value = _HEAD.unpack_from(content, offset)
    length = _HEAD.size + headers + value
    plausible = headers <= _HEADERS_BYTES_MAX and value <= 2 * BATCH_BYTES_MAX
    return length if magic == _MAGIC and plausible and offset + length <= len(content) else 0


def _parsed(record: bytes) -> tuple[int, SealedBatch] | None:
    """The partition and the batch of a record; ``None`` when a byte of it is wrong."""
    if _length(record, 0) != len(record) or not record:
        return None
    _, crc, partition, count, headers_length, _ = _HEAD.unpack_from(record)
    if crc32(record[8:]) != crc:
        return None
    end = _HEAD.size + headers_length
    headers = tuple(
        (name, value.encode("latin-1")) for name, value in json.loads(record[_HEAD.size : end])
    )
    return partition, SealedBatch(record[end:], headers, count)


def _pseq(batch: SealedBatch) -> int:
    return int(dict(batch.headers)["pseq"])


def _write(file: int, record: bytes, offset: int) -> None:
    view = memoryview(record)
    while view:
        written = os.pwrite(file, view, offset)
        offset += written
        view = view[written:]


def _create_folder(path: Path) -> _Folder:
    """Makes a folder and locks it."""
    for _ in range(_LOCK_TRIES):
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Somebody who looks for folders to adopt may hold the lock for a moment, find the folder
        # empty, and remove it.
        with suppress(FileNotFoundError):
            lock = _lock(path)
            if lock is not None:
                return _Folder(path, lock)
    raise OSError("the spill folder cannot be locked")


def _lock(path: Path) -> int | None:
    """Locks a folder; ``None`` when a living process has it."""
    file = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever had it until now may have removed it.
        if os.stat(path / "lock").st_ino == os.fstat(file).st_ino:
            return file
    except OSError:
        pass
    os.close(file)
    return None


def _remove_folder(path: Path) -> None:
    with suppress(OSError):
        (path / "lock").unlink()
        path.rmdir()
