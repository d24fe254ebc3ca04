"""For how long not everything has been read of ``chat.events``.

No step of the wall clock counts for more than ``STEP_US_MAX``, and one that is set back counts for
nothing: a host whose clock is set is no lag.
"""

from backchannel_processors.silence_watch import STEP_US_MAX

__all__ = ["LagWatch"]


class LagWatch:
    """Begins with a worker: what lay there before it is not its lag yet."""

    def __init__(self) -> None:
        self._lag_us = 0
        self._now_us: int | None = None
        self._read_us = 0

    def look(self, now_us: int, read_us: int) -> int:
        """Takes in that all up to the wall clock ``read_us`` was read; returns the lag."""
        before_us = now_us if self._now_us is None else self._now_us
        self._now_us = now_us
        if read_us > self._read_us or now_us < read_us:
            self._lag_us = 0
        else:
            self._lag_us += min(max(0, now_us - before_us), STEP_US_MAX)
        self._read_us = max(self._read_us, read_us)
        return self._lag_us
