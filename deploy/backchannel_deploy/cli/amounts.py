"""Numbers with their units, short enough for a table."""

from collections.abc import Sequence
from datetime import UTC, datetime

__all__ = ["amount", "bars", "compact", "counted", "instant", "percent", "seconds_of"]


_BARS = "▁▂▃▄▅▆▇█"


def amount(value: float, metric: str) -> str:
    """Returns a value of a rule's metric with its unit."""
    match metric:
        case "latency_ms":
            return seconds_of(round(value * 1_000))
        case "error_rate":
            return percent(value)
        case _ if metric.endswith("_per_minute"):
            return f"{compact(value)}/min"
    return compact(value)


def seconds_of(us: int) -> str:
    """Returns a duration as a person says it: ``850 ms``, ``6.4 s``, ``3 min 20 s``."""
    if us < 1_000_000:
        return f"{us / 1_000:.0f} ms"
    if us < 120_000_000:
        return f"{us / 1_000_000:.1f} s"
    minutes, rest_s = divmod(us // 1_000_000, 60)
    return f"{minutes} min {rest_s} s"


def percent(share: float) -> str:
    """Returns a share between 0 and 1 in percent."""
    return f"{share * 100:.1f} %"


def compact(number: float) -> str:
    """Returns a count in at most five characters: ``873``, ``12.4k``, ``3.1M``."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e4)):
        if abs(number) >= size:
            divisor = 1e3 if unit == "k" else size
            return f"{number / divisor:.1f}{unit}"
    return f"{number:.0f}"


def bars(values: Sequence[int]) -> str:
    """Returns a bar for each value, the largest one full."""
    top = max(values, default=0)
    return "".join(_BARS[value * (len(_BARS) - 1) // top if top else 0] for value in values)


def counted(number: int, noun: str) -> str:
    """Returns ``1 row`` or ``2,000 rows``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def instant(at_us: int) -> str:
    """Returns an instant in local time, to the second."""
    return f"{datetime.fromtimestamp(at_us / 1_000_000, UTC).astimezone():%Y-%m-%d %H:%M:%S}"
