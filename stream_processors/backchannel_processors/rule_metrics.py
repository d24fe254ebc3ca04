"""What a rule can watch, and how it is made of what a window holds.

A *quantity* is a number that adds up: of two windows together it is the sum. Everything that a rule
can watch over a long span is made of quantities, so that the past is kept as a few integers a
window. Only percentiles are not: they need the histogram, and look back as far as windows are held.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from backchannel.events import bucket_of, quantile
from backchannel_processors.counting import over
from backchannel_processors.distributions import Score
from backchannel_processors.measures import Measures

__all__ = [
    "METRICS",
    "PERCENTILES",
    "QUANTITIES",
    "Aggregate",
    "Metric",
    "Totals",
    "exemplars_of",
    "quantity",
    "slow_quantity",
]

Aggregate = Literal["", "p50", "p90", "p95", "p99", "mean"]

PERCENTILES: Mapping[str, int] = {"p50": 500, "p90": 900, "p95": 950, "p99": 990}
"""Percentiles in permille."""

Totals = Mapping[str, int]
"""Sums of quantities by name."""

_SUMS = (
    "unpriced",
    "priced",
    "cost_picousd",
    "fallbacks",
    "cache_hits",
    "http_4xx",
    "http_5xx",
    "reasoning_tokens",
    "retrieval_empty",
    "exceptions",
    "security_events",
    "security_refused",
    "dropped_events",
    "lost_records",
)
_QUEUE = "queue:"


def _sum(name: str) -> Callable[[Measures], int]:
    return lambda measures: measures.sum(name)


def _score_sum(kind: str, label: str) -> Callable[[Measures], int]:
    def take(measures: Measures) -> int:
        score = measures.score(kind, label)
        return score.sum if score else 0

    return take


def _score_count(kind: str, label: str) -> Callable[[Measures], int]:
    def take(measures: Measures) -> int:
        score = measures.score(kind, label)
        return score.count if score else 0

    return take


def _queues(take: Callable[[Score], int]) -> Callable[[Measures], int]:
    """All queues that the bots report, together."""
    return lambda measures: sum(
        take(score)
        for name, score in measures.scores.get("gauges", {}).items()
        if name.startswith(_QUEUE)
    )


QUANTITIES: Mapping[str, Callable[[Measures], int]] = {
    "count": lambda measures: measures.count,
    "errors": lambda measures: measures.errors,
    "input_tokens": lambda measures: measures.input_tokens,
    "output_tokens": lambda measures: measures.output_tokens,
    "tokens": lambda measures: measures.input_tokens + measures.output_tokens,
    "latency_count": lambda measures: measures.latency_count,
    "latency_sum_us": lambda measures: measures.latency_sum_us,
    "late": lambda measures: measures.late,
    "windows": lambda _: 1,
    **{name: _sum(name) for name in _SUMS},
    "ttft_sum_us": lambda measures: measures.distribution("ttft").sum,
    "ttft_count": lambda measures: measures.distribution("ttft").count,
    "rating_sum": _score_sum("feedback", "rating"),
    "rating_count": _score_count("feedback", "rating"),
    "cpu_sum": _score_sum("gauges", "cpu"),
    "cpu_count": _score_count("gauges", "cpu"),
    "queue_sum": _queues(lambda score: score.sum),
    "queue_count": _queues(lambda score: score.count),
}
"""The quantities with a name; ``slow:<us>`` counts the turns that took longer than so much."""

_SLOW = "slow:"

_EXEMPLARS = {
    "latency_sum_us": "slowest",
    "latency_count": "slowest",
    "ttft_sum_us": "slowest",
    "errors": "failing",
    "http_4xx": "failing",
    "http_5xx": "failing",
    "cost_picousd": "costliest",
    "tokens": "costliest",
    "input_tokens": "costliest",
    "output_tokens": "costliest",
    "unpriced": "unpriced",
    "rating_sum": "lowest_rated",
    "security_refused": "refused",
}


def slow_quantity(over_us: int) -> str:
    """Returns the name of the number of turns that took longer than ``over_us``.

    As exact as the histogram: a turn counts when its bucket lies above the one of ``over_us``.
    """
    return f"{_SLOW}{over_us}"


_OVER = over("")


@lru_cache(maxsize=1_024)
def quantity(name: str) -> Callable[[Measures], int]:
    """Returns how the quantity is taken from what a window holds."""
    if name.startswith(_OVER):
        limit = name.removeprefix(_OVER)
        return lambda measures: measures.labels("conversations_over").get(limit, 0)
    if not name.startswith(_SLOW):
        return QUANTITIES[name]
    bound = bucket_of(int(name.removeprefix(_SLOW)))
    return lambda measures: sum(n for b, n in measures.latency_buckets.items() if b > bound)


def exemplars_of(name: str) -> str:
    """Returns as what events are kept that show what a quantity is about; empty for none."""
    return "slowest" if name.startswith(_SLOW) else _EXEMPLARS.get(name, "")


@dataclass(frozen=True, slots=True)
class Metric:
    """One thing to watch."""

    unit: str
    meaning: str
    needs: tuple[str, ...] = ()
    """The quantities that it is made of."""
    of_totals: Callable[[Totals, int], float] = lambda totals, window_s: 0.0
    """Its value from the sums over so many seconds; asked only with samples."""
    samples: str = "count"
    """The quantity that says how many samples a value rests on."""
    aggregates: tuple[Aggregate, ...] = ("",)
    of_histogram: Callable[[Measures, Aggregate], float] | None = None
    """Its value when it cannot be told from sums."""
    is_total: bool = False
    """It is itself a sum: twice the time, twice the value. A budget needs one."""

    @property
    def exemplars(self) -> str:
        """As what events are kept that show what it is about; empty for none."""
        return exemplars_of((self.needs or (self.samples,))[0])

    def is_sum(self, agg: Aggregate) -> bool:
        """Says whether it can be told from sums, and so over any span."""
        return self.of_histogram is None or agg == "mean"


def _latency_ms(measures: Measures, agg: Aggregate) -> float:
    least, most = measures.latency_min_us or 0, measures.latency_max_us
    return quantile(measures.latency_buckets, PERCENTILES[agg], least=least, most=most) / 1_000


def _tail_ratio(measures: Measures, agg: Aggregate) -> float:
    p95 = _latency_ms(measures, "p95")
    return _latency_ms(measures, "p99") / p95 if p95 else 1.0


def _rate(name: str) -> Callable[[Totals, int], float]:
    return lambda totals, window_s: totals[name] * 60 / window_s


METRICS: Mapping[str, Metric] = {
    "latency_ms": Metric(
        "ms",
        "time from the question to the whole answer",
        ("latency_sum_us", "latency_count"),
        lambda totals, _: totals["latency_sum_us"] / totals["latency_count"] / 1_000,
        samples="latency_count",
        aggregates=(*PERCENTILES, "mean"),  # type: ignore[arg-type] # its keys are the percentiles
        of_histogram=_latency_ms,
    ),
    "latency_tail_ratio": Metric(
        "ratio",
        "p99 of latency divided by its p95",
        samples="latency_count",
        of_histogram=_tail_ratio,
    ),
    "error_rate": Metric(
        "share",
        "share of turns that failed, 0 to 1",
        ("errors",),
        lambda totals, _: totals["errors"] / totals["count"],
    ),
    "count": Metric(
        "turns",
        "turns in the window",
        of_totals=lambda totals, _: float(totals["count"]),
        is_total=True,
    ),
    "turns_per_minute": Metric("turns/min", "turns a minute", of_totals=_rate("count")),
    "errors": Metric(
        "turns",
        "turns that failed in the window",
        ("errors",),
        lambda totals, _: float(totals["errors"]),
        is_total=True,
    ),
    "tokens": Metric(
        "tokens",
        "tokens in and out in the window",
        ("tokens",),
        lambda totals, _: float(totals["tokens"]),
        is_total=True,
    ),
    "tokens_per_minute": Metric(
        "tokens/min", "tokens in and out a minute", ("tokens",), _rate("tokens")
    ),
    "input_tokens_per_minute": Metric(
        "tokens/min", "tokens in a minute", ("input_tokens",), _rate("input_tokens")
    ),
    "output_tokens_per_minute": Metric(
        "tokens/min", "tokens out a minute", ("output_tokens",), _rate("output_tokens")
    ),
    "tokens_per_turn": Metric(
        "tokens",
        "mean of the tokens in and out of a turn",
        ("tokens",),
        lambda totals, _: totals["tokens"] / totals["count"],
    ),
    "ttft_ms": Metric(
        "ms",
        "mean time from the question to the first token",
        ("ttft_sum_us",),
        lambda totals, _: totals["ttft_sum_us"] / totals["ttft_count"] / 1_000,
        samples="ttft_count",
    ),
    "cost_usd": Metric(
        "usd",
        "cost of the turns in the window; turns of unknown price are not in it",
        ("cost_picousd",),
        lambda totals, _: totals["cost_picousd"] / 1e12,
        is_total=True,
    ),
    "unpriced_rate": Metric(
        "share",
        "share of turns whose price is not known, 0 to 1",
        ("unpriced",),
        lambda totals, _: totals["unpriced"] / totals["count"],
    ),
    "fallback_rate": Metric(
        "share",
        "share of turns that were answered by a fallback, 0 to 1",
        ("fallbacks",),
        lambda totals, _: totals["fallbacks"] / totals["count"],
    ),
    "satisfaction": Metric(
        "rating",
        "mean rating, as people gave it",
        ("rating_sum",),
        lambda totals, _: totals["rating_sum"] / totals["rating_count"] / 1_000_000,
        samples="rating_count",
    ),
    "cpu": Metric(
        "share",
        "mean share of CPU in use, as the bots report it, 0 to 1",
        ("cpu_sum",),
        lambda totals, _: totals["cpu_sum"] / totals["cpu_count"] / 1_000_000,
        samples="cpu_count",
    ),
    "queue_depth": Metric(
        "entries",
        "mean length of the queues that the bots report",
        ("queue_sum",),
        lambda totals, _: totals["queue_sum"] / totals["queue_count"],
        samples="queue_count",
    ),
    "refused_by_principal": Metric(
        "events",
        "`security` events with outcome `blocked` or `flagged` of the one that has most of them; "
        "of more than 32 in 10 s the rest counts as one",
        ("security_refused",),
        samples="windows",
        of_histogram=lambda measures, _: float(
            max(measures.labels("refused_principals").values(), default=0)
        ),
    ),
    "dropped_events": Metric(
        "events",
        "events that bots had no room for and dropped, as their `health` events tell",
        ("dropped_events",),
        lambda totals, _: float(totals["dropped_events"]),
        samples="windows",
    ),
    "lost_records": Metric(
        "records",
        "records that bots sent and nobody saw: gaps in their numbers",
        ("lost_records",),
        lambda totals, _: float(totals["lost_records"]),
        samples="windows",
    ),
    "late": Metric(
        "turns",
        "turns that came when their window was closed",
        ("late",),
        lambda totals, _: float(totals["late"]),
    ),
}
"""Everything that ``metric`` may name. The page docs/alerts.md shows this table."""
