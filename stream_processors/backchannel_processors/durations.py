"""Durations as people write them in a rules file: ``90s``, ``5m``, ``1h30m``, ``14d``."""

import re

__all__ = ["duration_text", "parse_duration"]

_UNITS_S = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_FORM = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?")


def parse_duration(text: str) -> int:
    """Returns the seconds.

    Raises:
        ValueError: it is no duration.
    """
    found = _FORM.fullmatch(text)
    if not text or found is None:
        raise ValueError(f"{text!r} is no duration: write e.g. 30s, 5m, 1h30m or 14d")
    numbers = zip(found.groups(default="0"), _UNITS_S.values(), strict=True)
    return sum(int(number) * unit_s for number, unit_s in numbers)


def duration_text(seconds: int) -> str:
    """Returns the shortest text that ``parse_duration`` reads as ``seconds``."""
    parts: list[str] = []
    for unit, unit_s in _UNITS_S.items():
        number, seconds = divmod(seconds, unit_s)
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts) or "0s"
