"""Windows counted anew from stored events, by the very code that counts them in the stream. Pure.

What comes out is exactly what the stream would have said if nothing had ever been late.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from backchannel.events import WIDTHS_S
from backchannel_processors.counting import counted
from backchannel_processors.groupings import Dims, Groupings
from backchannel_processors.measures import Measures
from backchannel_processors.observations import Observation
from backchannel_processors.source_partition import BASE_S

__all__ = ["Counted", "Recount", "SeriesKey"]

SeriesKey = tuple[str, Dims]
"""Grouping and values of its dimensions."""

_SECOND_US = 1_000_000


@dataclass(slots=True)
class Counted:
    """One series in one window, as its events say."""

    measures: Measures = field(default_factory=Measures)
    erased: bool = False
    """Part of it are events that were erased since: of those only the sums are known."""


class Recount:
    """Windows of one origin. Give it the events in any order; let go of what was compared."""

    def __init__(self, groupings: Groupings) -> None:
        self.groupings = groupings
        self._dims_of: Callable[[object], Dims] = groupings.dims_of()
        self._unsure: set[tuple[int, int, str]] = set()
        self._windows: dict[int, dict[int, dict[SeriesKey, Counted]]] = {w: {} for w in WIDTHS_S}

    def take(self, observations: Sequence[Observation]) -> None:
        """Counts events. A series has one measure more for each of its groupings."""
        cells: dict[tuple[int, Dims], list[Observation]] = {}
        for observed in observations:
            if observed.is_measured:
                start = observed.ts_us // _SECOND_US // BASE_S * BASE_S
                cells.setdefault((start, self._dims_of(observed)), []).append(observed)
        for (start, dims), alike in cells.items():
            tallies = counted(alike)
            for key in self._series(dims):
                measures = self._window(BASE_S, start, key).measures
                measures.take(tallies)

    def take_erased(self, start: int, dims: Mapping[str, str], measures: Measures) -> None:
        """Adds what events of a 10 s window came to before they were erased: to the groupings all
        of whose dimensions are known still. Series of who was erased are gone with them."""
        for grouping in self.groupings.all:
            if not all(name in dims for name in grouping.dimensions):
                self._unsure.update((w, start - start % w, grouping.name) for w in WIDTHS_S)
            else:
                key = (grouping.name, tuple(dims[name] for name in grouping.dimensions))
                window = self._window(BASE_S, start, key)
                window.measures.add(measures)
                window.erased = True

    def fold(self) -> None:
        """Adds the 10 s windows to all longer ones that they are a part of. Once for each."""
        for start, series in self._windows[BASE_S].items():
            for width_s in WIDTHS_S[1:]:
                for key, window in series.items():
                    longer = self._window(width_s, start - start % width_s, key)
                    longer.measures.add(window.measures)
                    longer.erased |= window.erased

    def pop(self, width_s: int, before: int) -> dict[tuple[int, SeriesKey], Counted]:
        """Returns the windows of a width that begin before an instant, and lets go of them."""
        windows = self._windows[width_s]
        gone = [start for start in windows if start < before]
        return {(start, key): each for start in gone for key, each in windows.pop(start).items()}

    def is_unsure(self, width_s: int, start: int, grouping: str) -> bool:
        """Says whether events of a window were erased of which it is not known in which series of
        the grouping they were: one of them may say more than its events."""
        return (width_s, start, grouping) in self._unsure

    def _series(self, dims: Dims) -> Iterator[SeriesKey]:
        for grouping, indexes in self.groupings.projections():
            yield grouping.name, tuple(dims[index] for index in indexes)

    def _window(self, width_s: int, start: int, key: SeriesKey) -> Counted:
        series = self._windows[width_s].setdefault(start, {})
        window = series.get(key)
        if window is None:
            window = series[key] = Counted()
        return window
