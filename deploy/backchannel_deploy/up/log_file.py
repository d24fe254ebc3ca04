"""The log file of one process: appended to by the process, kept small by the supervisor."""

import os
import shutil
from pathlib import Path
from typing import BinaryIO

LOG_BYTES_MAX = 8 * 1024 * 1024
TAIL_BYTES = 16 * 1024


class LogFile:
    """``<name>.log``, and ``<name>.log.1`` with what was there before it grew too large."""

    def __init__(self, path: Path, bytes_max: int = LOG_BYTES_MAX) -> None:
        self.path = path
        self._bytes_max = bytes_max

    def open(self) -> BinaryIO:
        """Open it for a new process to append to."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self.path.open("ab", buffering=0)

    def rotate_if_large(self) -> None:
        """Move the content aside when there is too much of it.

        The process that writes keeps its descriptor, so the file is copied and emptied; what is
        written in between is lost.
        """
        if self.path.exists() and self.path.stat().st_size > self._bytes_max:
            shutil.copyfile(self.path, self.path.with_name(self.path.name + ".1"))
            os.truncate(self.path, 0)

    def last_lines(self, count: int) -> list[str]:
        """The last ``count`` lines, or fewer."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(max(0, self.path.stat().st_size - TAIL_BYTES))
            return file.read().decode("utf-8", errors="replace").splitlines()[-count:]
