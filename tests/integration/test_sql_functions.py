"""The functions for SQL of one's own: the same answers as Python's, bit for bit."""

import random
from collections import Counter
from math import sqrt

import pytest
from clickhouse_connect.driver.client import Client

from backchannel.events import BUCKET_UPPERS, COUNT_MAX, ZERO_BUCKET, bucket_of, bucket_value
from backchannel.events import quantile as quantile_of

pytestmark = pytest.mark.integration


@pytest.fixture
def client(analyst: Client) -> Client:
    """The analyst's client."""
    return analyst


def test_every_integer_around_every_boundary_falls_into_the_bucket_of_python(
    client: Client,
) -> None:
    near = {upper + step for upper in BUCKET_UPPERS for step in (-1, 0, 1)}
    values = sorted(value for value in near | {0} if value <= COUNT_MAX)

    rows = client.query(f"SELECT bc_bucket(arrayJoin({values}::Array(UInt64)))").result_rows

    assert [row[0] for row in rows] == [bucket_of(value) for value in values]


def test_every_bucket_stands_for_the_value_of_python(client: Client) -> None:
    buckets = list(range(ZERO_BUCKET, len(BUCKET_UPPERS) - 1))

    rows = client.query(f"SELECT bc_bucket_value(arrayJoin({buckets}::Array(Int16)))").result_rows

    assert [row[0] for row in rows] == [bucket_value(bucket) for bucket in buckets]


@pytest.mark.parametrize("permille", [1, 500, 950, 999, 1000])
def test_a_percentile_is_that_of_python(client: Client, permille: int) -> None:
    chance = random.Random(permille)
    buckets = Counter(bucket_of(chance.randrange(COUNT_MAX)) for _ in range(500))

    answer = client.command(
        "SELECT bc_quantile(sumMap(map(arrayJoin("
        f"{list(buckets.elements())}::Array(Int16)), toUInt64(1))), {permille})"
    )

    assert answer == quantile_of(buckets, permille, least=0, most=COUNT_MAX * 2)


def test_an_empty_histogram_has_no_percentile(client: Client) -> None:
    answer = client.query("SELECT bc_quantile(CAST(map(), 'Map(Int16, UInt64)'), 500)")
    assert answer.result_rows == [(None,)]


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (3, 20), (7, 5_000)])
def test_the_interval_is_wilsons(client: Client, hits: int, n: int) -> None:
    low, high = client.query(
        f"SELECT bc_wilson_low({hits}, {n}), bc_wilson_high({hits}, {n})"
    ).result_rows[0]

    z, rate = 1.959963984540054, hits / n
    middle = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    assert (low, high) == pytest.approx((middle - half, middle + half), abs=1e-12)


def test_nothing_has_no_interval(client: Client) -> None:
    answer = client.query("SELECT bc_wilson_low(0, 0), bc_wilson_high(0, 0)")
    assert answer.result_rows == [(None, None)]


def test_money_is_exact_to_the_last_picodollar(client: Client) -> None:
    answer = client.query(
        "SELECT toString(bc_usd(toUInt128('12345678901234567890123456'))), bc_usd(NULL)"
    )
    assert answer.result_rows == [("12345678901234.567890123456", None)]
