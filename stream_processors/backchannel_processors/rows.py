"""A state of a series in a window, as the row that stands on ``chat.metrics``."""

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

from backchannel.events import WINDOW_SCHEMA, SealedBatch, Window, quantile
from backchannel_processors.groupings import Dims
from backchannel_processors.measures import Measures

__all__ = ["Identity", "Standing", "row", "seal_rows"]


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


def row(
    identity: Identity, measures: Measures, offsets: int, standing: Standing, now_us: int
) -> Window:
    """Returns the row.

    ``offsets`` is the sum over all contained states of their last offset + 1. It rises with every
    change of the content, and so does ``revision``: the highest one is the newest one.
    """
    told = measures.within_bounds()
    least, most = told.latency_min_us or 0, told.latency_max_us

    def percentile(permille: int) -> int:
        if not told.latency_count:
            return 0
        return quantile(told.latency_buckets, permille, least=least, most=most)

    return Window(
        origin=identity.origin,
        grouping=identity.grouping,
        dims=dict(zip(_names(identity.grouping), identity.dims, strict=True)),
        window_s=identity.window_s,
        window_start=identity.window_start,
        revision=4 * offsets + standing.bits,
        final=standing.final,
        complete=standing.complete and (standing.certain or not standing.final),
        count=told.count,
        errors=told.errors,
        errors_by_type=told.errors_by_type,
        input_tokens=told.input_tokens,
        output_tokens=told.output_tokens,
        latency_count=told.latency_count,
        latency_sum_us=told.latency_sum_us,
        latency_min_us=least,
        latency_max_us=most,
        latency_mean_us=told.latency_sum_us // told.latency_count if told.latency_count else 0,
        latency_p50_us=percentile(500),
        latency_p90_us=percentile(900),
        latency_p95_us=percentile(950),
        latency_p99_us=percentile(990),
        latency_buckets=dict(sorted(told.latency_buckets.items())),
        late=told.late,
        newest_event_at_us=told.newest_event_at_us,
        published_at_us=now_us,
    )


def seal_rows(rows: Sequence[Window]) -> SealedBatch:
    """Returns one record of ``chat.metrics``: NDJSON, and headers by which it can be checked."""
    value = b"\n".join(each.__pydantic_serializer__.to_json(each) for each in rows)
    headers = (
        ("schema", WINDOW_SCHEMA.encode()),
        ("count", b"%d" % len(rows)),
        ("crc32", b"%08x" % crc32(value)),
    )
    return SealedBatch(value, headers, len(rows))


def _names(grouping: str) -> list[str]:
    return grouping.split(",") if grouping else []
