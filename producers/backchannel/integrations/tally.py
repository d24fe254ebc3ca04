"""Counts and durations of one process, kept while its events go by: what ``metrics_app`` shows.

Pure: events in, numbers out. Durations are kept as integer histograms (``events.buckets``), so any
percentile is within 1.1 % of the exact one, and beside them as counts up to fixed bounds, which are
exact.
"""

import threading
from bisect import bisect_left
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from backchannel.events import (
    Component,
    Event,
    Health,
    Interaction,
    LlmCall,
    Retrieval,
    ToolCall,
    bucket_of,
    quantile,
)

__all__ = ["BOUNDS_US", "OTHER", "SERIES_MAX", "Counts", "Durations", "Labels", "Tally"]

Labels = tuple[str, ...]

SERIES_MAX = 500
"""Label combinations of one metric; what is beyond is told together, as ``OTHER``."""
OTHER = "(other)"
BOUNDS_US = tuple(
    round(seconds * 1_000_000)
    for seconds in (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20, 30, 60)
)
"""Upper bounds, included, of the counts that Prometheus gets; 2, 5 and 10 s are what people promise
of a bot."""
_TRACES_MAX = 4_096
_TOKENS = ("input_tokens", "output_tokens")


@dataclass(slots=True)
class Durations:
    """The durations of one series, in microseconds."""

    count: int = 0
    sum_us: int = 0
    least_us: int = 0
    most_us: int = 0
    buckets: Counter[int] = field(default_factory=Counter)
    by_bound: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_US) + 1))
    """How many fell between each bound and the one before; the last is beyond all."""

    def add(self, us: int) -> None:
        """Counts one duration."""
        # In the bot's thread: plain comparisons cost half of what min() and max() do.
        if us < self.least_us or not self.count:
            self.least_us = us
        if us > self.most_us:  # noqa: PLR1730
            self.most_us = us
        self.count += 1
        self.sum_us += us
        buckets, bucket = self.buckets, bucket_of(us)
        buckets[bucket] = buckets.get(bucket, 0) + 1
        self.by_bound[bisect_left(BOUNDS_US, us)] += 1

    def quantile_us(self, permille: int) -> int:
        """Returns the quantile at ``permille`` thousandths; there must be a duration."""
        return quantile(self.buckets, permille, least=self.least_us, most=self.most_us)

    def copy(self) -> "Durations":
        """Returns one that no longer changes."""
        buckets, by_bound = Counter(self.buckets), list(self.by_bound)
        return Durations(self.count, self.sum_us, self.least_us, self.most_us, buckets, by_bound)


@dataclass(slots=True)
class Counts:
    """Everything that is told, by the labels of its series."""

    requests: Counter[Labels] = field(default_factory=Counter)
    """Turns by endpoint, model and status."""
    tokens: Counter[Labels] = field(default_factory=Counter)
    """Tokens by provider, model and direction."""
    http: dict[Labels, Durations] = field(default_factory=dict)
    """Turns that came by HTTP, by endpoint, method and status."""
    inference: dict[Labels, Durations] = field(default_factory=dict)
    """Calls to models, by provider, model and operation."""
    lookups: dict[Labels, Durations] = field(default_factory=dict)
    """Searches for documents, by data source."""
    operations: dict[Labels, Durations] = field(default_factory=dict)
    """Everything that takes time, by its name."""
    queues: dict[str, int] = field(default_factory=dict)
    """Lengths of queues, as the last ``Health`` told them."""
    overflowed: int = 0
    """Observations that were told as ``OTHER``, since there were too many series."""
    missed: int = 0
    """Events that could not be counted: always 0, unless this code is wrong."""


class Tally:
    """Counts the events of one process, from any thread. Nothing here raises.

    Events are counted when they are offered: also those that sampling leaves out, and those that
    could not be sent.
    """

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begins anew with nothing: at first, and in a forked child."""
        # Reentrant, because a finalizer may end a call in the middle of another event.
        self._lock = threading.RLock()
        self._counts = Counts()
        self._called: OrderedDict[str, Counter[Labels]] = OrderedDict()
        """Tokens of calls whose turn is still to end, by trace: the turn will tell them again."""

    def observe(self, model: type[Event], fields: Mapping[str, Any]) -> None:
        """Counts an event by what it says; fields with their default are left out."""
        count = self._counters.get(model)
        if count is not None:
            with self._lock:
                try:
                    count(self, fields)
                except Exception:  # noqa: BLE001  # a mistake of ours must not cost the event
                    self._counts.missed += 1

    def snapshot(self) -> Counts:
        """Returns a copy of everything, as of one moment."""
        with self._lock:
            found = self._counts
            return Counts(
                Counter(found.requests),
                Counter(found.tokens),
                _copied(found.http),
                _copied(found.inference),
                _copied(found.lookups),
                _copied(found.operations),
                dict(found.queues),
                found.overflowed,
                found.missed,
            )

    def _interaction(self, fields: Mapping[str, Any]) -> None:
        counts, us = self._counts, fields.get("duration_us", 0)
        endpoint, model = fields.get("endpoint", ""), fields.get("model", "")
        status = fields.get("status", "ok")
        self._add(counts.requests, (endpoint, model, status), 1)
        self._time(counts.operations, ("total_request",), us)
        for name, part_us in fields.get("components", {}).items():
            self._time(counts.operations, (name,), part_us)
        if "http_method" in fields:
            code = str(fields.get("http_status", ""))
            self._time(counts.http, (endpoint, fields["http_method"], code), us)
        # A turn tells the tokens of its calls again: only what goes beyond them is its own.
        called = self._called.pop(fields.get("trace_id", ""), None)
        for name in _TOKENS:
            beyond = fields.get(name, 0)
            if called is not None:
                beyond -= sum(n for labels, n in called.items() if labels[2] == name)
            if beyond > 0:
                self._add(counts.tokens, (fields.get("provider", ""), model, name), beyond)

    def _llm_call(self, fields: Mapping[str, Any]) -> None:
        provider = fields.get("provider", "")
        model = fields.get("response_model") or fields.get("request_model", "")
        operation, us = fields.get("operation", "chat"), fields.get("duration_us", 0)
        self._time(self._counts.inference, (provider, model, operation), us)
        self._time(self._counts.operations, ("llm_call",), us)
        trace = fields.get("trace_id", "")
        for name in _TOKENS:
            if number := fields.get(name, 0):
                labels = (provider, model, name)
                self._add(self._counts.tokens, labels, number)
                if trace:
                    self._called.setdefault(trace, Counter())[labels] += number
        while len(self._called) > _TRACES_MAX:
            self._called.popitem(last=False)

    def _retrieval(self, fields: Mapping[str, Any]) -> None:
        us = fields.get("duration_us", 0)
        self._time(self._counts.lookups, (fields.get("data_source_id", ""),), us)
        self._time(self._counts.operations, ("retrieval",), us)

    def _tool_call(self, fields: Mapping[str, Any]) -> None:
        self._time(self._counts.operations, ("tool_call",), fields.get("duration_us", 0))

    def _component(self, fields: Mapping[str, Any]) -> None:
        self._time(self._counts.operations, (fields["name"],), fields.get("duration_us", 0))

    def _health(self, fields: Mapping[str, Any]) -> None:
        if "queues" in fields:
            self._counts.queues = dict(fields["queues"])

    def _add(self, series: Counter[Labels], labels: Labels, number: int) -> None:
        known = series.get(labels)
        if known is None:
            labels = self._fit(series, labels)
            known = series[labels]
        series[labels] = known + number

    def _time(self, series: dict[Labels, Durations], labels: Labels, us: int) -> None:
        durations = series.get(labels)
        if durations is None:
            durations = series.setdefault(self._fit(series, labels), Durations())
        durations.add(us)

    def _fit(self, series: Mapping[Labels, Any], labels: Labels) -> Labels:
        """Returns the labels of a new series, or those of all the others if there are too many."""
        if len(series) < SERIES_MAX:
            return labels
        self._counts.overflowed += 1
        return (OTHER,) * len(labels)

    _counters: ClassVar[Mapping[type[Event], Callable[["Tally", Mapping[str, Any]], None]]] = {
        Interaction: _interaction,
        LlmCall: _llm_call,
        Retrieval: _retrieval,
        ToolCall: _tool_call,
        Component: _component,
        Health: _health,
    }


def _copied(series: Mapping[Labels, Durations]) -> dict[Labels, Durations]:
    return {labels: durations.copy() for labels, durations in series.items()}
