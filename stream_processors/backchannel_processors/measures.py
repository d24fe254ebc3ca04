"""The state of a series in a window: all its measures, by name.

Two states merge to exactly the state that all their events would have made together, in any order
and any grouping. What each name means stands in ``backchannel.events.Window``; how events are
counted, in ``counting``.
"""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec

from backchannel_processors.distinct import Marks, Registers
from backchannel_processors.distributions import Distribution, Score, Values

__all__ = [
    "EXEMPLARS_MAX",
    "LABELS_MAX",
    "OTHER",
    "SUM_MAX",
    "Exemplar",
    "Measures",
    "Tally",
    "bounded",
    "bounded_counts",
    "merged",
]

LABELS_MAX = 32
"""Names of error types, components, scores and gauges that are kept apart in one window of one
series; the rest is counted under ``OTHER``."""

OTHER = "__other__"
"""What stands for everything beyond a bound: labels and values of dimensions."""

SUM_MAX = 2**63 - 1
"""Sums stop here in a row: ClickHouse and JSON readers hold 64 bits. Costs have 128."""

EXEMPLARS_MAX = 3

Exemplar = tuple[int, str]
"""By what it was chosen, and the event's id."""

_NO_DISTRIBUTION = Distribution()


class Tally:
    """What some events of one weight add to any state: counted once, added to many."""

    __slots__ = (
        "components",
        "distinct",
        "distributions",
        "exemplars",
        "labelled",
        "newest",
        "scores",
        "sums",
        "weight",
    )

    def __init__(self, weight: int, newest: Exemplar) -> None:
        self.weight = weight
        self.newest = newest
        """Event time and id of the newest event."""
        self.sums: dict[str, int] = {}
        self.labelled: dict[str, dict[str, int]] = {}
        self.distributions: dict[str, Values] = {}
        self.components: dict[str, Values] = {}
        self.scores: dict[str, dict[str, list[int]]] = {}
        self.distinct: dict[str, Marks] = {}
        self.exemplars: dict[str, list[Exemplar]] = {}


class Measures(msgspec.Struct, array_like=True):
    """All that is known of one series in one window. Counts are weighted by ``sample_weight``.

    Sparse: a measure of which no event spoke is not there.
    """

    newest: Exemplar = (0, "")
    """Event time and id of the newest event; of several at that time, of the one last by id."""
    sums: dict[str, int] = {}
    labelled: dict[str, dict[str, int]] = {}
    """Counts by label, by measure."""
    distributions: dict[str, Distribution] = {}
    components: dict[str, Distribution] = {}
    scores: dict[str, dict[str, Score]] = {}
    distinct: dict[str, Registers] = {}
    exemplars: dict[str, list[Exemplar]] = {}
    """The highest ones first."""

    # -- reading ---------------------------------------------------------------------------------

    def sum(self, name: str) -> int:
        """Returns a sum; 0 when no event had anything to add."""
        return self.sums.get(name, 0)

    def distribution(self, name: str) -> Distribution:
        """Returns a distribution; an empty one when there was no value."""
        return self.distributions.get(name, _NO_DISTRIBUTION)

    def labels(self, name: str) -> dict[str, int]:
        """Returns counts by label."""
        return self.labelled.get(name, {})

    def score(self, name: str, label: str) -> Score | None:
        """Returns one of ``evaluations``, ``feedback`` or ``gauges``; ``None`` without a value."""
        return self.scores.get(name, {}).get(label)

    @property
    def count(self) -> int:
        return self.sums.get("count", 0)

    @property
    def errors(self) -> int:
        return self.sums.get("errors", 0)

    @property
    def newest_event_at_us(self) -> int:
        return self.newest[0]

    @property
    def late(self) -> int:
        """Events that came when the window was closed; nothing else here contains them."""
        return self.sums.get("late", 0)

    @property
    def input_tokens(self) -> int:
        return self.sums.get("input_tokens", 0)

    @property
    def output_tokens(self) -> int:
        return self.sums.get("output_tokens", 0)

    @property
    def latency(self) -> Distribution:
        """How long interactions took, microseconds."""
        return self.distributions.get("latency", _NO_DISTRIBUTION)

    @property
    def latency_count(self) -> int:
        return self.latency.count

    @property
    def latency_sum_us(self) -> int:
        return self.latency.sum

    @property
    def latency_min_us(self) -> int | None:
        return self.latency.least

    @property
    def latency_max_us(self) -> int:
        return self.latency.most

    @property
    def latency_buckets(self) -> dict[int, int]:
        return self.latency.buckets

    @property
    def brief(self) -> "Measures":
        """What alert rules look at: without components and distinct users and sessions, which are
        most of the bytes. Shares everything with this state."""
        return Measures(
            self.newest,
            self.sums,
            self.labelled,
            self.distributions,
            scores=self.scores,
            exemplars=self.exemplars,
        )

    # -- adding up -------------------------------------------------------------------------------

    @classmethod
    def brief_of(cls, tallies: Sequence[Tally]) -> "Measures":
        """Returns ``brief`` of what some events add up to."""
        measures = cls()
        measures._take_brief(tallies)
        measures._bound()
        return measures

    def take(self, tallies: Sequence[Tally]) -> None:
        """Adds events, and keeps the bound on labels: of too many the first by name stay, which
        does not depend on any order."""
        self._take_brief(tallies)
        for tally in tallies:
            for name, marks in tally.distinct.items():
                self._registers(name).take(marks)
        _spread(self.components, [tally.components for tally in tallies])
        self._bound()

    def _take_brief(self, tallies: Sequence[Tally]) -> None:
        for tally in tallies:
            self._take_one(tally)
        _spread(self.distributions, [tally.distributions for tally in tallies])

    def _take_one(self, tally: Tally) -> None:
        times = tally.weight
        self.newest = max(self.newest, tally.newest)
        sums = self.sums
        for name, n in tally.sums.items():
            sums[name] = sums.get(name, 0) + n * times
        for name, counts in tally.labelled.items():
            known = self.labelled.setdefault(name, {})
            for label, n in counts.items():
                known[label] = known.get(label, 0) + n * times
        for name, scores in tally.scores.items():
            held = self.scores.setdefault(name, {})
            for label, each in scores.items():
                if label not in held:
                    held[label] = Score()
                held[label].take(each, times)
        self._choose(tally.exemplars)

    def add(self, other: "Measures") -> None:
        """Adds another state, and keeps the bound on labels."""
        self.exchange(_NOTHING, other)
        self._bound()

    def _bound(self) -> None:
        for name, counts in self.labelled.items():
            if len(counts) > LABELS_MAX:
                self.labelled[name] = bounded_counts(counts)
        if len(self.components) > LABELS_MAX:
            self.components = bounded(self.components, Distribution)
        for name, scores in self.scores.items():
            if len(scores) > LABELS_MAX:
                self.scores[name] = bounded(scores, Score)

    def contains_labels_of(self, old: "Measures") -> bool:
        """Says whether ``exchange`` may take ``old`` out for this one: not when one of its labels
        has gone under ``OTHER`` meanwhile."""
        return (
            old.components.keys() <= self.components.keys()
            and all(
                counts.keys() <= self.labels(name).keys() for name, counts in old.labelled.items()
            )
            and all(
                scores.keys() <= self.scores.get(name, {}).keys()
                for name, scores in old.scores.items()
            )
        )

    def exchange(self, old: "Measures", new: "Measures") -> None:
        """Takes ``old`` out of this sum and ``new`` in. No bound on labels here.

        ``new`` must contain everything that ``old`` does: states only grow, so the extremes need
        no second look.
        """
        self.newest = max(self.newest, new.newest)
        _exchange_counts(self.sums, old.sums, new.sums)
        for name, counts in new.labelled.items():
            known = self.labelled.setdefault(name, {})
            _exchange_counts(known, old.labels(name), counts)
        _exchange_all(self.distributions, old.distributions, new.distributions, Distribution)
        _exchange_all(self.components, old.components, new.components, Distribution)
        for name, scores in new.scores.items():
            held = self.scores.setdefault(name, {})
            _exchange_all(held, old.scores.get(name, {}), scores, Score)
        for name, registers in new.distinct.items():
            self._registers(name).unite(registers)
        self._choose(new.exemplars)

    def _registers(self, name: str) -> Registers:
        if name not in self.distinct:
            self.distinct[name] = Registers()
        return self.distinct[name]

    def _choose(self, exemplars: dict[str, list[Exemplar]]) -> None:
        for name, found in exemplars.items():
            known = self.exemplars.get(name)
            if not known:
                self.exemplars[name] = list(found)
            elif known != found and (found[0] > known[-1] or len(known) < EXEMPLARS_MAX):
                self.exemplars[name] = sorted({*found, *known}, reverse=True)[:EXEMPLARS_MAX]


def merged(states: Iterable[Measures]) -> Measures:
    """Returns the sum of states, as a state of its own. No bound on labels here."""
    total = Measures()
    for state in states:
        total.exchange(_NOTHING, state)
    return total


_NOTHING = Measures()

_Addable = TypeVar("_Addable", Distribution, Score)


def bounded(known: dict[str, _Addable], kind: type[_Addable]) -> dict[str, _Addable]:
    """Returns at most ``LABELS_MAX`` of the labels, the rest added up under ``OTHER``."""
    if len(known) <= LABELS_MAX:
        return known
    names = sorted(name for name in known if name != OTHER)
    kept = {name: known[name] for name in names[: LABELS_MAX - 1]}
    rest = kept[OTHER] = kind()
    for name, each in known.items():
        if name not in kept or name == OTHER:
            rest.add(each)
    return kept


def bounded_counts(known: dict[str, int]) -> dict[str, int]:
    """Returns what ``bounded`` does, of plain counts."""
    if len(known) <= LABELS_MAX:
        return known
    names = sorted(name for name in known if name != OTHER)
    kept = {name: known[name] for name in names[: LABELS_MAX - 1]}
    kept[OTHER] = sum(known.values()) - sum(kept.values())
    return kept


def _spread(into: dict[str, Distribution], spreads: Sequence[dict[str, Values]]) -> None:
    if len(spreads) == 1:
        together = {name: [values] for name, values in spreads[0].items()}
    else:
        together = {}
        for spread in spreads:
            for name, values in spread.items():
                together.setdefault(name, []).append(values)
    for name, many in together.items():
        known = into.get(name)
        if known is None:
            known = into[name] = Distribution()
        known.take(many)


def _exchange_counts(sums: dict[str, int], old: dict[str, int], new: dict[str, int]) -> None:
    for name, n in new.items():
        step = n - old.get(name, 0)
        if step:
            sums[name] = sums.get(name, 0) + step


def _exchange_all(
    into: dict[str, _Addable],
    old: dict[str, _Addable],
    new: dict[str, _Addable],
    kind: type[_Addable],
) -> None:
    for name, each in new.items():
        known = into.get(name)
        if known is None:
            known = into[name] = kind()
        before = old.get(name)
        if before is None:
            known.add(each)
        else:
            known.exchange(before, each)
