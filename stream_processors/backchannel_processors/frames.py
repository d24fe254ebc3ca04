"""Into what stretches of time the past of a series is summed up.

Every boundary of every frame is a boundary of a 10 s window too: offsets of time zones are whole
minutes. So a window lies in exactly one stretch of each frame, and sums over stretches are exact.
"""

from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

__all__ = ["FIVE_MINUTES", "HOUR", "MINUTE", "Calendar", "Fixed", "Frame", "frame_for"]

_HOUR_S = 3_600
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Fixed:
    """Stretches of equal length, counted from 1970 UTC."""

    width_s: int
    keep_s: int
    """How far back they are kept."""

    @property
    def name(self) -> str:
        return f"{self.width_s}"

    def start(self, at_s: int) -> int:
        """Returns where the stretch that holds ``at_s`` begins."""
        return at_s - at_s % self.width_s


@dataclass(frozen=True, slots=True)
class Calendar:
    """Hours, days, weeks (from Monday) or months of a time zone."""

    period: Literal["hour", "day", "week", "month"]
    time_zone: str
    keep_s: int

    @property
    def name(self) -> str:
        return f"{self.period}@{self.time_zone}"

    def start(self, at_s: int) -> int:
        """Returns where the period that holds ``at_s`` begins."""
        return _bounds(self.period, self.time_zone, at_s // 600 * 600)[0]

    def end(self, at_s: int) -> int:
        """Returns where the period that holds ``at_s`` ends."""
        return _bounds(self.period, self.time_zone, at_s // 600 * 600)[1]


Frame = Fixed | Calendar

MINUTE = Fixed(60, keep_s=2 * _HOUR_S)
FIVE_MINUTES = Fixed(300, keep_s=_DAY_S + _HOUR_S)
HOUR = Fixed(_HOUR_S, keep_s=32 * _DAY_S)

_FIXED = ((_HOUR_S, MINUTE), (_DAY_S, FIVE_MINUTES))


def frame_for(span_s: int) -> Fixed:
    """Returns the finest frame that is kept for as long as ``span_s``."""
    index = bisect_right([longest for longest, _ in _FIXED], span_s - 1)
    return _FIXED[index][1] if index < len(_FIXED) else HOUR


@lru_cache(maxsize=4_096)
def _bounds(period: str, time_zone: str, at_s: int) -> tuple[int, int]:
    """``at_s`` is a multiple of ten minutes, so that neighbours share an answer; no zone's clock
    is set, and no period begins, at another one."""
    zone = ZoneInfo(time_zone)
    local = datetime.fromtimestamp(at_s, UTC).astimezone(zone)
    if period == "hour":
        # By the offset, so that the hour that comes twice a year is two hours.
        offset = local.utcoffset()
        assert offset is not None
        start = at_s - (at_s + int(offset.total_seconds())) % _HOUR_S
        return start, start + _HOUR_S
    first, following = _days(period, local.date())
    return _midnight(first, zone), _midnight(following, zone)


def _days(period: str, day: date) -> tuple[date, date]:
    if period == "day":
        return day, day + timedelta(days=1)
    if period == "week":
        monday = day - timedelta(days=day.weekday())
        return monday, monday + timedelta(days=7)
    first = day.replace(day=1)
    return first, (first + timedelta(days=31)).replace(day=1)


def _midnight(day: date, zone: ZoneInfo) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())
