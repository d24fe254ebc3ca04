"""The kinds of value that event fields are made of, each with its unit and its bound.

Everything that is summed is an integer, so that sums are exact in any order, in Python and in SQL.
Bounds keep a sum of ten million events inside 64 bits; cost is summed in 128 bits.
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

__all__ = [
    "COUNT_MAX",
    "TS_US_MAX",
    "Bytes",
    "CostStatus",
    "Count",
    "EventId",
    "Fraction",
    "Label",
    "Labels",
    "LongText",
    "Picodollars",
    "SignedMillionths",
    "Status",
    "Strings",
    "Tag",
    "Text",
    "TimestampUs",
    "Us",
    "UsageSource",
    "Weight",
]

COUNT_MAX = 2**40
"""Largest count of one event: about 10^12 tokens, or 12.7 days in microseconds."""

TS_US_MAX = 7_258_118_400_000_000
"""First instant that is not a valid event time: 2200-01-01T00:00:00Z in microseconds."""

_INT64_MAX = 2**63 - 1

_UUID = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"

EventId = Annotated[str, StringConstraints(pattern=_UUID)]
"""A UUID in its canonical text form, version 7 when the SDK made it."""

TimestampUs = Annotated[int, Field(ge=0, lt=TS_US_MAX)]
"""An instant: microseconds since the Unix epoch, UTC."""

Us = Annotated[int, Field(ge=0, le=COUNT_MAX)]
"""A duration in microseconds."""

Count = Annotated[int, Field(ge=0, le=COUNT_MAX)]
"""How many: tokens, calls, entries."""

Bytes = Annotated[int, Field(ge=0, le=2**53)]
"""A size in bytes."""

Picodollars = Annotated[int, Field(ge=0, le=_INT64_MAX)]
"""Money: 10^-12 US dollars. A price a token of $0.15 a million tokens is 150,000 of them."""

SignedMillionths = Annotated[int, Field(ge=-COUNT_MAX, le=COUNT_MAX)]
"""A score that may be negative: 1_000_000 is 1.0."""

Fraction = Annotated[int, Field(ge=0, le=1_000_000)]
"""A share between 0 and 1 in millionths."""

Weight = Annotated[int, Field(ge=1, le=1_000_000)]
"""How many events this one stands for: n when one in n was kept."""

Label = Annotated[str, StringConstraints(max_length=256)]
"""A short name or identifier; empty when not known."""

Text = Annotated[str, StringConstraints(max_length=4_096)]
"""A sentence or two; empty when not known."""

LongText = Annotated[str, StringConstraints(max_length=32_768)]
"""A stack trace."""

Tag = Annotated[str, StringConstraints(min_length=1, max_length=128)]

Strings = Annotated[tuple[Label, ...], Field(max_length=64)]
"""A list of short strings."""

Labels = Annotated[
    dict[Tag, Annotated[str, StringConstraints(max_length=1_024)]], Field(max_length=64)
]
"""Free facts by name."""

Status = Literal["ok", "error", "timeout", "cancelled", "rate_limited", "blocked"]
"""How it ended. Every status but ``ok`` counts as an error, save ``cancelled`` and ``blocked``."""

UsageSource = Literal["", "provider", "tokenizer", "estimate"]
"""Who counted the tokens; empty when there are none."""

CostStatus = Literal["", "priced", "unpriced", "invalid_usage", "not_applicable"]
"""What is known of the cost. An unknown price is ``unpriced``, never zero."""
