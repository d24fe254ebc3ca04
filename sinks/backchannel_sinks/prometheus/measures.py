"""What of a window Prometheus is told, as one flat table of integers: what is added up there."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from backchannel.events import Distribution, Window

__all__ = ["FAMILIES", "SUM", "Cell", "Family", "cells"]

SUM = -3
"""In place of a bucket: the sum of the values. Buckets begin at -2."""


@dataclass(frozen=True, slots=True)
class Family:
    """A metric: a counter, or a histogram of microseconds."""

    name: str
    what: str
    label: str = ""
    """The label that it has besides those of the series, if any."""
    is_histogram: bool = False
    divisor: int = 1
    """What the integers are divided by when they are told."""


class Cell(NamedTuple):
    """What a number is of: a metric, its own label, and for histograms the bucket."""

    family: str
    label: str = ""
    bucket: int = 0


FAMILIES = (
    Family("chat_turns", "Turns, by how they ended", "status"),
    Family("chat_errors", "Turns that failed, by type of error", "error_type"),
    Family(
        "chat_tokens",
        "Tokens of turns; input has cache_read and cache_write in it, output has reasoning",
        "kind",
    ),
    Family("chat_cost_usd", "Cost of turns whose price is known", divisor=10**12),
    Family("chat_unpriced_turns", "Turns whose price is unknown: no cost is told of them"),
    Family("chat_fallbacks", "Turns that a fallback answered"),
    Family("chat_cache_lookups", "Turns that a cache was asked for, by whether it knew", "result"),
    Family("chat_model_call_errors", "Calls to a model that failed"),
    Family("chat_model_call_retries", "Failed calls before a call to a model"),
    Family("chat_retrieval_errors", "Retrievals that failed"),
    Family("chat_retrievals_empty", "Retrievals that found nothing"),
    Family("chat_tool_call_errors", "Tool calls that failed"),
    Family("chat_exceptions", "Errors and exceptions that were captured"),
    Family("chat_late_events", "Events that are in no window: theirs was closed"),
    Family("chat_turn_duration_microseconds", "Time of a turn", is_histogram=True),
    Family("chat_turn_first_token_microseconds", "Time to its first token", is_histogram=True),
    Family(
        "chat_component_duration_microseconds",
        "Time in a component of a turn; __unaccounted__ is the rest",
        "component",
        is_histogram=True,
    ),
    Family("chat_model_call_duration_microseconds", "Time of a call to a model", is_histogram=True),
    Family(
        "chat_model_call_first_token_microseconds", "Time to its first token", is_histogram=True
    ),
    Family("chat_retrieval_duration_microseconds", "Time of a retrieval", is_histogram=True),
    Family("chat_tool_call_duration_microseconds", "Time of a tool call", is_histogram=True),
)


def cells(window: Window) -> dict[Cell, int]:
    """Returns every number of a window that is not 0."""
    return {cell: number for cell, number in _all(window) if number}


def _all(window: Window) -> Iterator[tuple[Cell, int]]:
    yield from _by_label("chat_turns", window.by_status)
    yield from _by_label("chat_errors", window.errors_by_type)
    tokens = {
        "input": window.input_tokens,
        "output": window.output_tokens,
        "cache_read": window.cache_read_tokens,
        "cache_write": window.cache_write_tokens,
        "reasoning": window.reasoning_tokens,
    }
    yield from _by_label("chat_tokens", tokens)
    hits = {"hit": window.cache_hits, "miss": window.cache_lookups - window.cache_hits}
    yield from _by_label("chat_cache_lookups", hits)
    for family, number in (
        ("chat_cost_usd", window.cost_picousd),
        ("chat_unpriced_turns", window.unpriced),
        ("chat_fallbacks", window.fallbacks),
        ("chat_model_call_errors", window.llm_errors),
        ("chat_model_call_retries", window.llm_retries),
        ("chat_retrieval_errors", window.retrieval_errors),
        ("chat_retrievals_empty", window.retrieval_empty),
        ("chat_tool_call_errors", window.tool_errors),
        ("chat_exceptions", window.exceptions),
        ("chat_late_events", window.late),
    ):
        yield Cell(family), number
    latency = Distribution(sum=window.latency_sum_us, buckets=window.latency_buckets)
    for family, label, distribution in (
        ("chat_turn_duration_microseconds", "", latency),
        ("chat_turn_first_token_microseconds", "", window.ttft),
        ("chat_model_call_duration_microseconds", "", window.llm_latency),
        ("chat_model_call_first_token_microseconds", "", window.llm_ttft),
        ("chat_retrieval_duration_microseconds", "", window.retrieval_latency),
        ("chat_tool_call_duration_microseconds", "", window.tool_latency),
        *(
            ("chat_component_duration_microseconds", name, each)
            for name, each in window.components.items()
        ),
    ):
        yield Cell(family, label, SUM), distribution.sum
        for bucket, count in distribution.buckets.items():
            yield Cell(family, label, bucket), count


def _by_label(family: str, numbers: Mapping[str, int]) -> Iterator[tuple[Cell, int]]:
    for label, number in numbers.items():
        yield Cell(family, label), number
