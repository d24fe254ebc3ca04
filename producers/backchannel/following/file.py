"""A file that somebody may change while it is followed: bad contents never take effect."""

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

__all__ = ["FollowedFile", "read_text"]

_T = TypeVar("_T")


class FollowedFile(Generic[_T]):
    """A file, and what the newest good text that ever was in it means.

    ``parse`` raises ``error`` for a bad text; a file that cannot be read is one, too.

    Raises:
        error: there is nothing good to begin with.
    """

    def __init__(self, path: Path, parse: Callable[[str], _T], error: type[Exception]) -> None:
        self.path = path
        self.rejected = 0
        """How often a change was bad, and what was good before was kept."""
        self.refused = ""
        """Why what stands in the file now is not in force; empty when it is."""
        self._parse = parse
        self._error = error
        self.text = read_text(path, error)
        self.value = parse(self.text)

    def look(self) -> _T | None:
        """Reads the file; returns what it means if that is something else now.

        It is small, so it is read whole: the time of a file says too little on some file systems,
        and a mounted ConfigMap is replaced rather than written.

        Raises:
            error: the file has changed and is bad, told once for each change. ``value`` stays as
                it is.
        """
        try:
            text = read_text(self.path, self._error)
            if not text.strip():
                # Whoever writes a file anew empties it first.
                raise self._error(f"{self.path}: is empty")
            value = self.value if text == self.text else self._parse(text)
        except self._error as error:
            # A file that cannot be read, for the moment of being replaced too, is told like any
            # other change: once, and again when it is readable and bad.
            if str(error) != self.refused:
                self.refused = str(error)
                self.rejected += 1
                raise
            return None
        self.refused = ""
        if text == self.text:
            return None
        self.value, self.text = value, text
        return value


def read_text(path: Path, error: type[Exception]) -> str:
    """Returns the text of a file.

    Raises:
        error: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as cause:
        raise error(f"{path}: cannot be read: {cause.strerror}") from cause
    except UnicodeDecodeError as cause:
        raise error(f"{path}: is no UTF-8 text") from cause
