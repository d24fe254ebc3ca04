"""A window of a series as it stands on ``chat.metrics`` and in ``metric_windows``.

``Window`` is the one table of what is computed: the columns of ``metric_windows``, the page
``docs/metrics.md`` and the JSON schema follow it, and tests hold them to it.
"""

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from backchannel.events.buckets import BUCKET_UPPERS, ZERO_BUCKET
from backchannel.events.fields import TS_US_MAX, Label, TimestampUs

__all__ = [
    "UNACCOUNTED",
    "WIDTHS_S",
    "WINDOW_SCHEMA",
    "Distribution",
    "Score",
    "Window",
]

WINDOW_SCHEMA = "1.2"
"""Major and minor version of the window schema, in the header ``schema`` of ``chat.metrics``."""

WIDTHS_S = (10, 60, 300, 3_600, 86_400)
"""Widths of the windows, in seconds. Each one holds a whole number of the one before it."""

UNACCOUNTED = "__unaccounted__"
"""The component that stands for the rest of a turn: its duration less its components."""

_Sum = Annotated[int, Field(ge=0, le=2**63 - 1)]
_LargeSum = Annotated[int, Field(ge=0, le=2**127 - 1)]
_SignedSum = Annotated[int, Field(ge=-(2**63) + 1, le=2**63 - 1)]
_Ids = Annotated[tuple[Label, ...], Field(max_length=3)]
_SECONDS_MAX = TS_US_MAX // 1_000_000
_Counts = dict[str, _Sum]
_Bucket = Annotated[int, Field(ge=ZERO_BUCKET, lt=len(BUCKET_UPPERS))]
_Registers = Annotated[
    dict[Annotated[int, Field(ge=0, lt=4_096)], Annotated[int, Field(ge=1, le=53)]],
    Field(max_length=4_096),
]


class _Part(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="ignore", strict=True, defer_build=True
    )


class Distribution(_Part):
    """How the values of a measure are spread. Adds up: counts, sums and buckets by addition."""

    count: _Sum = 0
    sum: _Sum = 0
    min: _Sum = 0
    """The least value, not weighted; 0 when there is none."""
    max: _Sum = 0
    buckets: dict[_Bucket, _Sum] = Field(default_factory=dict)
    """Counts by bucket: see ``backchannel.events.buckets``."""


class Score(_Part):
    """Values that may be negative: mean is sum / count. Adds up like a distribution."""

    count: _Sum = 0
    sum: _SignedSum = 0
    min: _SignedSum = 0
    max: _SignedSum = 0


_Distributions = dict[str, Distribution]
_Scores = dict[str, Score]


class Window(BaseModel):
    """All that is known of one series in one window, so far.

    A newer ``revision`` replaces an older one of the same ``origin``, ``grouping``, ``dims``,
    ``window_s`` and ``window_start``; nothing is ever added up across revisions.
    Every count is weighted by ``sample_weight``.
    """

    # Without use_attribute_docstrings: reading them made every bot's import several times slower.
    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="ignore", strict=True, defer_build=True
    )

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
    """Rises with everything that is added; the highest one stands."""
    final: bool
    """Nothing will be added any more."""
    complete: bool
    """False when the bound on series or a silent source left something out."""
    count: _Sum
    """Interactions."""
    errors: _Sum
    """Interactions with status ``error``, ``timeout`` or ``rate_limited``."""
    errors_by_type: _Counts = Field(default_factory=dict)
    """Errors by ``error_type``, else by status; beyond 32 types ``__other__``."""
    by_status: _Counts = Field(default_factory=dict)
    """Interactions by status: ``cancelled`` and ``blocked`` are no errors."""
    http_4xx: _Sum = 0
    """Interactions with an HTTP status from 400 to 499."""
    http_5xx: _Sum = 0
    """Interactions with an HTTP status of 500 and above."""
    input_tokens: _Sum
    """Tokens in, cached ones included, of interactions."""
    output_tokens: _Sum
    """Tokens out, reasoning included, of interactions."""
    cache_read_tokens: _Sum = 0
    """Tokens read from a cache, part of ``input_tokens``."""
    cache_write_tokens: _Sum = 0
    """Tokens written to a cache, part of ``input_tokens``."""
    reasoning_tokens: _Sum = 0
    """Tokens of reasoning, part of ``output_tokens``."""
    cost_picousd: _LargeSum = 0
    """Cost of interactions whose cost is known, 10^-12 US dollars."""
    priced: _Sum = 0
    """Interactions whose cost is known."""
    unpriced: _Sum = 0
    """Interactions whose price is unknown: ``cost_picousd`` has nothing of them."""
    fallbacks: _Sum = 0
    """Interactions that a fallback answered."""
    cache_hits: _Sum = 0
    """Interactions that were answered from a cache."""
    cache_lookups: _Sum = 0
    """Interactions that say whether they were: ``cache_hits`` is a share of these."""
    latency_count: _Sum
    """Durations of interactions."""
    latency_sum_us: _Sum
    """Their sum, microseconds."""
    latency_min_us: _Sum
    """The shortest, microseconds; not weighted."""
    latency_max_us: _Sum
    """The longest, microseconds; not weighted."""
    latency_mean_us: _Sum
    """Their mean, microseconds, rounded down."""
    latency_p50_us: _Sum
    """Median, microseconds, within 1.1 %."""
    latency_p90_us: _Sum
    """90th percentile, microseconds, within 1.1 %."""
    latency_p95_us: _Sum
    """95th percentile, microseconds, within 1.1 %."""
    latency_p99_us: _Sum
    """99th percentile, microseconds, within 1.1 %."""
    latency_buckets: dict[_Bucket, _Sum]
    """Counts by bucket: see ``backchannel.events.buckets``."""
    ttft: Distribution = Field(default_factory=Distribution)
    """Time to the first token of interactions that have one, microseconds."""
    generated_tokens: _Sum = 0
    """Output tokens of interactions that took time to generate them."""
    generation_us: _Sum = 0
    """That time, duration less time to first token, microseconds: ``generated_tokens`` over it is
    the speed."""
    components: _Distributions = Field(default_factory=dict)
    """Time in each component of interactions by name, microseconds; ``__unaccounted__`` is the rest
    of the turn, where components were measured. Beyond 32 names ``__other__``."""
    llm_latency: Distribution = Field(default_factory=Distribution)
    """Duration of calls to a model, microseconds; its count is the number of calls."""
    llm_ttft: Distribution = Field(default_factory=Distribution)
    """Time to the first token of calls to a model, microseconds."""
    output_rate: Distribution = Field(default_factory=Distribution)
    """Output tokens in 1,000 seconds of generation (duration less time to first token), of calls
    to a model: 25,000 is 25 tokens a second."""
    llm_errors: _Sum = 0
    """Calls to a model with status ``error``, ``timeout`` or ``rate_limited``."""
    llm_retries: _Sum = 0
    """Failed calls before a call."""
    llm_input_tokens: _Sum = 0
    """Tokens in, of calls to a model. Interactions count the same tokens: never add the two."""
    llm_output_tokens: _Sum = 0
    """Tokens out, of calls to a model."""
    llm_cache_read_tokens: _Sum = 0
    """Tokens read from a cache, of calls to a model."""
    llm_reasoning_tokens: _Sum = 0
    """Tokens of reasoning, of calls to a model."""
    llm_cost_picousd: _LargeSum = 0
    """Cost of calls to a model whose cost is known, 10^-12 US dollars."""
    llm_priced: _Sum = 0
    """Calls to a model whose cost is known."""
    llm_unpriced: _Sum = 0
    """Calls to a model whose price is unknown."""
    retrieval_latency: Distribution = Field(default_factory=Distribution)
    """Duration of retrievals, microseconds; its count is the number of retrievals."""
    retrieval_score: Distribution = Field(default_factory=Distribution)
    """Best score of the documents of a retrieval, millionths; a negative one counts as 0."""
    retrieval_errors: _Sum = 0
    """Retrievals with status ``error``, ``timeout`` or ``rate_limited``."""
    retrieval_empty: _Sum = 0
    """Retrievals with status ``ok`` that found nothing."""
    tool_latency: Distribution = Field(default_factory=Distribution)
    """Duration of tool calls, microseconds; its count is the number of calls."""
    tool_errors: _Sum = 0
    """Tool calls with status ``error``, ``timeout`` or ``rate_limited``."""
    evaluations: _Scores = Field(default_factory=dict)
    """Evaluation scores by name, millionths. Beyond 32 names ``__other__``."""
    evaluation_errors: _Sum = 0
    """Judgements that failed: ``evaluations`` has nothing of them."""
    feedback: _Scores = Field(default_factory=dict)
    """Feedback by kind, millionths; one without a value counts as 0."""
    gauges: _Scores = Field(default_factory=dict)
    """What ``health`` events say: ``cpu``, ``memory``, ``disk`` (millionths),
    ``event_loop_lag_us``, ``process_rss_bytes``, ``in_flight_requests``, ``active_sessions``,
    ``queue:<name>``, ``gauge:<name>``. Beyond 32 names ``__other__``."""
    exceptions: _Sum = 0
    """``error`` events of level ``error`` or ``fatal``."""
    conversations_over: _Counts = Field(default_factory=dict)
    """Conversations that went over a limit of an alert rule with one of their turns, by limit:
    ``tokens:4000``. Each counts once, where that turn counts."""
    security_events: _Sum = 0
    """``security`` events."""
    security_refused: _Sum = 0
    """``security`` events with outcome ``blocked`` or ``flagged``."""
    dropped_events: _Sum = 0
    """Events that the bots had no room for and dropped, as their ``health`` events tell: counted
    where the one stands that tells of them first."""
    lost_records: _Sum = 0
    """Records that a bot sent and nobody saw: gaps in its numbers, counted where the next one
    stands."""
    active_users: _Sum = 0
    """Users of interactions, estimated from ``users``: within 3.3 % in 95 of 100 windows."""
    users: _Registers = Field(default_factory=dict)
    """HyperLogLog registers of the users (p = 12, XXH64 seed 0): merge by maximum."""
    active_sessions: _Sum = 0
    """Sessions of interactions, estimated from ``sessions``."""
    sessions: _Registers = Field(default_factory=dict)
    """HyperLogLog registers of the sessions."""
    slowest: _Ids = ()
    """Event ids of the slowest interactions, the slowest first."""
    costliest: _Ids = ()
    """Event ids of the costliest interactions, the costliest first."""
    failing: _Ids = ()
    """Event ids of the newest interactions that are errors, the newest first."""
    late: _Sum = 0
    """Events that came after the window was closed: raw has them, the other fields do not."""
    newest_event_at_us: TimestampUs
    """Newest event time in it."""
    published_at_us: TimestampUs
    """When this revision was published."""
