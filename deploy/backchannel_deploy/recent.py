"""A series as of now: what its last windows say, for boards that people look at."""

from collections.abc import Sequence
from dataclasses import dataclass

from backchannel.events import Window, quantile

__all__ = ["WINDOW_S", "Recent", "recent"]

WINDOW_S = 10
"""Width of the windows that boards are made of."""

_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Recent:
    """The rates, shares and percentiles of some seconds."""

    turns_a_s: float
    p50_us: int
    p95_us: int
    p99_us: int
    error_share: float
    tokens_a_min: float
    cost_usd_an_hour: float | None
    """``None`` while no turn has a price: that is not the same as no cost."""


def recent(windows: Sequence[Window], now_us: int) -> Recent:
    """Sums up adjoining windows of one series, the oldest first; the last one may be open."""
    count = sum(window.count for window in windows)
    first_us = windows[0].window_start * _US
    last_us = (windows[-1].window_start + WINDOW_S) * _US
    seconds = max(1.0, (min(now_us, last_us) - first_us) / _US)
    tokens = sum(window.input_tokens + window.output_tokens for window in windows)
    cost_usd = sum(window.cost_picousd for window in windows) / 1e12
    priced = any(window.priced for window in windows)
    p50_us, p95_us, p99_us = _percentiles(windows, (500, 950, 990))
    return Recent(
        count / seconds,
        p50_us,
        p95_us,
        p99_us,
        error_share=sum(window.errors for window in windows) / max(1, count),
        tokens_a_min=tokens / seconds * 60,
        cost_usd_an_hour=cost_usd / seconds * 3_600 if priced else None,
    )


def _percentiles(windows: Sequence[Window], permilles: Sequence[int]) -> list[int]:
    merged: dict[int, int] = {}
    for window in windows:
        for bucket, count in window.latency_buckets.items():
            merged[bucket] = merged.get(bucket, 0) + count
    if not merged:
        return [0] * len(permilles)
    filled = [window for window in windows if window.latency_count]
    least = min(window.latency_min_us for window in filled)
    most = max(window.latency_max_us for window in filled)
    return [quantile(merged, permille, least=least, most=most) for permille in permilles]
