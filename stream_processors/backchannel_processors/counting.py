"""Events counted: the one place that says what each event adds to each measure.

Events of a cell are counted many at once, since a loop in C over a list is several times faster
than one in Python over events.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from heapq import nlargest
from operator import attrgetter, sub
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


def counted(observations: Sequence[Observation], *, in_brief: bool = False) -> list[Tally]:
    """Returns what some events add up to: a tally for each type and weight. In brief, without what
    ``Measures.brief`` leaves out."""
    counts = _COUNTS_IN_BRIEF if in_brief else _COUNTS
    weights = {each.sample_weight for each in observations}
    kinds = set(map(type, observations))
    if len(kinds) == len(weights) == 1:
        return [_tally(counts[kinds.pop()], observations, weights.pop())]
    alike: dict[tuple[type, int], list[Observation]] = {}
    for each in observations:
        alike.setdefault((type(each), each.sample_weight), []).append(each)
    return [_tally(counts[kind], some, weight) for (kind, weight), some in alike.items()]


def over(limit: str) -> str:
    """Returns as what the turns are kept by which conversations went over a limit."""
    return f"over:{limit}"


def _tally(count: "_Count", alike: Sequence[Observation], weight: int) -> Tally:
    newest_us = max([each.ts_us for each in alike])
    last = max([each.event_id for each in alike if each.ts_us == newest_us])
    tally = Tally(weight, (newest_us, last))
    count(tally, alike)
    return tally


def _count_interactions(tally: Tally, turns: Sequence[Interaction]) -> None:
    _count_in_brief(tally, turns)
    durations, components, users, sessions = zip(*map(_REST_OF_TURN, turns), strict=True)
    _count_components(tally, components, durations)
    tally.distinct["users"] = marks_of(users)
    tally.distinct["sessions"] = marks_of(sessions)


_REST_OF_TURN = attrgetter("duration_us", "components", "user_id", "session_id")


def _count_in_brief(tally: Tally, turns: Sequence[Interaction]) -> None:
    # One row a turn and then one column a field: both are loops in C.
    (
        ids,
        statuses,
        codes,
        durations,
        ttfts,
        tokens_in,
        tokens_out,
        cache_read,
        cache_write,
        reasoning,
        costs,
        fallbacks,
        lookups,
    ) = zip(*map(_TURN, turns), strict=True)
    by_status = {str(status): statuses.count(status) for status in set(statuses)}
    errors = sum([n for status, n in by_status.items() if status in FAILED])
    _put(
        tally,
        count=len(turns),
        errors=errors,
        input_tokens=sum(tokens_in),
        output_tokens=sum(tokens_out),
        cache_read_tokens=sum(cache_read),
        cache_write_tokens=sum(cache_write),
        reasoning_tokens=sum(reasoning),
        fallbacks=sum(fallbacks),
    )
    tally.labelled["by_status"] = by_status
    tally.distributions["latency"] = Values(durations, tally.weight)
    tally.exemplars["slowest"] = _highest(durations, ids)
    if errors:
        _count_errors(tally, [turn for turn in turns if turn.status in FAILED])
    for code in set(codes):
        if code is not None and code >= 400:
            name = "http_4xx" if code < 500 else "http_5xx"
            tally.sums[name] = tally.sums.get(name, 0) + codes.count(code)
    if lookups.count(None) < len(turns):
        found = [hit for hit in lookups if hit is not None]
        _put(tally, cache_lookups=len(found), cache_hits=sum(found))
    _spread(tally, "ttft", [us for us in ttfts if us is not None])
    generated = _generated(tokens_out, durations, ttfts)
    _put(
        tally,
        generated_tokens=sum([tokens for tokens, _ in generated]),
        generation_us=sum([us for _, us in generated]),
    )
    if _count_costs(tally, turns, costs, ""):
        priced = [(cost, event_id) for cost, event_id in zip(costs, ids, strict=True) if cost]
        tally.exemplars["costliest"] = _highest(*zip(*priced, strict=True))


_TURN = attrgetter(
    "event_id",
    "status",
    "http_status",
    "duration_us",
    "ttft_us",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "cost_picousd",
    "fallback_used",
    "cache_hit",
)


def _count_errors(tally: Tally, failed: Sequence[Interaction]) -> None:
    tally.labelled["errors_by_type"] = dict(
        Counter([turn.error_type or turn.status for turn in failed])
    )
    tally.exemplars["failing"] = _newest(failed)


def _generated(
    tokens_out: Sequence[int], durations: Sequence[int], ttfts: Sequence[int | None]
) -> list[tuple[int, int]]:
    """Returns output tokens, and the microseconds that it took to generate them."""
    return [
        (tokens, us - (ttft or 0))
        for tokens, us, ttft in zip(tokens_out, durations, ttfts, strict=True)
        if tokens and us > (ttft or 0)
    ]


def _count_components(
    tally: Tally, components: Sequence[dict[str, int]], durations: Sequence[int]
) -> None:
    if not all(components):
        measured = [(each, us) for each, us in zip(components, durations, strict=True) if each]
        if not measured:
            return
        components, durations = zip(*measured, strict=True)
    names = set(map(tuple, components))
    if len(names) == 1:  # nearly always
        columns = list(zip(*[each.values() for each in components], strict=True))
        values = {name: list(us) for name, us in zip(names.pop(), columns, strict=True)}
        spent = map(sum, zip(*columns, strict=True))
    else:
        values = {
            name: [each[name] for each in components if name in each]
            for name in {name for each in names for name in each}
        }
        spent = map(sum, [each.values() for each in components])
    for name, column in values.items():
        tally.components[name] = Values(column, tally.weight)
    rests = list(map(sub, durations, spent))
    if min(rests) < 0:  # components that ran side by side are longer than their turn
        rests = [max(rest, 0) for rest in rests]
    tally.components[UNACCOUNTED] = Values(rests, tally.weight)


def _count_costs(
    tally: Tally,
    metered: Sequence[Interaction] | Sequence[LlmCall],
    costs: Sequence[int | None],
    prefix: str,
) -> int:
    known = [cost for cost in costs if cost is not None]
    if len(known) < len(metered):
        unpriced = [each for each in metered if is_unpriced(each)]
        _put(tally, **{f"{prefix}unpriced": len(unpriced)})
        if unpriced and not prefix:
            tally.exemplars["unpriced"] = _newest(unpriced)
    total = sum(known)
    _put(tally, **{f"{prefix}priced": len(known), f"{prefix}cost_picousd": total})
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
    generated = _generated(
        [call.output_tokens for call in calls],
        [call.duration_us for call in calls],
        [call.ttft_us for call in calls],
    )
    rates = [tokens * _KILOSECOND_US // us for tokens, us in generated]
    _spread(tally, "output_rate", [min(rate, COUNT_MAX) for rate in rates])
    _count_costs(tally, calls, [call.cost_picousd for call in calls], "llm_")


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
            [-(each.value or 0) for each in ratings], [each.event_id for each in ratings]
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
        some = [each for each in crossings if each.limit == limit]
        tally.exemplars[over(limit)] = _highest(
            [each.total for each in some], [each.event_id for each in some]
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


_Count = Callable[[Tally, Any], None]

_COUNTS: dict[type, _Count] = {
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

_COUNTS_IN_BRIEF = {**_COUNTS, Interaction: _count_in_brief}


def _errors(observed: Sequence[LlmCall] | Sequence[Retrieval] | Sequence[ToolCall]) -> int:
    return sum([each.status in FAILED for each in observed])


def _put(tally: Tally, **sums: int) -> None:
    for name, n in sums.items():
        if n:
            tally.sums[name] = n


def _spread(tally: Tally, name: str, values: Sequence[int]) -> None:
    if values:
        tally.distributions[name] = Values(values, tally.weight)


def _scores(tally: Tally, name: str, values: Sequence[tuple[str, int]]) -> None:
    if values:
        by_label: dict[str, list[int]] = {}
        for label, value in values:
            by_label.setdefault(label, []).append(value)
        tally.scores[name] = by_label


def _newest(observed: Sequence[Observation]) -> list[tuple[int, str]]:
    return _highest([each.ts_us for each in observed], [each.event_id for each in observed])


def _highest(values: Sequence[int], ids: Sequence[str]) -> list[tuple[int, str]]:
    """Returns the highest values with their ids. What came twice stands there once, as if it had
    come in two batches: a state does not depend on where they were cut."""
    least = nlargest(EXEMPLARS_MAX, values)[-1]
    high = {each for each in zip(values, ids, strict=True) if each[0] >= least}
    if len(high) < EXEMPLARS_MAX:
        high = set(zip(values, ids, strict=True))  # some of them came twice
    return sorted(high, reverse=True)[:EXEMPLARS_MAX]
