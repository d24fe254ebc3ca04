"""Prometheus' protobuf format (``io.prometheus.client.MetricFamily``, delimited), written by hand:
it is the only one in which Prometheus takes native histograms, and its library has no writer.

Field numbers: ``io/prometheus/client/metrics.proto`` of prometheus/client_model.
"""

import struct
from collections.abc import Iterable, Iterator

from prometheus_client.core import Metric
from prometheus_client.samples import NativeHistogram, Sample

__all__ = ["CONTENT_TYPE", "encode", "is_accepted"]

CONTENT_TYPE = (
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
)

_COUNTER, _GAUGE, _UNTYPED, _HISTOGRAM = 0, 1, 3, 4
_TYPES = {"counter": _COUNTER, "gauge": _GAUGE, "histogram": _HISTOGRAM}
_VALUE_FIELDS = {_COUNTER: 3, _GAUGE: 2, _UNTYPED: 5}


def is_accepted(accept: str) -> bool:
    """Says whether an ``Accept`` header asks for this format."""
    return any(
        {"application/vnd.google.protobuf", "encoding=delimited"}
        <= {part.strip() for part in choice.split(";")}
        for choice in accept.split(",")
    )


def encode(metrics: Iterable[Metric]) -> bytes:
    """Returns the metrics in this format. Takes counters, gauges and histograms."""
    return b"".join(_delimited(_family(metric)) for metric in metrics)


def _family(metric: Metric) -> bytes:
    kind = _TYPES.get(metric.type, _UNTYPED)
    name = f"{metric.name}_total" if kind == _COUNTER else metric.name
    parts = [_text(1, name), _text(2, metric.documentation), _number(3, kind)]
    series: dict[tuple[tuple[str, str], ...], list[Sample]] = {}
    for sample in metric.samples:
        labels = tuple((key, value) for key, value in sample.labels.items() if key != "le")
        series.setdefault(labels, []).append(sample)
    for labels, samples in series.items():
        pairs = [_message(1, _text(1, key) + _text(2, value)) for key, value in labels]
        if kind == _HISTOGRAM:
            said = _message(7, b"".join(_histogram(metric.name, samples)))
        else:
            said = _message(_VALUE_FIELDS[kind], b"".join(_value(metric.name, samples)))
        parts.append(_message(4, b"".join([*pairs, said])))
    return b"".join(parts)


def _value(name: str, samples: Iterable[Sample]) -> Iterator[bytes]:
    for sample in samples:
        if sample.name == f"{name}_created":
            yield _message(3, _timestamp(sample.value))
        else:
            yield _double(1, sample.value)


def _histogram(name: str, samples: Iterable[Sample]) -> Iterator[bytes]:
    for sample in samples:
        match sample.name.removeprefix(name):
            case "_count":
                yield _number(1, int(sample.value))
            case "_sum":
                yield _double(2, sample.value)
            case "_bucket":
                bound = _double(2, float(sample.labels["le"]))
                yield _message(3, _number(1, int(sample.value)) + bound)
            case "_created":
                yield _message(15, _timestamp(sample.value))
            case _ if sample.native_histogram is not None:
                yield from _native(sample.native_histogram)


def _native(histogram: NativeHistogram) -> Iterator[bytes]:
    yield _number(5, _zigzag(histogram.schema))
    yield _double(6, histogram.zero_threshold)
    yield _number(7, int(histogram.zero_count))
    for span in histogram.pos_spans or ():
        yield _message(12, _number(1, _zigzag(span.offset)) + _number(2, span.length))
    for delta in histogram.pos_deltas or ():
        yield _number(13, _zigzag(delta))


def _timestamp(seconds: float) -> bytes:
    whole = int(seconds)
    return _number(1, whole) + _number(2, int((seconds - whole) * 1e9))


def _zigzag(value: int) -> int:
    return value * 2 if value >= 0 else -value * 2 - 1


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _delimited(content)


def _text(field: int, value: str) -> bytes:
    return _message(field, value.encode())


def _delimited(content: bytes) -> bytes:
    return _varint(len(content)) + content
