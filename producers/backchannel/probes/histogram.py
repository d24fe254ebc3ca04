"""Histograms of ours as Prometheus takes them: the same buckets, no count moved.

Bucket ``i`` of ours, ``(2**(i/32), 2**((i+1)/32)]``, is bucket ``i + 1`` of a native histogram of
schema 5. So percentiles from Prometheus are as exact as ours, and histograms of several series add
up. Who does not take native histograms gets every 64th bound: powers of four, which are bounds of
ours as well.
"""

from collections.abc import Mapping, Sequence

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.samples import BucketSpan, NativeHistogram

from backchannel.events.buckets import SCALE, ZERO_BUCKET

__all__ = ["NativeHistogramFamily"]

_ZERO_THRESHOLD = 2.938735877055719e-39
"""What Prometheus' own clients take: histograms of one threshold add up without loss."""

_PER_DOUBLING = 2**SCALE
_POWERS = range(6, 31, 2)
"""Bounds of the classic buckets, as powers of two: 64 µs to 18 min, when it is microseconds."""


class NativeHistogramFamily(HistogramMetricFamily):
    """A histogram of several series, told twice: in native buckets and in few classic ones."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str]) -> None:
        super().__init__(name, documentation, labels=labels)
        self._names = tuple(labels)

    def add(
        self, labels: Sequence[str], buckets: Mapping[int, int], total: int, created: float
    ) -> None:
        """Adds a series: counts by bucket (``backchannel.events.buckets``), the sum of all values,
        and since when it counts, Unix time."""
        count = sum(buckets.values())
        self.add_metric(labels, _classic(buckets, count), sum_value=total)
        named = dict(zip(self._names, labels, strict=True))
        self.add_sample(f"{self.name}_created", named, created)
        native = _native(buckets, count, total)
        self.add_sample(self.name, named, float(count), native_histogram=native)


def _classic(buckets: Mapping[int, int], count: int) -> list[tuple[str, float]]:
    rest = sorted(buckets.items(), reverse=True)
    seen, bounds = 0, list[tuple[str, float]]()
    for power in _POWERS:
        # Bucket i reaches up to 2**((i+1)/32).
        while rest and rest[-1][0] < power * _PER_DOUBLING:
            seen += rest.pop()[1]
        bounds.append((f"{float(2**power)}", seen))
    return [*bounds, ("+Inf", count)]


def _native(buckets: Mapping[int, int], count: int, total: int) -> NativeHistogram:
    spans: list[BucketSpan] = []
    deltas: list[int] = []
    next_index = before = 0
    for index, number in sorted((i + 1, n) for i, n in buckets.items() if i != ZERO_BUCKET and n):
        if spans and index == next_index:
            spans[-1] = BucketSpan(spans[-1].offset, spans[-1].length + 1)
        else:
            # The first offset counts from bucket 0, the others from the end of the span before.
            spans.append(BucketSpan(index - next_index, 1))
        deltas.append(number - before)
        next_index, before = index + 1, number
    return NativeHistogram(
        count, total, SCALE, _ZERO_THRESHOLD, buckets.get(ZERO_BUCKET, 0), spans, None, deltas
    )
