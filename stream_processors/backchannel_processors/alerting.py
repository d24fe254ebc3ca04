"""Alerts: when a rule fires over a series, and when it is over. Pure; time is an argument.

The last transition of each alert is the whole state, and it stands on ``chat.alerts`` itself: what
subscribers see and what the next owner starts from are the same bytes.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from backchannel.events import LIVE, Alert, quantile
from backchannel_processors.groupings import Dims, series_key
from backchannel_processors.measures import SUM_MAX, Measures
from backchannel_processors.rules import AGGREGATES, Rule, Rules

__all__ = ["AlertBook", "Span", "alert_id", "measure"]

_MINUTE_S = 60


@dataclass(frozen=True, slots=True)
class Span:
    """What a series did in [end - window_s, end)."""

    grouping: str
    dims: Dims
    end_us: int
    measures: Measures


class AlertBook:
    """The alerts of the series of one merge partition. Owned by one task at a time."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._by_name = {rule.name: rule for rule in rules.all}
        self._last: dict[str, Alert] = {}
        self._enough_until_us: dict[str, int] = {}

    def restore(self, alerts: Iterable[Alert]) -> None:
        """Takes back what stands on ``chat.alerts``, in any order, with repeats."""
        for alert in alerts:
            known = self._last.get(alert.alert_id)
            if known is None or alert.transition > known.transition:
                self._last[alert.alert_id] = alert

    def firing(self) -> Iterator[tuple[str, Dims]]:
        """Yields grouping and dims of every series that has a firing alert."""
        for alert in list(self._last.values()):
            if alert.state == "firing":
                yield alert.grouping, tuple(alert.dims.values())

    def decide(self, rule: Rule, span: Span, now_us: int) -> Alert | None:
        """Returns the transition that the rule makes over the span, if it makes one.

        Too few samples is "not enough": it never fires an alert, and leaves a firing one as it is
        until the span has no sample left, or had not enough of them for its own width.
        """
        identity = alert_id(rule.name, span.grouping, span.dims)
        last = self._last.get(identity)
        firing = last is not None and last.state == "firing"
        if span.measures.count >= rule.min_samples:
            value = measure(rule, span.measures)
            self._enough_until_us[identity] = span.end_us + rule.window_s * 1_000_000
            if _crosses(rule, value):
                return None if firing else self._fire(rule, span, value, now_us)
            return self._resolve(last, span, value, now_us) if last and firing else None
        if not last or not firing:
            return None
        patience_us = self._enough_until_us.setdefault(
            identity, span.end_us + rule.window_s * 1_000_000
        )
        if span.measures.count and span.end_us < patience_us:
            return None
        return self._resolve(last, span, None, now_us)

    def retire(self, now_us: int) -> list[Alert]:
        """Returns the ends of firing alerts whose rule is gone or watches something else now."""
        ended: list[Alert] = []
        for last in list(self._last.values()):
            rule = self._by_name.get(last.rule)
            if last.state == "firing" and (rule is None or rule.grouping != last.grouping):
                dims = tuple(last.dims.values())
                span = Span(last.grouping, dims, last.window_end_us, Measures())
                ended.append(self._resolve(last, span, None, now_us))
        return ended

    def _fire(self, rule: Rule, span: Span, value: float, now_us: int) -> Alert:
        identity = alert_id(rule.name, span.grouping, span.dims)
        last = self._last.get(identity)
        names = span.grouping.split(",") if span.grouping else []
        alert = Alert(
            alert_id=identity,
            transition=last.transition + 1 if last else 1,
            rule=rule.name,
            rules_hash=self._rules.hash,
            state="firing",
            severity=rule.severity,
            origin=LIVE,
            grouping=span.grouping,
            dims=dict(zip(names, span.dims, strict=True)),
            labels=rule.labels,
            annotations={"summary": rule.summary} if rule.summary else {},
            metric=rule.metric,
            agg=rule.agg,
            op=rule.op,
            threshold=rule.threshold,
            value=value,
            sample_count=min(span.measures.count, SUM_MAX),
            window_s=rule.window_s,
            window_end_us=span.end_us,
            starts_at_us=now_us,
            trigger_event_at_us=span.measures.newest_event_at_us,
            evaluated_at_us=now_us,
        )
        self._last[identity] = alert
        return alert

    def _resolve(self, last: Alert, span: Span, value: float | None, now_us: int) -> Alert:
        newest_us = span.measures.newest_event_at_us or last.trigger_event_at_us
        alert = last.model_copy(
            update={
                "transition": last.transition + 1,
                "rules_hash": self._rules.hash,
                "state": "resolved",
                "value": value,
                "sample_count": min(span.measures.count, SUM_MAX),
                "window_end_us": span.end_us,
                "ends_at_us": now_us,
                "trigger_event_at_us": newest_us,
                "evaluated_at_us": now_us,
            }
        )
        self._last[last.alert_id] = alert
        self._enough_until_us.pop(last.alert_id, None)
        return alert


def alert_id(rule: str, grouping: str, dims: Dims) -> str:
    """Returns the name of the alert of a rule over a series: the same for ever and everywhere."""
    return hashlib.sha256(f"{rule}\x1e{series_key(grouping, dims)}".encode()).hexdigest()[:32]


def measure(rule: Rule, measures: Measures) -> float:
    """Returns what the rule watches, in its unit. The span must have at least one sample."""
    match rule.metric:
        case "latency_ms" if rule.agg == "mean":
            return measures.latency_sum_us / measures.latency_count / 1_000
        case "latency_ms":
            least, most = measures.latency_min_us or 0, measures.latency_max_us
            permille = AGGREGATES[rule.agg]
            return quantile(measures.latency_buckets, permille, least=least, most=most) / 1_000
        case "error_rate":
            return measures.errors / measures.count
        case "count":
            return float(measures.count)
        case "input_tokens_per_minute":
            return measures.input_tokens * _MINUTE_S / rule.window_s
        case "output_tokens_per_minute":
            return measures.output_tokens * _MINUTE_S / rule.window_s
        case "tokens_per_minute":
            tokens = measures.input_tokens + measures.output_tokens
            return tokens * _MINUTE_S / rule.window_s


def _crosses(rule: Rule, value: float) -> bool:
    match rule.op:
        case ">":
            return value > rule.threshold
        case ">=":
            return value >= rule.threshold
        case "<":
            return value < rule.threshold
        case "<=":
            return value <= rule.threshold
