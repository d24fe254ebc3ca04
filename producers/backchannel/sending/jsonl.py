"""Events into a file, one JSON object a line: ``backchannel replay`` publishes them later."""

import os
from importlib.util import find_spec
from pathlib import Path

from backchannel.errors import BrokenError, RefusedError, SettingsError, UnreachableError
from backchannel.events import SealedBatch

__all__ = ["JsonlTransport"]

_BYTES_MAX = 1024 * 1024 * 1024
_PARTITIONS = 1  # so that the file has the order in which events were tracked


class JsonlTransport:
    """Appends the same lines to a file that would go to Kafka. For work without a broker.

    Several producers and processes may share a file. A batch counts as acknowledged when the
    system has taken it: that outlives a kill of the process, but not a loss of power.

    The file grows to ``bytes_max`` at most. A batch that would pass it is refused, so its events
    are counted as ``refused``: nothing that was acknowledged is thrown away to make room. Without
    room on the disk, or without a right to write, events wait in the producer's bounded buffer.

    Raises:
        SettingsError: this system has no locks on files (Windows).
    """

    def __init__(self, path: str | os.PathLike[str], *, bytes_max: int = _BYTES_MAX) -> None:
        if find_spec("fcntl") is None:
            raise SettingsError(["JsonlTransport needs locks on files: this system has none"])
        self.path: Path = Path(path)
        self._bytes_max = bytes_max
        self._file: int | None = None

    async def connect(self) -> int:
        # Anew, if it is open: a forked child would share the parent's lock with the parent.
        await self.close()
        try:
            # The sender's own thread: a bot never waits for this disk.
            self.path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._file = os.open(self.path, flags, 0o640)
        except OSError as error:
            raise UnreachableError(f"the file: {_reason(error)}") from error
        return _PARTITIONS

    async def send(self, partition: int, batch: SealedBatch) -> None:
        import fcntl  # not above: without it everything else of the producer still works

        if self._file is None:
            raise BrokenError("not connected")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                _append(self._file, batch.value + b"\n", self._bytes_max)
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)
        except OSError as error:
            raise BrokenError(f"the file: {_reason(error)}") from error

    async def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


def _append(file: int, lines: bytes, bytes_max: int) -> None:
    """Writes all of it or nothing.

    Raises:
        RefusedError: the file would be too large.
        OSError: it cannot be written; the file is as it was.
    """
    size = os.fstat(file).st_size
    if size and os.pread(file, 1, size - 1) != b"\n":
        # A writer was killed in the middle of a line. The rest of it never counted as acknowledged.
        lines = b"\n" + lines
    if size + len(lines) > bytes_max:
        raise RefusedError("the file has reached its bound")
    written = 0
    try:
        while written < len(lines):
            written += os.write(file, memoryview(lines)[written:])
    except OSError:
        os.ftruncate(file, size)
        raise


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
