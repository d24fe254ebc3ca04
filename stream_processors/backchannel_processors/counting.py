"""Events counted: the one place that says what each event adds to each measure.

Events of a cell are counted many at once, since a loop in C over a list is several times faster
than one in Python over events.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from backchannel.events import COUNT_MAX, UNACCOUNTED
from backchannel_processors.distinct import marks_of
from backchannel_processors.distributions import Values
from backchannel_processors.measures import EXEMPLARS_MAX, Tally
from backchannel_processors.observations import (
    Crossing,
    ErrorEvent,
    Evaluation,
    Feedback,
    Health,
    Interaction,
    LlmCall,
    Loss,
    Observation,
    Retrieval,
    Security,
    ToolCall,
)

__all__ = ["FAILED", "counted", "is_unpriced", "over"]

FAILED = frozenset(("error", "timeout", "rate_limited"))
"""Each status that is an error."""

_REFUSED = frozenset(("blocked", "flagged"))
_KILOSECOND_US = 1_000_000_000
_GAUGES = (
    "cpu",
    "memory",
    "disk",
    "process_rss_bytes",
    "event_loop_lag_us",
    "in_flight_requests",
    "active_sessions",
)


def counted(observations: Sequence[Observation]) -> list[Tally]:
    """Returns what some events add up to: a tally for each type and weight."""
    weights = {each.sample_weight for each in observations}
    kinds = set(map(type, observations))
    if len(kinds) == len(weights) == 1:
        return [_tally(kinds.pop(), observations, weights.pop())]
    alike: dict[tuple[type, int], list[Observation]] = {}
    for each in observations:
        alike.setdefault((type(each), each.sample_weight), []).append(each)
    return [_tally(kind, some, weight) for (kind, weight), some in alike.items()]


def over(limit: str) -> str:
    """Returns as what the turns are kept by which conversations went over a limit."""
    return f"over:{limit}"


def _tally(kind: type, alike: Sequence[Observation], weight: int) -> Tally:
    newest_us = max([each.ts_us for each in alike])
    last = max([each.event_id for each in alike if each.ts_us == newest_us])
    tally = Tally(weight, (newest_us, last))
    _COUNTS[kind](tally, alike)
    return tally


def _count_interactions(tally: Tally, turns: Sequence[Interaction]) -> None:
    durations = [turn.duration_us for turn in turns]
    statuses = Counter([turn.status for turn in turns])
    errors = sum([n for status, n in statuses.items() if status in FAILED])
    _put(
        tally,
        count=len(turns),
        errors=errors,
        input_tokens=sum([turn.input_tokens for turn in turns]),
        output_tokens=sum([turn.output_tokens for turn in turns]),
        cache_read_tokens=sum([turn.cache_read_tokens for turn in turns]),
        cache_write_tokens=sum([turn.cache_write_tokens for turn in turns]),
        reasoning_tokens=sum([turn.reasoning_tokens for turn in turns]),
        fallbacks=sum([turn.fallback_used for turn in turns]),
    )
    tally.labelled["by_status"] = {str(status): n for status, n in statuses.items()}
    tally.distributions["latency"] = Values(durations)
    tally.exemplars["slowest"] = _slowest(turns, durations)
    if errors:
        _count_errors(tally, [turn for turn in turns if turn.status in FAILED])
    codes = Counter([turn.http_status for turn in turns])
    if len(codes) > 1 or None not in codes:
        http = [(code // 100, n) for code, n in codes.items() if code is not None]
        _put(
            tally,
            http_4xx=sum([n for hundred, n in http if hundred == 4]),
            http_5xx=sum([n for hundred, n in http if hundred >= 5]),
        )
    lookups = [turn.cache_hit for turn in turns if turn.cache_hit is not None]
    _put(tally, cache_lookups=len(lookups), cache_hits=sum(lookups))
    _spread(tally, "ttft", [turn.ttft_us for turn in turns if turn.ttft_us is not None])
    generated = _generated(turns)
    _put(
        tally,
        generated_tokens=sum([tokens for tokens, _ in generated]),
        generation_us=sum([us for _, us in generated]),
    )
    _count_components(tally, turns)
    costs = _count_costs(tally, turns, "")
    if costs:
        tally.exemplars["costliest"] = _highest(
            [(turn.cost_picousd, turn.event_id) for turn in turns if turn.cost_picousd]
        )
    tally.distinct["users"] = marks_of([turn.user_id for turn in turns])
    tally.distinct["sessions"] = marks_of([turn.session_id for turn in turns])


def _count_errors(tally: Tally, failed: Sequence[Interaction]) -> None:
    tally.labelled["errors_by_type"] = dict(
        Counter([turn.error_type or turn.status for turn in failed])
    )
    tally.exemplars["failing"] = _newest(failed)


def _generated(
    metered: Sequence[Interaction] | Sequence[LlmCall],
) -> list[tuple[int, int]]:
    """Returns output tokens, and the microseconds that it took to generate them."""
    generated = [
        (each.output_tokens, each.duration_us - (each.ttft_us or 0))
        for each in metered
        if each.output_tokens
    ]
    return [(tokens, us) for tokens, us in generated if us > 0]


def _count_components(tally: Tally, turns: Sequence[Interaction]) -> None:
    measured = [turn for turn in turns if turn.components]
    if not measured:
        return
    values: dict[str, list[int]] = {}
    names = measured[0].components.keys()
    if all(turn.components.keys() == names for turn in measured):  # nearly always
        values = {name: [turn.components[name] for turn in measured] for name in names}
    else:
        for turn in measured:
            for name, us in turn.components.items():
                values.setdefault(name, []).append(us)
    for name, durations in values.items():
        tally.components[name] = Values(durations)
    rests = [turn.duration_us - sum(turn.components.values()) for turn in measured]
    if min(rests) < 0:  # components that ran side by side are longer than their turn
        rests = [max(rest, 0) for rest in rests]
    tally.components[UNACCOUNTED] = Values(rests)


def _count_costs(
    tally: Tally, metered: Sequence[Interaction] | Sequence[LlmCall], prefix: str
) -> int:
    costs = [each.cost_picousd for each in metered if each.cost_picousd is not None]
    if len(costs) < len(metered):
        unpriced = [each for each in metered if is_unpriced(each)]
        _put(tally, **{f"{prefix}unpriced": len(unpriced)})
        if unpriced and not prefix:
            tally.exemplars["unpriced"] = _newest(unpriced)
    total = sum(costs)
    _put(tally, **{f"{prefix}priced": len(costs), f"{prefix}cost_picousd": total})
    return total


def is_unpriced(metered: Interaction | LlmCall) -> bool:
    """Says whether it used tokens, and nobody knows what they cost."""
    return (
        metered.cost_picousd is None
        and (metered.input_tokens > 0 or metered.output_tokens > 0)
        and metered.cost_status != "not_applicable"
    )


def _count_llm_calls(tally: Tally, calls: Sequence[LlmCall]) -> None:
    _put(
        tally,
        llm_errors=_errors(calls),
        llm_retries=sum([call.retries for call in calls]),
        llm_input_tokens=sum([call.input_tokens for call in calls]),
        llm_output_tokens=sum([call.output_tokens for call in calls]),
        llm_cache_read_tokens=sum([call.cache_read_tokens for call in calls]),
        llm_reasoning_tokens=sum([call.reasoning_tokens for call in calls]),
    )
    _spread(tally, "llm_latency", [call.duration_us for call in calls])
    _spread(tally, "llm_ttft", [call.ttft_us for call in calls if call.ttft_us is not None])
    rates = [tokens * _KILOSECOND_US // us for tokens, us in _generated(calls)]
    _spread(tally, "output_rate", [min(rate, COUNT_MAX) for rate in rates])
    _count_costs(tally, calls, "llm_")


def _count_retrievals(tally: Tally, retrievals: Sequence[Retrieval]) -> None:
    _spread(tally, "retrieval_latency", [each.duration_us for each in retrievals])
    empty = sum([each.status == "ok" and not each.documents for each in retrievals])
    _put(tally, retrieval_errors=_errors(retrievals), retrieval_empty=empty)
    scores = [
        [document.score for document in each.documents if document.score is not None]
        for each in retrievals
    ]
    _spread(tally, "retrieval_score", [max(0, *each) for each in scores if each])


def _count_tool_calls(tally: Tally, calls: Sequence[ToolCall]) -> None:
    _spread(tally, "tool_latency", [call.duration_us for call in calls])
    _put(tally, tool_errors=_errors(calls))


def _count_evaluations(tally: Tally, evaluations: Sequence[Evaluation]) -> None:
    _put(tally, evaluation_errors=sum([each.status == "error" for each in evaluations]))
    _scores(
        tally,
        "evaluations",
        [
            (each.name, each.value)
            for each in evaluations
            if each.status == "ok" and each.value is not None
        ],
    )


def _count_feedback(tally: Tally, opinions: Sequence[Feedback]) -> None:
    _scores(tally, "feedback", [(each.kind, each.value or 0) for each in opinions])
    ratings = [each for each in opinions if each.kind == "rating"]
    if ratings:
        tally.exemplars["lowest_rated"] = _highest(
            [(-(each.value or 0), each.event_id) for each in ratings]
        )


def _count_health(tally: Tally, reports: Sequence[Health]) -> None:
    values: list[tuple[str, int]] = []
    for report in reports:
        for name in _GAUGES:
            value = getattr(report, name)
            if value is not None:
                values.append((name, value))
        values += [(f"queue:{name}", n) for name, n in report.queues.items()]
        values += [(f"gauge:{name}", n) for name, n in report.gauges.items()]
    _scores(tally, "gauges", values)


def _count_exceptions(tally: Tally, errors: Sequence[ErrorEvent]) -> None:
    _put(tally, exceptions=sum([each.level in ("error", "fatal") for each in errors]))


def _count_crossings(tally: Tally, crossings: Sequence[Crossing]) -> None:
    tally.labelled["conversations_over"] = dict(Counter([each.limit for each in crossings]))
    for limit in tally.labelled["conversations_over"]:
        tally.exemplars[over(limit)] = _highest(
            [(each.total, each.event_id) for each in crossings if each.limit == limit]
        )


def _count_security(tally: Tally, events: Sequence[Security]) -> None:
    refused = [each for each in events if each.outcome in _REFUSED]
    _put(tally, security_events=len(events), security_refused=len(refused))
    if refused:
        tally.exemplars["refused"] = _newest(refused)
        principals = Counter([each.principal_hash for each in refused if each.principal_hash])
        tally.labelled["refused_principals"] = dict(principals)


def _count_losses(tally: Tally, losses: Sequence[Loss]) -> None:
    _put(
        tally,
        dropped_events=sum([each.dropped for each in losses]),
        lost_records=sum([each.records for each in losses]),
    )


_COUNTS: dict[type, Callable[[Tally, Any], None]] = {
    Interaction: _count_interactions,
    LlmCall: _count_llm_calls,
    Retrieval: _count_retrievals,
    ToolCall: _count_tool_calls,
    Evaluation: _count_evaluations,
    Feedback: _count_feedback,
    Health: _count_health,
    ErrorEvent: _count_exceptions,
    Crossing: _count_crossings,
    Security: _count_security,
    Loss: _count_losses,
}
"""How each type is counted: by type, so that ``Any`` is the type of its key."""


def _errors(observed: Sequence[LlmCall] | Sequence[Retrieval] | Sequence[ToolCall]) -> int:
    return sum([each.status in FAILED for each in observed])


def _put(tally: Tally, **sums: int) -> None:
    for name, n in sums.items():
        if n:
            tally.sums[name] = n


def _spread(tally: Tally, name: str, values: Sequence[int]) -> None:
    if values:
        tally.distributions[name] = Values(values)


def _scores(tally: Tally, name: str, values: Sequence[tuple[str, int]]) -> None:
    if values:
        by_label: dict[str, list[int]] = {}
        for label, value in values:
            by_label.setdefault(label, []).append(value)
        tally.scores[name] = by_label


def _slowest(turns: Sequence[Interaction], durations: Sequence[int]) -> list[tuple[int, str]]:
    least = sorted(durations)[-EXEMPLARS_MAX:][0]
    return _highest(
        [(turn.duration_us, turn.event_id) for turn in turns if turn.duration_us >= least]
    )


def _newest(observed: Sequence[Observation]) -> list[tuple[int, str]]:
    return _highest([(each.ts_us, each.event_id) for each in observed])


def _highest(candidates: list[tuple[int, str]]) -> list[tuple[int, str]]:
    candidates.sort(reverse=True)
    return candidates[:EXEMPLARS_MAX]
