"""When each event of a replay is published, and what time it then bears."""

from dataclasses import dataclass

__all__ = ["Pace", "plan_pace"]


@dataclass(frozen=True, slots=True)
class Pace:
    """The timetable of a replay."""

    first_ts_us: int
    shift_us: int
    """Added to every event time."""
    speed: float
    """How many times faster than it was recorded; 0 is as fast as possible."""

    def shifted(self, ts_us: int) -> int:
        """Returns the time that an event bears when it is published."""
        return ts_us + self.shift_us

    def due_us(self, ts_us: int) -> int:
        """Returns how long after the start an event is to be published, in microseconds."""
        return round((ts_us - self.first_ts_us) / self.speed) if self.speed else 0


def plan_pace(
    *, first_ts_us: int, last_ts_us: int, speed: float, start_us: int, keep_times: bool
) -> Pace:
    """Plans a replay that starts at ``start_us``.

    Unless times are kept, they are shifted so that the last event bears the time at which it is
    published. Slower than recorded (a speed below 1) the events before it would then lie in the
    future: there the first event bears the time at which it is published.
    """
    if keep_times:
        return Pace(first_ts_us, 0, speed)
    span_us = last_ts_us - first_ts_us
    if speed == 0:
        shift_us = start_us - last_ts_us
    elif speed < 1:
        shift_us = start_us - first_ts_us
    else:
        shift_us = start_us + round(span_us / speed) - last_ts_us
    return Pace(first_ts_us, shift_us, speed)
