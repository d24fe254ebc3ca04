"""What can go wrong in the producer.

::

    BackchannelError
    ├── SettingsError         settings cannot be used; every mistake is told at once, at start
    └── TransportError        inside the sender only, never seen by a bot
        ├── UnreachableError  nobody answers: try to connect again later
        ├── BrokenError       the connection is of no use: connect anew, send the same bytes
        └── RefusedError      this batch will never be taken: count it as lost and go on
"""

from collections.abc import Sequence

__all__ = [
    "BackchannelError",
    "BrokenError",
    "RefusedError",
    "SettingsError",
    "TransportError",
    "UnreachableError",
]


class BackchannelError(Exception):
    """Anything that backchannel raises on purpose."""


class SettingsError(BackchannelError, ValueError):
    """Settings cannot be used. ``mistakes`` has one sentence for each; none holds a secret."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes: tuple[str, ...] = tuple(mistakes)


class TransportError(BackchannelError):
    """Sending failed. The message says why in a few words and holds nothing out of an event."""


class UnreachableError(TransportError):
    """Nobody answers."""


class BrokenError(TransportError):
    """The connection is of no use any more; what was sent on it may or may not have arrived."""


class RefusedError(TransportError):
    """The batch was not stored and never will be."""
