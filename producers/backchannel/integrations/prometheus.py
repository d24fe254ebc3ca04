"""``/metrics`` for Prometheus and ``/metrics/latency`` as JSON: what one process knows."""

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from backchannel.integrations.tally import BOUNDS_US, Counts, Durations, Labels, Tally
from backchannel.sending.stats import ProducerStats

__all__ = ["MetricsApp"]

Message = MutableMapping[str, Any]
_US = 1_000_000
_BOUNDS = [f"{us / _US:g}" for us in BOUNDS_US]


class MetricsApp:
    """An ASGI application: mount it anywhere, or serve it alone.

    ``GET …/metrics`` answers in Prometheus' format (or OpenMetrics, if that is asked for),
    ``GET …/metrics/latency`` in JSON; mounted at ``/metrics`` it is ``/metrics`` and
    ``/metrics/latency``, too. It has the numbers of this process alone, since it was made: with
    several workers each has its own.
    """

    def __init__(
        self, tally: Tally, stats: Callable[[], ProducerStats], in_flight: Callable[[], int]
    ) -> None:
        self._tally = tally
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Metrics(tally, stats, in_flight))

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            await _answer(send, scope["method"], *self._response(scope))

    def _response(self, scope: Mapping[str, Any]) -> tuple[int, str, bytes]:
        path = str(scope["path"]).removeprefix(str(scope.get("root_path", ""))).rstrip("/")
        if scope["method"] not in ("GET", "HEAD"):
            return 405, "text/plain", b"only GET\n"
        if path in ("/latency", "/metrics/latency"):
            return 200, "application/json", json.dumps(latency(self._tally.snapshot())).encode()
        if path in ("", "/metrics"):
            accept = dict(scope["headers"]).get(b"accept", b"").decode("latin-1")
            encode, content_type = choose_encoder(accept)
            return 200, content_type, encode(self._registry)
        return 404, "text/plain", b"try /metrics or /metrics/latency\n"


def latency(counts: Counts) -> dict[str, Any]:
    """Returns count, mean, median, p95, p99, min and max of each operation, in milliseconds.

    Percentiles are within 1.1 % of the exact ones."""
    return {
        "unit": "ms",
        "operations": {
            name: {
                "count": each.count,
                "mean": round(each.sum_us / each.count / 1000, 3),
                **{
                    word: each.quantile_us(permille) / 1000
                    for word, permille in (("median", 500), ("p95", 950), ("p99", 990))
                },
                "min": each.least_us / 1000,
                "max": each.most_us / 1000,
            }
            for (name,), each in sorted(counts.operations.items())
        },
    }


class _Metrics(Collector):
    def __init__(
        self, tally: Tally, stats: Callable[[], ProducerStats], in_flight: Callable[[], int]
    ) -> None:
        self._tally = tally
        self._stats = stats
        self._in_flight = in_flight

    def collect(self) -> Iterator[Metric]:
        counts, stats = self._tally.snapshot(), self._stats()
        yield from _of_the_bot(counts)
        in_flight = self._in_flight()
        yield GaugeMetricFamily("requests_in_flight", "Turns under way", value=in_flight)
        yield from _of_the_sdk(stats, counts)


def _of_the_bot(counts: Counts) -> Iterator[Metric]:
    yield _counter(
        "chatbot_requests",
        "Turns of users with the bot, by how they ended",
        ["endpoint", "model", "status"],
        counts.requests,
    )
    yield _histogram(
        "http_request_duration",
        "Time from a request to the end of its response, in seconds",
        ["endpoint", "method", "status_code"],
        counts.http,
    )
    yield _histogram(
        "inference_latency",
        "Time of a call to a model, in seconds",
        ["provider", "model", "operation"],
        counts.inference,
    )
    yield _histogram(
        "embedding_lookup_latency",
        "Time of a search for documents, in seconds",
        ["data_source"],
        counts.lookups,
    )
    directed = {
        (*labels[:2], _DIRECTIONS.get(labels[2], labels[2])): n
        for labels, n in counts.tokens.items()
    }
    yield _counter(
        "token_usage",
        "Tokens that went to models (input) and came back (output)",
        ["provider", "model", "type"],
        directed,
    )
    queues = GaugeMetricFamily(
        "queue_length", "Entries that wait in a work queue", labels=["queue"]
    )
    for name, length in counts.queues.items():
        queues.add_metric([name], length)
    yield queues


def _of_the_sdk(stats: ProducerStats, counts: Counts) -> Iterator[Metric]:
    for name, what, number in (
        ("offered", "Events that the bot offered", stats.offered),
        ("accepted", "Events that were accepted", stats.accepted),
        ("acked", "Events that Kafka has acknowledged", stats.acked),
    ):
        yield CounterMetricFamily(f"backchannel_events_{name}", what, value=number)
    dropped = CounterMetricFamily(
        "backchannel_events_dropped", "Events that were not delivered", labels=["reason"]
    )
    for reason, number in stats.dropped.items():
        dropped.add_metric([reason], number)
    yield dropped
    for name, what, number in (
        ("held", "Events that are neither acknowledged nor lost", stats.held),
        ("held_bytes", "Their memory, in bytes", stats.held_bytes),
    ):
        yield GaugeMetricFamily(f"backchannel_events_{name}", what, value=number)
    for name, what, number in (
        ("fields_repaired", "Fields that were cut or left out", stats.fields_repaired),
        ("reconnects", "Connections that broke", stats.reconnects),
        ("series_overflowed", "Observations told as (other): too many series", counts.overflowed),
        ("observations_missed", "Events that are in none of these numbers", counts.missed),
    ):
        yield CounterMetricFamily(f"backchannel_{name}", what, value=number)


_DIRECTIONS = {"input_tokens": "input", "output_tokens": "output"}


def _counter(
    name: str, what: str, labels: list[str], values: Mapping[Labels, int]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, what, labels=labels)
    for series, number in values.items():
        family.add_metric(series, number)
    return family


def _histogram(
    name: str, what: str, labels: list[str], values: Mapping[Labels, Durations]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, what, labels=labels)
    for series, durations in values.items():
        seen, cumulative = 0, []
        for bound, number in zip([*_BOUNDS, "+Inf"], durations.by_bound, strict=True):
            seen += number
            cumulative.append((bound, seen))
        family.add_metric(series, cumulative, sum_value=durations.sum_us / _US)
    return family


async def _live(
    receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


async def _answer(
    send: Callable[[Message], Awaitable[None]],
    method: str,
    status: int,
    content_type: str,
    body: bytes,
) -> None:
    headers = [
        (b"content-type", content_type.encode()),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})
