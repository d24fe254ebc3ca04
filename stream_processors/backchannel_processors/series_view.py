"""One series as a rule sees it: its newest windows whole, and sums over what was before them."""

from collections.abc import Iterable, Sequence

from backchannel_processors.frames import Calendar, Fixed, Frame
from backchannel_processors.groupings import Dims
from backchannel_processors.history import History, Past
from backchannel_processors.measures import Exemplar, Measures, merged
from backchannel_processors.rule_metrics import quantity

__all__ = ["SeriesView"]

_BASE_S = 10


class SeriesView:
    """A series at one moment. Answers are remembered: rules of the same window share one sum.

    ``held`` are its windows that can still change, by start. It ends with its newest window, or
    where time has gone without it: spans are counted back from there.
    """

    def __init__(
        self,
        grouping: str,
        dims: Dims,
        held: Iterable[tuple[int, Measures]],
        history: History,
        *,
        reached_us: int,
    ) -> None:
        self.grouping = grouping
        self.dims = dims
        self._held: Sequence[tuple[int, Measures]] = sorted(held, key=lambda each: each[0])
        self._history = history
        self._spans: dict[int, Measures] = {}
        newest_s = self._held[-1][0] + _BASE_S if self._held else 0
        self.end_s = max(newest_s, reached_us // 1_000_000 // _BASE_S * _BASE_S)
        """Where every span ends: Unix seconds."""
        self.newest: Exemplar = max((m.newest for _, m in self._held), default=(0, ""))
        """Event time and id of its newest event."""
        in_time_us = min(self.newest[0], newest_s * 1_000_000)
        self.at_us = max(in_time_us, min(reached_us, self.end_s * 1_000_000))
        """The event time that the series has come to."""

    def span(self, window_s: int) -> Measures:
        """Returns everything about the last ``window_s`` seconds, as far as windows are held."""
        known = self._spans.get(window_s)
        if known is None:
            inside = self._inside(window_s)
            known = inside[0] if len(inside) == 1 else merged(inside)
            self._spans[window_s] = known
        return known

    def exemplars(self, name: str, window_s: int) -> list[str]:
        """Returns ids of events of the last ``window_s`` seconds, as far as windows are held: those
        that were chosen as ``name``, the worst first; else the newest one of each window."""
        inside = self._inside(window_s)
        found = {each for measures in inside for each in measures.exemplars.get(name, ())}
        found = found or {measures.newest for measures in inside}
        return [event_id for _, event_id in sorted(found, reverse=True) if event_id]

    def highest(self, name: str, window_s: int) -> int | None:
        """Returns by what the worst of those events was chosen; ``None`` when there is none."""
        inside = self._inside(window_s)
        by = [at for measures in inside for at, _ in measures.exemplars.get(name, ())]
        return max(by, default=None)

    def totals(self, names: Iterable[str], window_s: int, frame: Fixed) -> dict[str, int]:
        """Returns sums of quantities over the last ``window_s`` seconds. The oldest stretch counts
        whole, so the span is longer than asked by less than a stretch."""
        first = frame.start(self.end_s - window_s)
        past = self._history.since(self.grouping, self.dims, frame, first)
        return self._with_held(names, past, first, self.end_s)

    def held_totals(self, names: Iterable[str], window_s: int) -> dict[str, int]:
        """Returns sums of quantities over the last ``window_s`` seconds of the windows held.

        Window by window: adding up whole histograms for a count costs ten times as much.
        """
        inside = self._inside(window_s)
        return {name: sum(map(quantity(name), inside)) for name in names}

    def stretch(self, names: Iterable[str], frame: Frame, at_s: int) -> dict[str, int]:
        """Returns sums of quantities over the stretch of a frame that holds ``at_s``."""
        first = frame.start(at_s)
        past = self._history.one(self.grouping, self.dims, frame, first)
        until = frame.end(at_s) if isinstance(frame, Calendar) else first + frame.width_s
        return self._with_held(names, past, first, until)

    def knows_since(self, frame: Frame, names: Iterable[str]) -> int | None:
        """Returns since when the sums are kept; ``None`` when none are yet."""
        return self._history.knows_since(self.grouping, frame, frozenset(names))

    @property
    def oldest_held_s(self) -> int:
        """Start of the oldest window that is held."""
        return self._held[0][0] if self._held else self.end_s

    def _inside(self, window_s: int) -> list[Measures]:
        first = self.end_s - window_s
        return [measures for start, measures in self._held if first <= start < self.end_s]

    def _with_held(
        self, names: Iterable[str], past: Past, first: int, until: int
    ) -> dict[str, int]:
        fresh = [m for start, m in self._held if max(first, past.through + 1) <= start < until]
        sums: dict[str, int] = {}
        for name in names:
            take = quantity(name)
            sums[name] = past.sums.get(name, 0) + sum(take(measures) for measures in fresh)
        return sums
