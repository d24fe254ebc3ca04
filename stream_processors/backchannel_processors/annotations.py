"""The texts of a rule with their blanks filled in: ``p95 of {{tenant}} is {{value}}``."""

import re
from collections.abc import Mapping

from backchannel_processors.durations import duration_text

__all__ = ["BLANKS", "EVIDENCE", "amount", "blanks", "fill", "sql_text"]

BLANKS = ("rule", "severity", "metric", "value", "threshold", "samples", "window", "from", "to")
"""What a text may have in double braces, besides the dimensions of ``by``."""

EVIDENCE = "evidence"
"""The annotation that is SQL: what fills its blanks is quoted as SQL text."""

_TEXT_CHARS_MAX = 1_024
_BLANK = re.compile(r"\{\{\s*([\w.]+)\s*\}\}")


def blanks(text: str) -> set[str]:
    """Returns the names in double braces."""
    return set(_BLANK.findall(text))


def fill(text: str, values: Mapping[str, str]) -> str:
    """Returns the text with its blanks filled; cut where a text of an alert ends at the latest."""
    return _BLANK.sub(lambda found: values.get(found[1], found[0]), text)[:_TEXT_CHARS_MAX]


def sql_text(value: str) -> str:
    """Returns a value as a text literal of ClickHouse's SQL."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def amount(value: float | None, unit: str) -> str:
    """Returns a value with its unit, as a person says it."""
    if value is None:
        return "not known"
    match unit:
        case "ms":
            return f"{value:.0f} ms" if abs(value) < 1_000 else f"{value / 1_000:.2f} s"
        case "share":
            return f"{value:.1%}"
        case "usd":
            return f"${value:,.2f}"
        case "s":
            return duration_text(round(value))
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
