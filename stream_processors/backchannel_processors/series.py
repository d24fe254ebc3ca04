"""One series in one 10 s window, as the merge agent holds it: what its sources told of it.

    full partials ──▶ total: what rows are made of
    full or brief ──▶ chain of each source, as far as it reaches ──▶ newest: what rules look at

Every partial is a true statement about the log, whoever made it and in whatever order they come:
what the records after one offset and up to another one add to the series. So those that begin where
others end add up to the state at the end of the last one.
"""

from collections.abc import Iterator
from enum import IntEnum

from msgspec import structs

from backchannel_processors.measures import Measures, merged
from backchannel_processors.partials import Partial, open_measures

__all__ = ["TOLD_MAX", "Series", "Taken"]

TOLD_MAX = 100
"""Partials of one source that are held of one series and window. Beyond, what comes in brief is not
taken: the full partial that follows within a second has it."""

_BEGINNING = -1
_NOTHING = Measures()


class Taken(IntEnum):
    """What became of a partial."""

    REPEATED = 0
    """Nothing new is in it."""
    NO_ROOM = 1
    KEPT = 2
    """It is held. The newest state stays as it is: nothing new is in it, or what it follows upon
    has not come yet."""
    NEWER = 3
    """The newest state has more events than before."""


class _Source:
    """What one source has told, and how far that reaches."""

    __slots__ = ("chain", "full", "told")

    def __init__(self) -> None:
        self.full: Partial | None = None
        """The newest full one: what rows are made of."""
        self.told: list[Partial] = []
        """All that may be needed still: the full one, the chain, and what may belong to one."""
        self.chain: list[Partial] = []
        """Partials that each begin where the one before ends, the first one at the beginning; of
        all such chains the one that reaches furthest."""

    @property
    def reached(self) -> int:
        """Offset up to which everything is known."""
        return self.chain[-1].last_offset if self.chain else _BEGINNING

    @property
    def contained_offset(self) -> int:
        """Offset up to which everything is in the full partial."""
        return self.full.last_offset if self.full else _BEGINNING

    def take(self, partial: Partial) -> Taken:
        before = self.reached
        if partial.last_offset <= self.contained_offset or any(
            (each.is_brief, each.base_offset, each.last_offset)
            == (partial.is_brief, partial.base_offset, partial.last_offset)
            for each in self.told
        ):
            return Taken.REPEATED
        if partial.is_brief and len(self.told) >= TOLD_MAX:
            return Taken.NO_ROOM
        # A copy, since what was decoded holds on to the whole record that it came in.
        kept = structs.replace(partial, sealed=partial.sealed.copy())
        follows = kept.is_brief and kept.base_offset == before
        if follows and len(self.told) == len(self.chain):
            self.told.append(kept)
            self.chain.append(kept)
            return Taken.NEWER
        if not kept.is_brief:
            self.full = kept
        self._link([*self.told, kept])
        return Taken.NEWER if self.reached > before else Taken.KEPT

    def _link(self, told: list[Partial]) -> None:
        """Finds the chain among them, and lets go of what nobody needs any more.

        Of the states at one offset, which all say the same, a full one is preferred. An older full
        one is kept where the chain stands on it: it reaches further than the newest one does while
        somebody who took over is still reading what another one has told."""
        ends: dict[int, Partial] = {}
        for each in sorted(told, key=lambda each: (each.last_offset, each.is_brief)):
            if each.base_offset == _BEGINNING or each.base_offset in ends:
                ends.setdefault(each.last_offset, each)
        self.chain = []
        at = max(ends, default=_BEGINNING)
        while at != _BEGINNING:
            self.chain.append(ends[at])
            at = ends[at].base_offset
        self.chain.reverse()
        self.told = [
            each
            for each in told
            if each is self.full
            or (each.is_brief and each.last_offset > self.contained_offset)
            or any(each is link for link in self.chain)
        ]

    def since(self, offset: int) -> list[Partial] | None:
        """Returns the part of the chain after an offset; ``None`` when it has no cut there."""
        for number, each in enumerate(self.chain):
            if each.base_offset == offset:
                return self.chain[number:]
        return None


class Series:
    """The states of all sources of a series in a window, and their sums."""

    __slots__ = ("_added", "_newest", "_sources", "_total", "_waiting", "offsets")

    def __init__(self) -> None:
        self.offsets = 0
        """Sum over the full partials of last offset + 1."""
        self._sources: dict[int, _Source] = {}
        self._added: dict[int, Measures] | None = {}
        """What the total has of each source; nothing while it rests."""
        self._waiting: dict[int, None] = {}
        """Sources that have sent a newer full partial since."""
        self._total = Measures()
        self._newest: Measures | None = None

    def take(self, partial: Partial) -> Taken:
        """Takes a partial in."""
        number = partial.source
        source = self._sources.setdefault(number, _Source())
        contained, reached = source.contained_offset, source.reached
        taken = source.take(partial)
        if source.contained_offset > contained:
            self._waiting[number] = None
            self.offsets += source.contained_offset - contained
        if taken is Taken.NEWER:
            self._go_on(source.since(reached))
        return taken

    def _go_on(self, fresh: list[Partial] | None) -> None:
        if self._newest is None:
            return
        if fresh is None or not all(each.is_brief for each in fresh):
            self._newest = None
            return
        for each in fresh:
            self._newest.add(open_measures(each.sealed))

    def told(self, source: int) -> list[Partial]:
        """Returns what is to be kept of what a source has told: taken in again, in any order, it
        makes the same state."""
        known = self._sources.get(source)
        return known.told if known else []

    def reached(self, source: int) -> int:
        """Returns the offset up to which ``newest`` has what a source has counted; -1 for nothing
        yet."""
        known = self._sources.get(source)
        return known.reached if known else _BEGINNING

    @property
    def sources(self) -> list[int]:
        """The sources that have told of it."""
        return list(self._sources)

    @property
    def total(self) -> Measures:
        """The sum of the full partials. They are opened and added here, when somebody asks, and not
        when they come: of the many that replace each other most are never asked for."""
        for number in self._waiting:
            full = self._sources[number].full
            assert full is not None, "it has sent one"
            if self._added is None:
                self._add_up_anew()
                break
            old = self._added.get(number, _NOTHING)
            new = self._added[number] = open_measures(full.sealed)
            if not new.contains_labels_of(old):
                self._add_up_anew()
                break
            self._total.exchange(old, new)
            new.distinct.clear()  # never taken out again
        self._waiting.clear()
        return self._total

    def _add_up_anew(self) -> None:
        fulls = {number: source.full for number, source in self._sources.items() if source.full}
        self._added = {number: open_measures(full.sealed) for number, full in fulls.items()}
        self._total = merged(self._added.values())
        for added in self._added.values():
            added.distinct.clear()

    def rest(self) -> None:
        """Lets go of what only a change needs. The next one opens all full partials again."""
        _ = self.total
        self._added = None

    @property
    def newest(self) -> Measures:
        """The sum of the newest states, in brief, as most of them came: what alert rules look at,
        to be read at once, since it goes on changing. Rows are told of ``total``, so that all their
        measures are of one moment.

        What comes in brief is added to it, at the cost of what is new. Of labels beyond the bound
        of ``LABELS_MAX`` the first ones by name stay, the sums are exact.
        """
        if self._newest is None:
            self._newest = Measures()
            for state in self._links():
                self._newest.add(state)
        return self._newest

    def _links(self) -> Iterator[Measures]:
        _ = self.total  # opens the full ones
        opened = self._added or {}
        for number, source in self._sources.items():
            for each in source.chain:
                is_open = each is source.full and number in opened
                yield (opened[number] if is_open else open_measures(each.sealed)).brief
