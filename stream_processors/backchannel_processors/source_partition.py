"""The windows of one source partition: the whole state of the windows agent, without I/O.

    record ──▶ take ──▶ cells: what each series counts in each window
                          │  flush: sums for every grouping, as partials
                          │  checkpoint: cells, then how far everything has come
                          ▼
              restore ◀── what checkpoints wrote, in any state a crash may leave

Everything that decides where an event is counted is a pure function of the log up to its record,
so a worker that starts again at a checkpoint reaches the same states. A cell that was written
ahead of the checkpoint says so by its offset, and skips what it contains.

Time moves by events alone: the watermark is the newest event time of an origin (live traffic, or
one replay), and never ahead of the broker's clock for live traffic. Only a partition that has been
read to its end and stayed silent follows the wall clock. So an outage of the workers makes nothing
late.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import msgspec
from msgspec import structs

from backchannel.events import LIVE, open_batch
from backchannel_processors.conversations import STATE_KIND, ClosedRow, Conversations, Limit
from backchannel_processors.counters import Counters
from backchannel_processors.counting import counted
from backchannel_processors.duplicates import (
    EVENT_IDS_MAX,
    PRODUCERS_MAX,
    EventIds,
    ProducerNumbers,
)
from backchannel_processors.erasures import Erasures
from backchannel_processors.errors import REBUILD, StateError
from backchannel_processors.groupings import Dims, Grouping, Groupings, other_of
from backchannel_processors.measures import OTHER, Measures, Tally
from backchannel_processors.observations import Health, Loss, Observation, read
from backchannel_processors.partials import (
    VERSION,
    Notice,
    Partial,
    Progress,
    open_measures,
    seal_measures,
)
from backchannel_processors.states import Entry, decode_state, encode_state

__all__ = ["BASE_S", "Record", "SourcePartition", "WindowRules", "recount_entry"]

BASE_S = 10
"""Width of the windows that events are counted in; longer ones are sums of them."""

_BASE_US = BASE_S * 1_000_000
_SECOND_US = 1_000_000
_FOR_EVER_US = 2**62

_FRESH_MAX = 5_000
"""Events that wait to be counted; beyond, they are counted before more are taken."""

_WAITING_MAX = 100
"""Tallies that wait to be added to a series."""

_AHEAD_MAX = 5_000
"""Events that wait to be told ahead; beyond, their series are told ahead whole, once: a worker that
is far behind tells nothing ahead, and would keep them all."""

_WHOLE_MAX = 1_000
"""Series that are told ahead whole in one go; the others wait for the next one."""


@dataclass(frozen=True, slots=True)
class WindowRules:
    """How events find their window, and the bounds on what is held."""

    groupings: Groupings
    fast: frozenset[str] = frozenset()
    """Names of the groupings that an alert rule watches: their live states leave first."""
    lateness_s: int = 60
    """How long a window stays open after its end."""
    remember_s: int = 120
    """How long after that a window still counts what comes late."""
    ahead_s: int = 60
    """How far a live event's time may be ahead of the broker's; beyond, the broker's is taken."""
    behind_s: int = 86_400
    """How far it may be behind; beyond, the broker's is taken."""
    idle_s: int = 10
    """Silence, while everything was read, after which a partition follows the wall clock."""
    replay_ended_s: int = 3_600
    """Silence of a replay, while everything was read, after which what still comes is late."""
    series_max: int = 10_000
    """Series of each grouping in one window of one source partition, unless the grouping says
    otherwise; beyond, events count under ``__other__``."""
    cells_max: int = 20_000
    """Cells, that is different values of all dimensions together, in such a window; beyond, first
    users and then everything but the tenant is counted under ``__other__``."""
    origins_max: int = 100
    """Replays remembered; a new one replaces the oldest that is over, else it is rejected."""
    conversation_silence_s: int = 1_800
    """Silence, in event time, after which a conversation is closed."""
    conversations_max: int = 20_000
    """Open conversations that are followed in one source partition; none for 0."""
    limits: tuple[Limit, ...] = ()
    """What alert rules allow one conversation."""
    producers_max: int = PRODUCERS_MAX
    event_ids_max: int = EVENT_IDS_MAX


_Place = tuple[str, int, Dims]
"""Origin, start of the window, dims."""


@dataclass(frozen=True, slots=True)
class Record:
    """A record of ``chat.events``."""

    offset: int
    broker_time_us: int
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class _Series:
    """The sum of the cells of one series of one grouping in one window."""

    __slots__ = (
        "_measures",
        "ahead_offset",
        "dims",
        "folded",
        "fresh",
        "fresh_offset",
        "grouping",
        "is_cell",
        "last_offset",
        "name",
        "sealed",
        "start",
        "tracked",
        "waiting",
    )

    def __init__(self, name: str, start: int, grouping: str, dims: Dims) -> None:
        self.name = name
        self.start = start
        self.grouping = grouping
        self.dims = dims
        self._measures: Measures | None = Measures()
        self.is_cell = False
        """It is what a cell counts, and so a state by itself."""
        self.sealed: msgspec.Raw | None = None
        """The measures as they were told last, until they change: a cell is written as it was told,
        and a series at rest is nothing else."""
        self.last_offset = -1
        self.waiting: list[Tally] = []
        """What its cells have counted since it was last asked for: added up together, which costs
        less than one by one."""
        self.tracked = True
        """Everything after ``ahead_offset`` is held below; else all of it is told ahead next."""
        self.ahead_offset = -1
        """Up to where it was told ahead."""
        self.folded: list[Observation] = []
        """What has come since and is in the cells, up to ``last_offset``."""
        self.fresh: list[Observation] = []
        """What has come since that."""
        self.fresh_offset = -1

    def settle(self) -> None:
        """Brings ``measures`` up to date."""
        if self.waiting:
            waiting, self.waiting = self.waiting, []
            self.take(waiting)

    @property
    def measures(self) -> Measures:
        """Everything but what waits."""
        if self._measures is None:
            assert self.sealed is not None, "so it rests"
            self._measures = open_measures(self.sealed)
        return self._measures

    def take(self, tallies: Sequence[Tally]) -> None:
        """Counts events."""
        self.measures.take(tallies)
        self.sealed = None

    def rest(self) -> None:
        """Holds the measures as a tenth of the bytes, until they are asked for."""
        if self._measures is not None:
            self.sealed = self.seal()
            self._measures = None

    def seal(self) -> msgspec.Raw:
        """Returns everything, as it is now."""
        self.settle()
        return self.sealed or seal_measures(self.measures)

    def lose_track(self) -> None:
        """Has all of it told ahead next."""
        self.tracked = False
        self.folded, self.fresh = [], []

    def whole(self, source: int) -> Partial:
        """Returns all of it in brief, to be told ahead, and keeps track from here on. Nothing may
        be fresh in its cells."""
        self.settle()
        self.tracked = True
        self.ahead_offset = self.last_offset
        return self._partial(source, seal_measures(self.measures.brief), brief_to=self.last_offset)

    def news(self, source: int) -> list[Partial]:
        """Returns what is new since it was told ahead. It is cut where it was folded, since a full
        partial ends there."""
        partials: list[Partial] = []
        for offset, some in ((self.last_offset, self.folded), (self.fresh_offset, self.fresh)):
            if some:
                tallies = counted(some, in_brief=True)
                sealed = seal_measures(Measures.brief_of(tallies))
                base_offset, self.ahead_offset = self.ahead_offset, offset
                partials.append(
                    self._partial(source, sealed, brief_to=offset, base_offset=base_offset)
                )
        self.folded, self.fresh = [], []
        return partials

    def full(self, source: int) -> Partial:
        """Returns everything."""
        sealed = self.seal()
        if self.is_cell:
            self.sealed = sealed
        return self._partial(source, sealed)

    def written(self) -> msgspec.Raw:
        """Returns everything, to be written and not to be told again."""
        sealed = self.seal()
        if self._measures is not None:
            self.sealed = None
        return sealed

    def _partial(
        self,
        source: int,
        sealed: msgspec.Raw,
        *,
        brief_to: int | None = None,
        base_offset: int = -1,
    ) -> Partial:
        return Partial(
            self.name,
            self.grouping,
            self.dims,
            self.start,
            source,
            self.last_offset if brief_to is None else brief_to,
            sealed,
            brief_to is not None,
            base_offset,
        )


class _Cell:
    """What one series of the finest grouping counts in one window."""

    __slots__ = (
        "contained_offset",
        "fast",
        "fresh",
        "fresh_late",
        "fresh_offset",
        "gathered",
        "last_offset",
        "other_in",
        "own",
        "place",
        "series",
        "sums",
    )

    def __init__(self, place: _Place, series: tuple[_Series, ...], other_in: list[str]) -> None:
        self.place = place
        self.series = series
        """One of each grouping: what it is added to."""
        self.other_in = other_in
        """Names of the groupings that had no room for its own series."""
        own = [each for each in series if each.dims == place[2] and OTHER not in each.dims]
        self.own = own[0] if own else _Series(*place[:2], "", place[2])
        """What it counts: the series that can have no other cell, or one that nobody sees."""
        self.own.is_cell = True
        self.sums = [each for each in series if each not in own]
        """The other series that its events are added to."""
        self.fast: list[_Series] = []
        """Those that alert rules watch."""
        self.last_offset = -1
        self.contained_offset = -1
        """Records up to here were in it when it was restored."""
        self.fresh: list[Observation] = []
        """What came since it was folded."""
        self.gathered = 0
        """So many of them wait in ``fast`` to be told ahead, or were told."""
        self.fresh_late = 0
        self.fresh_offset = -1


@dataclass(slots=True)
class _Window:
    cells: dict[Dims, _Cell] = field(default_factory=dict)
    series: dict[tuple[str, Dims], _Series] = field(default_factory=dict)
    series_count: dict[str, int] = field(default_factory=dict)
    """Series of each grouping."""
    rests: bool = False


@dataclass(slots=True)
class _Origin:
    watermark_us: int = 0
    ended: bool = False
    last_seen_us: int = 0
    """Wall clock of its newest record."""
    idle: bool = False
    windows: dict[int, _Window] = field(default_factory=dict)


class _Meta(msgspec.Struct, frozen=True):
    """How far everything has come; written after the cells, so it never promises too much."""

    v: int
    next_offset: int
    watermarks: dict[str, int]
    ended: list[str]
    producers: list[tuple[str, int]]
    dropped: dict[str, int] = {}
    """Events that each producer has dropped so far, as it told."""
    recount_to: int = 0
    """Records below this offset were counted before: by states that were given up."""
    whole_from_us: int = 0
    """Conversations that began earlier are not known from their beginning."""


class _CellState(msgspec.Struct, array_like=True, frozen=True):
    v: int
    last_offset: int
    other_in: list[str]
    measures: Measures


class _SealedCell(msgspec.Struct, array_like=True, frozen=True):
    """A ``_CellState`` as it is written."""

    v: int
    last_offset: int
    other_in: list[str]
    measures: msgspec.Raw


class _Ids(msgspec.Struct, array_like=True, frozen=True):
    v: int
    ids: list[tuple[int, str]]


class _Key(msgspec.Struct, array_like=True, frozen=True):
    """Every key of the changelog begins with what it is a key of."""

    kind: str


class _CellKey(msgspec.Struct, array_like=True, frozen=True):
    kind: str
    origin: str
    window_start: int
    dims: Dims

    @property
    def place(self) -> _Place:
        return (self.origin, self.window_start, self.dims)


class _IdsKey(msgspec.Struct, array_like=True, frozen=True):
    kind: str
    number: int


_META_KEY = encode_state(_Key("meta"))
_UNKNOWN_BEFORE = -1
"""Stands for what a producer had dropped before it was first heard of."""
_decode_key = msgspec.json.Decoder(_Key).decode
_decode_cell_key = msgspec.json.Decoder(_CellKey).decode
_decode_ids_key = msgspec.json.Decoder(_IdsKey).decode


def recount_entry(
    next_offset: int, recount_to: int, from_us: int, *, lateness_s: int, silence_s: int
) -> Entry:
    """Returns the state of a partition that counts anew from ``next_offset`` on.

    It counts windows that begin at ``from_us`` or later, and of the records below ``recount_to``
    no replay: what of one came before is not known, and its windows would come out too small.
    """
    watermarks = {LIVE: from_us + lateness_s * _SECOND_US}
    whole_from_us = from_us + silence_s * _SECOND_US
    meta = _Meta(VERSION, next_offset, watermarks, [], [], {}, recount_to, whole_from_us)
    return _META_KEY, encode_state(meta)


class SourcePartition:
    """All windows of one partition of ``chat.events``. Owned by one task at a time."""

    def __init__(
        self, source: int, rules: WindowRules, counters: Counters, *, next_offset: int, now_us: int
    ) -> None:
        self.source = source
        self.next_offset = next_offset
        """Offset of the record that has to come next."""
        self.read_to_us = 0
        """Wall clock at which everything had been read."""
        self.first_reason = ""
        """Why the last rejected line was none; for a log."""
        self._rules = rules
        self._counters = counters
        self._projections = rules.groupings.projections()
        self._dims_of = rules.groupings.dims_of()
        self._origins: dict[str, _Origin] = {LIVE: _Origin(last_seen_us=now_us)}
        self._producers = ProducerNumbers(most=rules.producers_max)
        self._event_ids = EventIds(most=rules.event_ids_max)
        self._dropped: dict[str, int] = {}
        self._conversations = Conversations(
            counters,
            silence_s=rules.conversation_silence_s,
            most=rules.conversations_max,
            limits=rules.limits,
        )
        self._fresh: list[_Cell] = []
        self._fresh_count = 0
        self._unsaved: dict[_Cell, None] = {}
        self._unsent_fast: dict[_Series, None] = {}
        self._unsent: dict[_Series, None] = {}
        self._gathered = 0
        """Events that wait to be told ahead."""
        self._incomplete: dict[tuple[str, str, int], None] = {}
        self._ahead_offset = -1
        self._changed = False
        self._noticed: Notice | None = None
        self._last_record_us = now_us
        self._recount_to = 0

    # -- reading ---------------------------------------------------------------------------------

    def take(self, record: Record, now_us: int) -> None:
        """Counts the next record of the partition. Raises nothing, whatever is in it."""
        assert record.offset >= self.next_offset, "records are taken in order"
        self.next_offset = record.offset + 1
        self._changed = True
        self._last_record_us = now_us
        counters = self._counters
        batch = open_batch(record.value, record.headers)
        counters.received += batch.count
        lost = self._producers.lost
        if batch.pseq is not None:
            if self._recounts and batch.pseq > 1 and batch.producer_id not in self._producers:
                self._dropped[batch.producer_id] = _UNKNOWN_BEFORE
            if not self._producers.is_new(batch.producer_id, batch.pseq):
                counters.duplicate += batch.count
                return
            counters.lost_records += self._producers.lost - lost
        origin = self._origin_of(batch.origin)
        if origin is None:
            counters.rejected += batch.count
            self.first_reason = "too many replays are remembered"
            return
        origin.last_seen_us = now_us
        origin.idle = False
        reading = read(batch)
        observations = reading.observations
        if reading.rejected:
            counters.rejected += reading.rejected
            self.first_reason = reading.first_reason
        if batch.pseq is None:
            is_new = self._event_ids.is_new
            observations = [o for o in observations if is_new(o.event_id, record.offset)]
            counters.duplicate += len(reading.observations) - len(observations)
        lost = self._producers.lost - lost
        self._count(batch.origin, origin, observations, record, (batch.producer_id, lost))

    @property
    def _recounts(self) -> bool:
        """The record that is being taken was counted before."""
        return self.next_offset <= self._recount_to

    def _origin_of(self, name: str) -> _Origin | None:
        origin = self._origins.get(name)
        if origin is None and self._has_room_for_origin():
            origin = self._origins[name] = _Origin(ended=self._recounts)
        return origin

    def _has_room_for_origin(self) -> bool:
        if len(self._origins) <= self._rules.origins_max:
            return True
        over = (name for name, known in self._origins.items() if known.ended and not known.windows)
        oldest = next(over, None)
        if oldest is None:
            return False
        del self._origins[oldest]
        return True

    def _count(
        self,
        name: str,
        origin: _Origin,
        observations: Sequence[Observation],
        record: Record,
        sender: tuple[str, int],
    ) -> None:
        """Counts the events of a record. ``sender`` is the producer, and how many of its records
        before this one are missing."""
        rules, counters = self._rules, self._counters
        times = [each.ts_us for each in observations]
        earliest_us, newest_us = min(times, default=0), max(times, default=0)
        clamped: set[str] = set()
        if name == LIVE:
            broker_us = record.broker_time_us
            first_us = broker_us - rules.behind_s * _SECOND_US
            last_us = broker_us + rules.ahead_s * _SECOND_US
            if earliest_us < first_us or newest_us > last_us:
                clamped = {o.event_id for o in observations if not first_us <= o.ts_us <= last_us}
                observations = [
                    structs.replace(each, ts_us=broker_us) if each.event_id in clamped else each
                    for each in observations
                ]
            # A clock that is ahead must not make the others late.
            newest_us = min(newest_us, broker_us)
        # Lateness is decided by the watermark as of the start of the record, so lines that
        # travelled together (a spool that is caught up on) never make each other late.
        reached_us = origin.watermark_us
        closed_us = reached_us - rules.lateness_s * _SECOND_US
        origin.watermark_us = max(reached_us, newest_us)
        measured = _measured(observations)
        counters.not_measured += len(observations) - len(measured)
        for number, some in _by_window(measured).items():
            start = number * BASE_S
            if origin.ended or (start + BASE_S) * _SECOND_US <= closed_us:
                self._count_late(origin, start, some, record.offset)
                counters.late += len(some)
            else:
                self._count_in(name, origin, start, some, record.offset)
                counters.counted += len(some)
                if clamped:
                    counters.clamped += sum([each.event_id in clamped for each in some])
        if not origin.ended:
            # What the events bring to light counts where they do.
            found: list[Observation] = self._losses(measured, sender, closed_us)
            if rules.conversations_max:
                found += self._conversations.take(
                    name, measured, record.offset, reached_us=reached_us, closed_us=closed_us
                )
                self._conversations.close(name, origin.watermark_us)
            for number, some in _by_window(found).items():
                self._count_in(name, origin, number * BASE_S, some, record.offset)
        self._fresh_count += len(observations)
        if self._fresh_count > _FRESH_MAX:
            self._fold()

    def _losses(
        self, measured: Sequence[Observation], sender: tuple[str, int], closed_us: int
    ) -> list[Observation]:
        """Returns what is missing of a sender's events, each at the first that tells of it and
        whose window is open."""
        producer_id, lost = sender
        if not lost and Health not in set(map(type, measured)):
            return []
        places = [each for each in measured if (each.ts_us // _BASE_US + 1) * _BASE_US > closed_us]
        losses: list[Observation] = []
        if lost and places:
            losses.append(_loss(places[0], records=lost))
        for each in places:
            if isinstance(each, Health) and each.sdk_dropped and producer_id:
                total = sum(each.sdk_dropped.values())
                before = self._dropped.pop(producer_id, 0)
                if total > before != _UNKNOWN_BEFORE:
                    losses.append(_loss(each, dropped=total - before))
                self._dropped[producer_id] = max(total, before)
                while len(self._dropped) > self._rules.producers_max:
                    del self._dropped[next(iter(self._dropped))]
        return losses

    def _count_in(
        self,
        name: str,
        origin: _Origin,
        start: int,
        observations: Sequence[Observation],
        offset: int,
    ) -> None:
        window = origin.windows.get(start)
        if window is None:
            window = origin.windows[start] = _Window()
        cells, dims_of = window.cells, self._dims_of
        for observed in observations:
            dims = dims_of(observed)
            cell = cells.get(dims)
            if cell is None:
                cell = self._cell_for(name, start, window, dims)
            if cell.fresh_offset != offset:
                if offset <= cell.contained_offset:
                    continue
                if cell.fresh_offset <= cell.last_offset:
                    self._fresh.append(cell)
                cell.fresh_offset = offset
            cell.fresh.append(observed)

    def _count_late(
        self, origin: _Origin, start: int, observations: Sequence[Observation], offset: int
    ) -> None:
        """Notes late events on their window. A closed one is never made again: they count on the
        one that is remembered, later ones in the counters alone."""
        window = origin.windows.get(start)
        if window is None or self._is_forgotten(origin, start):
            return
        for observed in observations:
            choices = self._rules.groupings.cells_of(self._dims_of(observed))
            cell = next((window.cells[each] for each in choices if each in window.cells), None)
            if cell is None or offset <= cell.contained_offset:
                continue
            if cell.fresh_offset <= cell.last_offset:
                self._fresh.append(cell)
            cell.fresh_offset = offset
            cell.fresh_late += observed.sample_weight

    def _cell_for(self, name: str, start: int, window: _Window, dims: Dims) -> _Cell:
        """Returns the cell for dims that have none of their own yet."""
        choices = self._rules.groupings.cells_of(dims)
        for room, each in enumerate(choices, start=1):
            if each in window.cells:
                return window.cells[each]
            # What stands for many has room of its own: the sums of tenants stay whole.
            if len(window.cells) < room * self._rules.cells_max:
                return self._admit(name, start, window, each)
        return self._admit(name, start, window, choices[-1])

    def _admit(
        self, name: str, start: int, window: _Window, dims: Dims, other_in: Sequence[str] = ()
    ) -> _Cell:
        """Makes a cell, and finds the series of each grouping that it is added to."""
        series: list[_Series] = []
        others: list[str] = []
        for grouping, indexes in self._projections:
            own = tuple(dims[index] for index in indexes)
            found = (
                None
                if grouping.name in other_in
                else self._room(name, start, window, grouping, own)
            )
            if found is None:
                others.append(grouping.name)
                other = other_of(grouping, own)
                found = window.series.get((grouping.name, other))
                if found is None:
                    found = self._new_series(name, start, window, grouping, other)
            if OTHER in found.dims:
                self._incomplete[(name, grouping.name, start)] = None
            series.append(found)
        cell = window.cells[dims] = _Cell((name, start, dims), tuple(series), others)
        cell.fast = self._watched(cell)
        return cell

    def _watched(self, cell: _Cell) -> list[_Series]:
        watched = self._rules.fast
        return [each for each in cell.series if each.name == LIVE and each.grouping in watched]

    def _room(
        self, name: str, start: int, window: _Window, grouping: Grouping, dims: Dims
    ) -> _Series | None:
        """Returns the series; ``None`` when it is new and there is no room for it."""
        series = window.series.get((grouping.name, dims))
        if series is not None:
            return series
        most = grouping.series_max or self._rules.series_max
        count = window.series_count.get(grouping.name, 0)
        if count >= most and not grouping.is_whole:
            return None
        window.series_count[grouping.name] = count + 1
        return self._new_series(name, start, window, grouping, dims)

    def _new_series(
        self, name: str, start: int, window: _Window, grouping: Grouping, dims: Dims
    ) -> _Series:
        series = window.series[grouping.name, dims] = _Series(name, start, grouping.name, dims)
        return series

    @property
    def watermark_us(self) -> int:
        """How far live event time has come; 0 before the first event."""
        return self._origins[LIVE].watermark_us

    def sizes(self) -> dict[str, int]:
        """Returns how much is held in memory, by kind."""
        windows = [each for origin in self._origins.values() for each in origin.windows.values()]
        return {
            "windows": len(windows),
            "cells": sum(len(window.cells) for window in windows),
            "series": sum(len(window.series) for window in windows),
            "origins": len(self._origins),
            "conversations": len(self._conversations),
        }

    def watch(self, groupings: frozenset[str], limits: Sequence[Limit]) -> None:
        """Has the series of these groupings leave first from now on, and counts the conversations
        that go over these limits."""
        self._rules = replace(self._rules, fast=groupings, limits=tuple(limits))
        for window in self._origins[LIVE].windows.values():
            for series in window.series.values():
                series.lose_track()  # what nobody watched was not gathered
            for cell in window.cells.values():
                cell.fast = self._watched(cell)
        self._unsent_fast = {each: None for each in self._unsent_fast if each.grouping in groupings}
        self._conversations.watch(limits)

    def erase(self, erasures: Erasures) -> None:
        """Lets go of the conversations of those who were erased. The 10 s windows, which sums that
        name nobody are made of, go by themselves: some minutes after they are over."""
        self._changed |= self._conversations.erase(erasures)

    # -- telling ---------------------------------------------------------------------------------

    @property
    def needed_end(self) -> int:
        """Where the log of events ends at least, if the state belongs to it."""
        return max(self.next_offset, self._ahead_offset + 1)

    @property
    def has_news(self) -> bool:
        """Something came since the last checkpoint."""
        return self._changed

    def flush(self, *, fast_only: bool) -> Iterator[Partial]:
        """Yields the states that changed since they were last told, each as it is when it is
        yielded: records may be taken in between. None is older than ``next_offset`` is at the call;
        so a ``notice`` of that moment may follow the last of them.

        Fast only: what is new of those that an alert rule watches, in brief, which waits for
        nothing; they are told in full as well.
        """
        if fast_only:
            self._gather()
        else:
            self._fold()
        if self.next_offset <= self._ahead_offset:
            # Some cells contain records that others have still to read again: sums over them
            # would be of no point in the log.
            return iter(())
        return self._told_ahead() if fast_only else self._told()

    def _told_ahead(self) -> Iterator[Partial]:
        self._gathered = 0
        lost = [each for each in self._unsent_fast if not each.tracked][:_WHOLE_MAX]
        if not lost:
            return self._told_news()
        self._fold()
        for each in lost:
            del self._unsent_fast[each]
        return chain([each.whole(self.source) for each in lost], self._told_news())

    def _told_news(self) -> Iterator[Partial]:
        for series in list(self._unsent_fast):
            if series.tracked:
                del self._unsent_fast[series]
                yield from series.news(self.source)

    def _told(self) -> Iterator[Partial]:
        for series in list(self._unsent):
            if series in self._unsent:  # not told by another flush meanwhile
                del self._unsent[series]
                yield series.full(self.source)

    def _gather(self) -> None:
        """Has what came be told ahead: as it came, since to count it in cells of a few events each
        time costs several times as much."""
        for cell in self._fresh:
            new = cell.fresh[cell.gathered :]
            if not new and not cell.fresh_late:
                continue
            cell.gathered = len(cell.fresh)
            self._gathered += len(new)
            for series in cell.fast:
                self._unsent_fast[series] = None
                if cell.fresh_late:
                    series.lose_track()
                elif series.tracked:
                    series.fresh += new
                    series.fresh_offset = max(series.fresh_offset, cell.fresh_offset)
        if self._gathered > _AHEAD_MAX:
            self._gathered = 0
            for series in self._unsent_fast:
                series.lose_track()

    def _fold(self) -> None:
        """Counts what came since the last time, into the cells and the sums over them."""
        self._gather()
        for cell in self._fresh:
            tallies = counted(cell.fresh) if cell.fresh else []
            if cell.fresh_late:
                late = Tally(1, (0, ""))
                late.sums["late"] = cell.fresh_late
                cell.fresh_late = 0
                tallies.append(late)
            cell.fresh, cell.gathered = [], 0
            cell.last_offset = cell.fresh_offset
            self._unsaved[cell] = None
            cell.own.take(tallies)
            for series in cell.sums:
                series.waiting += tallies
                if len(series.waiting) >= _WAITING_MAX:
                    series.settle()
            self._note_unsent(cell)
        self._fresh.clear()
        self._fresh_count = 0

    def _note_unsent(self, cell: _Cell) -> None:
        for series in cell.series:
            series.last_offset = max(series.last_offset, cell.last_offset)
            self._unsent[series] = None
        for series in cell.fast:
            if series.fresh:
                series.folded += series.fresh
                series.fresh = []

    def closed(self) -> list[ClosedRow]:
        """Returns the conversations that were closed since the last call: to be durable before any
        later checkpoint is written."""
        return self._conversations.closed()

    def notice(self) -> Notice | None:
        """Returns how far the partition has come, if that has changed since the last call.

        To be sent after a full ``flush``, and after the checkpoint when ``declare_idle`` moved
        time.
        """
        if self.next_offset <= self._ahead_offset:
            return None
        notice = Notice(
            self.source,
            self.next_offset,
            self.read_to_us,
            {
                name: Progress(origin.watermark_us, origin.idle, origin.ended)
                for name, origin in self._origins.items()
            },
            list(self._incomplete),
        )
        if notice == self._noticed:
            return None
        self._noticed = notice
        return notice

    # -- silence ---------------------------------------------------------------------------------

    def declare_read(self, end_offset: int, asked_us: int) -> bool:
        """Takes in that the log ended at ``end_offset`` at the wall clock ``asked_us``.

        When everything was read by then and the partition is silent, time follows the wall
        clock. Returns whether time moved: then nothing may be taken until a checkpoint is durable.
        """
        if self.next_offset < end_offset:
            return False
        self.read_to_us = max(self.read_to_us, asked_us)
        moved = False
        silent_us = self._rules.idle_s * _SECOND_US
        ended_us = self._rules.replay_ended_s * _SECOND_US
        for name, origin in self._origins.items():
            if name == LIVE:
                if asked_us - self._last_record_us >= silent_us and origin.watermark_us < asked_us:
                    origin.watermark_us = asked_us
                    self._conversations.close(name, asked_us)
                    moved = True
                continue
            origin.idle = asked_us - origin.last_seen_us >= silent_us
            if not origin.ended and asked_us - origin.last_seen_us >= ended_us:
                origin.ended = True
                self._conversations.close(name, _FOR_EVER_US)
                moved = True
        self._changed |= moved
        return moved

    # -- keeping ---------------------------------------------------------------------------------

    def checkpoint(self) -> tuple[Iterator[Entry], Entry, Iterator[Entry]]:
        """Returns what to write: first these, when they are durable that, when it is durable these.

        First the states that changed, then how far everything has come, then what is forgotten by
        it. The offset to commit is ``next_offset`` as of this call. Records may be taken while the
        states are iterated: one that is newer than this call says so by its offset, as after a
        crash. Everything of one call is iterated before the next call. To be called after a full
        ``flush`` and ``closed``: only what was told can be forgotten.
        """
        self._fold()
        cells, self._unsaved = self._unsaved, {}
        meta = _Meta(
            VERSION,
            self.next_offset,
            {name: origin.watermark_us for name, origin in self._origins.items()},
            [name for name, origin in self._origins.items() if origin.ended],
            self._producers.items(),
            dict(self._dropped),
            self._recount_to,
            self._conversations.whole_from_us,
        )
        self._changed = False
        states = chain(
            ((_cell_key(cell.place), _cell_value(cell)) for cell in cells),
            self._id_states(),
            self._conversations.changes(),
        )
        gone = chain(
            [(_cell_key(place), None) for place in self._forget()], self._conversations.gone()
        )
        return states, (_META_KEY, encode_state(meta)), gone

    def _id_states(self) -> Iterator[Entry]:
        segments = list(self._event_ids.changes())
        return (
            (
                encode_state(_IdsKey("ids", number)),
                None if ids is None else encode_state(_Ids(VERSION, ids)),
            )
            for number, ids in segments
        )

    def _is_forgotten(self, origin: _Origin, start: int) -> bool:
        held_s = BASE_S + self._rules.lateness_s + self._rules.remember_s
        return origin.ended or (start + held_s) * _SECOND_US <= origin.watermark_us

    def _forget(self) -> Iterator[_Place]:
        """Lets go of the windows that count nothing any more, late events included."""
        for name, origin in self._origins.items():
            for start in [each for each in origin.windows if self._is_forgotten(origin, each)]:
                if any(each in self._unsent for each in origin.windows[start].series.values()):
                    continue  # first everybody has to hear of it
                for grouping in self._rules.groupings.names:
                    self._incomplete.pop((name, grouping, start), None)
                for dims in origin.windows.pop(start).cells:
                    yield name, start, dims

    def rest(self) -> Iterator[None]:
        """Has the windows rest that are over and only held for what comes late, a series at each
        step. Records may be taken in between. What is late nevertheless wakes what it counts on."""
        for origin in list(self._origins.values()):
            over_us = origin.watermark_us - self._rules.lateness_s * _SECOND_US
            for start, window in list(origin.windows.items()):
                if window.rests or (start + BASE_S) * _SECOND_US > over_us:
                    continue
                window.rests = True
                for series in [*window.series.values(), *(c.own for c in window.cells.values())]:
                    series.rest()
                    yield

    def restore(self, entries: Iterable[Entry], now_us: int) -> None:
        """Takes back what checkpoints wrote, in the order of the log.

        Of two writes to a key the one with the higher offset counts, not the later one: a process
        that was frozen may have written last.

        Raises:
            StateError: another version wrote it.
        """
        meta: _Meta | None = None
        cells: dict[_Place, _CellState] = {}
        segments: dict[int, list[tuple[int, str]]] = {}
        conversations: list[Entry] = []
        for key, value in entries:
            kind = _decode_key(key).kind
            if kind == "meta" and value is not None:
                found = decode_state(value, _Meta)
                meta = found if meta is None or found.next_offset >= meta.next_offset else meta
            elif kind == "cell":
                place = _decode_cell_key(key).place
                if value is None:
                    cells.pop(place, None)
                    continue
                state = decode_state(value, _CellState)
                known = cells.get(place)
                if known is None or state.last_offset >= known.last_offset:
                    cells[place] = state
            elif kind == STATE_KIND:
                conversations.append((key, value))
            elif kind == "ids":
                number = _decode_ids_key(key).number
                if value is None:
                    segments.pop(number, None)
                else:
                    segments[number] = decode_state(value, _Ids).ids
        if meta is not None:
            self._restore_meta(meta, now_us)
        self._event_ids.restore(segments.items(), self.next_offset)
        self._conversations.restore(conversations, self.next_offset)
        for name, origin in self._origins.items():
            # One that was closed before its state was taken away is closed again, the same.
            self._conversations.close(name, _FOR_EVER_US if origin.ended else origin.watermark_us)
        self._changed |= self._conversations.has_closed
        for place, state in cells.items():
            self._restore_cell(place, state, now_us)

    def _restore_meta(self, meta: _Meta, now_us: int) -> None:
        self.next_offset = meta.next_offset
        self._producers = ProducerNumbers(meta.producers, most=self._rules.producers_max)
        self._dropped = dict(meta.dropped)
        self._recount_to = meta.recount_to
        self._conversations.whole_from_us = meta.whole_from_us
        for name, watermark_us in meta.watermarks.items():
            self._origins[name] = _Origin(watermark_us, name in meta.ended, now_us)

    def _restore_cell(self, place: _Place, state: _CellState, now_us: int) -> None:
        name, start, dims = place
        if len(dims) != len(self._rules.groupings.finest):
            raise StateError(
                "the groupings name other dimensions than those of the persisted windows: "
                f"give them back, or have them counted anew: {REBUILD}"
            )
        origin = self._origins.setdefault(name, _Origin(last_seen_us=now_us))
        if self._is_forgotten(origin, start):
            return
        window = origin.windows.setdefault(start, _Window())
        cell = self._admit(name, start, window, dims, state.other_in)
        cell.last_offset = cell.contained_offset = state.last_offset
        self._ahead_offset = max(self._ahead_offset, state.last_offset)
        cell.own.measures.add(state.measures)
        for series in cell.sums:
            series.measures.add(state.measures)
        self._note_unsent(cell)
        for series in cell.fast:
            series.lose_track()
            self._unsent_fast[series] = None


def _loss(at: Observation, *, dropped: int = 0, records: int = 0) -> Loss:
    return Loss(at.event_id, at.ts_us, at.tenant_id, dropped=dropped, records=records)


def _measured(observations: Sequence[Observation]) -> Sequence[Observation]:
    kinds: set[type[Observation]] = set(map(type, observations))
    if all(kind.is_measured for kind in kinds):
        return observations
    return [each for each in observations if each.is_measured]


def _by_window(observations: Sequence[Observation]) -> dict[int, Sequence[Observation]]:
    """Returns events by the number of their window."""
    numbers = [each.ts_us // _BASE_US for each in observations]
    different = set(numbers)
    if len(different) <= 1:
        return dict.fromkeys(different, observations)
    return {
        number: [each for each, own in zip(observations, numbers, strict=True) if own == number]
        for number in sorted(different)
    }


def _cell_key(place: _Place) -> bytes:
    return encode_state(_CellKey("cell", *place))


def _cell_value(cell: _Cell) -> bytes:
    return encode_state(_SealedCell(VERSION, cell.last_offset, cell.other_in, cell.own.written()))
