"""A worker's numbers, as its ``/metrics`` shows them."""

from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from backchannel.probes.agent import AgentState
from backchannel.probes.agent_metrics import agent_metrics
from backchannel_processors.rules_source import RulesSource

__all__ = ["worker_metrics"]


def worker_metrics(agents: Iterable[AgentState], rules: RulesSource) -> Iterator[Metric]:
    """Yields everything that a worker measures of itself."""
    yield from agent_metrics(agents)
    yield GaugeMetricFamily("backchannel_rules", "Alert rules in force", value=len(rules.rules.all))
    yield CounterMetricFamily(
        "backchannel_rules_rejected",
        "New rules that were bad, so that the old ones were kept",
        value=rules.rejected,
    )
