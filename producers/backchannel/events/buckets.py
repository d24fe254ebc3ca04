"""Histogram buckets: where a value falls, by one table of integers.

Bucket ``i`` holds the integers ``v`` with ``2**(i/32) < v <= 2**((i+1)/32)``: the scheme of
OpenTelemetry's exponential histograms (base-2, upper bound included) at scale 5. Its middle is at
most 1.1 % from any value in it. Merging two histograms is adding counts: exact, in any order.

Python and SQL use the same table, so they agree on every integer. The table is exact by
construction: the floor of a 32nd root is five integer square roots, one inside the other.
"""

from bisect import bisect_left
from collections.abc import Mapping
from math import isqrt

from backchannel.events.fields import COUNT_MAX

__all__ = ["BUCKET_UPPERS", "SCALE", "ZERO_BUCKET", "bucket_of", "bucket_value", "quantile"]

SCALE = 5
"""Buckets a doubling: ``2**SCALE``."""

ZERO_BUCKET = -2
"""The bucket of the value 0. Bucket -1 holds exactly the value 1."""

_FIRST = -1
_PER_DOUBLING = 2**SCALE


def _upper(index: int) -> int:
    root = 1 << (index + 1)
    for _ in range(SCALE):
        root = isqrt(root)
    return root


BUCKET_UPPERS: tuple[int, ...] = tuple(
    _upper(index) for index in range(_FIRST, COUNT_MAX.bit_length() * _PER_DOUBLING - _PER_DOUBLING)
)
"""Largest integer of each bucket, from bucket -1 (value 1) up to ``COUNT_MAX``."""


def bucket_of(value: int) -> int:
    """Returns the index of the bucket that holds ``value``.

    Raises:
        ValueError: ``value`` is negative or above ``COUNT_MAX``.
    """
    if 0 < value <= COUNT_MAX:
        return bisect_left(BUCKET_UPPERS, value) + _FIRST
    if value == 0:
        return ZERO_BUCKET
    raise ValueError(f"no bucket: the value must be between 0 and {COUNT_MAX}")


def bucket_value(index: int) -> int:
    """Returns the value that stands for a bucket: its geometric middle, as an integer."""
    if index == ZERO_BUCKET:
        return 0
    return round(2.0 ** ((index + 0.5) / _PER_DOUBLING)) if index > _FIRST else 1


def quantile(buckets: Mapping[int, int], permille: int, *, least: int, most: int) -> int:
    """Returns the quantile at ``permille`` thousandths (950 is p95), within 1.1 % of the exact one.

    The exact one is the smallest value with at least that share of all samples at or below it;
    the rank is found in integers, so Python and SQL always read the same bucket. ``least`` and
    ``most`` are the smallest and largest sample: the answer stays between them.

    Raises:
        ValueError: the histogram is empty.
    """
    total = sum(buckets.values())
    if total == 0:
        raise ValueError("no quantile of an empty histogram")
    rank = max(1, (permille * total + 999) // 1000)
    seen = 0
    for index in sorted(buckets):
        seen += buckets[index]
        if seen >= rank:
            return min(max(bucket_value(index), least), most)
    raise AssertionError("unreachable: rank is at most the total")
