"""What each kind of rule finds in a series. Pure: a view in, a finding out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from backchannel_processors.alert_state import Condition
from backchannel_processors.counting import over
from backchannel_processors.frames import HOUR, MINUTE, Calendar, Frame, frame_for
from backchannel_processors.history import Needs
from backchannel_processors.rule import (
    HELD_S_MAX,
    AnyRule,
    BudgetRule,
    BurnRateRule,
    BurnWindow,
    ChangeRule,
    ConversationRule,
    LagRule,
    NoDataRule,
    RatioRule,
    ThresholdRule,
)
from backchannel_processors.rule_metrics import METRICS, Metric, exemplars_of
from backchannel_processors.series_view import SeriesView

__all__ = ["Finding", "exemplars", "find", "find_lag", "find_silence", "needs"]

_HOUR_S = 3_600
_DAY_S = 86_400
_MARGIN_S = 2 * _HOUR_S


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found in a series."""

    condition: Condition
    value: float | None
    """``None`` when there are too few samples."""
    threshold: float
    samples: int
    window_s: int
    period_start_s: int | None = None
    """Of a calendar budget: where its period begins."""
    period_end_s: int | None = None
    complete: bool = True
    """The whole span was seen; a budget on something new has not seen its period's beginning."""


def find(rule: AnyRule, view: SeriesView) -> tuple[Finding, ...]:
    """Returns what the rule finds now; before it, what it finds in a period that has just ended."""
    match rule:
        case ThresholdRule():
            return (_threshold(rule, view),)
        case RatioRule():
            return (_ratio(rule, view),)
        case BurnRateRule():
            return (_burn_rate(rule, view),)
        case BudgetRule():
            return _budget(rule, view)
        case ChangeRule():
            return (_change(rule, view),)
        case ConversationRule():
            return (_conversation(rule, view),)
        case NoDataRule() | LagRule():
            return ()


def exemplars(rule: AnyRule, view: SeriesView, finding: Finding) -> list[str]:
    """Returns ids of events that show what the rule found, the worst first."""
    match rule:
        case ThresholdRule() | ChangeRule() | BudgetRule():
            name = METRICS[rule.metric].exemplars
        case RatioRule() | BurnRateRule():
            name = exemplars_of(rule.part)
        case ConversationRule():
            name = over(rule.limit.label)
        case NoDataRule() | LagRule():
            name = ""
    return view.exemplars(name, finding.window_s)


def find_silence(rule: NoDataRule, seen_us: int, read_us: int) -> Finding:
    """Returns what a rule finds of a series that was heard of at ``seen_us``, when everything up to
    ``read_us`` has been read."""
    silent_s = max(0, read_us - seen_us) / 1_000_000
    crossed = rule.window_s <= silent_s < rule.forget_after_s
    condition = Condition.CROSSED if crossed else Condition.CLEAR
    return Finding(condition, silent_s, float(rule.window_s), 0, rule.window_s)


def find_lag(rule: LagRule, lag_us: int) -> Finding:
    """Returns what a rule finds when not everything has been read for so long."""
    crossed = lag_us >= rule.window_s * 1_000_000
    condition = Condition.CROSSED if crossed else Condition.CLEAR
    return Finding(condition, lag_us / 1_000_000, float(rule.window_s), 0, rule.window_s)


def needs(rules: Sequence[AnyRule]) -> dict[str, Needs]:
    """Returns what the rules want to know of the past of the series of each grouping."""
    wanted: dict[str, Needs] = {}
    for rule in rules:
        wanted[rule.grouping] = wanted.get(rule.grouping, Needs()) | _needs(rule)
    return wanted


def _needs(rule: AnyRule) -> Needs:
    match rule:
        case ThresholdRule() | ChangeRule() | BudgetRule():
            quantities = _quantities(METRICS[rule.metric])
        case RatioRule():
            quantities = frozenset((rule.part, rule.of))
        case BurnRateRule():
            quantities = frozenset((rule.part, "count"))
        case ConversationRule():
            quantities = frozenset((over(rule.limit.label),))
        case NoDataRule() | LagRule():
            return Needs()
    return Needs(quantities, _frames(rule))


def _frames(rule: AnyRule) -> frozenset[Frame]:
    match rule:
        case BurnRateRule():
            spans = [span for pair in rule.windows for span in (pair.long_s, pair.short_s)]
        case BudgetRule() if not rule.rolling:
            return frozenset((_calendar(rule), *((MINUTE,) if rule.forecast else ())))
        case ChangeRule():
            return frozenset((HOUR, MINUTE))
        case _:
            spans = [rule.window_s]
    return frozenset(frame_for(span) for span in spans if span > HELD_S_MAX)


def _quantities(metric: Metric) -> frozenset[str]:
    return frozenset((*metric.needs, metric.samples))


def _totals(view: SeriesView, names: frozenset[str], window_s: int) -> Mapping[str, int]:
    if window_s <= HELD_S_MAX:
        return view.held_totals(names, window_s)
    return view.totals(names, window_s, frame_for(window_s))


# -- threshold and ratio -----------------------------------------------------------------------


def _threshold(rule: ThresholdRule, view: SeriesView) -> Finding:
    metric = METRICS[rule.metric]
    totals = _totals(view, _quantities(metric), rule.window_s)
    samples = totals[metric.samples]
    value = None
    if samples >= rule.min_samples:
        if metric.is_sum(rule.agg):
            value = metric.of_totals(totals, rule.window_s)
        else:
            assert metric.of_histogram is not None
            value = metric.of_histogram(view.span(rule.window_s), rule.agg)
    return _compared(rule, value, samples)


def _ratio(rule: RatioRule, view: SeriesView) -> Finding:
    totals = _totals(view, frozenset((rule.part, rule.of)), rule.window_s)
    whole = totals[rule.of]
    value = totals[rule.part] / whole if whole >= rule.min_samples else None
    return _compared(rule, value, whole)


def _compared(rule: ThresholdRule | RatioRule, value: float | None, samples: int) -> Finding:
    return Finding(_condition(rule, value, samples), value, rule.threshold, samples, rule.window_s)


def _condition(rule: ThresholdRule | RatioRule, value: float | None, samples: int) -> Condition:
    if value is None:
        return Condition.FEW if samples else Condition.SILENT
    if _beyond(rule.op, value, rule.threshold):
        return Condition.CROSSED
    clear = rule.clear_threshold
    if clear is not None and _beyond(rule.op, value, clear):
        return Condition.BETWEEN
    return Condition.CLEAR


def _beyond(op: str, value: float, threshold: float) -> bool:
    match op:
        case ">":
            return value > threshold
        case ">=":
            return value >= threshold
        case "<":
            return value < threshold
        case _:
            return value <= threshold


# -- burn rate ---------------------------------------------------------------------------------


def _burn_rate(rule: BurnRateRule, view: SeriesView) -> Finding:
    found = [_burn(rule, pair, view) for pair in rule.windows]
    for condition in (Condition.CROSSED, Condition.CLEAR, Condition.FEW):
        for finding in found:
            if finding.condition is condition:
                return finding
    return found[0]


def _burn(rule: BurnRateRule, pair: BurnWindow, view: SeriesView) -> Finding:
    """One pair of windows. The long one says that it matters, the short one that it still goes on;
    a span that the past does not reach back to yet counts what there is."""
    names = frozenset((rule.part, "count"))
    long = _totals(view, names, pair.long_s)
    short = _totals(view, names, pair.short_s)
    samples = long["count"]
    if samples < rule.min_samples:
        condition = Condition.FEW if samples else Condition.SILENT
        return Finding(condition, None, pair.factor, samples, pair.long_s)
    allowed = 1 - rule.objective
    burns = [
        each[rule.part] / each["count"] / allowed if each["count"] else 0.0
        for each in (long, short)
    ]
    burn = min(burns)
    condition = Condition.CROSSED if burn >= pair.factor else Condition.CLEAR
    return Finding(condition, burn, pair.factor, samples, pair.long_s)


# -- budget ------------------------------------------------------------------------------------


def _budget(rule: BudgetRule, view: SeriesView) -> tuple[Finding, ...]:
    metric = METRICS[rule.metric]
    names = _quantities(metric)
    if rule.rolling:
        frame = frame_for(rule.window_s)
        totals = view.totals(names, rule.window_s, frame)
        known = view.knows_since(frame, names)
        complete = known is not None and known <= view.end_s - rule.window_s
        value = metric.of_totals(totals, rule.window_s)
        return (_spent(rule, value, totals[metric.samples], complete=complete),)
    calendar = _calendar(rule)
    now_s = view.end_s - 1
    start_s = calendar.start(now_s)
    found: list[Finding] = []
    if start_s > view.oldest_held_s:
        # The period that has just ended may have been used up by what came at its very end.
        found.append(_period(rule, view, calendar, start_s - 1, forecast=False))
    found.append(_period(rule, view, calendar, now_s, forecast=rule.forecast))
    return tuple(found)


def _period(
    rule: BudgetRule, view: SeriesView, calendar: Calendar, at_s: int, *, forecast: bool
) -> Finding:
    metric = METRICS[rule.metric]
    names = _quantities(metric)
    totals = view.stretch(names, calendar, at_s)
    start_s = calendar.start(at_s)
    value = metric.of_totals(totals, rule.window_s)
    if forecast:
        last_hour = metric.of_totals(view.totals(names, _HOUR_S, MINUTE), _HOUR_S)
        value += last_hour / _HOUR_S * (calendar.end(at_s) - view.end_s)
    known = view.knows_since(calendar, names)
    complete = known is not None and known <= start_s
    period = (start_s, calendar.end(at_s))
    return _spent(rule, value, totals[metric.samples], period, complete=complete)


def _spent(
    rule: BudgetRule,
    value: float,
    samples: int,
    period: tuple[int, int] | None = None,
    *,
    complete: bool,
) -> Finding:
    crossed = value >= rule.threshold and samples >= rule.min_samples
    condition = Condition.CROSSED if crossed else Condition.CLEAR
    start_s, end_s = period or (None, None)
    window_s = rule.window_s
    return Finding(condition, value, rule.threshold, samples, window_s, start_s, end_s, complete)


def _calendar(rule: BudgetRule) -> Calendar:
    keep_s = (31 * _DAY_S if rule.period == "month" else rule.window_s) + _DAY_S
    return Calendar(rule.period, rule.time_zone, keep_s)


# -- change ------------------------------------------------------------------------------------


def _change(rule: ChangeRule, view: SeriesView) -> Finding:
    """The last hour against the same hour of earlier days. Those are mixed of the two hours that it
    reaches into, by how far it reaches into them."""
    metric = METRICS[rule.metric]
    names = _quantities(metric)
    totals = view.totals(names, _HOUR_S, MINUTE)
    samples = totals[metric.samples]
    if samples < rule.min_samples:
        condition = Condition.FEW if samples else Condition.SILENT
        return Finding(condition, None, rule.threshold, samples, rule.window_s)
    earlier = _earlier(rule, view, metric)
    if len(earlier) < rule.min_days:
        return Finding(Condition.FEW, None, rule.threshold, samples, rule.window_s, complete=False)
    middle = median(earlier)
    value = metric.of_totals(totals, _HOUR_S)
    spread = 1.4826 * median(abs(each - middle) for each in earlier)
    distance = value - middle
    if rule.direction != "both":
        distance = max(0.0, distance if rule.direction == "up" else -distance)
    enough = abs(distance) > rule.min_change * abs(middle)
    far = abs(distance) > rule.threshold * spread
    condition = Condition.CROSSED if enough and far else Condition.CLEAR
    limit = max(rule.threshold * spread, rule.min_change * abs(middle))
    side = -1 if value < middle else 1
    return Finding(condition, value, middle + side * limit, samples, rule.window_s)


def _earlier(rule: ChangeRule, view: SeriesView, metric: Metric) -> list[float]:
    names = sorted(_quantities(metric))
    into_s = view.end_s % _HOUR_S
    values: list[float] = []
    for day in range(1, rule.days + 1):
        end_s = view.end_s - day * _DAY_S
        current = view.stretch(names, HOUR, end_s)
        before = view.stretch(names, HOUR, end_s - _HOUR_S)
        mixed = {
            name: (current[name] * into_s + before[name] * (_HOUR_S - into_s)) // _HOUR_S
            for name in names
        }
        if mixed[metric.samples] >= rule.min_samples:
            values.append(metric.of_totals(mixed, _HOUR_S))
    return values


# -- conversation ------------------------------------------------------------------------------


def _conversation(rule: ConversationRule, view: SeriesView) -> Finding:
    """Its value is the most that a conversation had come to when it went over, of those that did
    so in the windows that are held."""
    name = over(rule.limit.label)
    conversations = _totals(view, frozenset((name,)), rule.window_s)[name]
    most = view.highest(name, rule.window_s)
    condition = Condition.CROSSED if conversations >= rule.min_samples else Condition.CLEAR
    value = None if most is None else rule.value(most)
    return Finding(condition, value, rule.threshold, conversations, rule.window_s)
