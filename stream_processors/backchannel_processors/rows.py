"""A state of a series in a window, as the row that stands on ``chat.metrics``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from backchannel.events import WINDOW_SCHEMA, SealedBatch, bucket_value
from backchannel_processors import distributions
from backchannel_processors.groupings import Dims
from backchannel_processors.measures import SUM_MAX, Measures, bounded, bounded_counts
from backchannel_processors.sealed_lines import seal_in_parts, seal_lines

__all__ = [
    "Distribution",
    "Identity",
    "Row",
    "Score",
    "Standing",
    "row",
    "seal_rows",
    "seal_rows_in_parts",
]

_COST_MAX = 2**127 - 1
_PERCENTILES = (500, 900, 950, 990)
_FOR_ALERTS = frozenset(("refused_principals",))
"""Counts by label that name people: kept for alerts alone."""
_EXEMPLARS = ("slowest", "costliest", "failing")
"""Those that stand in a row; the others are kept for alerts alone."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which row: everything but its content."""

    origin: str
    grouping: str
    dims: Dims
    window_s: int
    window_start: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How finished a window is."""

    final: bool
    """Nothing will be added any more, as far as can be told."""
    certain: bool
    """Every source partition said so; otherwise one was silent for too long."""
    complete: bool
    """Nothing was left out."""

    @property
    def bits(self) -> int:
        """The lowest bits of a revision: final is the lowest, certainly final is higher still."""
        return 2 * (self.final and self.certain) + self.final


class Distribution(msgspec.Struct, omit_defaults=True, frozen=True):
    """``backchannel.events.Distribution``, quick to write."""

    count: int = 0
    sum: int = 0
    min: int = 0
    max: int = 0
    buckets: dict[int, int] = {}


class Score(msgspec.Struct, omit_defaults=True, frozen=True):
    """``backchannel.events.Score``, quick to write."""

    count: int = 0
    sum: int = 0
    min: int = 0
    max: int = 0


class Row(msgspec.Struct, omit_defaults=True, kw_only=True):
    """``backchannel.events.Window``, quick to write: a test holds it to the same fields."""

    origin: str
    grouping: str
    dims: dict[str, str]
    window_s: int
    window_start: int
    revision: int
    final: bool
    complete: bool
    count: int
    errors: int
    errors_by_type: dict[str, int] = {}
    by_status: dict[str, int] = {}
    http_4xx: int = 0
    http_5xx: int = 0
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost_picousd: int = 0
    priced: int = 0
    unpriced: int = 0
    fallbacks: int = 0
    cache_hits: int = 0
    cache_lookups: int = 0
    latency_count: int
    latency_sum_us: int
    latency_min_us: int
    latency_max_us: int
    latency_mean_us: int
    latency_p50_us: int
    latency_p90_us: int
    latency_p95_us: int
    latency_p99_us: int
    latency_buckets: dict[int, int]
    ttft: Distribution = Distribution()
    generated_tokens: int = 0
    generation_us: int = 0
    components: dict[str, Distribution] = {}
    llm_latency: Distribution = Distribution()
    llm_ttft: Distribution = Distribution()
    output_rate: Distribution = Distribution()
    llm_errors: int = 0
    llm_retries: int = 0
    llm_input_tokens: int = 0
    llm_output_tokens: int = 0
    llm_cache_read_tokens: int = 0
    llm_reasoning_tokens: int = 0
    llm_cost_picousd: int = 0
    llm_priced: int = 0
    llm_unpriced: int = 0
    retrieval_latency: Distribution = Distribution()
    retrieval_score: Distribution = Distribution()
    retrieval_errors: int = 0
    retrieval_empty: int = 0
    tool_latency: Distribution = Distribution()
    tool_errors: int = 0
    evaluations: dict[str, Score] = {}
    evaluation_errors: int = 0
    feedback: dict[str, Score] = {}
    gauges: dict[str, Score] = {}
    exceptions: int = 0
    conversations_over: dict[str, int] = {}
    security_events: int = 0
    security_refused: int = 0
    dropped_events: int = 0
    lost_records: int = 0
    active_users: int = 0
    users: dict[int, int] = {}
    active_sessions: int = 0
    sessions: dict[int, int] = {}
    slowest: tuple[str, ...] = ()
    costliest: tuple[str, ...] = ()
    failing: tuple[str, ...] = ()
    late: int = 0
    newest_event_at_us: int
    published_at_us: int


def row(
    identity: Identity, measures: Measures, offsets: int, standing: Standing, now_us: int
) -> Row:
    """Returns the row.

    ``offsets`` is the sum over all contained states of their last offset + 1. It rises with every
    change of the content, and so does ``revision``: the highest one is the newest one.
    """
    latency = _distribution(measures.latency)
    p50, p90, p95, p99 = _percentiles(latency)
    return Row(
        origin=identity.origin,
        grouping=identity.grouping,
        dims=dict(zip(_names(identity.grouping), identity.dims, strict=True)),
        window_s=identity.window_s,
        window_start=identity.window_start,
        revision=4 * offsets + standing.bits,
        final=standing.final,
        complete=standing.complete and (standing.certain or not standing.final),
        latency_count=latency.count,
        latency_sum_us=latency.sum,
        latency_min_us=latency.min,
        latency_max_us=latency.max,
        latency_mean_us=measures.latency.sum // latency.count if latency.count else 0,
        latency_p50_us=p50,
        latency_p90_us=p90,
        latency_p95_us=p95,
        latency_p99_us=p99,
        latency_buckets=latency.buckets,
        newest_event_at_us=measures.newest_event_at_us,
        published_at_us=now_us,
        **_content(measures),
    )


def _content(measures: Measures) -> dict[str, Any]:
    """Returns the measures that stand in a row under their own names."""
    fields: dict[str, Any] = {"count": 0, "errors": 0, "input_tokens": 0, "output_tokens": 0}
    for name, n in measures.sums.items():
        fields[name] = min(n, _COST_MAX if name.endswith("cost_picousd") else SUM_MAX)
    for name, labels in measures.labelled.items():
        if name in _FOR_ALERTS:
            continue
        fields[name] = {label: min(n, SUM_MAX) for label, n in bounded_counts(labels).items()}
    for name, distribution in measures.distributions.items():
        if name != "latency":
            fields[name] = _distribution(distribution)
    fields["components"] = {
        name: _distribution(each)
        for name, each in bounded(measures.components, distributions.Distribution).items()
    }
    for name, scores in measures.scores.items():
        fields[name] = {
            label: _score(each) for label, each in bounded(scores, distributions.Score).items()
        }
    for name, registers in measures.distinct.items():
        fields[name] = registers.ranks
        fields[f"active_{name}"] = registers.estimate
    for name in _EXEMPLARS:
        exemplars = measures.exemplars.get(name)
        if exemplars:
            fields[name] = tuple(event_id for _, event_id in exemplars)
    return fields


def seal_rows(rows: Sequence[Row]) -> SealedBatch:
    """Returns one record of ``chat.metrics``."""
    return seal_lines(rows, WINDOW_SCHEMA)


def seal_rows_in_parts(rows: Sequence[Row]) -> list[SealedBatch]:
    """Returns records of ``chat.metrics``: one, or more where they are too large for one."""
    return seal_in_parts(rows, WINDOW_SCHEMA)


def _distribution(found: distributions.Distribution) -> Distribution:
    buckets = found.buckets
    if found.count > SUM_MAX:
        buckets = {bucket: min(n, SUM_MAX) for bucket, n in buckets.items()}
    return Distribution(
        min(found.count, SUM_MAX), min(found.sum, SUM_MAX), found.least or 0, found.most, buckets
    )


def _score(found: distributions.Score) -> Score:
    total = max(-SUM_MAX, min(found.sum, SUM_MAX))
    return Score(min(found.count, SUM_MAX), total, found.least or 0, found.most or 0)


def _percentiles(latency: Distribution) -> list[int]:
    """Returns what ``backchannel.events.quantile`` does, for all of them in one pass."""
    if not latency.count:
        return [0] * len(_PERCENTILES)
    total = sum(latency.buckets.values())
    ranks = [max(1, (permille * total + 999) // 1000) for permille in _PERCENTILES]
    found: list[int] = []
    seen = 0
    for bucket, n in latency.buckets.items():
        seen += n
        while len(found) < len(ranks) and seen >= ranks[len(found)]:
            found.append(min(max(bucket_value(bucket), latency.min), latency.max))
    return found


def _names(grouping: str) -> list[str]:
    return grouping.split(",") if grouping else []
