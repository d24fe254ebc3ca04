"""Histogram buckets: exact integers at every boundary, percentiles within the stated error."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backchannel.events import (
    BUCKET_UPPERS,
    COUNT_MAX,
    ZERO_BUCKET,
    bucket_of,
    bucket_value,
    quantile,
)

ERROR = 2 ** (1 / 64) - 1  # half a bucket: 1.09 %


def around_every_boundary() -> list[int]:
    near = {value + step for value in BUCKET_UPPERS for step in (-1, 0, 1)}
    return sorted(value for value in near if 0 < value <= COUNT_MAX)


def test_the_table_agrees_with_the_formula_around_every_boundary() -> None:
    for value in around_every_boundary():
        assert bucket_of(value) == math.ceil(math.log2(value) * 32) - 1


def test_a_bucket_holds_its_upper_bound_and_not_the_next_integer() -> None:
    for index, upper in enumerate(BUCKET_UPPERS, start=-1):
        assert bucket_of(upper) <= index
        assert upper == COUNT_MAX or bucket_of(upper + 1) > index


def test_zero_has_a_bucket_of_its_own() -> None:
    assert bucket_of(0) == ZERO_BUCKET < bucket_of(1) < bucket_of(2)
    assert bucket_value(ZERO_BUCKET) == 0
    assert bucket_value(bucket_of(1)) == 1


@pytest.mark.parametrize("value", [-1, COUNT_MAX + 1])
def test_a_value_out_of_range_has_no_bucket(value: int) -> None:
    with pytest.raises(ValueError, match="no bucket"):
        bucket_of(value)


@given(st.integers(1, COUNT_MAX))
def test_the_middle_of_a_bucket_is_near_every_value_in_it(value: int) -> None:
    assert abs(bucket_value(bucket_of(value)) - value) <= value * ERROR + 0.5


@given(st.lists(st.integers(0, 10**9), min_size=1), st.sampled_from([500, 900, 950, 990, 1000]))
def test_a_quantile_is_near_the_exact_one(values: list[int], permille: int) -> None:
    buckets: dict[int, int] = {}
    for value in values:
        buckets[bucket_of(value)] = buckets.get(bucket_of(value), 0) + 1
    exact = sorted(values)[max(1, -(-permille * len(values) // 1000)) - 1]

    answer = quantile(buckets, permille, least=min(values), most=max(values))

    assert abs(answer - exact) <= exact * ERROR + 0.5


def test_an_empty_histogram_has_no_quantile() -> None:
    with pytest.raises(ValueError, match="empty"):
        quantile({}, 500, least=0, most=0)
