"""A window of a series as it stands on ``chat.metrics`` and in ``metric_windows``."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from backchannel.events.buckets import BUCKET_UPPERS, ZERO_BUCKET
from backchannel.events.fields import TS_US_MAX, Label, TimestampUs

__all__ = ["WINDOW_SCHEMA", "Window"]

WINDOW_SCHEMA = "1.0"
"""Major and minor version of the window schema, in the header ``schema`` of ``chat.metrics``."""

_Sum = Annotated[int, Field(ge=0, le=2**63 - 1)]
_SECONDS_MAX = TS_US_MAX // 1_000_000
_Counts = dict[str, _Sum]
_Bucket = Annotated[int, Field(ge=ZERO_BUCKET, lt=len(BUCKET_UPPERS))]


class Window(BaseModel):
    """All that is known of one series in one window, so far.

    A newer ``revision`` replaces an older one of the same ``origin``, ``grouping``, ``dims``,
    ``window_s`` and ``window_start``; nothing is ever added up across revisions.
    Every count is weighted by ``sample_weight``.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, defer_build=True)

    origin: Label
    """``live``, or ``replay:<id>``: replays are windows of their own."""
    grouping: Label
    """Names of the dimensions, comma-separated; empty for everything together."""
    dims: dict[str, Label]
    """The series: a value for each name in ``grouping``."""
    window_s: Annotated[int, Field(ge=1, le=366 * 86_400)]
    """Width in seconds."""
    window_start: Annotated[int, Field(ge=0, lt=_SECONDS_MAX)]
    """First second of the window, Unix time. The window is [start, start + width)."""
    revision: _Sum
    final: bool
    """Nothing will be added any more."""
    complete: bool
    """False when the bound on series or a silent source left something out."""
    count: _Sum
    """Interactions."""
    errors: _Sum
    errors_by_type: _Counts = Field(default_factory=dict)
    input_tokens: _Sum
    output_tokens: _Sum
    latency_count: _Sum
    latency_sum_us: _Sum
    latency_min_us: _Sum
    latency_max_us: _Sum
    latency_mean_us: _Sum
    latency_p50_us: _Sum
    latency_p90_us: _Sum
    latency_p95_us: _Sum
    latency_p99_us: _Sum
    latency_buckets: dict[_Bucket, _Sum]
    """Counts by bucket: see ``backchannel.events.buckets``."""
    late: _Sum = 0
    """Events that came after the window was closed: raw has them, the other fields do not."""
    newest_event_at_us: TimestampUs
    published_at_us: TimestampUs
