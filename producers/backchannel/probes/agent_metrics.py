"""How agents are, for Prometheus."""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from backchannel.probes.agent import AgentState

__all__ = ["agent_metrics"]

_US = 1_000_000


def agent_metrics(states: Iterable[AgentState]) -> Iterator[Metric]:
    """Yields the metrics of agents, for Prometheus."""
    known = list(states)
    yield _counter("received", "What came in", "", {s.agent: {"": s.received} for s in known})
    yield _counter("processed", "What was used", "", {s.agent: {"": s.processed} for s in known})
    yield _counter("late", "What came too late", "", {s.agent: {"": s.late} for s in known})
    yield _counter("skipped", "What was not used", "reason", {s.agent: s.skipped for s in known})
    yield _counter("further", "What else is counted", "what", {s.agent: s.further for s in known})
    held = GaugeMetricFamily(
        "backchannel_agent_held", "What is held in memory, by kind", labels=["agent", "kind"]
    )
    for state in known:
        for kind, number in state.sizes.items():
            held.add_metric([state.agent, kind], number)
    yield held
    yield from _partitions(known)


def _counter(
    name: str, what: str, label: str, numbers: Mapping[str, Mapping[str, int]]
) -> CounterMetricFamily:
    """Returns a counter: by agent, and by ``label`` if that is one."""
    labels = ["agent", label] if label else ["agent"]
    counter = CounterMetricFamily(f"backchannel_agent_{name}", what, labels=labels)
    for agent, counts in numbers.items():
        for key, number in counts.items():
            counter.add_metric([agent, key][: len(labels)], number)
    return counter


def _partitions(states: Iterable[AgentState]) -> Iterator[Metric]:
    labels = ["agent", "topic", "partition"]
    records = GaugeMetricFamily(
        "backchannel_agent_lag_records",
        "Records in the log that nothing has been done with yet",
        labels=labels,
    )
    seconds = GaugeMetricFamily(
        "backchannel_agent_lag_seconds",
        "How long they wait, about; 0 when there are none",
        labels=labels,
    )
    watermark = GaugeMetricFamily(
        "backchannel_agent_watermark_timestamp_seconds",
        "How far event time has come, Unix time",
        labels=labels,
    )
    for state in states:
        for each in state.partitions:
            own = [state.agent, each.topic, str(each.partition)]
            records.add_metric(own, each.lag_records)
            seconds.add_metric(own, each.lag_us / _US)
            if each.watermark_us:
                watermark.add_metric(own, each.watermark_us / _US)
    yield from (records, seconds, watermark)
