"""Alerts: what the rules decide about the series of one merge partition. Pure; time is an argument.

The last transition of each alert stands on ``chat.alerts`` itself: what subscribers see and what
the next owner starts from are the same bytes. What it needs besides (since when it is pending, when
it was last beyond its threshold) is a ``Memory``, written with the checkpoints. A crash loses at
most the memory since the last checkpoint, and never a transition: those are read back from the
topic, and win.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import msgspec

from backchannel.events import LIVE, Alert, BudgetState
from backchannel.events.alert import EXEMPLARS_MAX, Reason
from backchannel_processors.alert_state import (
    FLAPS_MAX,
    INACTIVE,
    Condition,
    Memory,
    Phase,
    Reading,
    Timing,
    step,
)
from backchannel_processors.annotations import EVIDENCE, amount, fill, sql_text
from backchannel_processors.counters import MergeCounters
from backchannel_processors.durations import duration_text
from backchannel_processors.erasures import Erasures
from backchannel_processors.groupings import Dims, series_key
from backchannel_processors.history import History
from backchannel_processors.kinds import Finding, exemplars, find, find_lag, find_silence, needs
from backchannel_processors.lag_watch import LagWatch
from backchannel_processors.measures import SUM_MAX, Exemplar, Measures
from backchannel_processors.partials import VERSION
from backchannel_processors.rule import KINDS, AnyRule, BudgetRule, LagRule, NoDataRule
from backchannel_processors.rule_metrics import METRICS
from backchannel_processors.rules import Rules
from backchannel_processors.series_view import SeriesView
from backchannel_processors.silence_watch import SilenceWatch
from backchannel_processors.states import Entry, decode_state, encode_state

__all__ = [
    "BUDGETS_MAX",
    "STATE_KINDS",
    "AlertBook",
    "Clocks",
    "ErasedAlerts",
    "Windows",
    "alert_id",
]

SeriesKey = tuple[str, Dims]

Windows = Callable[[str, Dims], Iterable[tuple[int, Measures]]]
"""Returns the live 10 s windows of a series that are held, by their start in Unix seconds."""

BUDGETS_MAX = 100_000
"""Budgets of which bots are told, of one merge partition; alerts fire for further ones all the
same."""

_BUDGET_STEP = 0.01

STATE_KINDS = frozenset(("memory", "past", "began", "seen", "quiet"))
"""The kinds of entries on the changelog of the merge agent that are a book's."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """What time it is, in every sense that matters."""

    now_us: int
    """Wall clock."""
    reached_us: int = 0
    """Event time that all source partitions have reached."""
    read_us: int = 0
    """Wall clock up to which every source partition has been read."""


@dataclass(frozen=True, slots=True)
class ErasedAlerts:
    """Alerts of those who were erased."""

    ended: list[Alert]
    """The ends of those that fired, to be told first."""
    ids: list[str]
    """Ids of all of them, whose records are then to be taken back."""


@dataclass(frozen=True, slots=True)
class _Place:
    rule: str
    grouping: str
    dims: Dims


class _MemoryKey(msgspec.Struct, array_like=True, frozen=True):
    kind: str
    rule: str
    grouping: str
    dims: Dims


class _MemoryState(msgspec.Struct, array_like=True, frozen=True):
    v: int
    memory: Memory


_decode_memory_key = msgspec.json.Decoder(_MemoryKey).decode


@dataclass(frozen=True, slots=True)
class _Moment:
    """When and on what a decision rests."""

    clocks: Clocks
    at_us: int
    end_s: int
    newest: Exemplar = (0, "")
    """Event time and id of the newest event that it contains."""
    exemplars: Callable[[AnyRule, Finding], list[str]] = lambda _, __: []


class AlertBook:
    """The alerts of the series of one merge partition. Owned by one task at a time."""

    def __init__(
        self, rules: Rules, *, is_first: bool = True, counters: MergeCounters | None = None
    ) -> None:
        counters = counters or MergeCounters()
        self.is_first = is_first
        """Of all partitions it is the one that decides what is decided once for everything."""
        self.lag = LagWatch()
        self.history = History({}, counters)
        self.silence = SilenceWatch(counters)
        self._last: dict[_Place, Alert] = {}
        self._memory: dict[_Place, Memory] = {}
        self._unsaved: dict[_Place, None] = {}
        self._restless: dict[SeriesKey, None] = {}
        self._reached_us = 0
        self._budgets: dict[_Place, BudgetState] = {}
        self._untold_budgets: dict[_Place, None] = {}
        self.use(rules)

    def use(self, rules: Rules) -> None:
        """Goes on with other rules. What was pending or fires under a rule of the same name goes
        on; the next ``decide`` ends the rest."""
        self._retiring = True
        self._rules = rules
        self._by_name = {rule.name: rule for rule in rules.all}
        self._watching: dict[str, list[AnyRule]] = {}
        self._missing: dict[str, list[NoDataRule]] = {}
        self._lagging = [rule for rule in rules.all if isinstance(rule, LagRule)]
        for rule in rules.all:
            if isinstance(rule, LagRule):
                continue
            if isinstance(rule, NoDataRule):
                self._missing.setdefault(rule.grouping, []).append(rule)
            else:
                self._watching.setdefault(rule.grouping, []).append(rule)
        self.history.expect(needs(rules.all))

    # -- what happens ----------------------------------------------------------------------------

    def changed(self, grouping: str, dims: Dims, newest: Exemplar) -> None:
        """Notes that a live series has new events, and the newest one of them."""
        self.look_at(grouping, dims)
        if grouping in self._missing:
            self.silence.saw((grouping, dims), newest)

    def look_at(self, grouping: str, dims: Dims) -> None:
        """Has a series looked at by the next ``decide``."""
        if grouping in self._watching:
            self._restless[grouping, dims] = None

    def fold(self, start: int, series: Iterable[tuple[SeriesKey, Measures]]) -> None:
        """Takes what live series did in a window that is let go of. Windows come in their order."""
        for (grouping, dims), measures in series:
            self.history.fold(start, grouping, dims, measures)

    def decide(self, windows: Windows, clocks: Clocks) -> list[Alert]:
        """Returns the transitions that follow from what happened since the last call."""
        if clocks.reached_us > self._reached_us:
            # Time alone ends an alert, when the traffic that it fired for has stopped.
            self._reached_us = clocks.reached_us
            self._restless.update(dict.fromkeys(self._waiting()))
        restless, self._restless = self._restless, {}
        decided = self.retire(clocks.now_us) if self._retiring else []
        for grouping, dims in restless:
            rules = [rule for rule in self._watching.get(grouping, ()) if rule.covers(dims)]
            if rules:
                decided += self._decide_series(rules, grouping, dims, windows, clocks)
        if self.silence.advance(clocks.read_us):
            decided += self._decide_silence(clocks)
        if self.is_first:
            decided += self._decide_lag(clocks)
        return decided

    def retire(self, now_us: int) -> list[Alert]:
        """Returns the ends of firing alerts whose rule is gone or is about something else now."""
        self._retiring = False
        ended: list[Alert] = []
        for place, memory in list(self._memory.items()):
            if memory.phase is Phase.PENDING and not self._goes_on(place):
                self._remember(place, Memory(transition=memory.transition))
        for place, last in list(self._last.items()):
            if last.state == "firing" and not self._goes_on(place):
                memory = self._recall(place)
                over = msgspec.structs.replace(
                    memory, phase=Phase.RESOLVED, transition=last.transition + 1
                )
                moment = _Moment(Clocks(now_us), memory.at_us, last.window_end_us // 1_000_000)
                self._remember(place, over)
                finding = Finding(Condition.SILENT, None, last.threshold, 0, last.window_s)
                ended.append(self._resolved(place, last, finding, moment, "rule_gone"))
        return ended

    def _goes_on(self, place: _Place) -> bool:
        rule = self._by_name.get(place.rule)
        return rule is not None and rule.grouping == place.grouping and rule.covers(place.dims)

    def phases(self) -> Iterator[tuple[str, str, Dims, Phase]]:
        """Yields rule, grouping, dims and phase of every alert that is not at rest."""
        for place, memory in self._memory.items():
            yield place.rule, place.grouping, place.dims, memory.phase

    def _waiting(self) -> Iterator[SeriesKey]:
        """Yields the series for which time alone may change something."""
        for place, memory in self._memory.items():
            if memory.phase in (Phase.PENDING, Phase.FIRING):
                yield place.grouping, place.dims

    # -- deciding --------------------------------------------------------------------------------

    def _decide_series(
        self, rules: list[AnyRule], grouping: str, dims: Dims, windows: Windows, clocks: Clocks
    ) -> Iterator[Alert]:
        view = SeriesView(
            grouping, dims, windows(grouping, dims), self.history, reached_us=self._reached_us
        )
        moment = _Moment(
            clocks,
            view.at_us,
            view.end_s,
            view.newest,
            lambda rule, finding: exemplars(rule, view, finding),
        )
        for rule in rules:
            place = _Place(rule.name, grouping, dims)
            *earlier, current = find(rule, view)
            for finding in earlier:
                if finding.condition is Condition.CROSSED and not self._told(place, finding):
                    yield from self._step(rule, place, finding, moment)
            yield from self._step(rule, place, current, moment)
            if isinstance(rule, BudgetRule) and current.value is not None:
                self._note_budget(rule, place, current, clocks.now_us)

    def _note_budget(self, rule: BudgetRule, place: _Place, finding: Finding, now_us: int) -> None:
        """Notes what is worth telling to bots: a hundredth more is spent, or a period begins."""
        assert finding.value is not None
        end_s = finding.period_end_s
        state = BudgetState(
            alert_id=alert_id(rule.name, place.grouping, place.dims),
            rule=rule.name,
            dims=dict(zip(rule.by, place.dims, strict=True)),
            metric=rule.metric,
            spent=finding.value,
            limit=rule.threshold,
            period_end_us=None if end_s is None else end_s * 1_000_000,
            complete=finding.complete,
            evaluated_at_us=now_us,
        )
        known = self._budgets.get(place)
        if (
            known is not None
            and known.period_end_us == state.period_end_us
            and known.limit == state.limit
            and abs(state.share - known.share) < _BUDGET_STEP
            and (state.share >= 1) == (known.share >= 1)
        ):
            return
        if place in self._budgets or len(self._budgets) < BUDGETS_MAX:
            self._budgets[place] = state
            self._untold_budgets[place] = None

    def budgets(self) -> list[BudgetState]:
        """Returns the budgets of which there is something new since the last call."""
        told = [self._budgets[place] for place in self._untold_budgets]
        self._untold_budgets.clear()
        return told

    def _told(self, place: _Place, finding: Finding) -> bool:
        """Says whether the budget of that period, or of a later one, was found used up before."""
        last = self._last.get(place)
        if last is None or last.period_start_us is None or finding.period_start_s is None:
            return False
        return last.period_start_us >= finding.period_start_s * 1_000_000

    def _decide_silence(self, clocks: Clocks) -> Iterator[Alert]:
        clock_us = self.silence.clock_us
        for series, seen in list(self.silence.items().items()):
            rules = [r for r in self._missing.get(series[0], ()) if r.covers(series[1])]
            for rule in rules:
                finding = find_silence(rule, seen.at_us, clock_us)
                # On its own clock: it may stand still, but it never goes back.
                newest = seen.newest
                if not newest[1]:  # an earlier owner knew it
                    newest = (clocks.now_us - clock_us + seen.at_us, "")
                moment = _Moment(clocks, clock_us, clocks.now_us // 1_000_000, newest)
                yield from self._step(rule, _Place(rule.name, *series), finding, moment)
            longest_s = max((rule.forget_after_s for rule in rules), default=0)
            fires = any(
                self._recall(_Place(rule.name, *series)).phase is Phase.FIRING for rule in rules
            )
            if clock_us - seen.at_us >= longest_s * 1_000_000 and not fires:
                self.silence.forget(series)

    def _decide_lag(self, clocks: Clocks) -> Iterator[Alert]:
        lag_us = self.lag.look(clocks.now_us, clocks.read_us)
        now_us = clocks.now_us
        for rule in self._lagging:
            finding = find_lag(rule, lag_us)
            moment = _Moment(clocks, now_us, now_us // 1_000_000, (now_us - lag_us, ""))
            yield from self._step(rule, _Place(rule.name, "", ()), finding, moment)

    def _step(
        self, rule: AnyRule, place: _Place, finding: Finding, moment: _Moment
    ) -> Iterator[Alert]:
        memory = self._recall(place)
        if memory.is_forgettable and finding.condition is not Condition.CROSSED:
            return
        timing = Timing(
            rule.for_s * 1_000_000, rule.keep_firing_for_s * 1_000_000, rule.window_s * 1_000_000
        )
        after = step(memory, Reading(moment.at_us, finding.condition), timing)
        if after != memory:
            self._remember(place, after)
        if after.transition == memory.transition:
            return
        last = self._last.get(place)
        if after.phase is Phase.FIRING:
            yield self._fired(rule, place, finding, moment, after)
        else:
            assert last is not None, "what ends has begun"
            yield self._resolved(place, last, finding, moment, _reason(rule, after))

    def _recall(self, place: _Place) -> Memory:
        """Returns what is known of an alert; what stands on ``chat.alerts`` wins."""
        memory = self._memory.get(place)
        last = self._last.get(place)
        if last is None or (memory is not None and memory.transition >= last.transition):
            return memory or INACTIVE
        # Silence has a clock of its own, and goes on from wherever that stands.
        at_us = 0 if last.kind == "no_data" else last.trigger_event_at_us
        fired_us = memory.fired_us if memory else ()
        if last.state == "firing":
            fired_us = (*fired_us, at_us)[-FLAPS_MAX:]
            return Memory(Phase.FIRING, last.transition, at_us, at_us, at_us, at_us, fired_us)
        phase = Phase.NO_DATA if last.reason == "no_data" else Phase.RESOLVED
        return Memory(phase, last.transition, at_us, at_us, fired_us=fired_us)

    def _remember(self, place: _Place, memory: Memory) -> None:
        self._memory[place] = memory
        self._unsaved[place] = None

    def _fired(
        self, rule: AnyRule, place: _Place, finding: Finding, moment: _Moment, memory: Memory
    ) -> Alert:
        dims = dict(zip(rule.by, place.dims, strict=True))
        start_s = finding.period_start_s
        alert = Alert(
            alert_id=alert_id(rule.name, place.grouping, place.dims),
            transition=memory.transition,
            rule=rule.name,
            kind=rule.kind,
            rules_hash=self._rules.hash,
            state="firing",
            severity=rule.severity,
            origin=LIVE,
            grouping=place.grouping,
            dims=dims,
            labels=rule.labels,
            annotations=_texts(rule, dims, finding, moment),
            metric=rule.metric,
            agg=rule.agg,
            op=rule.op,
            threshold=finding.threshold,
            value=finding.value,
            sample_count=min(finding.samples, SUM_MAX),
            window_s=finding.window_s,
            window_end_us=moment.end_s * 1_000_000,
            period_start_us=None if start_s is None else start_s * 1_000_000,
            complete=finding.complete,
            flapping=memory.flaps,
            starts_at_us=moment.clocks.now_us,
            trigger_event_id=moment.newest[1],
            trigger_event_at_us=moment.newest[0],
            evaluated_at_us=moment.clocks.now_us,
            exemplars=moment.exemplars(rule, finding)[:EXEMPLARS_MAX],
        )
        self._last[place] = alert
        return alert

    def _resolved(
        self, place: _Place, last: Alert, finding: Finding, moment: _Moment, reason: Reason
    ) -> Alert:
        now_us = moment.clocks.now_us
        at_us, event_id = moment.newest
        alert = last.model_copy(
            update={
                "transition": last.transition + 1,
                "rules_hash": self._rules.hash,
                "state": "resolved",
                "reason": reason,
                "value": finding.value,
                "sample_count": min(finding.samples, SUM_MAX),
                "window_end_us": moment.end_s * 1_000_000,
                "ends_at_us": now_us,
                "trigger_event_id": event_id if at_us else last.trigger_event_id,
                "trigger_event_at_us": at_us or last.trigger_event_at_us,
                "evaluated_at_us": now_us,
            }
        )
        self._last[place] = alert
        return alert

    # -- erasing ---------------------------------------------------------------------------------

    def erase_alerts(self, erasures: Erasures) -> ErasedAlerts:
        """Forgets the alerts of those who were erased. Those that fire end, as of the request."""
        erased = ErasedAlerts([], [])
        for place, last in list(self._last.items()):
            at_us = min(last.evaluated_at_us, last.trigger_event_at_us)
            if not erasures.covers(place.grouping, place.dims, at_us):
                continue
            if last.state == "firing":
                asked_us = erasures.asked_us(place.grouping, place.dims)
                told = {"state": "resolved", "reason": "no_data", "ends_at_us": asked_us}
                told |= {"transition": last.transition + 1, "evaluated_at_us": asked_us}
                erased.ended.append(last.model_copy(update=told))
            erased.ids.append(last.alert_id)
            del self._last[place]
            # Whoever is of that name next begins anew, and what follows is written as gone.
            self._memory[place] = INACTIVE
        return erased

    def erase(self, erasures: Erasures) -> Iterator[Entry]:
        """Forgets what else is known of those who were erased, after ``erase_alerts``; yields the
        deletions to be written."""
        for place, memory in list(self._memory.items()):
            if erasures.covers(place.grouping, place.dims, memory.since_us):
                del self._memory[place]
                self._unsaved.pop(place, None)
                yield _memory_key(place), None
        for place, budget in list(self._budgets.items()):
            if erasures.covers(place.grouping, place.dims, budget.evaluated_at_us):
                del self._budgets[place]
                self._untold_budgets.pop(place, None)
        yield from self.history.erase(erasures)
        yield from self.silence.erase(erasures)

    # -- keeping ---------------------------------------------------------------------------------

    def restore(self, alerts: Iterable[Alert]) -> None:
        """Takes back what stands on ``chat.alerts``, in any order, with repeats. What is of no kind
        of rule is not the workers': the notifier raises ``pipeline_down`` itself."""
        for alert in alerts:
            if alert.kind not in KINDS:
                continue
            place = _Place(alert.rule, alert.grouping, tuple(alert.dims.values()))
            known = self._last.get(place)
            if known is None or alert.transition > known.transition:
                self._last[place] = alert

    def restore_entry(self, kind: str, key: bytes, value: bytes | None) -> None:
        """Takes back one entry of ``changes`` or ``forget``; they come in the order of the log.

        Raises:
            StateError: another version wrote it.
        """
        match kind:
            case "memory":
                self._restore_memory(key, value)
            case "past" | "began":
                self.history.restore(key, value)
            case _:
                self.silence.restore(key, value)

    def _restore_memory(self, key: bytes, value: bytes | None) -> None:
        found = _decode_memory_key(key)
        place = _Place(found.rule, found.grouping, found.dims)
        if value is None:
            self._memory.pop(place, None)
            return
        memory = decode_state(value, _MemoryState).memory
        known = self._memory.get(place)
        if known is None or memory.at_us >= known.at_us:
            self._memory[place] = memory

    def restored(self) -> None:
        """To be called once everything was taken back: what may have been decided is looked at."""
        for place, last in self._last.items():
            if last.state != "firing":
                continue
            self._memory[place] = self._recall(place)
            series = (place.grouping, place.dims)
            if last.kind == "no_data" and series not in self.silence.items():
                self.silence.saw(series)  # else nothing would ever end it
        self._restless.update(dict.fromkeys(self._waiting()))

    def changes(self) -> Iterator[Entry]:
        """Yields what is to be written since the last call."""
        for place in self._unsaved:
            memory = self._memory[place]
            key = _memory_key(place)
            if memory.is_forgettable:
                del self._memory[place]
                yield key, None
            else:
                yield key, encode_state(_MemoryState(VERSION, memory))
        self._unsaved.clear()
        yield from self.history.changes()
        yield from self.silence.changes()

    def forget(self) -> Iterator[Entry]:
        """Lets go of the past that no rule looks back on; yields the deletions to be written."""
        yield from self.history.forget(self._reached_us // 1_000_000)


def alert_id(rule: str, grouping: str, dims: Dims) -> str:
    """Returns the name of the alert of a rule over a series: the same for ever and everywhere."""
    return hashlib.sha256(f"{rule}\x1e{series_key(grouping, dims)}".encode()).hexdigest()[:32]


def _memory_key(place: _Place) -> bytes:
    return encode_state(_MemoryKey("memory", place.rule, place.grouping, place.dims))


def _reason(rule: AnyRule, memory: Memory) -> Reason:
    if isinstance(rule, BudgetRule) and not rule.rolling:
        return "period_over"
    return "no_data" if memory.phase is Phase.NO_DATA else "clear"


def _texts(
    rule: AnyRule, dims: dict[str, str], finding: Finding, moment: _Moment
) -> dict[str, str]:
    unit = "s" if isinstance(rule, NoDataRule | LagRule) else _unit(rule)
    start_s = finding.period_start_s
    from_s = moment.end_s - finding.window_s if start_s is None else start_s
    values = {
        "rule": rule.name,
        "severity": rule.severity,
        "metric": rule.metric,
        "value": amount(finding.value, unit),
        "threshold": amount(finding.threshold, unit),
        "samples": f"{finding.samples:,}",
        "window": duration_text(finding.window_s),
        "from": str(from_s),
        "to": str(moment.end_s),
    }
    quoted = values | {name: sql_text(value) for name, value in dims.items()}
    return {
        name: fill(text, quoted if name == EVIDENCE else values | dims)
        for name, text in rule.annotations.items()
    }


def _unit(rule: AnyRule) -> str:
    match rule.kind:
        case "ratio":
            return "share"
        case "burn_rate":
            return "times"
        case "conversation":
            return rule.unit
        case _:
            return METRICS[rule.metric].unit
