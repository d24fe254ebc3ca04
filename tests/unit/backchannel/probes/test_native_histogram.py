"""Our histograms in Prometheus' own format: not a count moved."""

import struct
from collections.abc import Iterator
from itertools import accumulate
from random import Random
from typing import Any

from prometheus_client.core import CounterMetricFamily, Metric

from backchannel.events import bucket_of
from backchannel.probes import protobuf
from backchannel.probes.histogram import NativeHistogramFamily

CREATED = 1_700_000_000.25


def buckets_of(values: list[int]) -> dict[int, int]:
    found: dict[int, int] = {}
    for value in values:
        found[bucket_of(value)] = found.get(bucket_of(value), 0) + 1
    return found


def family(values: list[int]) -> NativeHistogramFamily:
    histogram = NativeHistogramFamily("turn_us", "Time", ["tenant"])
    histogram.add(["acme"], buckets_of(values), sum(values), CREATED)
    return histogram


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not data[at - 1] & 0x80:
            return value, at


def fields(data: bytes) -> dict[int, list[Any]]:
    """Reads a message as any protobuf reader would, by field number."""
    found: dict[int, list[Any]] = {}
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        value: Any
        match tag & 7:
            case 0:
                value, at = varint(data, at)
            case 1:
                value, at = struct.unpack("<d", data[at : at + 8])[0], at + 8
            case _:
                size, at = varint(data, at)
                value, at = data[at : at + size], at + size
        found.setdefault(tag >> 3, []).append(value)
    return found


def signed(zigzag: int) -> int:
    return (zigzag >> 1) ^ -(zigzag & 1)


def read(metric: Metric) -> dict[int, list[Any]]:
    data = protobuf.encode([metric])
    size, at = varint(data, 0)
    assert at + size == len(data)
    return fields(data[at:])


def native_buckets(histogram: dict[int, list[Any]]) -> Iterator[tuple[int, int]]:
    counts = accumulate(map(signed, histogram.get(13, [])))
    index = 0
    for span in map(fields, histogram.get(12, [])):
        index += signed(span[1][0])
        for _ in range(span[2][0]):
            yield index, next(counts)
            index += 1


def test_every_count_is_in_the_native_bucket_that_holds_its_value() -> None:
    chance = Random(5)
    values = [0, 0, 1, 2, *(round(chance.lognormvariate(13, 2)) for _ in range(500))]

    said = read(family(values))
    histogram = fields(fields(said[4][0])[7][0])

    assert (said[1], said[3]) == ([b"turn_us"], [4])
    assert (histogram[1], histogram[2]) == ([len(values)], [sum(values)])
    assert (signed(histogram[5][0]), histogram[7]) == (5, [2])
    assert dict(native_buckets(histogram)) == {
        index + 1: count for index, count in buckets_of(values).items() if index >= -1
    }
    for value in filter(None, values):
        index = bucket_of(value) + 1
        assert 2 ** ((index - 1) / 32) < value * (1 + 1e-12)
        assert value <= 2 ** (index / 32) * (1 + 1e-12)


def test_the_classic_bounds_are_ours_too_so_their_counts_are_exact() -> None:
    values = [0, 64, 65, 256, 257, 10**6, 2**30, 2**30 + 1]

    said = {
        float(sample.labels["le"]): sample.value
        for sample in family(values).samples
        if sample.name.endswith("_bucket")
    }

    assert len(said) == 14
    assert all(count == sum(value <= bound for value in values) for bound, count in said.items())


def test_a_counter_says_its_value_and_since_when() -> None:
    counter = CounterMetricFamily("turns", "Turns", labels=["tenant"])
    counter.add_metric(["acme"], 7, created=CREATED)

    said = read(counter)
    metric = fields(said[4][0])
    created = fields(fields(metric[3][0])[3][0])

    assert (said[1], said[3]) == ([b"turns_total"], [0])
    assert [label[2] for label in map(fields, metric[1])] == [[b"acme"]]
    assert fields(metric[3][0])[1] == [7.0]
    assert created == {1: [1_700_000_000], 2: [250_000_000]}


def test_it_is_asked_for_by_name_and_framing() -> None:
    assert protobuf.is_accepted(
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;"
        "encoding=delimited;q=0.7,text/plain;version=0.0.4;q=0.3"
    )
    assert not protobuf.is_accepted("application/vnd.google.protobuf;encoding=text, text/plain")
    assert not protobuf.is_accepted("")
